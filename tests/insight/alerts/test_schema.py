"""`alerts.yaml` is checked with file and line."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handrail.core.documents import Problem, ProjectError, parse_yaml, validate
from handrail.insight.alerts import AlertsFile, read_alerts

GOOD = """
rules:
  error_rate: {above: 0.1, for: 2m, severity: warning}
  traffic_drop: {enabled: false}
  unusual_user: {side_effects: 3, labels: {team: fraud}}
routes:
- match: {severities: [critical]}
  to: [oncall]
  escalate: {after: 15m, to: [boss]}
- to: [ops]
teams: {payments: [ops]}
maintenance:
- {name: backup, days: [sun], at: "02:00", lasts: 2h}
- {name: move, from: 2026-11-28T22:00:00Z, until: 2026-11-29T02:00:00Z, match: {labels: {agent: shop}}}
"""


def read(text: str) -> AlertsFile:
    return validate(parse_yaml("alerts.yaml", text), AlertsFile)


def test_a_good_file_is_taken_over_the_defaults() -> None:
    file = read(GOOD)
    assert (file.rules.error_rate.above, file.rules.error_rate.for_seconds) == (0.1, 120)
    assert file.rules.error_rate.minimum_turns == 20
    assert not file.rules.traffic_drop.enabled
    assert file.rules.latency_slo.enabled


def test_an_empty_file_is_the_defaults() -> None:
    assert read("") == AlertsFile()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules:\n  error_rat: {}\n", "alerts.yaml:2: 'rules.error_rat' is not known here"),
        ("rules:\n  error_rate: {above: 5}\n", "alerts.yaml:2: rules.error_rate.above"),
        ("rules:\n  error_rate:\n    for: soon\n", "alerts.yaml:3: rules.error_rate.for"),
        ("routes:\n- match: {rules: [nonsense]}\n  to: []\n", "there is no rule 'nonsense'"),
        ("routes:\n- to: [ops]\n  escalate: {after: 5m, to: []}\n", "alerts.yaml:3"),
        ("routes:\n- to: []\n  escalate: {after: 5m, to: [boss]}\n", "name who is told before 'escalate'"),
        ("maintenance:\n- {name: x, at: '02:00'}\n", "give 'from' and 'until', or 'days', 'at' and 'lasts'"),
        ("maintenance:\n- {name: x, from: 2026-01-01T00:00:00Z, until: 2025-01-01T00:00:00Z}\n", "is not after"),
        ("rules: {error_rate: {enabled: yes}, error_rate: {}}\n", "is given twice"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ProjectError, match=re.escape(said)):
        read(text)


@pytest.mark.parametrize(
    ("day", "hour", "covered"), [(29, 3, True), (29, 1, False), (29, 4, False), (28, 3, False), (30, 3, False)]
)
def test_a_weekly_window_comes_every_week(day: int, hour: int, covered: bool) -> None:
    # 29 November 2026 is a Sunday.
    window = read(GOOD).maintenance[0]
    assert window.covers(datetime(2026, 11, day, hour, tzinfo=UTC).timestamp()) is covered


def test_a_window_over_midnight_goes_on_after_it() -> None:
    window = read("maintenance: [{name: night, days: [sat], at: '23:00', lasts: 2h}]").maintenance[0]
    assert window.covers(datetime(2026, 11, 29, 0, 30, tzinfo=UTC).timestamp())
    assert not window.covers(datetime(2026, 11, 28, 0, 30, tzinfo=UTC).timestamp())


def test_a_single_window_ends() -> None:
    window = read(GOOD).maintenance[1]
    assert window.covers(datetime(2026, 11, 28, 23, tzinfo=UTC).timestamp())
    assert not window.covers(datetime(2026, 11, 29, 2, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        (
            "- to: [ops]\n- match: {severities: [critical]}\n  to: [boss]\n",
            "alerts.yaml:3: this route is never",
        ),
        ("- {match: {rules: [job_failed]}, to: [a]}\n- {match: {rules: [job_failed]}, to: [b]}\n", "matches the same"),
    ],
)
def test_a_route_that_is_never_reached_is_a_mistake(tmp_path: Path, routes: str, said: str) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_text(f"routes:\n{routes}")
    with pytest.raises(ProjectError) as told:
        read_alerts(path, None)
    assert said in str(told.value)


VALUES = re.compile(r"(?<=: )[^,}\n\]]+|(?<=\[)[^\],]+")
JUNK = [
    "~",
    "[]",
    "{}",
    "-1",
    ".nan",
    ".inf",
    "1e400",
    "'0s'",
    "!!bool x",
    "2026-02-30",
    "*x",
    "''",
    "x: y",
    '"\\0"',
    "@",
]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), junk=st.sampled_from(JUNK), cut=st.integers(0, 10**6), length=st.integers(0, 3))
def test_whatever_is_wrong_is_said_with_its_line(tmp_path: Path, place: int, junk: str, cut: int, length: int) -> None:
    spots = list(VALUES.finditer(GOOD))
    spot = spots[place % len(spots)]
    text = GOOD[: spot.start()] + junk + GOOD[spot.end() :]
    at = cut % len(text)
    path = tmp_path / "alerts.yaml"
    path.write_text(text[:at] + text[at + length :])
    assert all(each.line > 0 for each in problems_in(path))


def problems_in(path: Path) -> list[Problem]:
    try:
        file = read_alerts(path, ("ops", "oncall", "boss"))
    except ProjectError as error:
        return error.problems
    # What was taken can be used.
    assert all(isinstance(each.covers(0.0), bool) for each in file.maintenance)
    return []
