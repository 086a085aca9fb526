import pytest

from handrail.oversight.approvals.speed import Cast, decision_speeds

SECOND = 1_000_000


def _casts(voter: str, *pairs: tuple[float, float]) -> list[Cast]:
    return [Cast(voter, int(at * SECOND), int(asked * SECOND)) for asked, at in pairs]


class TestDecisionSpeeds:
    def test_give_the_median_and_the_share_of_hasty_ones(self) -> None:
        (speed,) = decision_speeds(_casts("ann", (0, 10), (100, 101), (200, 230)))

        assert (speed.voter, speed.decisions, speed.median_seconds) == ("ann", 3, 10.0)
        assert speed.hasty_share == pytest.approx(1 / 3)

    def test_give_the_slowest_of_the_quickest_tenth_and_the_share_of_yes(self) -> None:
        casts = [Cast("ann", (n * 100 + n) * SECOND, n * 100 * SECOND, n % 4 != 0) for n in range(1, 21)]

        (speed,) = decision_speeds(casts)

        assert (speed.p10_seconds, speed.median_seconds, speed.approved_share) == (2.0, 10.5, 0.75)

    def test_call_hasty_what_they_are_told_is_hasty(self) -> None:
        (speed,) = decision_speeds(_casts("ann", (0, 10), (100, 101)), 30)

        assert (speed.hasty_share, speed.hasty_seconds, speed.body()["hasty_share"]) == (1.0, 30, 1.0)

    @pytest.mark.parametrize(("seconds", "share"), [(2.999, 1.0), (3.0, 0.0)])
    def test_call_hasty_what_took_less_than_three_seconds(self, seconds: float, share: float) -> None:
        assert decision_speeds(_casts("ann", (0, seconds)))[0].hasty_share == share

    def test_see_a_queue_that_is_clicked_away(self) -> None:
        """Each had waited for an hour, and was looked at for a second."""
        (speed,) = decision_speeds(_casts("ann", *[(0, 3600 + number) for number in range(11)]))

        assert speed.median_seconds == 1.0
        assert speed.hasty_share == pytest.approx(10 / 11)

    def test_take_a_batch_for_one_decision(self) -> None:
        (speed,) = decision_speeds(_casts("ann", (0, 60), (10, 60), (20, 60)))

        assert (speed.decisions, speed.median_seconds, speed.hasty_share) == (1, 60.0, 0.0)

    def test_put_the_hastiest_first_and_know_nobody_who_decided_nothing(self) -> None:
        casts = [*_casts("slow", (0, 60)), *_casts("quick", (0, 1)), *_casts("quicker", (0, 0.5))]

        assert [speed.voter for speed in decision_speeds(casts)] == ["quicker", "quick", "slow"]
        assert decision_speeds([]) == []
