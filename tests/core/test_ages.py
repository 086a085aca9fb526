import pytest

from handrail.core.ages import in_words, said_of


class TestInWords:
    @pytest.mark.parametrize(
        ("seconds", "words"),
        [
            (0, "a minute"), (59, "a minute"), (60, "1 minute"), (61, "2 minutes"), (3_599, "60 minutes"),
            (3_600, "1 hour"), (7_201, "3 hours"), (86_400, "1 day"), (86_401, "2 days"),
        ],
    )  # fmt: skip
    def test_never_calls_a_value_fresher_than_it_is(self, seconds: float, words: str):
        assert in_words(seconds) == words


class TestSaidOf:
    def test_says_the_age(self):
        assert "2 hours ago" in said_of(3_700)
