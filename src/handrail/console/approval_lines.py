"""Approvals as the pages show them. Pure."""

import json as indented
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from handrail.core import json
from handrail.core.clock import iso
from handrail.flows.approval_desk import Shown
from handrail.oversight.approvals import DecisionSpeed, Risk, Vote, identical, missing

_DECIDED = {"approve": "approved", "reject": "rejected", "edit": "approved with other arguments", "info": "asked"}


@dataclass(frozen=True, slots=True)
class Case:
    """One action that waits or was decided; `more` are the same action asked for again."""

    shown: Shown
    more: Sequence[Shown] = ()

    @property
    def all(self) -> list[Shown]:
        return [self.shown, *self.more]

    @property
    def id(self) -> str:
        return self.shown.approval.id

    @property
    def action(self) -> str:
        return self.shown.approval.call.tool.replace("_", " ").capitalize()

    @property
    def status(self) -> str:
        return self.shown.approval.status_at(self.shown.at).value

    @property
    def arguments(self) -> list[tuple[str, str]]:
        return [(name, plain(value)) for name, value in self.shown.approval.call.arguments.items()]

    @property
    def arguments_json(self) -> str:
        return indented.dumps(dict(self.shown.approval.call.arguments), indent=2, ensure_ascii=False)

    @property
    def asked_first(self) -> list[tuple[str, str]]:
        """The arguments the agent asked with, when an approver has edited them since."""
        original = self.shown.approval.original_arguments
        return [] if original is None else [(name, plain(value)) for name, value in original.items()]

    @property
    def left(self) -> str:
        return span((self.shown.approval.expires_at - self.shown.at) / 1e6)

    @property
    def needs_reason(self) -> bool:
        return self.shown.approval.risk is Risk.CRITICAL

    @property
    def lacking(self) -> list[str]:
        """What is still missing, one sentence a rule."""
        if not self.shown.is_waiting:
            return []
        return [_lack(each.rule, count, each) for each, count in missing(self.shown.approval, self.shown.votes)]

    @property
    def takes_several(self) -> bool:
        approval = self.shown.approval
        return approval.votes_needed > 1 or len(approval.approvers.clauses) > 1

    @property
    def history(self) -> list["Said"]:
        answers = {each.id: each.answer for each in self.shown.questions}
        return [Said.of(each, answers.get(each.id), self._is_void(each)) for each in self.shown.votes]

    def _is_void(self, vote: Vote) -> bool:
        """A yes to the call as it was before an edit."""
        return vote.decision in ("approve", "edit") and vote.revision != self.shown.approval.revision

    @property
    def decided_at(self) -> str:
        at = self.shown.approval.decided_at
        return "" if at is None else f"{iso(at)[:16].replace('T', ' ')} UTC"


@dataclass(frozen=True, slots=True)
class Said:
    """One line of what people said."""

    who: str
    what: str
    at: str
    reason: str | None
    changes: Sequence[tuple[str, str, str]]
    answer: str | None
    is_void: bool

    @classmethod
    def of(cls, vote: Vote, answer: str | None, is_void: bool) -> "Said":
        lender = vote.capacity.on_behalf_of
        who = f"{vote.voter} for {lender}" if lender else vote.voter
        changes = [(name, _side(sides, "before"), _side(sides, "after")) for name, sides in (vote.diff or {}).items()]
        at = f"{iso(vote.created_at)[:16].replace('T', ' ')} UTC"
        return cls(who, _DECIDED.get(vote.decision, vote.decision), at, vote.reason, changes, answer, is_void)


@dataclass(frozen=True, slots=True)
class PaceLine:
    """How fast one person decides, as a row of a table."""

    who: str
    decisions: int
    approved: str
    median: str
    quickest: str
    hasty: str
    is_hasty: bool

    @classmethod
    def of(cls, speed: DecisionSpeed) -> "PaceLine":
        return cls(
            speed.voter,
            speed.decisions,
            f"{speed.approved_share:.0%}",
            _seconds(speed.median_seconds),
            _seconds(speed.p10_seconds),
            f"{speed.hasty_share:.0%}",
            speed.decisions >= 10 and speed.hasty_share > 0.5,
        )


def grouped(shown: Sequence[Shown]) -> list[Case]:
    """The same action asked for again joins the first one that may be decided with it."""
    cases: list[Case] = []
    for each in shown:
        first = next((case for case in cases if _joins(case, each)), None)
        if first is None:
            cases.append(Case(each))
        else:
            cases[cases.index(first)] = Case(first.shown, [*first.more, each])
    return cases


def plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def span(seconds: float) -> str:
    """A time that is left, rounded down: `3 hours 20 minutes`."""
    minutes = max(0, int(seconds // 60))
    days, hours, minutes = minutes // 1440, minutes % 1440 // 60, minutes % 60
    named = ((days, "day"), (hours, "hour"), (minutes, "minute"))
    parts = [f"{count} {name}{'' if count == 1 else 's'}" for count, name in named if count]
    return " ".join(parts[:2]) or "less than a minute"


def _joins(case: Case, each: Shown) -> bool:
    approval = case.shown.approval
    return approval.risk is not Risk.CRITICAL and identical(approval, each.approval)


def _lack(rule: str, count: int, clause: Any) -> str:
    who = [f"role {role}" for role in sorted(clause.roles)] + [f"team {team}" for team in sorted(clause.teams)]
    return f"{count} more {'vote' if count == 1 else 'votes'} of {' or '.join(who)} (rule {rule})"


def _side(sides: Mapping[str, Any], name: str) -> str:
    return plain(sides[name]) if name in sides else "(not given)"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else span(seconds)
