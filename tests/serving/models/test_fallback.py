import pytest

from handrail.core.deadline import Deadline, DeadlineExceeded
from handrail.core.messages import Message
from handrail.core.models import (
    ModelAnswer,
    ModelClient,
    ModelError,
    ModelMalformed,
    ModelRateLimited,
    ModelRefused,
    ModelRequest,
    ModelUnavailable,
)
from handrail.serving.models import FallbackChain, Reply, ScriptedModel

Fall = tuple[str, str, str]


class Falls:
    def __init__(self) -> None:
        self.seen: list[Fall] = []

    def __call__(self, source: ModelClient, target: ModelClient, error: ModelError) -> None:
        self.seen.append((source.model, target.model, error.code))


def one(model: str, reply: str | Reply | Exception) -> ScriptedModel:
    return ScriptedModel([reply], model=model)


async def ask(chain: FallbackChain) -> ModelAnswer:
    events = [event async for event in chain.stream(ModelRequest("", [Message("user", "hi")]), Deadline.after(5))]
    assert isinstance(events[-1], ModelAnswer)
    return events[-1]


class TestFallbackChain:
    async def test_the_first_model_answers_when_it_can(self) -> None:
        second = one("b", "no")
        assert (await ask(FallbackChain([one("a", "yes"), second]))).text == "yes"
        assert second.requests == []

    @pytest.mark.parametrize("error", [ModelUnavailable("x"), ModelRateLimited("x"), ModelMalformed("x")])
    async def test_the_next_one_answers_when_it_fails_before_any_text(self, error: ModelError) -> None:
        falls = Falls()
        answer = await ask(FallbackChain([one("a", error), one("b", "yes")], falls))
        assert (answer.text, answer.model) == ("yes", "b")
        assert falls.seen == [("a", "b", error.code)]

    async def test_reasoning_alone_does_not_bind_the_user_to_a_model(self) -> None:
        chain = FallbackChain([one("a", Reply("", reasoning="hm", breaks_after=0)), one("b", "yes")])
        assert (await ask(chain)).text == "yes"

    async def test_after_text_the_error_goes_up(self) -> None:
        falls = Falls()
        with pytest.raises(ModelMalformed):
            await ask(FallbackChain([one("a", Reply("Hello", breaks_after=2)), one("b", "no")], falls))
        assert falls.seen == []

    @pytest.mark.parametrize("error", [ModelRefused("wrong"), DeadlineExceeded("late")])
    async def test_what_is_no_use_trying_elsewhere_goes_up(self, error: Exception) -> None:
        second = one("b", "no")
        with pytest.raises(type(error)):
            await ask(FallbackChain([one("a", error), second]))
        assert second.requests == []

    async def test_the_last_error_goes_up_when_all_fail(self) -> None:
        with pytest.raises(ModelRateLimited, match="second"):
            await ask(FallbackChain([one("a", ModelUnavailable("first")), one("b", ModelRateLimited("second"))]))

    def test_a_chain_of_nothing_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            FallbackChain([])
