"""Presidio as an extra: how what it finds is taken. The engine here is a stand-in: the real one is no dependency."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from handrail.protection.privacy import Kind
from handrail.protection.privacy.presidio import PresidioMissing, WithPresidio, with_presidio

TEXT = "Write to ann@example.com, she stays with Ludovica in Ghent"


@dataclass(frozen=True)
class Found:
    entity_type: str
    start: int
    end: int
    score: float


class Engine:
    def __init__(self, *found: Found) -> None:
        self.found = found
        self.asked: list[tuple[str, str, list[str]]] = []

    def analyze(self, *, text: str, language: str, entities: list[str]) -> Sequence[Found]:
        self.asked.append((text, language, entities))
        return self.found


class TestWithPresidio:
    def test_adds_what_our_detector_did_not_find(self):
        place = TEXT.index("Ghent")
        spans = WithPresidio(Engine(Found("LOCATION", place, place + 5, 0.85)))(TEXT)
        assert (place, place + 5, Kind.ADDRESS, 0.85) in spans
        assert Kind.EMAIL in {span.kind for span in spans}

    def test_where_both_find_something_ours_stays(self):
        start = TEXT.index("ann@")
        spans = WithPresidio(Engine(Found("PERSON", start, start + 3, 1.0)))(TEXT)
        assert [span.kind for span in spans if span.start <= start < span.end] == [Kind.EMAIL]

    def test_of_its_own_that_overlap_the_surer_one_stays(self):
        place = TEXT.index("Ludovica")
        engine = Engine(Found("LOCATION", place, place + 8, 0.4), Found("PERSON", place, place + 8, 0.9))
        assert (place, place + 8, Kind.PERSON, 0.9) in WithPresidio(engine)("x" * place + "Ludovica")

    def test_passes_over_what_tells_of_nobody_and_what_lies_outside(self):
        engine = Engine(Found("DATE_TIME", 0, 2, 1.0), Found("PERSON", 1, 99, 1.0), Found("PERSON", 2, 2, 1.0))
        assert WithPresidio(engine)("on no day") == []
        assert engine.asked[0][1] == "en"
        assert "DATE_TIME" not in engine.asked[0][2]


class TestInstalled:
    def test_what_is_missing_is_named_with_what_to_do(self):
        with pytest.raises(PresidioMissing, match=r"presidio_analyzer.*handrail\[presidio\]"):
            with_presidio()

    def test_a_model_that_is_missing_is_not_fetched(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        (tmp_path / "presidio_analyzer.py").write_text("raise AssertionError('it is not even loaded')\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        with pytest.raises(PresidioMissing, match="en_core_web_lg"):
            with_presidio()
