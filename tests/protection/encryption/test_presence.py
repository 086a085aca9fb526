from hypothesis import given, settings
from hypothesis import strategies as st

from handrail.protection.encryption import Presence

BITS = 1 << 12


@settings(max_examples=20)
@given(st.sets(st.text(max_size=8), max_size=100))
def test_who_was_noted_is_known(owners: set[str]) -> None:
    present = Presence(bits=BITS)
    for each in owners:
        present.note(each)
    assert all(each in present for each in owners)


def test_who_was_not_noted_is_not_taken_for_somebody_every_time() -> None:
    """64 bits of 4096 each: about one in two hundred thousand is, and another one in another run."""

    def taken() -> set[int]:
        present = Presence(bits=BITS)
        for each in range(64):
            present.note(f"here {each}")
        return {each for each in range(2_000) if f"gone {each}" in present}

    assert taken() & taken() & taken() == set()
