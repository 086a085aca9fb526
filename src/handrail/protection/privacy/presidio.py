"""Presidio beside our own detector: an extra that is installed apart, for those who know its recognisers."""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from handrail.core.errors import UsageError
from handrail.protection.privacy.detector import find_personal_data
from handrail.protection.privacy.spans import Kind, Span, without_overlaps

MODEL = "en_core_web_lg"
LANGUAGE = "en"
# What it finds besides, such as dates and addresses of pages, tells of nobody by itself.
KINDS: Mapping[str, Kind] = {
    "EMAIL_ADDRESS": Kind.EMAIL,
    "IBAN_CODE": Kind.IBAN,
    "CREDIT_CARD": Kind.CARD,
    "US_SSN": Kind.SSN,
    "IP_ADDRESS": Kind.IP,
    "PHONE_NUMBER": Kind.PHONE,
    "US_BANK_NUMBER": Kind.ACCOUNT,
    "US_PASSPORT": Kind.ACCOUNT,
    "US_DRIVER_LICENSE": Kind.ACCOUNT,
    "PERSON": Kind.PERSON,
    "LOCATION": Kind.ADDRESS,
}


class PresidioMissing(UsageError):
    """What Presidio needs is not installed."""

    code = "presidio_missing"


class _Found(Protocol):
    @property
    def entity_type(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def score(self) -> float: ...


class Analyzer(Protocol):
    """What we need of Presidio's engine."""

    def analyze(self, *, text: str, language: str, entities: list[str]) -> Sequence[_Found]: ...


class WithPresidio:
    """Finds what our detector finds, and what Presidio finds where ours found nothing."""

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer

    def __call__(self, text: str, previous: str | None = None) -> list[Span]:
        return without_overlaps([*find_personal_data(text, previous), *self._found_in(text)])

    def _found_in(self, text: str) -> Iterator[Span]:
        found = self._analyzer.analyze(text=text, language=LANGUAGE, entities=list(KINDS))
        for each in sorted(found, key=lambda each: -each.score):
            kind = KINDS.get(each.entity_type)
            if kind is not None and 0 <= each.start < each.end <= len(text):
                yield Span(each.start, each.end, kind, each.score)


def with_presidio() -> WithPresidio:
    """Our detector with Presidio's beside it.

    Raises:
        PresidioMissing: it or its language model is not installed; neither is ever fetched here.
    """
    for name, how in (("presidio_analyzer", "`pip install 'handrail[presidio]'`"), (MODEL, "its wheel, as spaCy says")):
        # Presidio would load a model that is missing from the network, in the middle of a scan.
        if find_spec(name) is None:
            raise PresidioMissing(f"Presidio needs {name!r}, which is not installed; install it by {how}")
    engine: Any = import_module("presidio_analyzer")
    models = [{"lang_code": LANGUAGE, "model_name": MODEL}]
    provider = import_module("presidio_analyzer.nlp_engine").NlpEngineProvider
    nlp = provider(nlp_configuration={"nlp_engine_name": "spacy", "models": models}).create_engine()
    return WithPresidio(engine.AnalyzerEngine(nlp_engine=nlp, supported_languages=[LANGUAGE]))
