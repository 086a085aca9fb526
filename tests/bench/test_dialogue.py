"""What is said in the benchmark, and how its clients check it."""

from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench import dialogue
from bench.clients import model_text, server_events
from bench.mock_model import Answers
from bench.streams import StreamPlan, token_lateness

TEMPLATE = Path(dialogue.__file__).parent / "project" / "template"


class TestMessages:
    @pytest.mark.parametrize("case", ["plain", "tools"])
    def test_short_ones_have_60_characters(self, case: dialogue.Case) -> None:
        assert {len(message.text) for message in islice(dialogue.messages(case), 9)} == {60}

    def test_long_ones_have_500(self) -> None:
        assert len(next(dialogue.messages("long")).text) == 500

    def test_no_two_are_alike(self) -> None:
        texts = [message.text for message in islice(dialogue.messages("tools"), 3000)]
        assert len(set(texts)) == len(texts)

    def test_only_those_with_tools_ask_for_tools(self) -> None:
        assert dialogue.ASKS_FOR_TOOLS in next(dialogue.messages("tools")).text
        assert dialogue.ASKS_FOR_TOOLS not in next(dialogue.messages("plain")).text
        assert dialogue.ASKS_FOR_TOOLS not in next(dialogue.messages("long")).text

    def test_answers_have_as_many_tokens_as_asked_for(self) -> None:
        assert len(dialogue.answer(dialogue.PLAIN_WORDS, 40)) == 40
        assert len(next(dialogue.messages("tools")).answer.split()) == 20


class TestMockModel:
    def test_streams_one_chunk_a_token_and_usage_when_asked(self) -> None:
        message = next(dialogue.messages("plain"))
        events = Answers(20).stream(request([user(message.text)], stream_options={"include_usage": True}))
        assert len(events) == 22
        assert model_text(unchunked(events)) == message.answer
        assert b'"completion_tokens":20' in events[-1]

    def test_asks_for_two_parallel_tools_with_the_order_of_the_message(self) -> None:
        message = next(dialogue.messages("tools", first_order=123_456))
        body = unchunked(Answers(20).stream(request([user(message.text)])))
        assert body.count(b'"id":"call_') == 2
        assert message.order_id.encode() in body
        assert b'"finish_reason":"tool_calls"' in body

    def test_answers_from_the_results_of_the_tools(self) -> None:
        message = next(dialogue.messages("tools"))
        transcript = [user(message.text), *results(message.order_id)]
        assert model_text(unchunked(Answers(20).stream(request(transcript)))) == message.answer

    def test_says_so_when_a_result_is_missing_or_of_another_order(self) -> None:
        message = next(dialogue.messages("tools"))
        for wrong in (results(message.order_id)[:1], results("A999999")):
            text = model_text(unchunked(Answers(20).stream(request([user(message.text), *wrong]))))
            assert text.startswith(dialogue.WRONG_TOOL_RESULTS)

    def test_gives_the_same_answers_without_streaming(self) -> None:
        message = next(dialogue.messages("plain"))
        whole = orjson.loads(Answers(20).whole(request([user(message.text)])))
        assert whole["choices"][0]["message"]["content"] == message.answer


class TestReading:
    def test_finds_the_events_and_leaves_out_pings(self) -> None:
        body = b': ping\n\nid: 1.1\nevent: message.delta\ndata: {"text":"a: b"}\n\n'
        assert list(server_events(body)) == [("message.delta", {"text": "a: b"})]

    def test_measures_each_token_of_a_merged_delta_against_its_own_moment(self) -> None:
        plan = StreamPlan(first_token_ms=300, gap_ms=250)
        late = token_lateness([(10.31, "Your"), (10.85, " order left")], 10.0, plan)
        assert late == pytest.approx([10, 300, 50])


class TestProject:
    def test_its_tools_return_what_the_mock_model_looks_for(self) -> None:
        source = (TEMPLATE / "tools.py").read_text()
        for result in (dialogue.lookup_order("A100000"), dialogue.lookup_stock(dialogue.SKU)):
            assert all(f'"{name}": ' in source for name in result)
            assert f'"{result["state"]}"' in source

    def test_its_instructions_are_those_of_the_other_contenders(self) -> None:
        assert (TEMPLATE / "instructions.md").read_text().strip() == dialogue.INSTRUCTIONS


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def results(order_id: str) -> list[dict[str, Any]]:
    found = (dialogue.lookup_order(order_id), dialogue.lookup_stock(dialogue.SKU))
    return [{"role": "tool", "tool_call_id": "call_1", "content": orjson.dumps(result).decode()} for result in found]


def request(messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"model": "mock", "messages": messages, "tools": dialogue.TOOL_SCHEMAS, **more}


def unchunked(chunks: list[bytes]) -> bytes:
    """The body of an HTTP answer in chunks."""
    body, rest = b"", b"".join(chunks)
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    return body
