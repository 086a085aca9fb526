import asyncio
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from handrail.core.prices import DeclaredRates
from handrail.core.usage import Usage
from handrail.insight.costs import PriceBook, PricedModel, PriceList
from handrail.insight.costs.book import MOST_MODELS, Asked, is_public
from handrail.insight.costs.prices import Price

OPENAI, PRIVATE = "https://api.openai.com/v1", "http://llm.internal:8000/v1"
USED = Usage(1_000_000, 1_000_000)
ONE, TWO = (DeclaredRates(input=Decimal(each), output=Decimal(0)) for each in (1, 2))


class Listed:
    """A price list with some models, which notes what it was asked."""

    def __init__(self, **prices: DeclaredRates) -> None:
        self.asked: list[Asked] = []
        self._prices = {name: Price.declared(price, "list") for name, price in prices.items()}

    async def __call__(self, asked: Sequence[Asked]) -> Mapping[Asked, Price | None]:
        self.asked += asked
        return {each: price for each in asked if (price := self._prices.get(each[1]))}


class TestLearn:
    async def test_settings_win_over_the_project_and_that_over_the_list(self) -> None:
        model = PricedModel(OPENAI, "openai_compatible", "m", TWO)
        listed = Listed(m=DeclaredRates(input=Decimal(3), output=Decimal(0)))
        for book, cost in (
            (PriceBook({"m": ONE}, listed), 1_000_000),
            (PriceBook({"api.openai.com/m": ONE}, listed), 1_000_000),
            (PriceBook({"openai_compatible/m": "free"}, listed), 0),
            (PriceBook({"elsewhere/m": ONE}, listed), 2_000_000),
        ):
            await book.learn([model])
            assert book.cost(OPENAI, "m", "m", USED, 0) == cost
        assert listed.asked == []
        plain = PriceBook(None, listed)
        await plain.learn([PricedModel(OPENAI, "openai_compatible", "m")])
        assert plain.cost(OPENAI, "m", "m", USED, 0) == 3_000_000

    async def test_what_nobody_knows_is_unknown_never_free_and_said_once(self) -> None:
        said: list[str] = []
        book = PriceBook(None, Listed(), said.append)
        models = [PricedModel(OPENAI, "openai_compatible", "m"), PricedModel("", "scripted", "scripted")]
        for _ in range(2):
            await book.learn(models)
        assert book.cost(OPENAI, "m", "m", USED, 0) is None
        assert book.cost("", "scripted", "scripted", USED, 0) is None
        assert said == book.unknown == ["api.openai.com/m", "scripted/scripted"]

    async def test_the_list_is_asked_of_public_addresses_alone(self) -> None:
        listed = Listed(m=ONE)
        book = PriceBook(None, listed)
        await book.learn([PricedModel("http://127.0.0.1:8000/v1", "openai_compatible", "m")])
        assert listed.asked == []
        assert [is_public(url) for url in (OPENAI, PRIVATE, "http://localhost/v1", "http://[::1]/v1", "")] == [
            True, True, False, False, False,
        ]  # fmt: skip


class TestReported:
    async def test_a_more_exact_name_costs_as_the_called_one_until_it_is_looked_up(self) -> None:
        listed = Listed(m=ONE, **{"m-2026": TWO})
        book = PriceBook(None, listed)
        await book.learn([PricedModel(OPENAI, "openai_compatible", "m")])
        assert book.cost(OPENAI, "m", "m-2026", USED, 0) == 1_000_000
        await book.refresh()
        assert book.cost(OPENAI, "m", "m-2026", USED, 0) == 2_000_000
        assert book.cost(OPENAI, "m", "m-2027", USED, 0) == 1_000_000
        await book.refresh()
        assert book.cost(OPENAI, "m", "m-2027", USED, 0) == 1_000_000
        assert listed.asked == [(OPENAI, "m"), (OPENAI, "m-2026"), (OPENAI, "m-2027")]
        await book.refresh()
        assert len(listed.asked) == 3

    async def test_a_provider_that_reports_another_name_each_time_fills_no_memory(self) -> None:
        book = PriceBook(None, Listed(m=ONE))
        await book.learn([PricedModel(OPENAI, "openai_compatible", "m")])
        for number in range(2 * MOST_MODELS):
            assert book.cost(OPENAI, "m", f"m-{number}", USED, 0) == 1_000_000
            assert book.cost(OPENAI, "m", "x" * 1000, USED, 0) == 1_000_000
        await book.refresh()
        for number in range(2 * MOST_MODELS):
            book.cost(OPENAI, "m", f"n-{number}", USED, 0)
        await book.refresh()
        assert len(book._known) <= MOST_MODELS  # pyright: ignore[reportPrivateUsage]


class TestPriceList:
    async def test_a_child_process_knows_a_model_and_the_file_knows_it_after(self, tmp_path: Path) -> None:
        file = tmp_path / "data" / "prices.json"
        asked = [(OPENAI, "gpt-4o"), (OPENAI, "no-such-model"), ("https://example.com/v1", "gpt-4o")]
        found = await PriceList(file)(asked)
        assert {each[1] for each in found} == {"gpt-4o"}
        price = found[asked[0]]
        assert price is not None
        assert price.cost(Usage(1_000_000, 1_000_000), 2**50) == 12_500_000
        assert price.source.startswith("genai-prices ")
        kept = json.loads(file.read_text())
        kept["prices"][f"{OPENAI} no-such-model"] = kept["prices"][f"{OPENAI} gpt-4o"]
        file.write_text(json.dumps(kept))
        again = await PriceList(file)(asked[:2])
        assert set(again) == set(asked[:2]), "the file is asked and not the list"

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"list": "genai-prices 0.0.1", "prices": {"a b": []}}'])
    async def test_a_file_of_another_version_or_none_is_no_answer(self, tmp_path: Path, content: str) -> None:
        file = tmp_path / "prices.json"
        file.write_text(content)
        assert PriceList(file)._read() == {}  # pyright: ignore[reportPrivateUsage]

    async def test_a_list_that_can_t_be_read_leaves_prices_unknown(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.executable", "/bin/false")
        book = PriceBook(None, PriceList(tmp_path / "prices.json"))
        await book.learn([PricedModel(OPENAI, "openai_compatible", "gpt-4o")])
        assert book.unknown == ["api.openai.com/gpt-4o"]
        assert book.cost(OPENAI, "gpt-4o", "gpt-4o", USED, 0) is None

    async def test_two_releases_that_are_loaded_at_once_ask_once(self) -> None:
        listed = Listed(m=ONE)
        book = PriceBook(None, listed)
        model = PricedModel(OPENAI, "openai_compatible", "m")
        await asyncio.gather(*(book.learn([model]) for _ in range(5)))
        assert listed.asked == [(OPENAI, "m")]


class TestVersion:
    async def test_goes_up_when_a_price_comes_or_changes_and_not_otherwise(self) -> None:
        book = PriceBook(None, Listed(m=ONE))
        await book.learn([PricedModel(OPENAI, "openai_compatible", "unknown")])
        assert book.version == 0
        await book.learn([PricedModel(OPENAI, "openai_compatible", "m")])
        await book.learn([PricedModel(OPENAI, "openai_compatible", "m")])
        assert book.version == 1
        await book.learn([PricedModel(OPENAI, "openai_compatible", "m", TWO)])
        assert book.version == 2


class TestLookUp:
    async def test_finds_what_no_release_calls_any_more_and_counts_it_among_no_unknown_models(self) -> None:
        book = PriceBook(None, Listed(m=ONE))
        await book.look_up([PricedModel(OPENAI, "openai_compatible", each) for each in ("m", "gone")])
        assert book.cost(OPENAI, "m", "m", USED, 0) == 1_000_000
        assert book.unknown == []

    async def test_changes_no_price_that_is_known(self) -> None:
        book = PriceBook()
        await book.learn([PricedModel(OPENAI, "openai_compatible", "m", ONE)])
        await book.look_up([PricedModel(OPENAI, "openai_compatible", "m", TWO)])
        assert book.cost(OPENAI, "m", "m", USED, 0) == 1_000_000

    async def test_takes_a_price_of_the_settings_for_a_name_that_only_answers_have(self) -> None:
        for name in ("api.openai.com/m-2026", "m-2026"):
            book = PriceBook({name: ONE})
            await book.learn([PricedModel(OPENAI, "openai_compatible", "m", TWO)])
            book.cost(OPENAI, "m", "m-2026", USED, 0)
            await book.refresh()
            assert book.cost(OPENAI, "m", "m-2026", USED, 0) == 1_000_000

    async def test_has_room_for_so_many(self) -> None:
        book = PriceBook()
        await book.look_up([PricedModel("", "p", f"m{number}", ONE) for number in range(MOST_MODELS + 5)])
        assert book.count == MOST_MODELS
