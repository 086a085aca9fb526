"""Alerts: once in a cluster and every few seconds the rules are looked at, and who is concerned is told.

What an alert became and the notices that tell of it are one batch, under a lease: a process that is killed at any point
leaves an alert either told of or not, never twice. Sending comes after it and at least once; every message carries a
key by which a receiver knows it again.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any

from handrail.core.errors import HandrailError
from handrail.db import Conflict, StoreUnavailable
from handrail.flows.keepers import every
from handrail.flows.services import Services
from handrail.flows.signals import LOOKS_A_REPORT, signals_of
from handrail.insight.alerts import Alert, AlertState, Change, Delivery, Finding, Notice, RuleState, judge, look, tell
from handrail.serving.resilience import named
from handrail.telemetry.logging import logger

ALERTS = "alerts"
SEND_SECONDS = 2.0
# A process that was stopped in the middle of sending, and not killed, must not find that another has sent it too.
CLAIM_SECONDS = 60.0
FIRST_WAIT_SECONDS, MOST_WAIT_SECONDS = 15.0, 900.0
MOST_ATTEMPTS = 10
UNREACHABLE_SECONDS = 60.0
SAID_SECONDS = 300.0
_ORDER = {"bad": 2, "quiet": 1, "fine": 0}


def keep(services: Services) -> list["asyncio.Task[None]"]:
    """Look and send for as long as the process lives; cancel the tasks to stop."""
    if services.alerts.config.problem is not None:
        logger().error("the shipped alert rules hold", error=services.alerts.config.problem)
    loop = asyncio.get_running_loop()
    return [
        loop.create_task(every(services.alerts.every_seconds, partial(watch, services), ALERTS)),
        loop.create_task(every(SEND_SECONDS, partial(send, services), ALERTS)),
    ]


async def close(services: Services) -> None:
    """Let another process look at once."""
    if services.alerts.lease is not None:
        services.alerts.lease = None
        try:
            await services.alerts.store.let_go(services.limits.owner)
        except HandrailError as error:
            logger().warning("the lease of alerts runs out by itself", code=error.code, error=error.message)


async def watch(services: Services) -> None:
    """One look, if it is this process that looks; without the database nothing but that is told."""
    renew(services)
    try:
        await report(services)
        if await _holds(services):
            await evaluate(services)
        else:
            # What another process sees now is not for this one to tell.
            services.metrics.alerts_fire([])
    except StoreUnavailable:
        await _tell_of_the_store(services)
        raise
    services.alerts.unreachable_since = None


def renew(services: Services, *, anyway: bool = False) -> None:
    """Take the file of rules anew when it changed; a bad one leaves the old rules and is told of."""
    config = services.alerts.config
    if not config.renew(anyway=anyway):
        return
    if config.problem is not None:
        logger().error("the alert rules stay as they were", error=config.problem)
    else:
        logger().info("the alert rules were read again")


async def _holds(services: Services) -> bool:
    alerts = services.alerts
    alerts.lease = await alerts.store.hold(services.limits.owner, seconds=max(5.0, 3 * alerts.every_seconds))
    return alerts.lease is not None


async def report(services: Services) -> None:
    """Say what only this process knows: what it finds down, and what it lost. Silence is said once in a while."""
    alerts, at = services.alerts, services.clock.micros()
    said = _seen(services)
    # A clock that was put back must not keep it silent until it is as late again.
    is_due = abs(at - alerts.said_at) >= LOOKS_A_REPORT * alerts.every_seconds * 1_000_000 / 2
    if said == alerts.said and not (is_due and any(said.values())):
        return
    await alerts.store.report(services.limits.owner, said)
    alerts.said, alerts.said_at = said, at


def _seen(services: Services) -> dict[str, Any]:
    down: list[tuple[str, str, str]] = []
    for each in services.breakers.states():
        # While it probes it is not back yet.
        if each.state.value != "closed" and each.forced_reason is None:
            down.append((*named(each.key), f"its breaker opened ({each.reason or 'calls failed'})"))
    if services.valkey is not None and not services.valkey.is_up:
        down.append(("shared_state", "valkey", "it does not answer, so every process counts for itself"))
    jobs = services.background.engine.state
    if jobs not in ("running", "off"):
        down.append(("jobs", "engine", jobs))
    if services.alerts.config.problem is not None:
        down.append(("alerts", "alerts.yaml", "it has mistakes, so the rules before it hold; the log names them"))
    lost = services.alerts.lost_lately(services.clock.micros())
    return ({"down": down} if down else {}) | ({"traces_dropped": lost} if lost else {})


async def evaluate(services: Services) -> list[Change]:
    """Look at every rule, and store what became of each alert with the notices of it. What was changed is returned."""
    alerts, at = services.alerts, services.clock.micros()
    lease, rules = alerts.lease, alerts.config.file.rules
    assert lease is not None, "one looks who holds the lease"
    signals = await signals_of(services, at)
    findings = judge(rules, signals)
    seen = look(await alerts.store.known(), findings, rules, at, missing=signals.missing)
    after = [each.after for each in seen if each.after is not None]
    told, notices = tell(after, alerts.desk(await alerts.store.silences(), at))
    final = {each.id: each for each in told}
    changes = [Change(each.before, final[each.after.id] if each.after else None) for each in seen]
    changes = [each for each in changes if each.before != each.after]
    said = await _said(services, findings)
    try:
        async with services.db.batch() as batch:
            if changes or said or notices:
                alerts.store.fence(batch, lease)
            for change in changes:
                alerts.store.apply(batch, change)
            for notice in notices:
                alerts.store.add_notice(batch, notice)
            for state, is_new in said:
                alerts.store.say(batch, state, is_new=is_new)
    except Conflict:
        # Somebody acknowledged at the same moment, or the lease is another's: the next look sees it.
        logger().info("a look at the alerts is done again")
        return []
    _count(services, changes, told)
    return changes


async def _said(services: Services, findings: Sequence[Finding]) -> list[tuple[RuleState, bool]]:
    """What each rule says for each tenant, where it is not what it said before; the worst word counts."""
    known = {(each.tenant_id, each.rule): each for each in await services.alerts.store.rule_states(None)}
    worst: dict[tuple[str, str], RuleState] = {}
    for each in findings:
        key = (each.tenant_id, each.rule)
        if key not in worst or _ORDER[each.state] > _ORDER[worst[key].state]:
            worst[key] = RuleState(each.tenant_id, each.rule, each.state, each.said)
    # The words carry numbers that change at every look: they are written now and then, a new state at once.
    old = services.clock.micros() - SAID_SECONDS * 1_000_000
    return [
        (state, key not in known)
        for key, state in worst.items()
        if (was := known.get(key)) is None
        or was.state != state.state
        or (was.said != state.said and was.changed_at < old)
    ]


def _count(services: Services, changes: Sequence[Change], told: Sequence[Alert]) -> None:
    firing = [(each.rule, each.severity) for each in told if each.state is AlertState.FIRING]
    services.metrics.alerts_fire(firing)
    for change in changes:
        was, now = (None if each is None else each.state for each in (change.before, change.after))
        if change.after is None or was == now:
            continue
        if now is AlertState.FIRING:
            logger().warning("an alert fires", rule=change.after.rule, alert_id=change.after.id, said=change.after.said)
        elif now is AlertState.RESOLVED and was is AlertState.FIRING:
            logger().info("an alert is resolved", rule=change.after.rule, alert_id=change.after.id)


async def send(services: Services) -> int:
    """Send what is due, every channel by itself, and note what became of it; how many were taken.

    What somebody has silenced meanwhile waits for the end of that, however often a channel has refused it before; and
    nobody is told that something fires after it is over.
    """
    alerts, lease = services.alerts, services.alerts.lease
    if lease is None:
        return 0
    due = await alerts.store.due()
    if not due:
        return 0
    silenced, over = await _untold(services, due)
    try:
        async with services.db.batch() as batch:
            alerts.store.fence(batch, lease)
            for each in due:
                alerts.store.claim(batch, each, seconds=CLAIM_SECONDS)
            for notice_id in over:
                alerts.store.drop(batch, notice_id, why="it was over before the channel took the message")
    except Conflict:
        return 0
    due = [each for each in due if each.notice.id not in silenced | over]
    by_channel = groupby(sorted(due, key=lambda each: each.notice.channel), key=lambda each: each.notice.channel)
    taken = await asyncio.gather(*(_send(services, channel, list(group)) for channel, group in by_channel))
    return sum(taken)


async def _untold(services: Services, due: Sequence[Delivery]) -> tuple[set[str], set[str]]:
    """Notices of alerts that fire: of those that nobody is to be told of now, and of those that are all over."""
    alerts = services.alerts
    asked = [each.notice for each in due if each.notice.kind in ("firing", "escalated", "repeated")]
    asked = [each for each in asked if each.alert_ids]
    if not asked:
        return set(), set()
    desk = alerts.desk(await alerts.store.silences(), services.clock.micros())
    firing = {each.id: each for each in await alerts.store.known() if each.state is AlertState.FIRING}
    quiet = {key for key, alert in firing.items() if desk.is_silenced(alert)}
    there = {notice.id: [key for key in notice.alert_ids if key in firing] for notice in asked}
    silenced = {notice_id for notice_id, keys in there.items() if keys and quiet.issuperset(keys)}
    return silenced, {notice_id for notice_id, keys in there.items() if not keys}


async def _send(services: Services, channel: str, due: Sequence[Delivery]) -> int:
    alerts, attempts = services.alerts, {each.notice.id: each.attempts for each in due}
    outcomes = await alerts.sender.send(channel, [each.notice for each in due])
    async with services.db.batch() as batch:
        for outcome in outcomes:
            if outcome.error:
                wait = wait_after(attempts[outcome.notice_id])
                alerts.store.failed(batch, outcome.notice_id, error=outcome.error, wait_seconds=wait)
            else:
                alerts.store.sent(batch, outcome.notice_id)
    for outcome in outcomes:
        services.metrics.notice_sent(channel, "failed" if outcome.error else "sent")
        if outcome.error:
            logger().error("a channel of alerts takes no message", channel=channel, error=outcome.error)
    return len([each for each in outcomes if not each.error])


def wait_after(attempts: int) -> float | None:
    """How long to wait after so many attempts and one more; None when it is given up, after about an hour."""
    if attempts + 1 >= MOST_ATTEMPTS:
        return None
    return min(FIRST_WAIT_SECONDS * 2**attempts, MOST_WAIT_SECONDS)


async def _tell_of_the_store(services: Services) -> None:
    """Once, after a minute: every channel, from memory, since nothing can be stored."""
    alerts, at = services.alerts, services.clock.micros()
    if alerts.unreachable_since is None:
        alerts.unreachable_since = at
    if not 0 < alerts.unreachable_since <= at - UNREACHABLE_SECONDS * 1_000_000:
        return
    # So that it is told once in this outage.
    hour, alerts.unreachable_since = alerts.unreachable_since // 3_600_000_000, -1
    title = "[critical] the database of Handrail does not answer"
    body = (
        f"It has not answered for {UNREACHABLE_SECONDS:.0f} s: no turn begins, and no other alert is looked at.\n"
        f"runbook: {alerts.places.runbooks or 'docs/runbooks/alerts.md'}#database"
    )
    for channel in alerts.sender.channels:
        notice = Notice.about("firing", channel, "*", f"store/{hour}", title, body)
        for outcome in await alerts.sender.send(channel, [notice]):
            services.metrics.notice_sent(channel, "failed" if outcome.error else "sent")
