"""A small agent project over real services: its model and its intent head say what a test tells them to."""

import asyncio
import itertools
import os
import random
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from handrail.core.clock import Clock
from handrail.core.events import Event
from handrail.core.principal import Principal
from handrail.db import Database
from handrail.db.jobs import Executors, JobRuns, Outbox
from handrail.delivery.releases import Sources
from handrail.flows.background import Background
from handrail.flows.conversations import open_conversation
from handrail.flows.data_classes import SEALED
from handrail.flows.releases import LoadedRelease, Releases
from handrail.flows.services import Services, TurnLimits
from handrail.flows.turn import take_turn
from handrail.insight.alerts import Alerts, AlertStore, RecordingSender
from handrail.insight.costs import UsageStore
from handrail.insight.feedback import FeedbackRetention, FeedbackStore
from handrail.insight.scorecard import FactStore
from handrail.insight.search import SearchKeys, SearchStore
from handrail.insight.traces import TraceRetention, TraceWriter
from handrail.oversight.approvals import ApprovalRetention, ApprovalStore
from handrail.oversight.escalations import EscalationRetention, EscalationStore
from handrail.protection.audit import AuditKeys, AuditStore, AuditTrail
from handrail.protection.auth import Authenticator, KeyStore, SessionStore, SignInLinks
from handrail.protection.encryption import Encryption, ErasureLog
from handrail.protection.privacy import Mint, Privacy, TokenVault
from handrail.protection.rate_limits import Rate, RateLimiter
from handrail.serving.context import extract
from handrail.serving.conversations import (
    Conversation,
    ConversationExport,
    ConversationRetention,
    ConversationStore,
    ExportFolder,
    LeaseStore,
    StoredMessage,
    Streams,
    SubjectRecords,
    Turn,
    TurnEnd,
    TurnStatus,
    TurnStream,
)
from handrail.serving.models import ModelConnections, ModelRegistry, ModelTier, ScriptedModel
from handrail.serving.models.scripted import Script
from handrail.serving.resilience import (
    Admission,
    AdmissionLimits,
    Breakers,
    Bulkhead,
    LastGood,
    Retries,
    RetryPolicy,
    Switchboard,
    SwitchStore,
)
from handrail.serving.routing import train_here
from handrail.serving.tools import ToolRunner
from handrail.telemetry.metrics import Metrics

ANA = Principal("default", "demo-customer")
OPERATOR_TOKEN = "hrop_" + "0" * 64
AUDIT_KEYS = AuditKeys.derived(b"0" * 32)

AGENT = """
name: shop
models:
  large: {provider: scripted, replies: ["This is what the model says."]}
limits: {max_steps: 4, max_tool_calls: 6}
handoff: {team: support}
"""
INTENTS = """
intents:
- {name: order_status, title: track an order, flow: status, examples: [where is my order, track my parcel]}
- {name: refund, title: get a refund, flow: refund, examples: [I want my money back, refund my order]}
- {name: hours, title: see the opening hours, tool: opening_hours, examples: [when are you open, opening hours]}
- {name: chat, title: have a chat, agent: true, examples: [hello there, tell me about the shop]}
"""
STATUS = """
name: status
slots:
  order: {ask: "Which order?", pattern: "[A-Z]\\\\d{4}", from_message: true}
steps:
- collect: order
- {call: get_order, with: {order: "{{ slots.order }}"}, save: found}
- say: "Order {{ slots.order }} is {{ found.status }}."
"""
REFUND = """
name: refund
slots:
  order: {ask: "Which order?", pattern: "[A-Z]\\\\d{4}", from_message: true}
steps:
- collect: order
- confirm: "Shall I refund {{ slots.order }}?"
- {call: refund, with: {order: "{{ slots.order }}"}}
- say: "Order {{ slots.order }} is refunded."
"""
TOOLS = '''
from typing import Any

from handrail import ToolContext, tool
from tests.flows.desk import desk


@tool(effect="read", timeout_seconds=0.2)
async def get_order(order: str, context: ToolContext) -> Any:
    """Look up an order."""
    return await desk.do("get_order", context, order=order)


@tool(effect="read")
async def get_stock(item: str, context: ToolContext) -> Any:
    """Look up how many are left."""
    return await desk.do("get_stock", context, item=item)


@tool(effect="read")
async def opening_hours(context: ToolContext) -> Any:
    """When the shop is open."""
    return await desk.do("opening_hours", context)


@tool(effect="write", timeout_seconds=0.2)
async def refund(order: str, context: ToolContext) -> Any:
    """Pay an order back."""
    return await desk.do("refund", context, order=order)


@tool(effect="write")
async def send_mail(text: str, context: ToolContext) -> Any:
    """Send a mail."""
    return await desk.do("send_mail", context, text=text)


@tool(effect="write")
async def close_account(context: ToolContext) -> Any:
    """Close the customer's account."""
    return await desk.do("close_account", context)
'''
PROJECT = {
    "agent.yaml": AGENT,
    "instructions.md": "You are the shop's assistant.\n",
    "intents.yaml": INTENTS,
    "flows/status.yaml": STATUS,
    "flows/refund.yaml": REFUND,
    "tools.py": TOOLS,
    "policies.yaml": "permissions:\n  close_account: {roles: [operator]}\ninput: {max_characters: 500}\n",
}


@dataclass(frozen=True)
class Prediction:
    intent: str
    confidence: float
    ranked: tuple[tuple[str, float], ...]


@dataclass
class TableHead:
    """Knows the messages it was told about; everything else is small talk for the agent loop."""

    table: dict[str, Prediction] = field(default_factory=dict)

    def knows(self, text: str, intent: str, confidence: float = 0.97, second: str = "chat") -> None:
        self.table[text] = Prediction(intent, confidence, ((intent, confidence), (second, 1 - confidence)))

    def predict(self, text: str) -> Prediction:
        return self.table.get(text, Prediction("chat", 0.97, (("chat", 0.97), ("order_status", 0.03))))


class CountingDatabase:
    """A database that notes its commits (`insert turn`, ...), and lets a test stand in front of them."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.dialect = db.dialect
        self.commits: list[list[str]] = []
        self.before_commit: Callable[[list[str]], Any] | None = None

    @asynccontextmanager
    async def batch(self, *, long: bool = False) -> AsyncIterator[Any]:
        async with self._db.batch(long=long) as batch:
            yield batch
            if not batch.statements:
                return
            writes = [_in_short(statement.bind(self.dialect, values)[0]) for statement, values, _ in batch.statements]
            self.commits.append(writes)
            if self.before_commit is not None:
                done = self.before_commit(writes)
                if done is not None:
                    await done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


def _in_short(sql: str) -> str:
    words = sql.split()
    return f"{words[0].lower()} {words[1] if words[0] == 'UPDATE' else words[2]}"


@cache
def _trained(examples: tuple[Any, ...], out_of_scope: tuple[str, ...], seed: int) -> tuple[bytes, Any]:
    return train_here(examples, out_of_scope, seed)


def _train_once(examples: Sequence[Any], out_of_scope: Sequence[str], seed: int) -> tuple[bytes, Any]:
    """Training takes longer than all tests together, so it is done once a process."""
    return _trained(tuple(examples), tuple(out_of_scope), seed)


@dataclass
class World:
    """One process's services, the loaded release in them, and short words for what tests do all the time."""

    services: Services
    release: LoadedRelease
    head: TableHead
    db: CountingDatabase

    @property
    def model(self) -> ScriptedModel:
        first = self.release.chain[0].client
        assert isinstance(first, ScriptedModel)
        return first

    def script(self, *script: Any, repeats: bool = False) -> ScriptedModel:
        """What the model says from here on: replies one after another, or a function of the request."""
        given: Script = script[0] if len(script) == 1 and callable(script[0]) else list(script)
        model = ScriptedModel(given, repeats=repeats)
        self.release.chain = (ModelTier("large", model),)
        return model

    def script_chain(self, *scripts: Script) -> list[ScriptedModel]:
        """A chain of models, `model-1` first, each with a script of its own; the last reply is repeated."""
        models = [ScriptedModel(each, model=f"model-{place}", repeats=True) for place, each in enumerate(scripts, 1)]
        self.release.chain = tuple(ModelTier(f"tier-{place}", each) for place, each in enumerate(models, 1))
        return models

    async def open(self, who: Principal = ANA) -> Conversation:
        return await open_conversation(self.services, who, "shop")

    async def send(self, conversation: Conversation, text: str, who: Principal = ANA, **more: Any) -> TurnStream:
        return await take_turn(self.services, who, conversation.id, text, **more)

    async def say(self, conversation: Conversation, text: str, who: Principal = ANA) -> Mapping[str, Any]:
        """Send a message and wait for the turn's end."""
        stream = await self.send(conversation, text, who)
        result = await asyncio.wait_for(stream.wait(), 10)
        await self.settle(stream.turn_id)
        return result

    def alone(self) -> None:
        """From here on this process is the only one over its database."""
        self.services.limits = replace(self.services.limits, sole_owner=True)

    async def end_elsewhere(self, turn_id: str) -> None:
        """What another process does that takes a turn over and ends it."""
        services, turn = self.services, await self.stored(turn_id)
        end = TurnEnd(TurnStatus.FAILED, error_code="elsewhere", error_message="ended by another process")
        async with services.db.batch() as batch:
            services.leases.take_over(batch, turn, owner="another", lease_micros=1_000_000, sole_owner=True)
            services.conversations.end(batch, replace(turn, epoch=turn.epoch + 1), end, at=services.clock.micros())

    async def settle(self, turn_id: str) -> None:
        """Wait until the turn's task is gone, which is a little after its last event."""
        task = self.services.running.get(turn_id)
        if task is not None:
            await asyncio.wait([task])

    async def stored(self, turn_id: str) -> Turn:
        turn = await self.services.conversations.find_turn("default", turn_id)
        assert turn is not None
        return turn

    async def turn_messages(self, turn_id: str) -> list[StoredMessage]:
        return await self.services.conversations.turn_messages("default", turn_id)

    async def answer(self, turn_id: str) -> str:
        """The answer as the transcript has it."""
        messages = await self.turn_messages(turn_id)
        return next((each.content for each in reversed(messages) if each.role == "assistant"), "")

    async def calls(self, turn_id: str) -> list[tuple[str, str]]:
        """(name, status) of the turn's tool calls, in order."""
        return [(each.name, each.status) for each in await self.services.conversations.turn_calls("default", turn_id)]

    async def awaiting(self, conversation: Conversation) -> str | None:
        found = await self.services.conversations.find(conversation.tenant_id, conversation.id)
        return found.awaiting.kind if found.awaiting else None


def background_over(db: Database) -> Background:
    """Exports go to a folder of their own; jobs are off."""
    return Background(
        outbox=Outbox(db),
        runs=JobRuns(db),
        executors=Executors(db),
        conversations=ConversationRetention(db),
        approvals=ApprovalRetention(db),
        escalations=EscalationRetention(db),
        traces=TraceRetention(),
        feedback=FeedbackRetention(),
        export=ConversationExport(db),
        exports=ExportFolder(Path(tempfile.gettempdir()) / f"handrail-exports-{os.getpid()}"),
        subjects=SubjectRecords(db),
        erasures=ErasureLog(db),
        vault=TokenVault(db),
    )


_owners = itertools.count(1)


def _own_folder(what: str) -> Path:
    """Made when something is put there, which most tests don't."""
    return Path(tempfile.gettempdir()) / f"handrail-{what}-{os.getpid()}-{next(_owners)}"


async def secret_of(tenant_id: str) -> bytes:
    """What a test's tenant hashes words with."""
    return b"search " + tenant_id.encode()


async def world_over(
    db: Database,
    clock: Clock,
    *,
    deadline_seconds: float = 5.0,
    burst: int = 10_000,
    project: Mapping[str, str] = PROJECT,
    sole_owner: bool = False,
    admission: AdmissionLimits = AdmissionLimits(),
    encryption: Encryption | None = None,
) -> World:
    """Services as `bootstrap` builds them, but over this database and clock, with the project made and used."""
    encryption = encryption or Encryption(db, _own_folder("keys"), None, clock)
    await encryption.start()
    counting, metrics = CountingDatabase(encryption.sealed(SEALED)), Metrics()
    keys = KeyStore(counting)
    audit = AuditTrail(counting, AuditStore(counting), AUDIT_KEYS, clock)
    services = Services(
        clock=clock,
        db=counting,
        limits=TurnLimits(deadline_seconds=deadline_seconds, owner=f"test-{next(_owners)}", sole_owner=sole_owner),
        authenticator=Authenticator(keys, clock, OPERATOR_TOKEN),
        keys=keys,
        sessions=SessionStore(counting),
        links=SignInLinks(counting),
        sign_in_rates=Rate(RateLimiter(clock, per_minute=600, burst=1000)),
        rate_limits=RateLimiter(clock, per_minute=60, burst=burst),
        conversations=ConversationStore(counting),
        leases=LeaseStore(counting),
        streams=Streams(),
        releases=Releases(
            counting, ModelRegistry(ModelConnections(), {}, extract=extract), clock, train=_train_once, audit=audit
        ),
        tool_runner=ToolRunner(most_threads=4),
        escalations=EscalationStore(counting),
        usage=UsageStore(counting),
        feedback=FeedbackStore(counting),
        feedback_rates=Rate(RateLimiter(clock, per_minute=600, burst=1000)),
        channel_tests=Rate(RateLimiter(clock, per_minute=6, burst=3, what="channel tests")),
        facts=FactStore(counting),
        search=SearchStore(counting, SearchKeys(secret_of)),
        traces=TraceWriter(counting, on_dropped=metrics.traces_dropped),
        approvals=ApprovalStore(counting),
        audit=audit,
        breakers=Breakers(clock, on_change=metrics.breaker_changed),
        retries=Retries(random.Random(0), RetryPolicy(base_seconds=0.001), on_retry=metrics.retried),
        bulkhead=Bulkhead(lambda key: 8),
        admission=Admission(clock, admission, on_refused=metrics.refused),
        last_good=LastGood(clock),
        switches=Switchboard(),
        switch_store=SwitchStore(counting),
        background=background_over(counting),
        encryption=encryption,
        privacy=Privacy(Mint(AUDIT_KEYS.tokens), TokenVault(counting)),
        metrics=metrics,
        alerts=Alerts(AlertStore(db), sender=RecordingSender(("ops", "boss"))),
        default_agent="shop",
    )
    await services.authenticator.start()
    sources = Sources({path: text.encode() for path, text in project.items()})
    release = await services.releases.create("default", sources, author="test")
    await services.releases.use("default", release.id)
    loaded = await services.releases.load("default", release.id)
    head = TableHead()
    loaded.head = head  # pyright: ignore[reportAttributeAccessIssue]
    counting.commits.clear()
    return World(services, loaded, head, counting)


async def closed(world: World) -> None:
    """End what still runs, so that a test leaves nothing to the next one."""
    # Nobody stands in front of what a task commits when it is cancelled.
    world.db.before_commit = None
    tasks = list(world.services.running.values())
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=5)
    world.services.tool_runner.close()
    await world.services.encryption.close()


def text_of(seen: Sequence[Event]) -> str:
    """What a client shows: deltas appended, a restart replacing everything."""
    text = ""
    for event in seen:
        if event.name == "message.restarted":
            text = event.data["text"]
        elif event.name == "message.delta":
            text += event.data["text"]
    return text


async def events_of(stream: TurnStream) -> list[Event]:
    return [event async for event in stream.follow()]


async def until(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for something that another task does."""
    ends = asyncio.get_running_loop().time() + seconds
    while not holds():
        assert asyncio.get_running_loop().time() < ends, "it did not happen in time"
        await asyncio.sleep(0.005)
