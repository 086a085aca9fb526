"""Every number leads to the conversations behind it, and their list counts the same: each link of the dashboard, the
costs and the scorecard is walked."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from html import unescape

import pytest

from handrail.core.clock import FrozenClock, as_datetime
from handrail.core.prices import Budget
from handrail.core.usage import LOST
from tests.console.console import Console
from tests.console.test_dashboard import count
from tests.written import ANSWERED, DENIED, FAILED, HANDED_OFF, REFUND, Told, Written

LINK = r'href="(/console/conversations\?[^"]*)"'
TRIPPED = Told(tripped=("injection",))
SLOW = Told(intent="refund", seconds=9, latency_class="complex")
DEAR = replace(ANSWERED, costs=(900_000, None), model="vendor/a_large", finish_reason=LOST)
TALES = ((ANSWERED,), (REFUND, TRIPPED), (FAILED, ANSWERED, FAILED), (HANDED_OFF,), (DENIED,), (SLOW, DEAR))


@pytest.fixture
async def lived(console: Console) -> Console:
    """Four days of conversations: closed ones of each kind, and some whose window is open still."""
    # No step of 3.1 hours from there ends at midnight.
    start = (as_datetime(console.services.clock.micros()) - timedelta(days=4)).replace(minute=33, second=0)
    clock = FrozenClock(start)
    written = Written(console.services.db, clock, agent="echo")
    for number in range(30):
        made = await written.conversation(f"user-{number % 17}", *TALES[number % len(TALES)])
        if number % 3 == 0:
            await written.says(made, "csat", 1 + number % 5)
            await written.says(made, "thumb", 1 if number % 2 else -1)
        if number % 9 == 0:
            await written.is_judged(made, await written.turn(made), resolved=True)
        if number % 7 == 0:
            await written.says(made, "nps", number % 11)
            await written.is_worth(made, 12_340_000)
        clock.advance(3.1 * 3600)
    await count(console)
    return console


def number(text: str) -> int:
    found = re.search(r"\d[\d,]*", text)
    return int(found[0].replace(",", "")) if found else 0


async def list_of(console: Console, link: str) -> str:
    """What the list says that it comes to."""
    answer = await console.get(unescape(link))
    assert answer.status_code == 200, link
    found = re.search(r'id="total">([^<]*)<', answer.text)
    return found[1] if found else "0 conversations with 0 turns"


def says(total: str, what: str) -> int:
    found = re.search(rf"(\d[\d,]*) {what}", total)
    return int(found[1].replace(",", "")) if found else 0


Expected = tuple[str, str, int]  # a link, what the list has to say of it, and how much


def tiles(page: str) -> Iterator[Expected]:
    tile = (
        rf'class="tile" {LINK}>\s*<span class="name">([^<]*)</span><span class="value[^"]*">([^<]*)</span>'
        r'(?:<span class="more">([^<]*)</span>)?'
    )
    read: dict[str, Callable[[str, str], tuple[str, int]]] = {
        "Conversations": lambda value, _: ("conversation", number(value)),
        "Turns that failed": lambda _, more: ("time", number(more)),
        "Value events": lambda value, _: ("", number(value)),
    }
    for link, name, value, more in re.findall(tile, page):
        if name.startswith("Half of"):
            continue
        what, many = read.get(name, lambda _, more: ("conversation", number(more)))(value, more)
        yield link, what, many


def rows(page: str, heading: str) -> Iterator[tuple[str, str]]:
    """Links and what stands beside them in the bars under a heading."""
    part = page.partition(f">{heading}</h2>")[2].partition("</section>")[0]
    yield from re.findall(rf'<th scope="row"><a {LINK}>[^<]*</a></th>.*?<td class="said-as">([^<]*)</td>', part)


def bars(page: str) -> Iterator[Expected]:
    for link, text in rows(page, "Resolved by intent"):
        closed = re.search(r"of (\d+) closed", text)
        pending = re.search(r"(\d+) pending", text)
        yield link, "conversation", sum(int(each[1]) for each in (closed, pending) if each)
    for heading in ("Escalation reasons", "Errors by type", "Guardrails that tripped"):
        for link, text in rows(page, heading):
            yield link, "time", number(text)


def days(page: str) -> Iterator[Expected]:
    part = page.partition('aria-label="Conversations by the day, as a table"')[2].partition("</table>")[0]
    for link, many in re.findall(rf'<th scope="row"><a {LINK}>[^<]*</a></th><td>(\d+)</td>', part):
        yield link, "conversation", int(many)


def instructions(page: str) -> Iterator[Expected]:
    """By instructions, with the turns of the release that has them."""
    part = page.partition(">By instructions</h2>")[2].partition("</section>")[0]
    for link, turns in re.findall(rf'data-label="Release"><a {LINK}>.*?data-label="Turns">([\d,]+)<', part, re.DOTALL):
        yield link, "turn", number(turns)
    for column, what in (("Resolved", "conversation"), ("Failed", "time"), ("Thumbs", "thumb")):
        cell = rf'data-label="{column}"><a {LINK}>([^<]*)</a>(?:<span class="quiet under">([^<]*)</span>)?'
        for link, value, more in re.findall(cell, part):
            many = sum(map(int, re.findall(r"\d+", value))) if what == "thumb" else number(more or value)
            yield link, what, many


async def assert_agree(console: Console, expected: list[Expected]) -> None:
    for link, what, many in expected:
        total = await list_of(console, link)
        assert says(total, what) == many, (link, total)


async def test_every_number_of_the_dashboard_counts_what_its_list_counts(lived: Console) -> None:
    for narrowed, least in (("", 20), ("&intent=refund", 10), ("&channel=api", 20)):
        page = (await lived.get(f"/console/dashboard?range=7d{narrowed}")).text
        found = [*tiles(page), *bars(page), *days(page)]
        assert len(found) > least
        # By an intent turns are counted there, and conversations by what they were about here.
        by_release = list(instructions(page))
        await assert_agree(
            lived, [*(each for each in found if each[1]), *(by_release if "intent" not in narrowed else ())]
        )
        # Those slower than 95 of 100 are no number of the page; all other links were walked.
        slower = {link for link in re.findall(LINK, page) if "min_seconds" in link}
        assert len(slower) == 1
        assert set(re.findall(LINK, page)) == {link for link, _, _ in (*found, *by_release)} | slower
        assert says(await list_of(lived, slower.pop()), "conversation") > 0
        (worth,) = [link for link, what, _ in found if not what]
        value = re.search(r'Value events</span><span class="value[^"]*">([^<]*)<', page)
        assert value is not None
        assert value[1] == "not measured yet" or f"{value[1]} of value" in await list_of(lived, worth)


def lines(page: str, heading: str) -> Iterator[Expected]:
    """Of a table of costs, with the calls of each."""
    part = page.partition(f">{heading}</h2>")[2].partition("</section>")[0]
    found = re.findall(rf'<th scope="row"><a {LINK}>.*?data-label="Calls">([\d,]+)<', part, re.DOTALL)
    assert found, heading
    yield from ((link, "time", number(calls)) for link, calls in found)


def called(page: str) -> Iterator[Expected]:
    """By the day, and those without a known cost by model and why."""
    for heading in ("By model", "By agent", "By intent", "By release and instructions"):
        yield from lines(page, heading)
    part = page.partition('aria-label="Calls of models by the day, as a table"')[2].partition("</table>")[0]
    for link, many in re.findall(rf'<th scope="row"><a {LINK}>[^<]*</a></th><td>([\d,]+)</td>', part):
        yield link, "time", number(many)
    part = page.partition('id="unpriced"')[2].partition("</section>")[0]
    for link, many in re.findall(rf"<a {LINK}>[^<]*</a></h3><p>([\d,]+) call", part):
        yield link, "time", number(many)


async def test_every_number_of_the_costs_counts_what_its_list_counts(lived: Console) -> None:
    lived.services.budgets = (Budget(name="all", usd=Decimal(50)),)
    for narrowed in ("", "&intent=refund", "&channel=api"):
        page = (await lived.get(f"/console/costs?range=7d{narrowed}")).text
        found = {name: link for link, name in re.findall(rf'class="tile" {LINK}>\s*<span class="name">([^<]*)<', page)}
        values = {
            name: (value, more)
            for name, value, more in re.findall(
                r'"name">([^<]*)</span><span class="value[^"]*">([^<]*)</span>(?:<span class="more">([^<]*)<)?', page
            )
        }
        calls = number(values["Calls of models"][0])
        tiles = [(found[name], "time", calls) for name in ("Spent", "Calls of models", "Tokens in", "Tokens out")]
        tiles.append((found["Calls without a known cost"], "time", number(values["Calls without a known cost"][0])))
        for name in ("Cost per conversation", "Cost per resolved one"):
            tiles.append((found[name], "conversation", number(values[name][1])))
        walked = [*tiles, *called(page)]
        await assert_agree(lived, walked)
        spent = [await list_of(lived, found["Spent"]), await list_of(lived, budget_link(page))]
        if not narrowed:
            assert f"{values['Spent'][0].removeprefix('at least ')} of cost" in spent[0]
            # A month may have begun meanwhile.
            assert says(spent[1], "time") <= calls
        known = {link for link, _, _ in walked} | {found["Value less cost"], budget_link(page)}
        assert set(re.findall(LINK, page)) == known


def budget_link(page: str) -> str:
    return re.findall(rf'data-label="Spent"><a {LINK}>', page)[0]


async def test_every_sample_of_the_scorecard_is_what_its_list_counts(lived: Console) -> None:
    page = (await lived.get("/console/scorecard?days=7")).text
    samples = re.findall(rf"<a {LINK}>(\d[\d,]*) ([^<]*)</a>", page)
    assert {what for _, _, what in samples} >= {"conversations", "turns", "answers", "thumbs", "tool calls"}
    assert any(what.endswith("that failed") for _, _, what in samples)
    read = {"turns": "turn", "tool calls": "tool call", "thumbs": "thumb"}
    read |= dict.fromkeys(("turn that failed", "turns that failed"), "time")
    errors = page.partition(">Errors by type</h2>")[2].partition("</table>")[0]
    types = re.findall(rf'<th scope="row"><a {LINK}>[^<]*</a></th><td[^>]*>.*?([\d,]+) of [\d,]+ turns', errors)
    assert types
    walked = [(link, read.get(what, "conversation"), number(many)) for link, many, what in samples]
    await assert_agree(lived, [*walked, *((link, "time", number(many)) for link, many in types)])
    slower = {link for link in re.findall(LINK, page) if "min_seconds" in link}
    assert set(re.findall(LINK, page)) == {link for link, *_ in (*samples, *types)} | slower


async def test_a_list_says_what_a_link_asks_for_and_how_to_leave_it_out(lived: Console) -> None:
    page = (await lived.get("/console/conversations?range=7d&happened=error&closed=1&since=2020-01-01T00:00Z")).text
    assert "any error" in page
    assert "only those whose window is over" in page
    assert "from 2020-01-01 00:00 UTC" in page
    assert 'type="hidden" name="happened" value="error"' in page
    for odd in ("error:%25", "error:_", "error:%22%2C%22", "error:!", "error:%5C"):
        assert "No conversation fits" in (await lived.get(f"/console/conversations?happened={odd}")).text, odd


@pytest.mark.parametrize("wrong", ["happened=nonsense", "since=yesterday", "until=%3Cb%3E", "happened=%25"])
async def test_a_list_says_which_wish_it_does_not_know(console: Console, wrong: str) -> None:
    answer = await console.get(f"/console/conversations?{wrong}")
    assert answer.status_code == 422
    assert "<b>" not in answer.text
