"""What the flows work with: built by `bootstrap`, replaced part by part in tests."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from handrail.core.answers import Handoff, ModelCalled
from handrail.core.clock import Clock
from handrail.core.deadline import Deadline
from handrail.core.errors import HandrailError
from handrail.core.messages import Message, Passage, ToolCall, ToolResult
from handrail.core.prices import Budget
from handrail.core.principal import Principal
from handrail.core.tools import ToolContext
from handrail.core.usage import Usage, Used
from handrail.db import Database
from handrail.flows.background import Background
from handrail.flows.releases import LoadedRelease, Releases
from handrail.insight.alerts import Alerts
from handrail.insight.costs import PriceBook, UsageStore
from handrail.insight.feedback import FeedbackRules, FeedbackStore
from handrail.insight.scorecard import FactStore
from handrail.insight.search import SearchStore
from handrail.insight.traces import OtlpExporter, TraceWriter, TurnTrace
from handrail.oversight.approvals import ApprovalStore
from handrail.oversight.escalations import EscalationStore
from handrail.protection.audit import AuditTrail, Spool
from handrail.protection.auth import Authenticator, IdentityProvider, KeyStore, SessionStore, SignInLinks
from handrail.protection.encryption import Encryption
from handrail.protection.guardrails import Detector, OutputFilter, OutputScanner
from handrail.protection.privacy import Privacy, Tokens
from handrail.protection.rate_limits import AddressRate, Rate, RateDecision, RateLimited, RateLimiter, SharedRateLimiter
from handrail.serving.conversations import (
    Conversation,
    ConversationStore,
    IdempotencyScope,
    LeaseStore,
    SharedStreams,
    StoredMessage,
    StoredToolCall,
    Streams,
    Turn,
    TurnStream,
)
from handrail.serving.resilience import (
    Admission,
    Breakers,
    Bulkhead,
    LastGood,
    Place,
    Retries,
    Rung,
    Switchboard,
    SwitchStore,
    Waits,
)
from handrail.serving.tools import ToolRunner
from handrail.shared_state import Bus, LocalBus, Valkey
from handrail.telemetry.metrics import Metrics

LOOK = "look"


class ShuttingDown(HandrailError):
    """No new turns: the process is about to end."""

    code = "shutting_down"
    retryable = True


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """Deployment settings of the turn.

    Attributes:
        lease_seconds: how long a turn is its owner's without a sign of life; renewed at a third of it.
        sweep_seconds: how often a process looks for turns whose owner is gone.
        most_owners: a turn that so many processes lost one after another goes to a person.
        owner: unique to this process.
        first_token_seconds: how long a model may take until its first token, unless its tier says otherwise.
        sole_owner: no other process uses this database, so a turn of anybody else is a dead one's.
    """

    deadline_seconds: float = 60.0
    first_token_seconds: float = 20.0
    lease_seconds: float = 15.0
    sweep_seconds: float = 2.0
    most_owners: int = 10
    owner: str = "local"
    sole_owner: bool = False

    @property
    def lease_micros(self) -> int:
        return int(self.lease_seconds * 1_000_000)


@dataclass(frozen=True, slots=True)
class ReadContext:
    """What a model has read besides its instructions and what this turn's tools say.

    `calls` are the tool calls of earlier turns that stand in `messages`.
    """

    messages: Sequence[Message] = ()
    calls: Sequence[StoredToolCall] = ()
    documents: Sequence[Passage] = ()


@dataclass(frozen=True, slots=True)
class Revealed:
    """Values that a tool is given where the model wrote handles."""

    tool_call_id: str
    tool: str
    parameters: tuple[str, ...]
    kinds: tuple[str, ...]


@dataclass(slots=True)
class Services:
    """Everything a flow may use.

    Attributes:
        digest_days: a digest is of so many days, one or seven; 0 writes none.
        log_days: an anonymised log is of so many days, one or seven; 0 writes none.
        running: the task of every turn that runs in this process.
        ending: those of them whose end is being stored: they can't be stopped any more.
        waiting: turns of this process's clients that wait for the turn before them; `watchers` look after them.
        starting: those of them that this process is about to run.
        held_back: by conversation, how to go on with a parked turn that was decided while another turn ran.
        bus: how this process tells the others; nobody hears it when there is one process alone.
        look: set when another process has stored something that all must know at once.
        switching: held while what is off is read, so that an older picture never follows a newer one.
        unrecorded: by conversation, how to store the end of a turn that the database did not take when it ended.
    """

    clock: Clock
    db: Database
    limits: TurnLimits
    authenticator: Authenticator
    keys: KeyStore
    sessions: SessionStore
    links: SignInLinks
    sign_in_rates: Rate
    rate_limits: RateLimiter
    conversations: ConversationStore
    leases: LeaseStore
    streams: Streams
    releases: Releases
    tool_runner: ToolRunner
    escalations: EscalationStore
    usage: UsageStore
    feedback: FeedbackStore
    feedback_rates: Rate
    channel_tests: Rate
    facts: FactStore
    search: SearchStore
    traces: TraceWriter
    approvals: ApprovalStore
    audit: AuditTrail
    breakers: Breakers
    retries: Retries
    bulkhead: Bulkhead
    admission: Admission
    last_good: LastGood
    switches: Switchboard
    switch_store: SwitchStore
    background: Background
    encryption: Encryption
    privacy: Privacy
    metrics: Metrics
    alerts: Alerts
    detector: Detector = field(default_factory=Detector)
    output_scanner: OutputScanner = field(default_factory=OutputScanner)
    valkey: Valkey | None = None
    bus: Bus = field(default_factory=LocalBus)
    shared_rates: SharedRateLimiter | None = None
    address_rates: AddressRate | None = None
    provider: IdentityProvider | None = None
    conversation_rates: Rate | None = None
    token_rates: Rate | None = None
    shared_streams: SharedStreams | None = None
    trace_export: OtlpExporter | None = None
    default_agent: str | None = None
    digest_days: int = 7
    log_days: int = 0
    prices: PriceBook = field(default_factory=PriceBook)
    budgets: Sequence[Budget] = ()
    feedback_rules: FeedbackRules = field(default_factory=FeedbackRules)
    commands: Spool | None = None
    running: dict[str, "asyncio.Task[None]"] = field(default_factory=dict[str, "asyncio.Task[None]"])
    waiting: dict[str, "ActiveTurn"] = field(default_factory=dict[str, "ActiveTurn"])
    ending: set[str] = field(default_factory=set[str])
    starting: set[str] = field(default_factory=set[str])
    unrecorded: dict[str, Callable[[], Awaitable[None]]] = field(
        default_factory=dict[str, Callable[[], Awaitable[None]]]
    )
    held_back: dict[str, Callable[[], Awaitable[bool]]] = field(
        default_factory=dict[str, Callable[[], Awaitable[bool]]]
    )
    watchers: set["asyncio.Task[None]"] = field(default_factory=set["asyncio.Task[None]"])
    switching: asyncio.Lock = field(default_factory=asyncio.Lock)
    look: asyncio.Event = field(default_factory=asyncio.Event)
    draining: bool = False

    async def remembered(self, principal: Principal, idempotency: IdempotencyScope) -> str | None:
        """What this Idempotency-Key made before, if it did."""
        return await self.conversations.idempotency.remembered(principal, idempotency, at=self.clock.micros())

    async def require_rate(self, principal: Principal, agent: str) -> RateDecision:
        """Count one turn of this principal, for all processes when they share a server; raises `RateLimited`."""
        try:
            if self.token_rates is not None:
                await self.token_rates.check(principal)
            if self.shared_rates is None:
                return self.rate_limits.require(principal)
            return await self.shared_rates.require(principal)
        except RateLimited as refused:
            self.metrics.rate_limited(agent, refused.name)
            raise

    async def require_conversation_rate(self, principal: Principal, agent: str) -> None:
        """Count one conversation; raises `RateLimited`."""
        if self.conversation_rates is None:
            return
        try:
            await self.conversation_rates.require(principal)
        except RateLimited as refused:
            self.metrics.rate_limited(agent, refused.name)
            raise

    def charge_tokens(self, principal: Principal, usage: Usage) -> None:
        """Count what a model call used against the principal's tokens a minute, if there is such a limit."""
        if self.token_rates is not None:
            self.token_rates.charge(principal, (usage.input_tokens or 0) + (usage.output_tokens or 0))

    def tell_to_look(self) -> None:
        """Let every other process look now for what is stored; without a shared server they look twice a second."""
        self.bus.publish(LOOK, None)

    def require_admitting(self) -> None:
        if self.draining:
            raise ShuttingDown("the server is shutting down; send this again in a moment", retry_after_seconds=5)


@dataclass(slots=True)
class ActiveTurn:
    """One turn while it runs.

    Attributes:
        place: where it was admitted; None for a turn that goes on or stood in its conversation's line.
        position: of the last message of the turn in the transcript.
        rounds: the rounds of tools that an earlier owner of the turn has stored; empty for a turn that begins.
        journal: the tool calls that an earlier owner has begun or ended, by id.
        begun: the tools of writes that have begun and not ended yet, by call id.
        unknown: tools of this turn whose effect nobody knows.
        ladder: what model calls tried that were not answered at once, one step after another.
        booked: how many of the model `calls` are on the books, and `booking` how many will be with the next batch.
        used_before: what earlier owners of the turn have there.
        is_call_lost: the last owner died while it waited for a model; that call is made again.
        unanswered_tools: tools of this turn whose last call nobody could answer, in the order of the first.
        protecting: the releases whose policies hold for this turn, once they are known.
        context: what the model has read before this turn's tools; empty while a flow answers.
        heard: what this turn's tool calls said, in the order they ended; of it the model has `read` so many.
        of_flow: by id, the calls that a flow and not a model asked for, each with its arguments that hang on text
            nobody vouches for.
        given: the texts that the answer may be taken from: the user's words, results, documents, instructions.
        output: what the answer passes on its way out.
        tokens: what stands for people's identifiers where the model reads and writes; None until it is asked.
        revealed: where a tool is given their values; recorded with what the turn stores next.
        trace: what is noted of it for whoever looks into it later.
    """

    principal: Principal
    conversation: Conversation
    release: LoadedRelease
    turn: Turn
    text: str
    stream: TurnStream
    deadline: Deadline
    waits: Waits
    began: float
    message_id: str
    trace: TurnTrace
    intent: str | None = None
    place: Place | None = None
    position: int = 0
    rounds: Sequence[StoredMessage] = ()
    journal: Mapping[str, StoredToolCall] = field(default_factory=dict[str, StoredToolCall])
    begun: dict[str, str] = field(default_factory=dict[str, str])
    unknown: list[str] = field(default_factory=list[str])
    ladder: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    unanswered_tools: dict[str, None] = field(default_factory=dict[str, None])
    calls: list[ModelCalled] = field(default_factory=list[ModelCalled])
    booking: int = 0
    booked: int = 0
    used_before: Used = field(default_factory=Used)
    is_call_lost: bool = False
    protecting: Sequence[LoadedRelease] = ()
    context: ReadContext = ReadContext()
    heard: list[tuple[ToolCall, ToolResult]] = field(default_factory=list[tuple[ToolCall, ToolResult]])
    read: int = 0
    of_flow: dict[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    given: list[str] = field(default_factory=list[str])
    output: OutputFilter | None = None
    tokens: Tokens | None = None
    revealed: list[Revealed] = field(default_factory=list[Revealed])

    @property
    def is_unanswered(self) -> bool:
        """The last model call went down the whole ladder: nothing remains but an honest word."""
        return bool(self.ladder) and self.ladder[-1]["rung"] == Rung.HONEST

    def hear(self, call: ToolCall, result: ToolResult) -> ToolResult:
        self.heard.append((call, result))
        return result

    def writes(self, call: ToolCall) -> bool:
        tool = self.release.tools.get(call.name)
        return tool is not None and tool.effect == "write"

    def unsettled(self) -> Handoff | None:
        """What people must look at: writes of which nobody knows whether they happened. `None` once they were asked."""
        names = dict.fromkeys([*self.unknown, *self.begun.values()])
        if not names or self.turn.escalation_id is not None:
            return None
        return Handoff(f"it is not known whether {', '.join(names)} took effect", self.release.config.handoff.team)

    def tool_context(self, call: ToolCall) -> ToolContext:
        """What the tool is told; the idempotency key is the same on every attempt, whoever makes it."""
        turn, trace = self.turn, self.trace
        return ToolContext(
            self.principal,
            turn.conversation_id,
            turn.id,
            call.id,
            f"{turn.id}:{call.id}",
            turn.release_id,
            self.deadline,
            trace.traceparent(trace.open.get(call.id, 0)),
            trace.context.state,
        )

    def started(self) -> dict[str, Any]:
        turn = self.turn
        return {"turn_id": turn.id, "conversation_id": turn.conversation_id, "release_id": turn.release_id}

    def unrecorded(self, code: str, message: str) -> dict[str, Any]:
        """The body of a turn whose end could not be stored."""
        error = {"code": code, "message": message}
        ended = {"id": self.turn.id, "object": "turn", "status": "failed", "message": None, "error": error}
        return {**self.started(), **ended}
