import pytest

from handrail.core.clock import FrozenClock
from handrail.core.principal import Principal
from handrail.serving.resilience import LastGood, LastGoodValue, ReadKey
from handrail.serving.resilience.last_good import ENTRY_BYTES

ANN = Principal("acme", "ann")
KEY = ReadKey.of(ANN, "get_order", {"order_id": "A1001", "full": True})


class TestFind:
    def test_gives_the_last_value_with_its_time_and_age(self, clock: FrozenClock):
        kept = LastGood(clock)
        kept.keep(KEY, "read", "old")
        kept.keep(KEY, "read", "new")
        at = clock.micros()
        clock.advance(90)
        assert kept.find(KEY) == LastGoodValue("new", at, 90.0)
        assert len(kept) == 1

    def test_the_order_of_arguments_does_not_matter(self, clock: FrozenClock):
        kept = LastGood(clock)
        kept.keep(KEY, "read", "value")
        assert kept.find(ReadKey.of(ANN, "get_order", {"full": True, "order_id": "A1001"})) is not None

    @pytest.mark.parametrize(
        "other",
        [
            ReadKey.of(Principal("acme", "bob"), "get_order", {"order_id": "A1001", "full": True}),
            ReadKey.of(Principal("other", "ann"), "get_order", {"order_id": "A1001", "full": True}),
            ReadKey.of(ANN, "get_account", {"order_id": "A1001", "full": True}),
            ReadKey.of(ANN, "get_order", {"order_id": "A1002", "full": True}),
        ],
    )
    def test_never_gives_another_users_or_another_reads_value(self, clock: FrozenClock, other: ReadKey):
        kept = LastGood(clock)
        kept.keep(KEY, "read", "value")
        assert kept.find(other) is None

    def test_a_value_past_its_time_is_not_given(self, clock: FrozenClock):
        kept = LastGood(clock, ttl_seconds=60)
        kept.keep(KEY, "read", "value")
        clock.advance(60)
        assert kept.find(KEY) is not None
        clock.advance(0.1)
        assert kept.find(KEY) is None


class TestKeep:
    def test_the_result_of_a_write_is_not_kept(self, clock: FrozenClock):
        with pytest.raises(ValueError, match="'get_order' writes"):
            LastGood(clock).keep(KEY, "write", "done")

    def test_drops_what_was_not_used_for_longest_when_there_are_too_many(self, clock: FrozenClock):
        kept = LastGood(clock, most_entries=2)
        keys = [ReadKey.of(ANN, "get_order", number) for number in range(3)]
        kept.keep(keys[0], "read", "0")
        kept.keep(keys[1], "read", "1")
        kept.find(keys[0])
        kept.keep(keys[2], "read", "2")
        assert [kept.find(key) is not None for key in keys] == [True, False, True]

    def test_drops_when_they_are_too_large_together_and_never_keeps_one_that_is_alone(self, clock: FrozenClock):
        kept = LastGood(clock, most_bytes=2 * (ENTRY_BYTES + 100))
        keys = [ReadKey.of(ANN, "get_order", number) for number in range(3)]
        for key in keys:
            kept.keep(key, "read", "x" * 100)
        assert [kept.find(key) is not None for key in keys] == [False, True, True]
        kept.keep(keys[1], "read", "x" * 2000)
        assert kept.find(keys[1]) is None, "the value before it is no longer the last good one"
        assert kept.find(keys[2]) is not None

    def test_counts_characters_beyond_ascii_at_their_size(self, clock: FrozenClock):
        kept = LastGood(clock, most_bytes=ENTRY_BYTES + 200)
        kept.keep(KEY, "read", "ж" * 100)
        assert len(kept) == 0

    def test_values_past_their_time_do_not_stay_in_memory(self, clock: FrozenClock):
        kept = LastGood(clock, ttl_seconds=60)
        for number in range(10):
            kept.keep(ReadKey.of(ANN, "get_order", number), "read", "value")
        clock.advance(61)
        kept.keep(KEY, "read", "value")
        assert len(kept) == 1

    def test_room_that_was_given_back_can_be_used_again(self, clock: FrozenClock):
        kept = LastGood(clock, most_bytes=2 * (ENTRY_BYTES + 100))
        for _ in range(50):
            kept.keep(KEY, "read", "x" * 100)
        kept.forget("acme", "ann")
        for number in range(2):
            kept.keep(ReadKey.of(ANN, "get_order", number), "read", "x" * 100)
        assert len(kept) == 2


class TestForget:
    def test_erases_what_was_read_for_one_user(self, clock: FrozenClock):
        kept = LastGood(clock)
        others = ReadKey.of(Principal("acme", "bob"), "get_order", {})
        kept.keep(KEY, "read", "hers")
        kept.keep(others, "read", "his")
        assert kept.forget("acme", "ann") == 1
        assert kept.find(KEY) is None
        assert kept.find(others) is not None
