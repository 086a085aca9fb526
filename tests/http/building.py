"""A customer with one of everything that a route may name, and the keys of everybody who may want to see it."""

from dataclasses import dataclass
from typing import Any

import httpx2

from handrail.core.principal import Principal, Role
from handrail.flows.alert_desk import SilenceWanted, desk_of
from handrail.flows.delegation import delegate
from handrail.flows.switches import SwitchWanted, switch_off
from handrail.insight.alerts import Finding, RecordingSender, Rules, look
from handrail.oversight.approvals import Approval, Clause, GuardedCall, Question, Requirement, Risk, opened
from tests.http.api import Api
from tests.http.expectations import EXPECTATIONS, STAFF


@dataclass
class Building:
    """The things of one customer, and the keys of everybody else."""

    api: Api
    names: dict[str, str]
    owner: str
    others: dict[str, str]
    staff: dict[Role, str]

    async def ask(self, route: str, key: str | None) -> httpx2.Response:
        method, _, path = route.partition(" ")
        expects = EXPECTATIONS[route]
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return await self.api.client.request(
            method, (path + expects.query).format(**self.names), json=self.filled(expects.body), headers=headers
        )

    async def look(self, route: str, who: Principal | None) -> httpx2.Response:
        """The route as the browser of somebody who is signed in asks for it, or of nobody."""
        method, _, path = route.partition(" ")
        headers = {"sec-fetch-site": "same-origin"}
        if who is not None:
            services = self.api.world.services
            async with services.db.batch() as batch:
                _, cookie = services.sessions.begin(batch, who, at=services.clock.micros())
            headers["cookie"] = f"handrail={cookie}"
        address = (path + EXPECTATIONS[route].query).format(**self.names)
        return await self.api.client.request(method, address, headers=headers)

    def filled(self, body: Any) -> Any:
        """The body with the names of this building."""
        if isinstance(body, str):
            return body.format(**self.names)
        if isinstance(body, list):
            return [self.filled(each) for each in body]
        return {name: self.filled(each) for name, each in body.items()} if isinstance(body, dict) else body


async def waiting_approval(api: Api, conversation: str, turn: str) -> Approval:
    """Something that waits for a person, asked for by the owner."""
    clause = Clause("mails", 1, frozenset({Role.APPROVER}))
    requirement = Requirement(Risk.HIGH, (clause,), False, 3600, "a mail")
    call = GuardedCall("default", conversation, turn, "call_x", "shop", "rel_x", "ana", "send_mail", {"text": "plum"})
    approval = opened(call, requirement, api.world.services.clock.micros())
    async with api.world.services.db.batch() as batch:
        api.world.services.approvals.open(batch, approval)
    return approval


async def question_about(api: Api, approval: Approval) -> str:
    question = Question("vote_x", "default", approval.id, approval.call.turn_id, "olga", "which one?", 1)
    async with api.world.services.db.batch() as batch:
        api.world.services.approvals.questions.add(batch, question)
    return question.id


async def delegation_of(api: Api, subject: str) -> str:
    lender = Principal("default", subject, frozenset({Role.APPROVER}))
    return (await delegate(api.world.services, lender, "dora", days=1, reason=None)).id


async def tool_switch(api: Api) -> str:
    """Something that the owner's tenant has switched off."""
    operator = Principal("default", "oscar", frozenset({Role.OPERATOR}))
    wanted = SwitchWanted("tool", "refund", "plum: it pays twice")
    return (await switch_off(api.world.services, operator, wanted)).id


async def alert_and_silence_of(api: Api, tenant_id: str) -> dict[str, str]:
    """An alert of the tenant, and a silence that its operator made."""
    services, said = api.world.services, Finding("job_failed", tenant_id, {"job": "plum"}, "bad", "plum")
    services.alerts.sender = RecordingSender(("ops",))
    fired = look([], [said], Rules(), services.clock.micros())[0]
    async with services.db.batch() as batch:
        services.alerts.store.apply(batch, fired)
    operator = Principal(tenant_id, "ozzy", frozenset({Role.OPERATOR}))
    silence = await desk_of(services, operator).silence(SilenceWanted({}, 1, "plum"))
    assert fired.after is not None
    return {"alert_id": fired.after.id, "silence_id": silence["id"], "channel": "ops"}


async def build(api: Api) -> Building:
    owner = await api.key("ana")
    others = {
        "another user": await api.key("bob"),
        "another tenant": await api.key("ana", tenant="evil"),
        "another tenant's admin": await api.key("root", tenant="evil", role=Role.ADMIN),
    }
    staff = {role: await api.key(role.value, role=role) for role in STAFF}
    conversation = await api.open(owner)
    turn = await api.say(conversation, "my secret is plum", key=owner)
    await api.open(others["another user"])
    approval = await waiting_approval(api, conversation, turn["id"])
    (key, *_) = await api.world.services.keys.list("default")
    await api.world.services.traces.flush()
    names = {
        "trace_id": (await api.world.stored(turn["id"])).trace_id or "",
        "conversation_id": conversation,
        "turn_id": turn["id"],
        "release_id": api.world.release.id,
        "key_id": key.id,
        "approval_id": approval.id,
        "question_id": await question_about(api, approval),
        "delegation_id": await delegation_of(api, "lena"),
        "switch_id": await tool_switch(api),
        **await alert_and_silence_of(api, "default"),
        "fingerprint": "x",
        "name": "retention",
    }
    return Building(api, names, owner, others, staff)
