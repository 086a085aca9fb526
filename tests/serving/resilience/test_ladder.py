import pytest

from handrail.serving.resilience import Ladder, Rung, Step, model_ladder, tool_ladder


class TestToolLadder:
    def test_a_read_may_use_every_rung_that_is_declared(self):
        assert tool_ladder("read", has_secondary=True, is_cached=True).rungs == tuple(Rung)
        assert tool_ladder("read").rungs == (Rung.PRIMARY, Rung.RETRY, Rung.HONEST)

    def test_a_write_is_tried_once_unless_it_is_idempotent_and_never_comes_from_elsewhere(self):
        assert tool_ladder("write", has_secondary=True, is_cached=True).rungs == (Rung.PRIMARY, Rung.HONEST)
        assert tool_ladder("write", idempotent=True, has_secondary=True, is_cached=True).rungs == (
            Rung.PRIMARY,
            Rung.RETRY,
            Rung.HONEST,
        )

    def test_a_model_has_the_rungs_that_are_declared(self):
        assert model_ladder().rungs == (Rung.PRIMARY, Rung.RETRY, Rung.HONEST)
        assert model_ladder(has_secondary=True).rungs == (Rung.PRIMARY, Rung.RETRY, Rung.SECONDARY, Rung.HONEST)


class TestLadder:
    def test_keeps_what_was_tried_why_it_failed_and_what_answered(self):
        ladder = (
            tool_ladder("read", is_cached=True)
            .failed(Rung.PRIMARY, "get_order", "timeout")
            .failed(Rung.RETRY, "get_order", "timeout")
            .answered(Rung.CACHED, "get_order", age_seconds=61.26)
        )
        assert ladder.taken == Step(Rung.CACHED, "get_order", None, 61.26)
        assert ladder.is_degraded
        assert ladder.as_record() == [
            {"rung": "primary", "source": "get_order", "failed": "timeout"},
            {"rung": "retry", "source": "get_order", "failed": "timeout"},
            {"rung": "cached", "source": "get_order", "age_seconds": 61.3},
        ]

    def test_names_the_next_rung_down_to_the_honest_one(self):
        ladder = tool_ladder("read", has_secondary=True)
        went: list[Rung] = []
        while (rung := ladder.next_rung) is not None and rung is not Rung.HONEST:
            went.append(rung)
            ladder = ladder.failed(rung, "x", "timeout")
        assert went == [Rung.PRIMARY, Rung.RETRY, Rung.SECONDARY]
        assert ladder.next_rung is Rung.HONEST
        assert ladder.answered(Rung.HONEST, "x").next_rung is None

    @pytest.mark.parametrize(
        ("rung", "degraded"),
        [(Rung.PRIMARY, False), (Rung.RETRY, False), (Rung.SECONDARY, True), (Rung.HONEST, True)],
    )
    def test_is_degraded_when_the_answer_is_another_than_the_best(self, rung: Rung, degraded: bool):
        ladder = Ladder(tuple(Rung))
        assert not ladder.is_degraded
        assert ladder.answered(rung, "x").is_degraded is degraded

    def test_may_be_retried_more_than_once(self):
        ladder = tool_ladder("read").failed(Rung.RETRY, "x", "timeout").failed(Rung.RETRY, "x", "timeout")
        assert ladder.next_rung is Rung.HONEST

    def test_refuses_a_rung_that_is_not_declared(self):
        with pytest.raises(ValueError, match="'cached' of 'refund' is not declared; the rungs are primary, honest"):
            tool_ladder("write").answered(Rung.CACHED, "refund", age_seconds=1)

    def test_only_goes_down_and_ends_with_the_answer(self):
        ladder = tool_ladder("read").failed(Rung.RETRY, "x", "timeout")
        with pytest.raises(ValueError, match="only goes down"):
            ladder.failed(Rung.PRIMARY, "x", "timeout")
        with pytest.raises(ValueError, match="nothing comes after"):
            ladder.answered(Rung.RETRY, "x").failed(Rung.HONEST, "x", "timeout")

    def test_an_old_value_is_never_told_without_its_age(self):
        with pytest.raises(ValueError, match="has an age"):
            tool_ladder("read", is_cached=True).answered(Rung.CACHED, "x")
        with pytest.raises(ValueError, match="has an age"):
            tool_ladder("read").answered(Rung.PRIMARY, "x", age_seconds=1)
