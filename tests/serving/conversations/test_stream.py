"""Live events, the bounded ring, and the replay from the transcript."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from handrail.core import events
from handrail.core.events import Event
from handrail.serving.conversations import (
    StoredMessage,
    StoredToolCall,
    Streams,
    Turn,
    TurnStatus,
    TurnStream,
    encode_sse,
    replay,
    stored_turn_body,
)
from handrail.serving.conversations.stream import MOST_EVENTS, MOST_FINISHED


async def collected(stream: TurnStream, after: int = 0) -> list[Event]:
    return [event async for event in stream.follow(after)]


def text_of(seen: list[Event]) -> str:
    """What a client shows: deltas appended, a restart replacing everything."""
    text = ""
    for event in seen:
        if event.name == events.MESSAGE_RESTARTED:
            text = event.data["text"]
        elif event.name == events.MESSAGE_DELTA:
            text += event.data["text"]
    return text


async def test_followers_that_come_early_and_late_see_the_same_events_in_order():
    stream = TurnStream("turn_1", 1)
    early = asyncio.create_task(collected(stream))
    await asyncio.sleep(0)
    stream.publish(events.STARTED, {})
    stream.say("Hel")
    await asyncio.sleep(0.05)
    stream.say("lo")
    stream.finish(events.COMPLETED, {"id": "turn_1"})
    seen = await early
    assert seen == await collected(stream)
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    assert text_of(seen) == "Hello" == stream.text


async def test_the_first_text_goes_out_at_once_and_the_rest_is_joined():
    stream = TurnStream("turn_1", 1)
    for character in "abcdefghij":
        stream.say(character)
    stream.finish(events.COMPLETED, {})
    deltas = [event.data["text"] for event in await collected(stream) if event.name == events.MESSAGE_DELTA]
    assert deltas == ["a", "bcdefghij"]


async def test_a_client_that_comes_back_gets_what_it_missed_and_nothing_twice():
    stream = TurnStream("turn_1", 1)
    stream.publish(events.STARTED, {})
    stream.say("one ")
    stream.publish(events.TOOL_STARTED, {"id": "c"})
    stream.say("two")
    stream.finish(events.COMPLETED, {})
    everything = await collected(stream)
    for seen in range(len(everything)):
        assert everything[:seen] + await collected(stream, seen) == everything


async def test_a_client_behind_the_ring_gets_the_whole_text_once_more():
    stream = TurnStream("turn_1", 1)
    for number in range(MOST_EVENTS + 50):
        stream.say(f"{number} ")
        stream.flush()
    late = asyncio.create_task(collected(stream, 5))
    await asyncio.sleep(0)
    stream.say("end")
    stream.finish(events.COMPLETED, {})
    seen = await late
    assert seen[0].name == events.MESSAGE_RESTARTED
    assert text_of(seen) == stream.text
    assert len(seen) <= MOST_EVENTS + 2


async def test_text_that_is_taken_back_is_gone_for_everybody():
    stream = TurnStream("turn_1", 1)
    stream.say("It is ")
    stream.say("lost.")
    stream.take_back(5)
    stream.say("found.")
    stream.finish(events.COMPLETED, {})
    seen = await collected(stream)
    assert text_of(seen) == "It is found." == stream.text
    assert [event.data["text"] for event in seen if event.name == events.MESSAGE_RESTARTED] == ["It is "]


async def test_a_client_behind_the_ring_ends_with_the_same_text_when_some_was_taken_back():
    stream = TurnStream("turn_1", 1)
    for number in range(MOST_EVENTS):
        stream.say(f"{number} ")
        stream.flush()
    stream.take_back(len(stream.text))
    stream.say("anew")
    stream.finish(events.COMPLETED, {})
    assert text_of(await collected(stream, 5)) == "anew"


async def test_a_waiter_gets_the_result_before_and_after_the_end():
    stream = TurnStream("turn_1", 1)
    waiter = asyncio.create_task(stream.wait())
    await asyncio.sleep(0)
    stream.finish(events.COMPLETED, {"id": "turn_1"})
    assert await waiter == {"id": "turn_1"}
    assert await stream.wait() == {"id": "turn_1"}


async def test_a_waiter_that_leaves_takes_nothing_with_it():
    stream = TurnStream("turn_1", 1)
    leaves, stays = asyncio.create_task(stream.wait()), asyncio.create_task(stream.wait())
    follower = asyncio.create_task(collected(stream))
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.sleep(0)
    stream.finish(events.COMPLETED, {"id": "turn_1"})
    assert await stays == {"id": "turn_1"}
    assert len(await follower) == 1


async def test_streams_keeps_the_newest_ended_ones_only():
    streams = Streams()
    for number in range(MOST_FINISHED + 10):
        streams.open(f"turn_{number}", 1, ("default", "ana")).finish(events.COMPLETED, {})
        streams.close(f"turn_{number}")
    assert len(streams) == 0
    assert streams.find("turn_0") is None
    assert streams.find(f"turn_{MOST_FINISHED + 9}") is not None


def test_an_event_is_encoded_on_three_lines_with_no_raw_newline_in_its_data():
    raw = encode_sse(Event(2, 7, "message.delta", {"text": "a\nb\r\n"}))
    assert raw == b'id: 2.7\nevent: message.delta\ndata: {"text":"a\\nb\\r\\n"}\n\n'


TURN = Turn(
    "turn_1", "acme", "conv_1", 1, TurnStatus.COMPLETED, "shop", "rel_1", 3, 0, route={"action": "execute"}, event_seq=9
)
ANSWER = StoredMessage("msg_1", "turn_1", 1, 1, "assistant", "agent", "It is on its way.", (), ("a.md",), 0)
CALL = StoredToolCall("call_1", "turn_1", None, "get_order", "read", '{"id":"A1"}', "completed", "{}", 0, 0)


def replayed(after: tuple[int, int] | None) -> list[Event]:
    return list(replay(TURN, [ANSWER], [CALL], stored_turn_body(TURN, ANSWER), after))


def test_a_replay_tells_all_lasting_events_and_ends_the_stream():
    seen = replayed(None)
    assert [event.name for event in seen] == [
        "turn.started", "route.decided", "tool.started", "tool.completed", "message.started", "message.delta",
        "message.completed", "turn.completed",
    ]  # fmt: skip
    assert text_of(seen) == ANSWER.content
    assert seen[-1].data["message"] == {"id": "msg_1", "content": ANSWER.content}


@given(st.integers(0, 30))
def test_whatever_a_client_saw_last_its_final_text_is_the_transcripts(seq: int):
    seen = replayed((3, seq))
    if seq <= TURN.event_seq:
        assert text_of(seen) == ANSWER.content
        assert any(event.name == events.MESSAGE_RESTARTED for event in seen)
    assert all(event.seq > seq for event in seen)
    assert seen == [] or seen[-1].name == events.COMPLETED


def test_a_client_of_an_earlier_epoch_starts_over():
    assert replayed((2, 500))[0].name == "turn.started"


async def test_a_turn_that_waited_counts_anew_when_it_runs_and_its_followers_stay():
    streams = Streams()
    stream = streams.open("turn_1", 0, ("default", "ana"))
    stream.publish(events.QUEUED, {})
    assert streams.open("turn_1", 1, ("default", "ana")) is stream
    stream.publish(events.STARTED, {})
    stream.finish(events.COMPLETED, {})
    assert [each.id async for each in stream.follow()] == ["0.1", "1.1", "1.2"]
    assert [each.id async for each in stream.follow(1)] == ["1.2"]


async def test_events_of_another_process_keep_their_ids_and_are_not_told_to_others():
    told: list[str] = []
    stream = TurnStream("turn_1", 0, lambda _, event: told.append(event.id))
    stream.publish(events.QUEUED, {})
    for seq, text in enumerate(("Hel", "lo."), 1):
        stream.mirror(Event(1, seq, events.MESSAGE_DELTA, {"text": text}))
    stream.mirror(Event(1, 7, events.COMPLETED, {"status": "completed"}))
    assert [each.id async for each in stream.follow(1)] == ["1.2", "1.7"]
    assert (await stream.wait(), stream.text, told) == ({"status": "completed"}, "Hello.", ["0.1"])


async def test_a_client_behind_the_ring_of_mirrored_events_ends_with_the_whole_text():
    stream = TurnStream("turn_1", 0)
    for seq in range(1, MOST_EVENTS + 50):
        stream.mirror(Event(1, seq, events.MESSAGE_DELTA, {"text": f"{seq} "}))
    stream.mirror(Event(1, MOST_EVENTS + 50, events.COMPLETED, {}))
    seen = [each async for each in stream.follow(3)]
    assert seen[0].name == events.MESSAGE_RESTARTED
    assert seen[0].data["text"] + "".join(each.data["text"] for each in seen[1:-1]) == stream.text
