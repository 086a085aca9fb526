from collections.abc import Sequence
from dataclasses import dataclass

from handrail.core.deadline import Deadline
from handrail.core.messages import Message, Passage
from handrail.core.models import ModelAnswer, ModelRequest, TextDelta
from handrail.core.usage import Usage
from handrail.serving.models import ExtractiveModel


@dataclass(frozen=True)
class Found:
    text: str
    source: str


def extract(question: str, passages: Sequence[Passage]) -> Found | None:
    return next((Found(each.text, each.source) for each in passages if each.title in question), None)


async def ask(model: ExtractiveModel, question: str) -> tuple[list[str], ModelAnswer]:
    request = ModelRequest(
        "", [Message("user", question)], documents=[Passage("returns.md", "returns", "30 days. " * 9)]
    )
    *deltas, answer = [event async for event in model.stream(request, Deadline.after(5))]
    assert isinstance(answer, ModelAnswer)
    return [event.text for event in deltas if isinstance(event, TextDelta)], answer


class TestExtractiveModel:
    async def test_streams_the_passage_with_its_source(self) -> None:
        pieces, answer = await ask(ExtractiveModel(extract), "how do returns work?")
        assert len(pieces) > 1
        assert "".join(pieces) == answer.text == "30 days. " * 9 + "\n\n(Source: returns.md)"
        assert answer.sources == ("returns.md",)

    async def test_says_that_it_cannot_answer_and_what_it_can_do(self) -> None:
        _, answer = await ask(ExtractiveModel(extract, offers="orders and refunds"), "write me a poem")
        assert "no language model is connected" in answer.text
        assert "I can help with orders and refunds, or pass you on to a person." in answer.text
        assert answer.sources == ()

    async def test_never_counts_tokens_it_did_not_use(self) -> None:
        _, answer = await ask(ExtractiveModel(extract), "returns")
        assert answer.usage == Usage(None, None, None)
