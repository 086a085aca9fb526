import pytest

from handrail.insight.feedback import FeedbackRules, InvalidFeedback, require_amount, require_score, require_verdict
from handrail.insight.feedback.policy import SCALES, FeedbackKind


class TestRequireScore:
    @pytest.mark.parametrize(("kind", "score"), [(kind, score) for kind, scale in SCALES.items() for score in scale])
    def test_takes_every_score_of_the_scale(self, kind: FeedbackKind, score: int) -> None:
        require_score(kind, score, None)

    @pytest.mark.parametrize(
        ("kind", "score"),
        [("thumb", 0), ("thumb", 2), ("csat", 0), ("csat", 6), ("nps", -1), ("nps", 11), ("resolved", -1)],
    )
    def test_refuses_what_is_beside_it(self, kind: FeedbackKind, score: int) -> None:
        with pytest.raises(InvalidFeedback, match=f"not {score}"):
            require_score(kind, score, "words do not help")

    @pytest.mark.parametrize("kind", ["thumb", "csat", "nps", "resolved"])
    def test_refuses_a_kind_without_its_score(self, kind: FeedbackKind) -> None:
        with pytest.raises(InvalidFeedback, match="not None"):
            require_score(kind, None, None)

    def test_takes_words_without_a_score_and_no_score_without_words(self) -> None:
        require_score("text", None, "thank you")
        with pytest.raises(InvalidFeedback, match="comment"):
            require_score("text", None, None)
        with pytest.raises(InvalidFeedback, match="no score"):
            require_score("text", 1, "thank you")


class TestRequireAmount:
    def test_takes_an_amount_in_the_deployment_s_currency_or_none_at_all(self) -> None:
        require_amount(None, None, FeedbackRules())
        require_amount(-5, "EUR", FeedbackRules(currency="EUR"))

    @pytest.mark.parametrize(("amount", "currency"), [(1, None), (None, "USD"), (1, "EUR")])
    def test_refuses_what_could_not_be_summed(self, amount: int | None, currency: str | None) -> None:
        with pytest.raises(InvalidFeedback):
            require_amount(amount, currency, FeedbackRules())


def test_a_verdict_says_something() -> None:
    require_verdict(None, None, False, None)
    with pytest.raises(InvalidFeedback, match="at least one"):
        require_verdict(None, None, None, None)
