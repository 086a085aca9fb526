"""The tagger: the chain's arithmetic, what a head may be, and what the shipped one finds and leaves alone."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handrail.protection.privacy import Kind, features, find_personal_data, find_structured
from handrail.protection.privacy.detector import worth_tagging
from handrail.protection.privacy.tagger import Tagger, shipped_tagger

KINDS = (Kind.PERSON, Kind.SSN)


def tagger(seed: int = 3) -> Tagger:
    rng = np.random.default_rng(seed)
    weights, moves, starts = rng.normal(size=(features.BUCKETS, 3)), rng.normal(size=(3, 3)), rng.normal(size=3)
    weights[0] = 0
    weights, moves, starts = (each.astype(np.float32) for each in (weights, moves, starts))
    return Tagger(KINDS, weights, moves, starts, dict.fromkeys(KINDS, 0.6))


def found(text: str, previous: str | None = None) -> list[tuple[str, str]]:
    return [(text[each.start : each.end], each.kind.value) for each in find_personal_data(text, previous)]


class TestChain:
    def test_the_chances_are_those_of_every_path_counted_out(self) -> None:
        chain, text = tagger(), "ann lee 1234"
        ids = features.ids(text, features.tokens(text), None)
        scores = chain.weights[ids].sum(axis=1)
        sums = np.zeros((3, 3))
        for path in itertools.product(range(3), repeat=3):
            total = chain.starts[path[0]] + sum(scores[at, label] for at, label in enumerate(path))
            total += sum(chain.moves[a, b] for a, b in itertools.pairwise(path))
            for at, label in enumerate(path):
                sums[at, label] += math.exp(total)
        np.testing.assert_allclose(chain.chances(ids), sums / sums.sum(axis=1, keepdims=True), rtol=1e-4)

    @given(st.text(max_size=400), st.sampled_from([None, "ssn", "name"]))
    @settings(max_examples=60, deadline=None)
    def test_spans_lie_in_the_text_in_order_and_apart(self, text: str, asked: str | None) -> None:
        spans = tagger().find(text, asked)
        assert all(0 <= each.start < each.end <= len(text) for each in spans)
        assert all(first.end <= second.start for first, second in itertools.pairwise(spans))

    def test_a_long_text_is_read_to_a_bound(self) -> None:
        assert len(features.tokens("a " * 100_000)) == features.MOST_TOKENS


class TestHead:
    def test_says_the_same_after_a_journey_through_a_file(self) -> None:
        again = Tagger.load(tagger().dump())
        assert (again.labels, dict(again.thresholds)) == (KINDS, dict.fromkeys(KINDS, 0.6))
        np.testing.assert_allclose(again.weights, tagger().weights, atol=0.01)

    def test_of_another_format_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("handrail.protection.privacy.tagger.FORMAT", 2)
        old = tagger().dump()
        monkeypatch.undo()
        with pytest.raises(ValueError, match="train it again"):
            Tagger.load(old)

    def test_with_arrays_that_do_not_fit_is_refused(self) -> None:
        chain = tagger()
        broken = Tagger((Kind.PERSON,), chain.weights, chain.moves, chain.starts, {Kind.PERSON: 0.5})
        with pytest.raises(ValueError, match="do not fit"):
            Tagger.load(broken.dump())

    def test_the_shipped_one_is_small_and_never_pickled(self) -> None:
        assert shipped_tagger().weights.shape == (features.BUCKETS, 9)
        assert len(shipped_tagger().dump()) < 5_000_000


class TestFinds:
    @pytest.mark.parametrize(
        ("text", "previous", "expected"),
        [
            ("my name is nirmala subramanian", None, ("nirmala subramanian", "PERSON")),
            ("Hello, this is Katarzyna Nowak, I called yesterday.", None, ("Katarzyna Nowak", "PERSON")),
            ("oluwaseun adeyemi", "May I have your name please?", ("oluwaseun adeyemi", "PERSON")),
            ("4471", "What are the last four digits of your SSN?", ("4471", "SSN")),
            ("my new address is 12 oak street springfield", None, ("12 oak street springfield", "ADDRESS")),
            ("send it to peterpangmailcom please", None, ("peterpangmailcom", "EMAIL")),
            ("my account number is 00219938442", None, ("00219938442", "ACCOUNT")),
            ("my password is tiger882", None, ("tiger882", "PASSWORD")),
        ],
        ids=lambda value: value[:24] if isinstance(value, str) else None,
    )
    def test_what_needs_more_than_rules(self, text: str, previous: str | None, expected: tuple[str, str]) -> None:
        assert expected in found(text, previous)

    @pytest.mark.parametrize(
        "text",
        [
            "where is order A1004?",
            "I want to fly from Paris to Austin in May.",
            "Can I exchange item 4896585277 for item 6454334990 in the same order?",
            "error code 0x80070057 after firmware 10.2.3.44 update, model XR-946335",
            "how many days do I have to return something?",
            "the refund of 129.90 EUR has not arrived, why?",
            "is this a toyota camry 2018",
            "thank you, that is all for today",
        ],
    )
    def test_nothing_where_nothing_personal_is(self, text: str) -> None:
        assert found(text) == []

    def test_a_rule_is_right_where_both_find_something(self) -> None:
        assert found("my card is 4111 1111 1111 1111") == [("4111 1111 1111 1111", "CARD")]

    def test_places_are_those_of_the_text_as_it_was_written(self) -> None:
        text = "my name is \u200bnirmala \uff2bumar"
        spans = find_personal_data(text)
        assert [each.kind for each in spans] == [Kind.PERSON]
        assert text[spans[0].start : spans[0].end].startswith("nirmala")

    def test_logs_are_masked_by_rules_alone(self) -> None:
        assert find_structured("my name is nirmala") == []


class TestDoubts:
    """Numbers that look like the end of an SSN and are called something else."""

    @pytest.mark.parametrize(
        ("text", "previous"),
        [
            ("4471", "What is your order number?"),
            ("4500", "How much was the charge?"),
            ("the total is 4500", None),
            ("room 4512", None),
            ("ticket 247731291", None),
            ("on 05/12/2024 for $1299", None),
            ("my booking number is 4471", None),
        ],
    )
    def test_a_number_with_another_name_is_left_alone(self, text: str, previous: str | None) -> None:
        assert [each for each in found(text, previous) if any(map(str.isdigit, each[0]))] == []

    def test_the_question_for_personal_digits_still_counts(self) -> None:
        assert found("4471", "For your order, what are the last four digits of your SSN?") == [("4471", "SSN")]


class TestGate:
    @pytest.mark.parametrize(
        "text", ["nirmala", "my name is x and much more to say about it", "call me at 5 please and do"]
    )
    def test_opens_for_what_could_hold_something(self, text: str) -> None:
        assert worth_tagging(text, None)

    def test_stays_shut_for_long_plain_words_and_opens_for_an_answer(self) -> None:
        text = "why does it take so long until the money is back again"
        assert not worth_tagging(text, None)
        assert worth_tagging(text, "ssn")
