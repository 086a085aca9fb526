"""Any run of good and bad looks: who is told hears of it once, hears its end, and is not told without bound."""

from collections import Counter
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from handrail.core.clock import iso
from handrail.insight.alerts import Alert, AlertsFile, AlertState, Desk, Finding, Notice, Places, Silence, look, tell
from handrail.insight.alerts.lifecycle import FLAP_SECONDS, MOST_FLAPS, SECOND
from handrail.insight.alerts.notices import HOUR, MINUTE, SEVERAL, trace_link

FILE = AlertsFile.model_validate(
    {
        "rules": {"dependency_down": {"for": "1m", "clears_after": "2m"}},
        "routes": [{"to": ["ops"], "escalate": {"after": "10m", "to": ["boss"]}}],
        "repeat_after": "1h",
    }
)
NAMES = ("a", "b", "c")
START = 1_790_000_000 * SECOND


class Watched:
    """The room's two pure halves with a dictionary for a database."""

    def __init__(self) -> None:
        self.at = START
        self.known: dict[str, Alert] = {}
        self.silences: list[Silence] = []
        self.notices: list[tuple[int, Notice]] = []

    def look(self, bad: set[str], *, missing: bool = False) -> None:
        said = [] if missing else sorted(bad)
        findings = [
            Finding("dependency_down", "*", {"kind": "tool", "name": name}, "bad", f"{name} is down") for name in said
        ]
        gone = frozenset({"dependency_down"}) if missing else frozenset[str]()
        since = self.at - FLAP_SECONDS * SECOND
        recent = [each for each in self.known.values() if each.is_open or (each.resolved_at or 0) > since]
        changes = look(recent, findings, FILE.rules, self.at, missing=gone)
        after = [each.after for each in changes if each.after is not None]
        told, notices = tell(after, Desk(FILE, ("ops", "boss"), self.silences, self.at))
        for change in changes:
            if change.before is not None and change.after is None:
                del self.known[change.before.id]
        self.known |= {each.id: each for each in told}
        self.notices += [(self.at, each) for each in notices]

    def run(self, *steps: tuple[int, str]) -> None:
        """Each: so many seconds later, these are down."""
        for seconds, bad in steps:
            self.at += seconds * SECOND
            self.look(set(bad))

    def fired(self) -> list[Notice]:
        return [each for _, each in self.notices if each.kind == "firing"]


def firing(number: int, tenant_id: str) -> Alert:
    """An alert of which nobody has been told yet."""
    labels = {"kind": "tool", "name": f"n{number}"}
    return Alert(
        f"alrt_{number}", tenant_id, f"{tenant_id}/{number}", "dependency_down", "critical", labels, AlertState.FIRING,
        f"n{number} is down", {}, START, fired_at=START,
    )  # fmt: skip


class Machine(RuleBasedStateMachine):
    """Looks at any distance, with any of three things bad, silences and acknowledgements between."""

    def __init__(self) -> None:
        super().__init__()
        self.watched = Watched()

    @rule(bad=st.sets(st.sampled_from(NAMES)), seconds=st.sampled_from([1, 15, 60, 61, 300, 1900, 5000]))
    def look(self, bad: set[str], seconds: int) -> None:
        self.watched.at += seconds * SECOND
        before = dict(self.watched.known)
        self.watched.look(bad)
        self._follows(before)

    @rule(seconds=st.sampled_from([15, 300, 5000]))
    def look_without_its_source(self, seconds: int) -> None:
        self.watched.at += seconds * SECOND
        before = {each.id: each.state for each in self.watched.known.values()}
        self.watched.look(set(), missing=True)
        assert {each.id: each.state for each in self.watched.known.values()} == before

    @rule(name=st.sampled_from(NAMES), seconds=st.sampled_from([30, 600]))
    def silence(self, name: str, seconds: int) -> None:
        at = self.watched.at
        self.watched.silences.append(Silence("s", "*", {"name": name}, at, at + seconds * SECOND, "why", "op", at))

    @rule()
    def acknowledge(self) -> None:
        for each in list(self.watched.known.values()):
            if each.state is AlertState.FIRING:
                self.watched.known[each.id] = replace(each, acknowledged_at=self.watched.at, acknowledged_by="op")

    def _follows(self, before: dict[str, Alert]) -> None:
        allowed = {
            None: {"pending"},
            "pending": {"pending", "firing", "resolved", None},
            "firing": {"firing", "resolved"},
            "resolved": {"resolved", "pending"},
        }
        for alert_id in before | self.watched.known:
            was, now = before.get(alert_id), self.watched.known.get(alert_id)
            assert (now.state.value if now else None) in allowed[was.state.value if was else None]

    @invariant()
    def one_alert_at_a_time_has_a_fingerprint(self) -> None:
        counted = Counter(each.fingerprint for each in self.watched.known.values() if each.is_open)
        assert all(count == 1 for count in counted.values())

    @invariant()
    def no_notice_is_written_twice(self) -> None:
        counted = Counter(each.id for _, each in self.watched.notices)
        assert all(count == 1 for count in counted.values())

    @invariant()
    def who_was_told_that_it_fires_hears_that_it_is_over(self) -> None:
        for alert in self.watched.known.values():
            mine = [each for _, each in self.watched.notices if alert.id in each.alert_ids]
            for channel in ("ops", "boss"):
                kinds = [each.kind for each in mine if each.channel == channel]
                begun = [kind for kind in kinds if kind in ("firing", "escalated")]
                assert kinds.count("resolved") <= len(begun)
                if alert.state is AlertState.RESOLVED:
                    assert not kinds or kinds[-1] == "resolved"

    @invariant()
    def what_comes_and_goes_is_told_of_a_bounded_number_of_times(self) -> None:
        for alert in self.watched.known.values():
            mine = [at for at, each in self.watched.notices if alert.id in each.alert_ids and each.kind == "firing"]
            window = [at for at in mine if at > self.watched.at - FLAP_SECONDS * SECOND]
            assert len(window) <= MOST_FLAPS + 2


def test_any_run_of_looks_keeps_the_promises() -> None:
    few = settings(max_examples=50, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow])
    run_state_machine_as_test(Machine, settings=few)


class TestOneAlert:
    def test_it_is_told_after_it_held_and_when_it_is_over(self) -> None:
        watched = Watched()
        watched.run((0, "a"), (30, "a"), (30, "a"), (15, "a"), (15, ""), (60, ""), (60, ""))
        assert [(each.kind, each.title) for _, each in watched.notices] == [
            ("firing", "[critical] dependency down of a"),
            ("resolved", "Resolved: dependency down of a"),
        ]
        first = watched.notices[0][1]
        assert first.body.splitlines() == [
            "a is down",
            "  kind=tool, name=a; since 2026-09-21T14:14:20.000Z",
            "  traces: /console/conversations?agent=a&outcome=tool_failed&since=2026-09-21T13%3A13Z",
            f"alert: /console/alerts/{first.alert_ids[0]}",
            "runbook: docs/runbooks/alerts.md#dependency_down",
        ]

    def test_one_that_does_not_hold_is_nothing(self) -> None:
        watched = Watched()
        watched.run((0, "a"), (30, ""))
        assert (watched.known, watched.notices) == ({}, [])

    def test_two_that_begin_together_are_one_message_and_a_third_waits_for_others(self) -> None:
        watched = Watched()
        watched.run((0, "ab"), (30, "abc"), (30, "abc"), (30, "abc"), (30, "abc"))
        assert [(at - START) // SECOND for at, _ in watched.notices] == [60, 120]
        assert [each.title for each in watched.fired()] == [
            "[critical] dependency down (2 alerts)",
            "[critical] dependency down of c",
        ]

    def test_hundreds_that_fire_at_once_are_one_message_that_names_the_first(self) -> None:
        _, (notice,) = tell([firing(number, "acme") for number in range(500)], Desk(FILE, ("ops",), [], START))
        assert (notice.title, notice.tenant_id) == ("[critical] dependency down (500 alerts)", "acme")
        assert len(notice.body) < 3_000
        assert "and 490 more" in notice.body

    @pytest.mark.parametrize(("tenants", "messages"), [(5, 5), (6, 1), (500, 1)])
    def test_an_outage_of_all_tenants_is_one_message_that_none_of_them_is_shown(
        self, tenants: int, messages: int
    ) -> None:
        alerts = [firing(number, f"t{number}") for number in range(tenants)]
        changed, notices = tell(alerts, Desk(FILE, ("ops",), [], START))
        assert len(notices) == messages
        assert all(each.told == ("ops",) for each in changed)
        if messages == 1:
            assert notices[0].title == f"[critical] dependency down ({tenants} alerts in {tenants} tenants)"
            assert notices[0].tenant_id == SEVERAL

    @pytest.mark.parametrize(
        "name",
        [
            "@everyone",
            "<!channel>",
            "<@U123>",
            "[click](https://evil.example)",
            "x\r\nBcc: eve@evil.example",
            "\u202ex",
        ],
    )
    def test_a_name_calls_nobody_and_is_no_link_or_header(self, name: str) -> None:
        alert = replace(firing(1, f"of {name}"), labels={"name": name}, said=f"tool {name}: it failed")
        _, (notice,) = tell([alert], Desk(FILE, ("ops",), [], START))
        asked = Notice.about("digest", "ops", "acme", "x", f"Agents of {name}", f"for {name}")
        text = notice.title + notice.body + asked.title + asked.body
        assert not any(bad in text for bad in ("@everyone", "<!channel", "<@U", "](", "\r", "\u202e"))
        assert "\n" not in notice.title + asked.title
        assert "https://evil" not in notice.title + notice.body

    def test_nobody_is_told_while_it_is_silenced_and_afterwards_they_are(self) -> None:
        watched = Watched()
        until = START + 300 * SECOND
        watched.silences = [Silence("s", "*", {"rule": "dependency_down"}, START, until, "w", "op", START)]
        watched.run((0, "a"), (60, "a"), (60, "a"), (60, "a"), (119, "a"))
        assert watched.notices == []
        watched.run((1, "a"))
        assert len(watched.fired()) == 1

    def test_a_silence_of_one_tenant_does_not_hold_for_another(self) -> None:
        watched = Watched()
        watched.silences = [Silence("s", "acme", {}, START, START + 3600 * SECOND, "w", "op", START)]
        watched.run((0, "a"), (60, "a"))
        assert len(watched.fired()) == 1

    def test_without_acknowledgement_it_goes_to_the_next_and_is_told_again(self) -> None:
        watched = Watched()
        watched.run(*[(60, "a")] * 80)
        assert [(each.kind, each.channel) for _, each in watched.notices] == [
            ("firing", "ops"),
            ("escalated", "boss"),
            ("repeated", "ops"),
            ("repeated", "boss"),
        ]

    def test_what_somebody_acknowledged_is_told_no_more(self) -> None:
        watched = Watched()
        watched.run(*[(60, "a")] * 3)
        (alert,) = watched.known.values()
        watched.known = {alert.id: replace(alert, acknowledged_at=watched.at, acknowledged_by="op")}
        watched.run(*[(60, "a")] * 80)
        assert [each.kind for _, each in watched.notices] == ["firing"]

    def test_one_that_comes_back_is_the_same_one(self) -> None:
        watched = Watched()
        watched.run(*((61, bad) for bad in ("a", "a", "", "", "", "a", "a")))
        (alert,) = watched.known.values()
        assert (alert.state, alert.flaps) == (AlertState.FIRING, 1)
        assert "it came back once" in watched.fired()[1].body

    def test_one_that_comes_and_goes_is_told_of_a_few_times_and_again_once_it_stays(self) -> None:
        watched = Watched()
        for _ in range(12):
            watched.run((30, "a"), (60, "a"), (1, ""), (120, ""))
        assert len(watched.fired()) == MOST_FLAPS + 1
        assert [each.kind for _, each in watched.notices] == ["firing", "resolved"] * (MOST_FLAPS + 1)
        watched.run((30, "a"), (60, "a"), (FLAP_SECONDS - 1, "a"))
        assert len(watched.fired()) == MOST_FLAPS + 1
        watched.run((1, "a"))
        assert len(watched.fired()) == MOST_FLAPS + 2


@pytest.mark.parametrize(
    ("rule", "labels", "filters"),
    [
        ("error_rate", {"agent": "my shop"}, "agent=my+shop&happened=error&since={hour}"),
        ("latency_slo", {"agent": "shop"}, "agent=shop&min_seconds=5&since={hours}"),
        ("quality_drop", {"agent": "shop", "measure": "thumbs_down"}, "agent=shop&outcome=thumbs_down&since={day}"),
        ("traffic_drop", {"agent": "shop"}, "agent=shop&since={hour}"),
        ("dependency_down", {"kind": "tool", "name": "shop/get_order"}, "agent=shop&outcome=tool_failed&since={hour}"),
        ("dependency_down", {"kind": "model", "name": "api.example.com/large"}, "since={hour}"),
        (
            "unusual_user",
            {"principal": "hmac:1", "measure": "tripped"},
            "subject=hmac%3A1&outcome=tripped&since={hour}",
        ),
        ("unusual_user", {"principal": "hmac:1", "measure": "turns"}, "subject=hmac%3A1&since={hour}"),
    ],
)
def test_an_alert_leads_to_the_conversations_behind_it_at_its_time(
    rule: str, labels: dict[str, str], filters: str
) -> None:
    numbers = {"limit_seconds": 5.0} if rule == "latency_slo" else {}
    alert = look([], [Finding(rule, "acme", labels, "bad", "it is bad", numbers)], FILE.rules, START)[0].after
    assert alert is not None
    desk = Desk(FILE, ("ops",), (), START, Places("https://agents.example.com"))
    before = {"hour": 1, "hours": 6, "day": 24}
    times = {name: quote(f"{iso(START - hours * HOUR)[:16]}Z") for name, hours in before.items()}
    link = f"https://agents.example.com/console/conversations?{filters.format(**times)}"
    assert trace_link(alert, desk) == link
    over = replace(alert, resolved_at=START + HOUR)
    assert trace_link(over, desk) == f"{link}&until={quote(f'{iso(START + HOUR + MINUTE)[:16]}Z')}"


def test_an_alert_of_nothing_that_is_said_leads_nowhere() -> None:
    alert = look([], [Finding("job_failed", "*", {"job": "x"}, "bad", "it failed")], FILE.rules, START)[0].after
    assert alert is not None
    assert trace_link(alert, Desk(FILE, ("ops",), (), START, Places("https://agents.example.com"))) is None


def test_a_failing_channel_is_told_of_on_the_others() -> None:
    failing = Finding("channel_failing", "*", {"channel": "ops"}, "bad", "no answer")
    alert = look([], [failing], FILE.rules, START)[0].after
    assert alert is not None
    _, notices = tell([alert], Desk(FILE, ("ops", "boss"), (), START))
    assert [each.channel for each in notices] == ["boss"]
    _, nobody = tell([alert], Desk(FILE, ("ops",), (), START))
    assert nobody == []
