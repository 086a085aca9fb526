import pytest

from handrail.console.agent_card import AgentCard
from handrail.console.pages.chat import replies_to
from handrail.core.answers import Awaiting
from handrail.delivery.releases import Sources

AGENT = "name: shop\ndescription: Sells things.\nmodels: {large: {provider: extractive}}\n"
INTENTS = """
intents:
- {name: gossip, agent: true, examples: [tell me something]}
- {name: order_status, title: track an order, flow: order_status, examples: ["where is my order?", track it]}
- {name: refund, flow: refund, examples: [I want a refund]}
"""


def card(agent: str = AGENT, **files: str) -> AgentCard:
    texts = {"agent.yaml": agent, "intents.yaml": INTENTS} | files
    return AgentCard.of(Sources({name: text.encode() for name, text in texts.items()}))


class TestAgentCard:
    def test_suggests_what_works_without_a_model(self):
        assert card().suggestions == ("Where is my order?", "I want a refund")

    def test_knows_the_words_for_every_intent(self):
        assert card().titles == {"gossip": "Gossip", "order_status": "Track an order", "refund": "Refund"}

    def test_has_a_greeting_and_a_name_when_the_project_gives_none(self):
        made = card()
        assert (made.display_name, made.greeting) == ("shop", "Hello. What can I do for you?")

    def test_prefers_the_projects_own_words(self):
        made = card(f"{AGENT}display_name: Juniper\ngreeting: Good day.\n")
        assert (made.display_name, made.greeting) == ("Juniper", "Good day.")


class TestRepliesTo:
    @pytest.mark.parametrize("kind", ["confirm", "flow_confirm"])
    def test_offers_yes_and_no_to_a_question_that_takes_them(self, kind: str):
        assert replies_to(Awaiting(kind, "refund"), card()) == ["Yes", "No"]  # pyright: ignore[reportArgumentType]

    def test_offers_the_choices_in_peoples_words(self):
        awaiting = Awaiting("clarify", "refund", {"choices": ["order_status", "refund"]})
        assert replies_to(awaiting, card()) == ["Track an order", "Refund"]

    def test_offers_nothing_for_a_value_only_the_user_knows(self):
        assert replies_to(Awaiting("slot", "refund"), card()) == []

    def test_offers_nothing_when_nothing_is_asked(self):
        assert replies_to(None, card()) == []
