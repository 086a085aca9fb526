"""How old a value is, in words; rounded up, so that nothing is called fresher than it is."""

import math

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def in_words(seconds: float) -> str:
    """Such as "12 minutes"; the largest unit that gives a whole number of at least one."""
    for size, name in _UNITS:
        if seconds > size - 1:
            count = math.ceil(seconds / size)
            return f"{count} {name}{'' if count == 1 else 's'}"
    return "a minute"


def said_of(seconds: float) -> str:
    """What a user is told before a value that is not from now."""
    return (
        f"I can't reach the system for this right now, so this is as of {in_words(seconds)} ago and may have changed."
    )
