"""Schemathesis over the OpenAPI document: no request that a machine can think of is a server error or a surprise."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from handrail.core.clock import FrozenClock
from handrail.core.principal import Role
from handrail.db import Database
from handrail.insight.alerts import Finding, RecordingSender, Rules, look
from handrail.serving.models import calls
from handrail.serving.resilience import tool_key
from tests.flows.desk import Desk
from tests.flows.world import OPERATOR_TOKEN, PROJECT, closed, world_over
from tests.http.api import Api, served

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
FEW = settings(
    max_examples=3,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
RULES = """
input: {max_characters: 500}
approvals:
- {name: mails, tools: [send_mail], risk: high, expires_after: 2h, reason: "Mail: {{ args.text }}"}
"""
# Operations that can't be answered well in this test, with the reason: today there is none.
NEVER_WELL: Mapping[str, str] = {}


@dataclass(frozen=True)
class Request:
    """A request that is granted: of which operation, by whom, with what."""

    by: str = "admin"
    path: Mapping[str, str] = field(default_factory=dict[str, str])
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Any = None


@dataclass
class Shop:
    """A served shop in which something of every kind is there."""

    api: Api
    keys: dict[str, str]
    names: dict[str, str] = field(default_factory=dict[str, str])

    async def post(self, path: str, body: Any = None, by: str = "ana") -> Any:
        answer = await self.api.post(path, body, key=self.keys[by])
        assert answer.is_success, answer.text
        return answer.json()

    async def parked(self) -> tuple[str, Any]:
        """A turn of Ana's that waits for people, and what it waits for."""
        conversation = await self.post("/v1/conversations", {})
        turn = await self.post(f"/v1/conversations/{conversation['id']}/turns", {"message": "send the mail"})
        assert turn["status"] == "requires_action", turn
        shown = await self.api.get(f"/v1/approvals/{turn['approvals'][0]}", key=self.keys["olga"])
        return turn["id"], shown.json()

    async def _alerts(self) -> dict[str, str]:
        """An alert, a silence and a channel."""
        services = self.api.world.services
        services.alerts.sender = RecordingSender(("ops",))
        fired = look([], [Finding("job_failed", "default", {"job": "x"}, "bad", "x")], Rules(), services.clock.micros())
        async with services.db.batch() as batch:
            services.alerts.store.apply(batch, fired[0])
        silence = await self.post("/v1/alert-silences", {"hours": 1, "reason": "a deployment"}, by="admin")
        assert fired[0].after is not None
        return {"alert_id": fired[0].after.id, "silence_id": silence["id"], "channel": "ops"}

    async def granted(self, project: Path) -> dict[str, Request]:
        """One request of every operation that is granted; the things in them are made here, and used once."""
        conversation = (await self.post("/v1/conversations", {}))["id"]
        turn = (await self.post(f"/v1/conversations/{conversation}/turns", {"message": "hello"}))["id"]
        waiting, asked = await self.parked()
        _, decided = await self.parked()
        _, picked = await self.parked()
        cancelled, _ = await self.parked()
        question = {"decision": "info", "fingerprint": asked["fingerprint"], "reason": "Which customer?"}
        await self.post(f"/v1/approvals/{asked['id']}/decision", question, by="olga")
        told = await self.api.get(f"/v1/approvals/{asked['id']}", key=self.keys["olga"])
        await self.post("/v1/conversations", {}, by="operator")
        switch = await self.post("/v1/switches", {"kind": "tool", "name": "refund", "reason": "twice"}, by="admin")
        delegation = await self.post("/v1/delegations", {"to": "dora", "days": 1}, by="olga")
        spare = await self.post("/v1/keys", {"subject": "eve"}, by="admin")
        replaced = await self.post("/v1/keys", {"subject": "eve"}, by="admin")
        await self.post("/v1/jobs/retention/runs", by="operator")
        self.api.world.services.breakers.force_open(tool_key("shop", "opening_hours"), "it is being moved")
        await self.api.world.services.traces.flush()
        await self.api.world.services.audit.flush()
        await self.api.world.services.audit.seal()
        self.names |= await self._alerts()
        self.names |= {
            "conversation_id": conversation,
            "trace_id": (await self.api.world.stored(turn)).trace_id or "",
            "turn_id": turn,
            "approval_id": asked["id"],
            "switch_id": switch["id"],
            "delegation_id": delegation["id"],
            "key_id": spare["id"],
            "release_id": self.api.world.release.id,
            "name": "retention",
        }
        vote = {"decision": "approve", "fingerprint": decided["fingerprint"], "reason": "I looked at it"}
        votes = [{"id": picked["id"], "fingerprint": picked["fingerprint"]}]
        answer = {"question_id": told.json()["questions"][0]["id"], "answer": "the one in Oslo"}
        said = {"model": "shop", "messages": [{"role": "user", "content": "hello"}]}
        return {
            "POST /v1/conversations": Request("ana", body={}),
            "POST /v1/scorecard/baselines": Request(body={"measures": {"csat": {"value": 4, "n": 10}}}),
            "POST /v1/conversations/search": Request(body={"identifier": "ana@example.org"}),
            "GET /v1/conversations/{conversation_id}": Request("ana"),
            "GET /v1/conversation-log": Request(query={"k": "2"}),
            "GET /v1/subjects/export": Request(query={"subject": "ana"}),
            "POST /v1/conversations/{conversation_id}/turns": Request("ana", body={"message": "hello"}),
            "GET /v1/turns/{turn_id}": Request("ana"),
            "GET /v1/turns/{turn_id}/events": Request("ana"),
            "POST /v1/turns/{turn_id}/cancel": Request("ana", path={"turn_id": cancelled}),
            "GET /v1/turns/{turn_id}/approvals": Request("ana", path={"turn_id": waiting}),
            "POST /v1/turns/{turn_id}/answers": Request("ana", path={"turn_id": waiting}, body=answer),
            "POST /v1/chat/completions": Request("ana", body=said),
            "GET /v1/turns/{turn_id}/traces": Request("olga"),
            "GET /v1/conversations/{conversation_id}/traces": Request("olga"),
            "GET /v1/traces/{trace_id}": Request("olga"),
            "GET /v1/approvals": Request("olga", query={"status": "all"}),
            "POST /v1/approvals/{approval_id}/decision": Request("olga", {"approval_id": decided["id"]}, body=vote),
            "POST /v1/approvals/decisions": Request(
                "olga", body={"decision": "reject", "reason": "no", "approvals": votes}
            ),
            "POST /v1/delegations": Request("olga", body={"to": "eve", "days": 1}),
            "DELETE /v1/delegations/{delegation_id}": Request("olga"),
            "POST /v1/switches": Request(body={"kind": "tool", "name": "get_stock", "reason": "slow"}),
            "POST /v1/alerts/{alert_id}/acknowledgement": Request("operator", body={"note": "looking at it"}),
            "POST /v1/alert-silences": Request("operator", body={"hours": 2, "reason": "a deployment"}),
            "POST /v1/releases": Request("local operator", body={"project": str(project)}),
            "GET /v1/releases/{release_id}/diff": Request(query={"new": self.api.world.release.id}),
            "POST /v1/releases/{release_id}/use": Request("operator"),
            "POST /v1/jobs/{name}/runs": Request("operator"),
            "POST /v1/keys": Request(body={"subject": "eve", "role": "viewer"}),
            "POST /v1/keys/{key_id}/rotate": Request(path={"key_id": replaced["id"]}, body={"grace_seconds": 60}),
            "POST /v1/sign-in-links": Request("local operator", body={}),
            "POST /v1/conversations/{conversation_id}/feedback": Request("ana", body={"kind": "csat", "score": 4}),
            "GET /v1/conversations/{conversation_id}/feedback": Request("ana"),
            "POST /v1/conversations/{conversation_id}/events": Request(
                body={"name": "kept", "idempotency_key": "1", "amount_micros": 5, "currency": "USD"}
            ),
            "POST /v1/conversations/{conversation_id}/verdicts": Request(
                body={"turn_id": turn, "sample": "policy", "inclusion_probability": 1.0, "hallucination": False}
            ),
            "POST /v1/cache/verifications": Request(body={"hit": "hit_1", "correct": True}),
        }


@dataclass
class Attack:
    """Sends requests and keeps what was wrong with the answers."""

    shop: Shop
    seen: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    wrong: list[str] = field(default_factory=list[str])
    sent: Iterable[int] = field(default_factory=count)

    def grant(self, operation: schemathesis.APIOperation, request: Request) -> None:
        """The request that is answered well."""
        wanted = {name: self.shop.names[name] for name in self._names(operation)} | dict(request.path)
        more: dict[str, Any] = {} if request.body is None else {"body": request.body, "media_type": "application/json"}
        case = operation.Case(path_parameters=wanted, query=dict(request.query), headers=dict(request.headers), **more)
        self.send(case, request.by)

    def press(self, operation: schemathesis.APIOperation, mode: GenerationMode) -> None:
        """Requests that the document allows, or that it does not."""

        @FEW
        @given(case=operation.as_strategy(generation_mode=mode))
        def each(case: schemathesis.Case) -> None:
            turn = next(iter(self.sent))
            if turn % 2:
                # Half of the requests name things that exist; the rest would rarely come further than a 404.
                case.path_parameters.update({name: self.shop.names[name] for name in self._names(operation)})
            self.send(case, "local operator" if turn % 3 == 0 else "admin")

        with suppress(Unsatisfiable):
            # Nothing can be wrong about a request that has neither parameters nor a body.
            each()

    def send(self, case: schemathesis.Case, by: str) -> None:
        key = self.shop.keys[by]
        address = str(self.shop.api.client.base_url)
        response = case.call(base_url=address, headers={"authorization": f"Bearer {key}"}, timeout=10)
        self.seen[case.operation.label].add(response.status_code)
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as group:
            said = f"{case.operation.label} {response.status_code}: {response.text[:200]}"
            self.wrong += [f"{said}: {failure}" for failure in group.exceptions]

    def _names(self, operation: schemathesis.APIOperation) -> list[str]:
        return [each for each in self.shop.names if f"{{{each}}}" in operation.path]


@pytest.fixture
async def shop(db: Database, clock: FrozenClock, desk: Desk) -> AsyncIterator[Shop]:
    world = await world_over(db, clock, project={**PROJECT, "policies.yaml": RULES})
    world.script(_reply)
    roles = {"ana": Role.END_USER, "olga": Role.APPROVER, "admin": Role.ADMIN, "operator": Role.OPERATOR}
    async with served(world) as api:
        yield Shop(
            api,
            {name: await api.key(name, role=role) for name, role in roles.items()} | {"local operator": OPERATOR_TOKEN},
        )
    await closed(world)


def _reply(request: Any) -> Any:
    last = request.messages[-1]
    return calls(("send_mail", {"text": "hello"})) if last.content == "send the mail" else "Fine."


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An agent project on the server's disk."""
    for path, text in PROJECT.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


async def test_no_request_is_a_server_error_or_answered_otherwise_than_documented(shop: Shop, project: Path):
    document = (await shop.api.get("/openapi.json")).json()
    granted = await shop.granted(project)
    attack = Attack(shop)

    def attack_all() -> None:
        operations = [each.ok() for each in schemathesis.openapi.from_dict(document).get_all_operations()]
        for operation in operations:
            attack.grant(operation, granted.get(operation.label, Request()))
        for operation in operations:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                attack.press(operation, mode)

    await asyncio.to_thread(attack_all)
    assert attack.wrong == []
    assert {name for name, codes in attack.seen.items() if not any(code < 300 for code in codes)} == NEVER_WELL.keys()
    assert next(iter(attack.sent)) > 150
    assert {404, 422} <= set().union(*attack.seen.values())
