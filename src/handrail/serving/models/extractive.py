"""Answers without a language model: the passage that fits the question, word for word, with its source."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol

from handrail.core.deadline import Deadline
from handrail.core.messages import Passage
from handrail.core.models import ModelAnswer, ModelEvent, ModelRequest, TextDelta
from handrail.core.usage import Usage

PIECE_CHARACTERS = 48


class Extract(Protocol):
    """The sentences that answer a question, and the file they stand in."""

    @property
    def text(self) -> str: ...

    @property
    def source(self) -> str: ...


Extractor = Callable[[str, Sequence[Passage]], Extract | None]


class ExtractiveModel:
    """Says what the knowledge says, or that it can't answer; it never makes anything up and asks for no tools.

    Args:
        extract: finds the answer to a question in passages; None when there is none.
        offers: what the agent can do without a model, to finish "I can help with ...".
    """

    provider = "extractive"
    model = "extractive"
    origin = "extractive"
    account: str | None = None

    def __init__(self, extract: Extractor, *, offers: str | None = None) -> None:
        self._extract = extract
        self._offers = offers

    async def stream(self, request: ModelRequest, deadline: Deadline) -> AsyncGenerator[ModelEvent]:
        deadline.require()
        question = next((each.content for each in reversed(request.messages) if each.role == "user"), "")
        found = self._extract(question, request.documents) if request.documents else None
        text = self._can_not_answer() if found is None else f"{found.text}\n\n(Source: {found.source})"
        for at in range(0, len(text), PIECE_CHARACTERS):
            yield TextDelta(text[at : at + PIECE_CHARACTERS])
        sources = () if found is None else (found.source,)
        yield ModelAnswer(text, (), Usage(), "stop", self.model, self.provider, sources=sources)

    async def close(self) -> None:
        """Holds nothing open."""

    def _can_not_answer(self) -> str:
        help_with = f"I can help with {self._offers}, or pass" if self._offers else "I can pass"
        return f"I can't answer that: no language model is connected here. {help_with} you on to a person."
