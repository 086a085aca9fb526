"""What the chat page says about the agent before anybody has asked it anything."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from handrail.core.documents import parse_yaml, validate
from handrail.core.errors import NotFound
from handrail.delivery.releases import Sources
from handrail.flows.services import Services
from handrail.serving.agents.schema import AgentConfig
from handrail.serving.routing import Intents

MOST_SUGGESTIONS = 4
MOST_CARDS = 64
GREETING = "Hello. What can I do for you?"


@dataclass(frozen=True, slots=True)
class AgentCard:
    """`name` is empty while the agent is not chosen; `titles` are the words for its intents."""

    name: str = ""
    display_name: str = "Chat"
    description: str = ""
    greeting: str = GREETING
    suggestions: tuple[str, ...] = ()
    titles: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, sources: Sources) -> "AgentCard":
        """The card of one release: its own words, and an example of what it can do. Runs none of its code."""
        config = validate(parse_yaml("agent.yaml", sources.text("agent.yaml")), AgentConfig)
        intents = []
        if "intents.yaml" in sources.files:
            intents = validate(parse_yaml("intents.yaml", sources.text("intents.yaml")), Intents).intents
        # What a flow or tool answers shows most: it works without a model.
        shown = [each for each in intents if not each.agent][:MOST_SUGGESTIONS]
        return cls(
            name=config.name,
            display_name=config.display_name or config.name,
            description=config.description,
            greeting=config.greeting or GREETING,
            suggestions=tuple(_as_sentence(each.examples[0]) for each in shown),
            titles={each.name: _as_sentence(each.spoken) for each in intents},
        )

    @property
    def query(self) -> str:
        """The part of an address that chooses this agent."""
        return f"?{urlencode({'agent': self.name})}" if self.name else ""


class AgentCards:
    """The cards of the releases that answer. A release never changes, so its card is made once."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[str, str], AgentCard] = OrderedDict()

    async def find(self, services: Services, tenant_id: str, wanted: str | None) -> AgentCard:
        """The agent that was asked for, else the server's own, else its only one; a blank card when there are several.

        Raises:
            NotFound: the agent that was asked for is not here.
        """
        stable = {each.name: each.stable_release_id for each in await services.releases.agents(tenant_id)}
        name = wanted or services.default_agent or (next(iter(stable)) if len(stable) == 1 else None)
        if name is None:
            return AgentCard()
        release_id = stable.get(name)
        if release_id is None:
            raise NotFound(f"there is no agent {name!r} here", param="agent")
        return await self._of(services, tenant_id, release_id)

    async def _of(self, services: Services, tenant_id: str, release_id: str) -> AgentCard:
        key = (tenant_id, release_id)
        if key not in self._made:
            self._made[key] = AgentCard.of(await services.releases.sources(tenant_id, release_id))
            while len(self._made) > MOST_CARDS:
                self._made.popitem(last=False)
        return self._made[key]


def _as_sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
