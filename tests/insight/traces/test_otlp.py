"""What a collector receives: a real one on this machine that reads the protobuf."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from structlog.testing import capture_logs

from handrail.bootstrap import services_from
from handrail.egress import Egress
from handrail.insight.traces import FinishedTrace, SpanLink, TurnTrace, root_span_id, span_id
from handrail.insight.traces.exporter import Collector, OtlpExporter, headers_of
from handrail.insight.traces.otlp import rejected_of
from handrail.settings import Settings
from handrail.telemetry.trace import TraceContext
from tests.insight.traces.made import CALLER, TRACE, finished, turn_trace

# The names of semantic-conventions-genai 0.1.0 and of the general conventions that spans of ours may carry.
# OpenInference's name of the kind is there for Phoenix alone.
PINNED = frozenset(
    {
        "error.type", "gen_ai.agent.name", "gen_ai.agent.version", "gen_ai.conversation.id", "gen_ai.input.messages",
        "gen_ai.operation.name", "gen_ai.output.messages", "gen_ai.provider.name", "gen_ai.request.model",
        "gen_ai.request.stream", "gen_ai.response.finish_reasons", "gen_ai.response.model",
        "gen_ai.response.time_to_first_chunk", "gen_ai.tool.call.arguments", "gen_ai.tool.call.id",
        "gen_ai.tool.call.result", "gen_ai.tool.name", "gen_ai.tool.type", "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "openinference.span.kind", "session.id",
    }
)  # fmt: skip


@dataclass
class Received:
    """A collector: what it was sent, and what it answers next."""

    url: str = ""
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    says: bytes = b""

    async def take(self, request: web.Request) -> web.Response:
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        status, headers = self.answers.pop(0) if self.answers else (200, {})
        if status == 200:
            self.requests.append(ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response(status=status, headers=headers, body=self.says)

    @property
    def spans(self) -> dict[str, OtlpSpan]:
        return {
            span.name: span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }


@pytest.fixture
async def collector() -> AsyncIterator[Received]:
    received = Received()
    app = web.Application()
    app.router.add_post("/v1/traces", received.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    received.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/traces"
    yield received
    await runner.cleanup()


class Dropped(dict[str, int]):
    def __call__(self, reason: str, count: int) -> None:
        self[reason] = self.get(reason, 0) + count


def exporter(collector: Received, dropped: Dropped | None = None, **more: Any) -> OtlpExporter:
    headers = {"authorization": "Bearer very-secret"}
    given: dict[str, Any] = {"backoff_seconds": 0.001, "on_dropped": dropped if dropped is not None else Dropped()}
    return OtlpExporter(Collector(collector.url, headers, "shop"), Egress(), **given | more)


def a_turn() -> FinishedTrace:
    trace = turn_trace()
    chat, tool = trace.begin(), trace.begin()
    given = {
        "provider": "openai_compatible", "model": "large", "response_model": "large-2026", "input_tokens": 10,
        "output_tokens": 5, "cached_tokens": None, "finish_reason": "stop", "first_chunk_micros": 250_000,
        "rung": "primary", "cost_micros": 42,
    }  # fmt: skip
    trace.end(chat, "chat", "large", 100.25, None, given, ended=100.75)
    trace.end(tool, "execute_tool", "refund", 100.8, "tool_failed", {"call_id": "c1", "status": "failed"}, ended=100.9)
    trace.noted.append((3, tool, "retry", "refund", 100.85, None, "tool_unavailable", {"rung": "retry"}))
    trace.noted.append((4, 0, "guardrail", "input", 100.0, 100.1, None, {"tripped": ["injection"]}))
    return finished(
        trace, error_code="internal", attributes={"input_tokens": 10, "output_tokens": 5, "action": "execute"}
    )


def said(attributes: Any) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for each in attributes:
        kind = each.value.WhichOneof("value")
        value = getattr(each.value, kind)
        read[each.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return read


async def test_what_a_collector_does_not_take_is_lost_to_the_alert_as_well(
    collector: Received, tmp_path: Path, migrated_file: Path
) -> None:
    shutil.copyfile(migrated_file, tmp_path / "handrail.db")
    settings = Settings(data_dir=tmp_path, traces={"otlp_url": collector.url})  # pyright: ignore[reportArgumentType]
    async with services_from(settings) as services:
        at = services.clock.micros()
        assert services.alerts.lost_lately(at) == 0
        assert services.trace_export is not None
        collector.answers = [(400, {})]
        services.trace_export.offer(a_turn(), None)
        await services.trace_export.flush()
        assert services.alerts.lost_lately(at + 1) == 1


class TestWhatIsSent:
    async def test_is_protobuf_with_the_collectors_headers_and_says_who_sends(self, collector: Received) -> None:
        sender = exporter(collector)
        sender.offer(a_turn(), None)
        await sender.flush()

        assert collector.headers[0]["content-type"] == "application/x-protobuf"
        assert collector.headers[0]["authorization"] == "Bearer very-secret"
        (resource,) = collector.requests[0].resource_spans
        assert said(resource.resource.attributes)["service.name"] == "shop"
        assert resource.schema_url == "https://opentelemetry.io/schemas/1.45.0"

    async def test_stands_below_the_callers_span_and_spans_below_each_other(self, collector: Received) -> None:
        sender, root = exporter(collector), root_span_id("turn_1", 1)
        sender.offer(a_turn(), None)
        await sender.flush()

        spans = collector.spans
        assert set(spans) == {"invoke_agent shop", "chat large", "execute_tool refund", "handrail.guardrail"}
        assert {each.trace_id.hex() for each in spans.values()} == {TRACE}
        turn = spans["invoke_agent shop"]
        assert (turn.span_id.hex(), turn.parent_span_id.hex()) == (span_id(root, 0), CALLER)
        assert turn.flags & 0x300 == 0x300
        for name in ("chat large", "execute_tool refund", "handrail.guardrail"):
            assert spans[name].parent_span_id == turn.span_id
        assert len({each.span_id for each in spans.values()}) == 4

    async def test_has_the_times_on_the_wall(self, collector: Received) -> None:
        sender = exporter(collector)
        sender.offer(a_turn(), None)
        await sender.flush()

        began = 1_700_000_000_000_000_000
        turn, chat = collector.spans["invoke_agent shop"], collector.spans["chat large"]
        assert (turn.start_time_unix_nano, turn.end_time_unix_nano) == (began, began + 1_000_000_000)
        assert (chat.start_time_unix_nano, chat.end_time_unix_nano) == (began + 250_000_000, began + 750_000_000)

    async def test_carries_the_pinned_names_and_no_other_but_our_own(self, collector: Received) -> None:
        sender = exporter(collector)
        sender.offer(a_turn(), {0: {"input": "x", "output": "y"}, 2: {"arguments": "{}", "result": "z"}})
        await sender.flush()

        names = {name for span in collector.spans.values() for name in said(span.attributes)}
        assert {name for name in names if not name.startswith("handrail.")} == PINNED - {
            "gen_ai.usage.cache_read.input_tokens"
        }

    async def test_says_of_a_model_call_what_backends_look_for(self, collector: Received) -> None:
        sender = exporter(collector)
        sender.offer(a_turn(), None)
        await sender.flush()

        chat = collector.spans["chat large"]
        assert chat.kind == OtlpSpan.SPAN_KIND_CLIENT
        assert said(chat.attributes) == {
            "gen_ai.operation.name": "chat",
            "gen_ai.conversation.id": "conv_1",
            "session.id": "conv_1",
            "gen_ai.agent.name": "shop",
            "gen_ai.provider.name": "openai_compatible",
            "gen_ai.request.model": "large",
            "gen_ai.response.model": "large-2026",
            "gen_ai.request.stream": True,
            "gen_ai.usage.input_tokens": 10,
            "gen_ai.usage.output_tokens": 5,
            "gen_ai.response.time_to_first_chunk": 0.25,
            "gen_ai.response.finish_reasons": ["stop"],
            "handrail.rung": "primary",
            "handrail.cost_micros": 42,
            "openinference.span.kind": "LLM",
        }

    async def test_says_why_an_answer_ended_as_readers_of_messages_ask_for(self, collector: Received) -> None:
        sender = exporter(collector)
        for answered in (finished(), a_turn()):
            sender.offer(answered, {0: {"output": "y"}})
            await sender.flush()

        sent = [
            said(span.attributes)["gen_ai.output.messages"]
            for request in collector.requests
            for span in request.resource_spans[0].scope_spans[0].spans
            if span.name == "invoke_agent shop"
        ]
        assert [json.loads(each) for each in sent] == [
            [{"role": "assistant", "parts": [{"type": "text", "content": "y"}], "finish_reason": reason}]
            for reason in ("stop", "error")
        ]

    async def test_has_a_kind_for_phoenix_of_every_span_and_the_project_it_lists_them_in(
        self, collector: Received
    ) -> None:
        trace = turn_trace()
        trace.end(trace.begin(), "route", "execute", 100.0, None, {}, ended=100.1)
        sender = exporter(collector)
        sender.offer(a_turn(), None)
        sender.offer(finished(trace), None)
        await sender.flush()

        (resource,) = collector.requests[0].resource_spans
        assert said(resource.resource.attributes)["openinference.project.name"] == "shop"
        assert {name: said(span.attributes)["openinference.span.kind"] for name, span in collector.spans.items()} == {
            "invoke_agent shop": "AGENT",
            "chat large": "LLM",
            "execute_tool refund": "TOOL",
            "handrail.guardrail": "GUARDRAIL",
            "handrail.route": "CHAIN",
        }

    async def test_marks_what_failed_and_hangs_events_on_their_span(self, collector: Received) -> None:
        sender = exporter(collector)
        sender.offer(a_turn(), None)
        await sender.flush()

        tool = collector.spans["execute_tool refund"]
        assert (tool.status.code, said(tool.attributes)["error.type"]) == (2, "tool_failed")
        (event,) = tool.events
        assert event.name == "handrail.retry"
        assert said(event.attributes)["error.type"] == "tool_unavailable"
        assert said(collector.spans["handrail.guardrail"].attributes)["handrail.guardrail.tripped"] == ["injection"]

    async def test_links_a_turn_that_went_on_to_its_beginning_and_keeps_the_tracestate(
        self, collector: Received
    ) -> None:
        link = SpanLink("1" * 32, "2" * 16)
        trace = TurnTrace(TraceContext(TRACE, None, False, "vendor=1"), root_span_id("turn_1", 2), link)
        sender = exporter(collector)
        sender.offer(finished(trace, epoch=2), None)
        await sender.flush()

        turn = collector.spans["invoke_agent shop"]
        assert [(each.trace_id.hex(), each.span_id.hex()) for each in turn.links] == [("1" * 32, "2" * 16)]
        assert (turn.trace_state, turn.parent_span_id, turn.flags & 0x01) == ("vendor=1", b"", 0)
        assert said(turn.attributes)["handrail.takeover"] == 2

    async def test_has_what_jaeger_langfuse_and_phoenix_need_of_every_span(self, collector: Received) -> None:
        sender = exporter(collector)
        sender.offer(a_turn(), None)
        await sender.flush()

        (resource,) = collector.requests[0].resource_spans
        # Jaeger lists traces by service; all of them draw by ids, parents and times.
        assert said(resource.resource.attributes)["service.name"]
        assert resource.scope_spans[0].scope.name == "handrail"
        ids = {span.span_id for span in collector.spans.values()}
        for span in collector.spans.values():
            assert (len(span.trace_id), len(span.span_id)) == (16, 8)
            assert span.parent_span_id in ids or span.parent_span_id.hex() == CALLER
            assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
            assert span.kind in (OtlpSpan.SPAN_KIND_CLIENT, OtlpSpan.SPAN_KIND_INTERNAL)
            assert (span.status.code == 2) == ("error.type" in said(span.attributes))
        # A conversation is a session of Langfuse and Phoenix; a span with a model is a generation of Langfuse.
        for name in ("invoke_agent shop", "chat large", "execute_tool refund"):
            assert said(collector.spans[name].attributes)["session.id"] == "conv_1"
        of_model = said(collector.spans["chat large"].attributes)
        assert of_model.keys() >= {"gen_ai.request.model", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"}


class TestACollectorThatDoesNotTakeIt:
    @pytest.mark.parametrize("status", [429, 502, 503, 504])
    async def test_is_asked_again(self, collector: Received, status: int) -> None:
        dropped, collector.answers = Dropped(), [(status, {}), (status, {"retry-after": "0"})]
        sender = exporter(collector, dropped)
        sender.offer(a_turn(), None)
        await sender.flush()

        assert (len(collector.headers), len(collector.requests), dropped) == (3, 1, {})

    @pytest.mark.parametrize("status", [400, 401, 404, 302])
    async def test_is_not_asked_again_when_it_refuses_and_never_followed_elsewhere(
        self, collector: Received, status: int
    ) -> None:
        dropped, collector.answers = Dropped(), [(status, {"location": collector.url})]
        sender = exporter(collector, dropped)
        sender.offer(a_turn(), None)
        await sender.flush()

        assert (len(collector.headers), dropped, sender.waiting) == (1, {"collector_refused": 1}, 0)

    async def test_is_given_up_after_some_attempts_and_its_key_is_in_no_log(self, collector: Received) -> None:
        dropped, collector.answers = Dropped(), [(503, {})] * 9
        sender = exporter(collector, dropped)
        sender.offer(a_turn(), None)
        with capture_logs() as logged:
            await sender.flush()

        assert (len(collector.headers), dropped) == (5, {"collector_failed": 1})
        assert logged
        assert "very-secret" not in repr(logged)
        assert "very-secret" not in repr(sender._collector)  # pyright: ignore[reportPrivateUsage]

    async def test_that_is_not_there_costs_nothing_but_the_traces(self) -> None:
        dropped = Dropped()
        nobody = Received("http://127.0.0.1:9/v1/traces")
        sender = exporter(nobody, dropped)
        sender.offer(a_turn(), None)
        await sender.flush(attempts=2)

        assert dropped == {"collector_failed": 1}

    async def test_has_a_bounded_line_before_it(self, collector: Received) -> None:
        dropped = Dropped()
        sender = exporter(collector, dropped, most_waiting=2)
        for _ in range(5):
            sender.offer(a_turn(), None)

        assert (sender.waiting, dropped) == (2, {"collector_line_full": 3})

    async def test_gets_many_in_one_request(self, collector: Received) -> None:
        sender = exporter(collector)
        for _ in range(250):
            sender.offer(finished(), None)
        await asyncio.wait_for(sender.flush(), 10)

        assert [len(each.resource_spans[0].scope_spans[0].spans) for each in collector.requests] == [200, 50]


def left_out(spans: int, why: str = "") -> bytes:
    partial = ExportTracePartialSuccess(rejected_spans=spans, error_message=why)
    return ExportTraceServiceResponse(partial_success=partial).SerializeToString()


class TestACollectorThatTakesAPart:
    async def test_has_its_lost_spans_counted_and_said_once_without_its_words(self, collector: Received) -> None:
        dropped, collector.says = Dropped(), left_out(1, "no span with 'my card is 4111'")
        sender = exporter(collector, dropped)
        with capture_logs() as logged:
            for _ in range(3):
                sender.offer(a_turn(), None)
                await sender.flush()

        assert (len(collector.requests), dropped) == (3, {"collector_rejected_spans": 3})
        (said_once,) = [each for each in logged if "leaves out" in each["event"]]
        assert (said_once["rejected"], said_once["host"]) == (1, "127.0.0.1")
        assert "4111" not in repr(logged)

    @pytest.mark.parametrize(
        ("says", "lost"),
        [
            (left_out(0), 0),
            (left_out(0, "a warning"), 0),
            (left_out(-5), 0),
            (left_out(2**62), 1),
            (b"{}", 0),
            (b"\xff" * 200_000, 0),
        ],
        ids=["none", "warning", "negative", "more than were sent", "JSON", "long and unreadable"],
    )
    async def test_is_not_believed_more_than_can_be(self, collector: Received, says: bytes, lost: int) -> None:
        dropped, collector.says = Dropped(), says
        sender = exporter(collector, dropped)
        sender.offer(finished(), None)
        await sender.flush()

        assert (len(collector.requests), sum(dropped.values())) == (1, lost)

    @given(st.binary(max_size=300))
    def test_may_answer_with_anything(self, answer: bytes) -> None:
        assert rejected_of(answer) >= 0


class TestHeaders:
    def test_are_names_and_values_by_comma_as_elsewhere(self) -> None:
        assert headers_of("Authorization=Basic%20YTpi==, x-project = shop") == {
            "Authorization": "Basic YTpi==",
            "x-project": "shop",
        }

    @pytest.mark.parametrize(
        "text", ["secret", "=secret", "a b=secret", "a=secret\r\nx: y", "a=secr\u00e9t", "a=b%0d%0ac"]
    )
    def test_that_no_request_can_hold_are_refused_without_repeating_a_value(self, text: str) -> None:
        with pytest.raises(ValueError, match="header") as refused:
            headers_of(text)
        assert "secr" not in str(refused.value)
