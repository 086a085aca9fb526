from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.core.models import ModelAnswer, ModelMalformed, ModelRateLimited, ModelRefused, ModelUnavailable
from handrail.core.usage import Usage
from handrail.serving.models import chat_answer
from handrail.serving.models.chat_answer import AnswerReader
from handrail.serving.models.failures import Failures
from tests.serving.models.provider import delta, finish, sse, text, tool

DONE = b"data: [DONE]\n\n"


def reader(**options: bool) -> AnswerReader:
    return AnswerReader(Failures("model 'm' at here"), "m", "openai_compatible", **options)


def read(*events: object, tail: bytes = DONE) -> ModelAnswer:
    return read_chunks(b"".join(map(sse, events)) + tail)


def read_chunks(*chunks: bytes) -> ModelAnswer:
    parts = reader()
    for chunk in chunks:
        parts.feed(chunk)
        parts.take_text()
    parts.close()
    parts.take_text()
    return parts.answer()


def called(answer: ModelAnswer) -> list[tuple[str, str, str | None]]:
    return [(call.name, call.arguments, call.provider_id) for call in answer.tool_calls]


class TestText:
    def test_is_joined_and_comes_with_usage_finish_reason_and_reported_model(self) -> None:
        usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
        answer = read(delta({"role": "assistant"}), text("Hel"), text("lo"), finish(), {"choices": [], "usage": usage})
        assert answer == ModelAnswer("Hello", (), Usage(9, 2, 4), "stop", "fine-2026", "openai_compatible")

    def test_of_one_read_comes_as_one_piece(self) -> None:
        parts = reader()
        parts.feed(sse(text("a")) + sse(text("b")))
        assert (parts.take_text(), parts.take_text()) == ("ab", "")

    def test_usage_that_nobody_told_is_none(self) -> None:
        assert read(text("a"), finish()).usage == Usage(None, None, None)

    def test_nonsense_in_usage_is_not_counted(self) -> None:
        assert read(finish(usage={"prompt_tokens": -1, "completion_tokens": "7"})).usage == Usage()

    def test_parts_that_are_objects_are_understood(self) -> None:
        parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}]
        assert read(delta({"content": parts}), finish()).text == "yes"

    def test_a_refusal_is_shown_as_text(self) -> None:
        assert read(delta({"refusal": "I can't."}), finish()).text == "I can't."

    @pytest.mark.parametrize(
        ("said", "meant"), [("max_tokens", "length"), ("SAFETY", "content_filter"), ("eos", "stop")]
    )
    def test_finish_reasons_of_other_providers_are_translated(self, said: str, meant: str) -> None:
        assert read(text("a"), finish(said)).finish_reason == meant

    def test_done_without_a_finish_reason_is_an_end(self) -> None:
        assert read(text("a")).finish_reason == "stop"

    def test_a_finish_reason_without_done_is_an_end(self) -> None:
        assert read(text("a"), finish(), tail=b"").text == "a"

    def test_a_plain_json_body_is_understood(self) -> None:
        message = {"role": "assistant", "content": "whole", "reasoning": "because"}
        body = {"model": "x", "choices": [{"message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}
        parts = reader()
        parts.feed(b"\n ")
        parts.feed(orjson.dumps(body))
        parts.close()
        assert (parts.take_text(), parts.take_reasoning()) == ("whole", "because")
        assert parts.answer() == ModelAnswer("whole", (), Usage(3), "stop", "x", "openai_compatible")

    @given(st.text(max_size=40), st.data())
    def test_it_does_not_matter_where_the_reads_are_cut(self, said: str, data: st.DataObject) -> None:
        pieces = [text(said[at : at + 3]) for at in range(0, len(said), 3)]
        stream = b"".join(map(sse, [*pieces, tool(0, "c1", "f", '{"a":'), tool(0, arguments='"é"}'), finish()])) + DONE
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
        answer = read_chunks(*[stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) if a < b])
        assert (answer.text, called(answer)) == (said, [("f", '{"a":"é"}', "c1")])


class TestReasoning:
    @pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
    def test_is_no_part_of_the_answer(self, field: str) -> None:
        parts = reader()
        parts.feed(sse(delta({field: "hm"})) + sse(text("yes")) + sse(finish()) + DONE)
        assert (parts.take_reasoning(), parts.take_text()) == ("hm", "yes")
        assert parts.answer().opaque is None

    def test_is_kept_for_the_next_call_where_the_provider_wants_it_back(self) -> None:
        parts = reader(keep_reasoning=True)
        parts.feed(sse(delta({"reasoning": "h"})))
        parts.take_reasoning()
        parts.feed(sse(delta({"reasoning": "m"})) + sse(finish()))
        parts.take_reasoning()
        assert parts.answer().opaque == "hm"


class TestToolCalls:
    def test_fragments_are_merged_by_index(self) -> None:
        answer = read(
            tool(0, "c0", "order", ""), tool(0, arguments='{"id":'), tool(1, "c1", "stock", ""),
            tool(1, arguments='{"sku":1}'), tool(0, arguments='"A1"}'), finish("tool_calls"),
        )  # fmt: skip
        assert called(answer) == [("order", '{"id":"A1"}', "c0"), ("stock", '{"sku":1}', "c1")]
        assert answer.finish_reason == "tool_calls"

    def test_every_call_gets_an_id_of_ours(self) -> None:
        ids = {call.id for call in read(tool(0, "x", "a"), tool(1, "y", "b"), finish()).tool_calls}
        assert len(ids) == 2
        assert all(id.startswith("call_") for id in ids)

    def test_whole_calls_without_index_are_told_apart(self) -> None:
        answer = read(tool(None, "a", "f", '{"n":1}'), tool(None, "b", "f", '{"n":2}'), finish())
        assert called(answer) == [("f", '{"n":1}', "a"), ("f", '{"n":2}', "b")]

    def test_fragments_without_index_and_id_belong_to_the_last_call(self) -> None:
        answer = read(tool(None, "a", "f", "{"), tool(None, arguments="}"), tool(None, None, "g", "{}"), finish())
        assert called(answer) == [("f", "{}", "a"), ("g", "{}", None)]

    def test_parallel_calls_that_all_have_index_0_are_told_apart_by_id(self) -> None:
        answer = read(tool(0, "a", "f", '{"n":1}'), tool(0, "b", "f", '{"n":2}'), finish())
        assert called(answer) == [("f", '{"n":1}', "a"), ("f", '{"n":2}', "b")]

    def test_an_id_and_name_repeated_with_every_fragment_is_one_call(self) -> None:
        assert called(read(tool(0, "a", "f", "{"), tool(0, "a", "f", "}"), finish())) == [("f", "{}", "a")]

    def test_a_name_in_pieces_is_put_together(self) -> None:
        assert called(read(tool(0, "a", "get_"), tool(0, None, "order"), finish()))[0][0] == "get_order"

    def test_an_id_given_to_two_calls_is_not_used(self) -> None:
        assert [call[2] for call in called(read(tool(0, "x", "a"), tool(1, "x", "b"), finish()))] == [None, None]

    def test_arguments_may_come_as_an_object_or_not_at_all(self) -> None:
        answer = read(tool(0, "a", "f", {"n": 1}), tool(1, "b", "g"), finish())
        assert [call[1] for call in called(answer)] == ['{"n":1}', "{}"]

    def test_arguments_that_are_no_json_are_handed_on_as_they_are(self) -> None:
        assert called(read(tool(0, "a", "f", '{"n":'), finish()))[0][1] == '{"n":'

    def test_a_call_without_a_name_is_malformed(self) -> None:
        with pytest.raises(ModelMalformed, match="without naming it"):
            read(tool(0, "a", arguments="{}"), finish())

    def test_too_many_calls_are_malformed(self) -> None:
        with pytest.raises(ModelMalformed, match="more than 32"):
            read(*(tool(n, f"c{n}", "f") for n in range(33)), finish())


class TestWhatIsNoAnswer:
    @pytest.mark.parametrize(
        "garbage", [b"{", b"[1]", b'"x"', b'{"choices": 5}', b'{"choices": [{"delta": {"content": 7}}]}', b"\xff\xfe"]
    )
    def test_garbage_is_malformed(self, garbage: bytes) -> None:
        with pytest.raises(ModelMalformed, match="no part of an answer") as raised:
            read(garbage)
        assert not raised.value.after_text

    def test_garbage_after_text_says_so(self) -> None:
        with pytest.raises(ModelMalformed) as raised:
            read_chunks(sse(text("a")), sse(b"{"))
        assert raised.value.after_text

    def test_a_stream_without_an_end_is_malformed(self) -> None:
        with pytest.raises(ModelMalformed, match="broke off"):
            read(text("a"), tail=b"")

    def test_an_html_page_is_malformed(self) -> None:
        with pytest.raises(ModelMalformed, match="broke off"):
            read_chunks(b"<html>sign in</html>")

    def test_an_answer_the_provider_gave_up_is_malformed(self) -> None:
        with pytest.raises(ModelMalformed, match="gave up"):
            read(text("a"), finish("insufficient_system_resource"))

    def test_an_endless_answer_is_cut(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chat_answer, "MAX_ANSWER_CHARACTERS", 10)
        with pytest.raises(ModelMalformed, match="more than 10 characters"):
            read(text("123456"), text("78901"), finish())

    def test_endless_arguments_are_cut(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chat_answer, "MAX_ANSWER_CHARACTERS", 10)
        with pytest.raises(ModelMalformed, match="more than 10 characters"):
            read(tool(0, "a", "f", "1" * 11))

    def test_an_endless_line_is_cut(self) -> None:
        with pytest.raises(ModelMalformed, match="no stream"):
            read_chunks(*[b"data: " + b"x" * 100_000] * 100)

    def test_an_endless_body_is_cut(self) -> None:
        with pytest.raises(ModelMalformed, match="body of more"):
            read_chunks(*[b"{" + b"x" * 100_000] * 100)

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            ({"message": "slow down", "code": 429}, ModelRateLimited),
            ({"message": "slow down", "type": "rate_limit_error"}, ModelRateLimited),
            ({"message": "too long", "code": "context_length_exceeded"}, ModelRefused),
            ({"message": "bad", "code": "400"}, ModelRefused),
            ({"message": "overloaded", "code": 529}, ModelUnavailable),
            ("oh", ModelUnavailable),
        ],
    )
    def test_an_error_inside_the_stream_is_what_it_says(self, error: Any, kind: type[Exception]) -> None:
        with pytest.raises(kind) as raised:
            read({"error": error})
        assert type(raised.value) is kind

    def test_an_error_in_place_of_a_chunk_is_understood(self) -> None:
        with pytest.raises(ModelRefused, match="no such model"):
            read({"object": "error", "message": "no such model", "code": 404})
