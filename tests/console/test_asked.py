"""A page is shown without what is wrong in its address, and says the first mistake."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from handrail.console.asked import read_asked, require_asked, said, status_of
from handrail.core.errors import NotFound, UsageError

KNOWN = ("range", "agent")


def read(asked: Mapping[str, str]) -> Mapping[str, str]:
    require_asked(asked, KNOWN)
    if asked.get("range", "7d") != "7d":
        raise UsageError("no such range", param="range")
    return asked


@given(st.dictionaries(st.sampled_from(["range", "agent", "agnet", "x"]), st.sampled_from(["7d", "bad"])))
def test_what_is_good_stays_and_the_first_mistake_is_said(asked: dict[str, str]) -> None:
    kept, found, error = read_asked(asked, read)
    good = {name: value for name, value in asked.items() if name == "agent" or (name, value) == ("range", "7d")}
    assert (kept, found) == (good, good)
    assert (error is None) == (good == asked)


def test_a_mistake_that_names_no_parameter_leaves_the_plain_page() -> None:
    def fails(asked: Mapping[str, str]) -> int:
        if asked:
            raise UsageError("both together can't be")
        return 1

    kept, found, error = read_asked({"range": "7d"}, fails)
    assert (kept, found, str(error)) == ({}, 1, "both together can't be")


def test_says_it_as_a_sentence_with_its_status() -> None:
    assert (status_of(None), status_of(UsageError("x")), status_of(NotFound("x"))) == (200, 422, 404)
    assert (said(None), said(UsageError("it is wrong"), instead="All of it.")) == (None, "it is wrong. All of it.")
