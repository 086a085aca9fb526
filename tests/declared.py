"""For tests that throw anything at a parser: nothing leaves it but its declared error, and that is short."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def only(*errors: type[Exception], shorter_than: int = 1_000, says: str = "") -> Iterator[None]:
    """Let these errors pass, if they are short and name what they should; any other leaves."""
    try:
        yield
    except errors as error:
        said = str(error)
        if len(said) >= shorter_than or says not in said:
            raise AssertionError(f"{len(said)} characters: {said[:300]!r}") from error
