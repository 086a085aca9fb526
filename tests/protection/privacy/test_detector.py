"""The detector's spans are places in the text, whatever the text."""

from hypothesis import given
from hypothesis import strategies as st

from handrail.protection.privacy import Span, find_personal_data, find_structured

find_personal_data("the head is read before anything is timed")

PERSONAL = st.sampled_from(
    [
        "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "247-73-1291", "ann@example.com", "+49 151 23456789",
        "85.138.195.222", "AKIAQZIT5UEA5GENQIWE", "order 12345", "\u0664\u0661\u0661\u0661", "Ann Lee",
    ]
)  # fmt: skip
TEXTS = st.lists(st.one_of(st.text(max_size=30), PERSONAL, st.sampled_from([" ", ", ", "\n", ""])), max_size=8).map(
    "".join
)
# Words that neither name a number nor belong to one.
PLAIN = st.lists(st.sampled_from(["hello", "there", "it", "was", "nice", "and", "warm", "so"]), max_size=6).map(
    " ".join
)


@given(TEXTS, st.none() | TEXTS)
def test_spans_lie_inside_the_text_in_order_and_apart(text: str, previous: str | None) -> None:
    end = 0
    for span in find_personal_data(text, previous):
        assert isinstance(span, Span)
        assert end <= span.start < span.end <= len(text)
        assert 0 < span.score <= 1
        end = span.end


@given(TEXTS, st.none() | TEXTS)
def test_equal_texts_give_equal_spans(text: str, previous: str | None) -> None:
    assert find_personal_data(text, previous) == find_personal_data(text, previous)


@given(PERSONAL.filter(lambda value: any(map(str.isdigit, value)) and "order" not in value), PLAIN, PLAIN)
def test_plain_words_around_change_nothing(value: str, before: str, after: str) -> None:
    alone = [span for span in find_structured(value) if span.score >= 0.95 and span.kind not in ("PERSON", "ADDRESS")]
    start = len(before) + 2
    moved = [span._replace(start=span.start + start, end=span.end + start) for span in alone]

    assert [span for span in find_structured(f"{before}: {value} , {after}") if span in moved] == moved
