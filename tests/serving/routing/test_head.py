import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handrail.serving.routing import HeadUnreadable, IntentHead, train
from handrail.serving.routing.head import (
    VERSION,
    _archive,  # pyright: ignore[reportPrivateUsage]
    _arrays,  # pyright: ignore[reportPrivateUsage]
    _packed,  # pyright: ignore[reportPrivateUsage]
)
from tests.serving.routing.utterances import SAID, examples

TEXTS = ["renew my books", "when are you open", "what do I owe", "book a room", "who painted that", ""]


class TestPredict:
    @pytest.mark.parametrize(
        ("text", "intent"),
        [
            ("could you extend my loans", "renew_loan"),
            ("what time are you open today", "opening_hours"),
            ("I would like to pay the late fee", "pay_fine"),
            ("reserve a quiet study room", "reserve_room"),
        ],
    )
    def test_names_the_intent_of_words_it_has_not_seen_together(self, head: IntentHead, text: str, intent: str) -> None:
        found = head.predict(text)

        assert found.intent == intent
        assert found.confidence > 0.6

    def test_ranks_three_intents_and_the_first_is_the_answer(self, head: IntentHead) -> None:
        found = head.predict("extend my loan")

        assert found.ranked[0] == (found.intent, found.confidence)
        assert len({intent for intent, _ in found.ranked}) == 3
        assert [share for _, share in found.ranked] == sorted((share for _, share in found.ranked), reverse=True)

    def test_doubts_what_is_about_something_else(self, head: IntentHead) -> None:
        strange = head.predict("how do volcanoes erupt")

        assert strange.out_of_scope > head.predict("renew my books please").out_of_scope
        assert strange.confidence < 0.6

    @pytest.mark.parametrize("text", ["", "   ", "?!", "\n\t", "🙂🙂"])
    def test_text_without_a_word_is_out_of_scope_with_certainty(self, head: IntentHead, text: str) -> None:
        found = head.predict(text)

        assert (found.confidence, found.out_of_scope) == (0.0, 1.0)
        assert found.intent in SAID

    def test_case_and_curly_apostrophes_make_no_difference(self, head: IntentHead) -> None:
        assert head.predict("I HAVEN’T finished") == head.predict("i haven't finished")

    def test_a_novel_is_read_to_its_first_two_thousand_characters(self, head: IntentHead) -> None:
        long = "renew my books please " * 100

        assert head.predict(long[:2000]) == head.predict(long + "when do you open " * 1000)

    @given(text=st.text(max_size=200))
    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_text_gets_shares_between_nothing_and_one(self, head: IntentHead, text: str) -> None:
        found = head.predict(text)

        assert 0 <= found.confidence <= 1
        assert 0 <= found.out_of_scope <= 1
        assert all(0 <= share <= found.confidence for _, share in found.ranked)

    @pytest.mark.parametrize("text", ["\ud800 broken", "null\x00byte", "e\u0301" * 50, "ﷺ" * 40, "a" * 5000])
    def test_odd_text_is_read_too(self, head: IntentHead, text: str) -> None:
        assert 0 <= head.predict(text).confidence <= 1


class TestBytes:
    def test_a_head_that_was_stored_answers_exactly_as_before(self, head: IntentHead) -> None:
        loaded = IntentHead.load(head.dump())

        assert [loaded.predict(text) for text in TEXTS] == [head.predict(text) for text in TEXTS]
        assert (loaded.labels, loaded.facts["seed"]) == (head.labels, 0)
        assert loaded.dump() == head.dump()

    def test_equal_rows_and_seed_give_equal_bytes(self) -> None:
        rows = examples(of_each=5, intents=3)

        assert train(rows, seed=3)[0].dump() == train(rows, seed=3)[0].dump()

    def test_another_seed_gives_another_head(self) -> None:
        rows = examples(of_each=5, intents=3)

        assert train(rows, seed=3)[0].dump() != train(rows, seed=4)[0].dump()

    def test_no_words_of_the_examples_travel_with_it(self, head: IntentHead) -> None:
        data = head.dump()

        assert b"overdue" not in data
        assert b"renew my" not in data

    @pytest.mark.parametrize("data", [b"", b"PK", b"\x80\x04not a head", b"{}", b"\x00" * 1000])
    def test_foreign_bytes_are_refused_by_name(self, data: bytes) -> None:
        with pytest.raises(HeadUnreadable, match=r"not an intent head, or are damaged .* train it again"):
            IntentHead.load(data)

    @given(place=st.floats(0, 0.999), length=st.integers(1, 64))
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_damage_is_noticed_or_harmless(self, head: IntentHead, place: float, length: int) -> None:
        data = bytearray(head.dump())
        start = int(place * len(data))
        data[start : start + length] = bytes(byte ^ 0xFF for byte in data[start : start + length])

        try:
            damaged = IntentHead.load(bytes(data))
        except HeadUnreadable:
            return
        assert [damaged.predict(text) for text in TEXTS] == [head.predict(text) for text in TEXTS]

    @pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
    def test_half_a_file_is_refused(self, head: IntentHead, part: float) -> None:
        data = head.dump()

        with pytest.raises(HeadUnreadable):
            IntentHead.load(data[: int(len(data) * part)])

    def test_a_head_of_another_version_says_so(self, head: IntentHead) -> None:
        data = changed(head, meta=lambda meta: meta.replace(f'"version": {VERSION}', '"version": 99'))

        with pytest.raises(HeadUnreadable, match="version 99"):
            IntentHead.load(data)

    @pytest.mark.parametrize("name", ["bias", "idf", "directions", "neighbours", "trust", "gate_vector", "output"])
    def test_parts_that_do_not_fit_each_other_are_refused(self, head: IntentHead, name: str) -> None:
        arrays = _arrays(head.dump())

        with pytest.raises(HeadUnreadable, match=name):
            IntentHead.load(_archive({**arrays, name: arrays[name][:-1]}))


def changed(head: IntentHead, meta: Any) -> bytes:
    arrays = _arrays(head.dump())
    return _archive({**arrays, "meta": _packed(meta(arrays["meta"].tobytes().decode()))})


class TestImports:
    def test_the_rooms_schemas_and_decisions_need_no_numpy(self) -> None:
        assert imported_by("import handrail.serving.routing") == []

    def test_asking_a_head_needs_no_scikit_learn(self) -> None:
        asked = "from handrail.serving.routing import IntentHead; import handrail.serving.routing.embedding as e"

        assert "sklearn" not in imported_by(f"{asked}; e.shared_embedding().vector('hello')")


def imported_by(code: str) -> list[str]:
    names = "[n for n in ('numpy', 'scipy', 'sklearn', 'wordllama') if n in sys.modules]"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*{names})"], capture_output=True, text=True, check=True
    )
    return done.stdout.split()
