"""What must hold after all the killing: nothing done twice, nothing lost, nobody waiting for ever."""

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from tests.integration.crash.clients import Heard

_TABLES = ("turn", "tool_call", "escalation", "approval", "message")
OVER = {"completed", "failed", "cancelled"}


@dataclass
class Verdict:
    """Counts of what was seen, and a sentence for every promise that was broken.

    `late` counts effects that came after somebody else had settled the call: those of sleepers that woke up.
    """

    turns: int = 0
    effects: int = 0
    unknown: int = 0
    late: int = 0
    taken_over: int = 0
    resumed_streams: int = 0
    ends: Counter[str] = field(default_factory=Counter[str])
    broken: list[str] = field(default_factory=list[str])

    def say(self, broken: bool, sentence: str) -> None:
        if broken:
            self.broken.append(sentence)


async def rows_of(url: str) -> dict[str, list[Mapping[str, Any]]]:
    """Every row of the tables that the verdict is about, past the product's own code."""
    if url.startswith("sqlite:///"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.row_factory = sqlite3.Row
            return {name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")] for name in _TABLES}
    connection = await asyncpg.connect(url)
    try:
        return {name: [dict(row) for row in await connection.fetch(f"SELECT * FROM {name}")] for name in _TABLES}
    finally:
        await connection.close()


Effects = Mapping[str, Sequence[int]]


def effects_in(folder: Path) -> Effects:
    """When each tool call took effect in the outside world, in microseconds."""
    return {
        file.name: [int(line.split()[1]) // 1000 for line in file.read_text().splitlines()]
        for file in folder.iterdir()
        if file.stat().st_size and not file.name.startswith(".")
    }


def judge(rows: Mapping[str, Sequence[Mapping[str, Any]]], effects: Effects, heard: list[Heard]) -> Verdict:
    verdict = Verdict(turns=len(heard), effects=len(effects))
    turns = {row["id"]: row for row in rows["turn"]}
    cases = {row["turn_id"] for row in rows["escalation"]}
    _judge_turns(verdict, turns)
    _judge_calls(verdict, rows["tool_call"], effects, cases)
    answers: dict[str, str] = {}
    for row in sorted(rows["message"], key=lambda row: row["position"]):
        if row["role"] == "assistant":
            answers[row["turn_id"]] = row["content"]
    for each in heard:
        _judge_client(verdict, each, turns, answers, effects)
    return verdict


def _judge_turns(verdict: Verdict, turns: Mapping[str, Mapping[str, Any]]) -> None:
    for turn in turns.values():
        verdict.ends[turn["status"] if not turn["error_code"] else f"{turn['status']}: {turn['error_code']}"] += 1
        verdict.taken_over += turn["epoch"] > 1
        verdict.say(turn["status"] not in OVER, f"turn {turn['id']} has not ended: {turn['status']}")
        verdict.say(turn["error_code"] == "internal", f"turn {turn['id']} failed for a reason of its own")


def _judge_calls(verdict: Verdict, calls: Sequence[Mapping[str, Any]], effects: Effects, cases: set[str]) -> None:
    for call in calls:
        times, status, what = effects.get(call["id"], ()), call["status"], f"{call['name']} {call['id']}"
        count = len(times)
        verdict.late += any(time > (call["ended_at"] or time) for time in times)
        verdict.say(count > 1, f"double: {what} happened {count} times")
        verdict.say(status == "intent", f"lost: {what} has begun and nobody says what became of it")
        if call["effect"] == "write":
            verdict.say(status == "completed" and not count, f"lost: {what} is reported done and never happened")
            verdict.say(status == "failed" and bool(count), f"lost: {what} is reported failed and happened")
        if status == "unknown":
            verdict.unknown += 1
            verdict.say(call["turn_id"] not in cases, f"lost: nobody is asked about {what}, which is unknown")
    strangers = effects.keys() - {call["id"] for call in calls}
    verdict.say(bool(strangers), f"{len(strangers)} effects without a call in any transcript: {sorted(strangers)[:3]}")


def _judge_client(
    verdict: Verdict,
    heard: Heard,
    turns: Mapping[str, Mapping[str, Any]],
    answers: Mapping[str, str],
    effects: Effects,
) -> None:
    turn = turns.get(heard.turn_id or "")
    if turn is None:
        verdict.broken.append(f"lost: a client was told of turn {heard.turn_id}, which is not stored")
        return
    verdict.resumed_streams += heard.connections > 1
    what = f"the client of {heard.turn_id} (epoch {turn['epoch']}, {heard.connections} connections)"
    stored = answers.get(turn["id"], "")
    verdict.say(heard.ended != f"turn.{turn['status']}", f"{what} heard {heard.ended}, stored is {turn['status']}")
    verdict.say(heard.text != stored, f"{what} shows {heard.text!r}, stored is {stored!r}")
    complete = turn["status"] != "completed" or heard.plan["answer"] in stored
    verdict.say(not complete, f"{what} was not answered as planned: {stored!r}")
    for call, name in heard.done.items():
        # A read may be told of and made again; a write that somebody was told of has happened.
        lost = name != "look" and call not in effects
        verdict.say(lost, f"lost: {what} was told that {name} {call} is done, and it never happened")
