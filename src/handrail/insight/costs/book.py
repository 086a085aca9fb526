"""The prices that this process knows, one for each address and model."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from handrail.core.prices import DeclaredPrice
from handrail.core.usage import Usage
from handrail.insight.costs.prices import Price

Asked = tuple[str, str]
Found = Mapping[Asked, Price | None]
LookUp = Callable[[Sequence[Asked]], Awaitable[Found]]
# A provider may report any text as the model's name.
MOST_MODELS = 512
MOST_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class PricedModel:
    """A model of a release: where it is called, by what name, and what its project says of the price."""

    url: str
    provider: str
    model: str
    declared: DeclaredPrice | None = None


class PriceBook:
    """Says what a call costs, or that nobody knows: by the settings, else the project, else the price list.

    Args:
        overrides: prices of the deployment's settings, by `host/model`, `provider/model` or `model`.
        look_up: asks the price list; without it only what is declared has a price.
        on_unknown: told once of each model without a price.
    """

    def __init__(
        self,
        overrides: Mapping[str, DeclaredPrice] | None = None,
        look_up: LookUp | None = None,
        on_unknown: Callable[[str], None] | None = None,
    ) -> None:
        self._overrides = {name: Price.declared(price, "settings") for name, price in (overrides or {}).items()}
        self._look_up = look_up
        self._on_unknown = on_unknown
        self._known: dict[Asked, Price | None] = {}
        self._wanted: dict[Asked, Asked] = {}
        self._names: dict[Asked, str] = {}
        # Goes up whenever a price has come or changed.
        self.version = 0
        self._learning = asyncio.Lock()

    def cost(self, url: str, called: str, reported: str, usage: Usage, at: int) -> int | None:
        """Millionths of a US dollar; None when the price or the tokens are not known.

        The provider may answer with a more exact model than it was asked for: that one's price holds if it is known;
        until it has been looked up, and when it is not, the called one's.
        """
        price = self._known.get((url, reported))
        if price is None:
            if reported != called and (url, reported) not in self._known:
                self._want(url, called, reported)
            price = self._known.get((url, called))
        return None if price is None else price.cost(usage, at)

    def price(self, url: str, model: str) -> Price | None:
        return self._known.get((url, model))

    async def learn(self, models: Iterable[PricedModel]) -> None:
        """Know the prices of these models from here on; what the list can't tell stays unknown."""
        async with self._learning:
            missing: list[Asked] = []
            for each in models:
                key = (each.url, each.model)
                self._names[key] = f"{_host(each.url) or each.provider}/{each.model}"
                declared = self._declared(each)
                if declared is not None:
                    self._keep(key, declared)
                elif key not in self._known:
                    missing.append(key)
            await self._find(dict.fromkeys(missing))

    async def look_up(self, models: Iterable[PricedModel]) -> None:
        """Know the prices of models that no release calls any more, as far as there is room for them; what is known of
        one stays."""
        async with self._learning:
            missing: list[Asked] = []
            for each in models:
                key = (each.url, each.model)
                if self._known.get(key) is not None or len(self._known) + len(missing) >= MOST_MODELS:
                    continue
                if (declared := self._declared(each)) is not None:
                    self._keep(key, declared)
                elif key not in self._known:
                    missing.append(key)
            await self._find(dict.fromkeys(missing))

    async def refresh(self) -> None:
        """Look up the names that providers reported since; to be called now and then."""
        wanted, self._wanted = self._wanted, {}
        if wanted:
            async with self._learning:
                await self._find(wanted)

    @property
    def unknown(self) -> list[str]:
        """The models of the loaded releases that nobody knows a price of."""
        return sorted(name for key, name in self._names.items() if self._known.get(key) is None)

    @property
    def count(self) -> int:
        return sum(price is not None for price in self._known.values())

    async def _find(self, wanted: Collection[Asked]) -> None:
        named = {key: price for key in wanted if (price := self._named(key)) is not None}
        listed = [each for each in wanted if each not in named and is_public(each[0])] if self._look_up else []
        found = {**(await self._look_up(listed) if listed and self._look_up else {}), **named}
        for key in wanted:
            price = found.get(key)
            self._keep(key, price)
            if price is None and key in self._names and self._on_unknown is not None:
                self._on_unknown(self._names[key])

    def _keep(self, key: Asked, price: Price | None) -> None:
        if price is not None and self._known.get(key) != price:
            self.version += 1
        self._known[key] = price

    def _want(self, url: str, called: str, reported: str) -> None:
        if len(self._known) + len(self._wanted) < MOST_MODELS and 0 < len(reported) <= MOST_CHARACTERS:
            self._wanted[url, reported] = (url, called)

    def _declared(self, model: PricedModel) -> Price | None:
        names = (f"{_host(model.url)}/{model.model}", f"{model.provider}/{model.model}", model.model)
        set_here = next((self._overrides[name] for name in names if name in self._overrides), None)
        if set_here is not None or model.declared is None:
            return set_here
        return Price.declared(model.declared, "project")

    def _named(self, key: Asked) -> Price | None:
        """As the settings have it, of a name that a provider reported."""
        url, model = key
        return self._overrides.get(f"{_host(url)}/{model}") or self._overrides.get(model)


def is_public(url: str) -> bool:
    """Whether the address could be a provider's: of a private one no list can know a price."""
    host = urlsplit(url).hostname or ""
    return "." in host and not host.replace(".", "").isdigit() and ":" not in host


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
