from datetime import date
from typing import Any

import pytest

from handrail.core.documents import ProjectError
from handrail.serving.context import Instructions

TODAY = date(2026, 11, 22)


def instructions(source: str, **variables: Any) -> Instructions:
    return Instructions("instructions.md", source, agent={"name": "shop"}, variables=variables)


def refused(source: str, **variables: Any) -> str:
    with pytest.raises(ProjectError) as raised:
        instructions(source, **variables)
    return str(raised.value)


class TestRender:
    def test_fills_in_what_it_was_given(self) -> None:
        source = "You are {{ agent.name }} of {{ company }}. Today is {{ today }}, {{ today.strftime('%A') }}.\n"
        text = instructions(source, company="Acme").render(today=TODAY)
        assert text == "You are shop of Acme. Today is 2026-11-22, Sunday."

    def test_may_depend_on_the_intent(self) -> None:
        told = instructions("{% if intent == 'refund' %}Be careful.{% elif intent %}Fine.{% else %}Ask.{% endif %}")
        rendered = [told.render(today=TODAY, intent=intent) for intent in ("refund", "greet", None)]
        assert rendered == ["Be careful.", "Fine.", "Ask."]

    def test_html_is_left_as_it_is(self) -> None:
        assert instructions("{{ rule }} <b>", rule="a < b").render(today=TODAY) == "a < b <b>"

    def test_is_kept_per_day_and_intent(self) -> None:
        told = instructions("{{ today }} {{ intent }}")
        first = told.render(today=TODAY, intent="a")
        assert told.render(today=TODAY, intent="a") is first
        assert told.render(today=date(2026, 11, 23), intent="a") == "2026-11-23 a"

    def test_does_not_keep_renderings_for_ever(self) -> None:
        told = instructions("{{ intent }}")
        for number in range(1_000):
            assert told.render(today=TODAY, intent=f"i{number}") == f"i{number}"
        assert len(told._renderings) <= 256


class TestATemplateThatIsWrong:
    def test_names_the_line_of_a_syntax_error(self) -> None:
        assert refused("one\ntwo {% if %}\n").startswith("instructions.md:2: this is not a valid template")

    def test_names_the_line_of_an_unknown_filter(self) -> None:
        assert refused("one\n\n{{ agent.name | shout }}").startswith("instructions.md:3:")

    def test_names_an_unknown_variable_and_the_known_ones(self) -> None:
        message = refused("one\n{{ compny }}\n{{ compny }}", company="Acme")
        assert (
            message == "instructions.md:2: 'compny' is not known here; use one of 'agent', 'company', 'intent', 'today'"
        )

    def test_names_every_unknown_variable(self) -> None:
        assert refused("{{ a }}\n{{ b }}").count("is not known here") == 2

    def test_a_variable_of_its_own_is_known(self) -> None:
        told = instructions("{% for n in range(2) %}{{ n }}{% endfor %}{% set x = 1 %}{{ x }}")
        assert told.render(today=TODAY) == "011"

    def test_names_the_line_of_an_attribute_that_is_not_there(self) -> None:
        message = refused("one\ntwo\n{{ agent.nme }}")
        assert message.startswith("instructions.md:3: the template fails")
        assert "nme" in message

    def test_fails_at_once_where_it_would_fail_without_an_intent(self) -> None:
        assert "when intent is None" in refused("{{ intent.upper() }}")

    def test_can_not_read_other_files(self) -> None:
        assert "can't include" in refused("{% include 'secrets.md' %}")

    def test_can_not_reach_into_python(self) -> None:
        assert "'__class__' of 'dict' object is unsafe" in refused("{{ agent.__class__ }}")

    def test_does_not_know_who_is_speaking(self) -> None:
        assert "'principal' is not known" in refused("{{ principal.subject }}")

    def test_a_variable_can_not_hide_one_of_ours(self) -> None:
        assert "'today' is always there" in refused("x", today="never")
