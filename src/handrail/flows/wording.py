"""What the turn itself says to a user. Every sentence is true whatever happened before it."""

from collections.abc import Sequence

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0

DECLINED = "All right, I won't do that. What can I do for you instead?"
LOST = "I'm sorry, I still don't understand what you need."
OUT_OF_TIME = "I'm sorry, this took longer than it may. Please send your message again, or ask for a person."
WENT_WRONG = "I'm sorry, something went wrong on my side and I could not finish. Please try again, or ask for a person."
SWITCHED_OFF = "I'm switched off for now and did not finish this. Please try again later, or ask for a person."
STOPPED = "(Stopped here.)"
REFUSED = "I'm sorry, I can't help with this message. You can put it in other words, or ask for a person."
ANSWER_REFUSED = (
    "I'm sorry, I can't show you my answer: it held something that must not leave this system. "
    "Please put it in other words, or ask for a person."
)
PASSED_ON = "A person should answer this rather than me."
ABOUT_HANDLES = (
    "What looks like <email_...> stands for a person's data that you are not shown, or for text that looked like that. "
    "Where the value belongs, write it exactly as it stands; it is filled in behind you."
)
NO_LOOKUP = "I'm sorry, I can't look that up right now."


def sorry(code: str) -> str:
    """What a user is told about a turn that ended with this error code."""
    return SWITCHED_OFF if code == "switched_off" else WENT_WRONG


def confirm_question(title: str, own: str | None) -> str:
    """One sentence that can be answered by yes or no."""
    return own or f"Just to be sure: do you want to {title}?"


def clarify_question(titles: Sequence[str]) -> str:
    """The likeliest meanings, to choose from."""
    if len(titles) < 2:
        return "I'm not sure what you need. Could you say it in other words?"
    return f"I'm not sure what you need. Do you want to (1) {titles[0]}, or (2) {titles[1]}?"


def waits_for_approval(tools: Sequence[str], seconds: float) -> str:
    """What waits for a person, and until when; what was not approved by then is not done."""
    what = " and ".join(tool.replace("_", " ") for tool in dict.fromkeys(tools))
    return (
        f"This needs a person's approval first: {what}. I have asked for it, and nothing of it is done yet. "
        f"You will see the decision here; without one within {_span(seconds)} it is not done. "
        "You can go on writing meanwhile."
    )


def approver_asks(question: str) -> str:
    """An approver's question, in the conversation of whoever asked for the action."""
    return f"The person who decides about this asks: “{question}” Your answer reaches them; it still waits meanwhile."


def _span(seconds: float) -> str:
    """A duration in words, rounded down to minutes: no more time is promised than there is."""
    parts: list[str] = []
    for unit, name in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
        count, seconds = int(seconds // unit), seconds % unit
        if count:
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
    return " and ".join(parts[:2]) or "a minute"
