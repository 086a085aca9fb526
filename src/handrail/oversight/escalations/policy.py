"""What a colleague reads first, and what the user is told. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from handrail.core.answers import Handoff

LAST_MESSAGES = 3
MOST_CHARACTERS = 500

# Plain English signs, for ordering a list: nothing is decided by them.
_PERSON = re.compile(
    r"\b(?:real |actual |live )?(?:human|person|agent|representative|someone|somebody|manager|supervisor)\b",
    re.IGNORECASE,
)
_HARSH = re.compile(
    r"\b(?:useless|ridiculous|terrible|awful|horrible|stupid|idiots?|nonsense|scam|angry|furious|unacceptable|joke|wtf"
    r"|fed up|waste of (?:my )?time|never again|lawyer|complain(?:t|ing)?)\b",
    re.IGNORECASE,
)
_INSISTENT = re.compile(r"[!?]{2,}")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A tool call that was made before the handoff."""

    tool: str
    status: str


def summarise(
    *,
    intent: str | None,
    text: str,
    reason: str,
    earlier: Sequence[str] = (),
    attempts: Sequence[Attempt] = (),
) -> dict[str, Any]:
    """The summary a colleague reads before answering.

    Args:
        text: the message at which the agent gave up.
        earlier: the user's messages before it, oldest first.
        attempts: what the agent tried in this turn.
    """
    messages = [*earlier, text]
    return {
        "intent": intent,
        "reason": reason,
        "last_messages": [_shorten(message) for message in messages[-LAST_MESSAGES:]],
        "attempted": [{"tool": attempt.tool, "status": attempt.status} for attempt in attempts],
        "frustration": frustration(messages[-LAST_MESSAGES:]),
    }


def frustration(messages: Sequence[str]) -> dict[str, Any]:
    """How annoyed the user sounds, with the signs that say so: `none`, `some` (one sign) or `high` (more)."""
    signs = {
        "asks_for_a_person": any(_PERSON.search(message) for message in messages),
        "harsh_words": any(_HARSH.search(message) for message in messages),
        "insists": any(_INSISTENT.search(message) for message in messages),
        "shouts": any(_shouts(message) for message in messages),
        "repeats": len({_folded(message) for message in messages}) < len(messages),
    }
    seen = [name for name, found in signs.items() if found]
    return {"level": ("none", "some", "high")[min(len(seen), 2)], "signs": seen}


def customer_word(handoff: Handoff, *, message: str) -> str:
    """What the user is told: the agent project's own words, and what has really happened. No time is promised."""
    to = f"the {handoff.team} team" if handoff.team else "a person"
    return f"{message} I am passing on what you wrote here to {to}, so you need not repeat it."


def _shorten(message: str) -> str:
    return message if len(message) <= MOST_CHARACTERS else f"{message[: MOST_CHARACTERS - 1]}…"


def _shouts(message: str) -> bool:
    letters = [character for character in message if character.isalpha()]
    return len(letters) >= 10 and sum(character.isupper() for character in letters) > 0.7 * len(letters)


def _folded(message: str) -> str:
    return " ".join(re.findall(r"\w+", message.casefold()))
