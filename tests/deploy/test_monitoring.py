"""What is shipped for Prometheus and Grafana: it names real metrics only, and every alert fires and is over again."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from handrail.core import json
from handrail.telemetry.metrics import Metrics
from scripts.grafana import FILE, dashboard

ROOT = Path(__file__).parent.parent.parent
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
TURNS = 'agent_requests_total{agent="a"}'
ERRORS = 'agent_errors_total{agent="a",error_type="x"}'
ATTACKS = 'guardrails_tripped_total{agent="a",guardrail="injection"}'
OBJECTIVE = 'handrail_objective_ratio{agent="a",objective="availability"}'
PROMPT = 'handrail_objective_ratio{agent="a",objective="latency"}'
SLOW = 'agent_slow_total{agent="a",latency_class="simple"}'
TIMED = 'agent_latency_seconds_count{agent="a",latency_class="simple",intent="x"}'
# By alert: what is scraped each minute, when it must fire, and when it must be over.
SCENARIOS: Mapping[str, tuple[Mapping[str, str], int, int]] = {
    "HandrailErrorBudgetBurnsFast": (
        {OBJECTIVE: "0.995x120", TURNS: "0+60x120", ERRORS: "0+0x10 30+30x29 900+0x80"},
        35,
        110,
    ),
    "HandrailErrorBudgetBurns": (
        {OBJECTIVE: "0.995x600", TURNS: "0+60x600", ERRORS: "0+0x10 4+4x110 444+0x480"},
        100,
        590,
    ),
    "HandrailSlow": ({PROMPT: "0.95x120", TIMED: "0+60x120", SLOW: "0+0x10 55+55x29 1650+0x80"}, 35, 110),
    "HandrailSlowForHours": ({PROMPT: "0.95x600", TIMED: "0+60x600", SLOW: "0+0x10 20+20x110 2220+0x480"}, 110, 590),
    "HandrailBreakerOpen": ({'handrail_breaker_state{breaker="tool:a/refund"}': "0x5 1x10 0x20"}, 10, 25),
    "HandrailDown": ({'up{job="handrail",instance="h"}': "1x5 0x10 1x20"}, 10, 25),
    "HandrailApprovalsWaitLong": ({"approvals_oldest_seconds": "0x5 4000x20 0x20"}, 20, 40),
    "HandrailNoTraffic": ({TURNS: "0+60x1450 87000+0x60 87000+60x60"}, 1500, 1560),
    "HandrailRefusesForLackOfPlace": (
        {'handrail_admission_refused_total{code="overloaded"}': "0+60x20 1200+0x30"},
        15,
        45,
    ),
    "HandrailSharedStateDown": (
        {
            "handrail_shared_state_up": "1x5 0x10 1x20",
            'handrail_shared_state_lost_total{what="rates"}': "0x5 0+10x10 100x20",
        },
        12,
        30,
    ),
    "HandrailCountsLate": ({"rollup_lag_seconds": "0x5 600x15 0x20"}, 15, 35),
    "HandrailGuardrailsTripOften": ({TURNS: "0+60x80", ATTACKS: "0+30x40 1200+0x40"}, 30, 75),
}
KEYWORDS = {
    "sum", "max", "min", "rate", "clamp_max", "group_left",
    "histogram_quantile", "and", "or", "on", "offset", "le", "up", "label_values",
}  # fmt: skip


@pytest.fixture(scope="session")
def promtool() -> str:
    found = os.environ.get("HANDRAIL_PROMTOOL") or shutil.which("promtool")
    if not found:
        pytest.skip("no promtool: install Debian's `prometheus`, or set HANDRAIL_PROMTOOL")
    return found


def rules() -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from group["rules"]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class TestPrometheus:
    def test_takes_the_rules_and_the_scrape(self, promtool: str) -> None:
        _run(promtool, "check", "rules", str(RULES))
        _run(promtool, "check", "config", str(RULES.parent / "prometheus.yml"))

    def test_sees_every_alert_fire_and_be_over(self, promtool: str, tmp_path: Path) -> None:
        assert {rule["alert"] for rule in alerts()} == SCENARIOS.keys()
        (tmp_path / "rules.yaml").write_text(RULES.read_text())
        tests = [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [_firing(name, fires, 1), _firing(name, over, 0)],
            }
            for name, (series, fires, over) in SCENARIOS.items()
        ]
        file = tmp_path / "test.yaml"
        file.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}))
        _run(promtool, "test", "rules", str(file))

    @pytest.mark.parametrize(("objective", "count"), [("0.9", 0), ("0.995", 1), ("0.5", 0), ("_", 0)])
    def test_holds_each_agent_to_its_own_objective(
        self, promtool: str, tmp_path: Path, objective: str, count: int
    ) -> None:
        name = "HandrailErrorBudgetBurnsFast"
        series = {OBJECTIVE: f"{objective}x120", TURNS: "0+60x120", ERRORS: "0+30x120"}
        series |= {each.replace('"a"', '"b"'): values for each, values in series.items()}
        series[OBJECTIVE.replace('"a"', '"b"')] = "0.995x120"
        self._tested(promtool, tmp_path, series, [_firing(name, 40, 1 + count)])

    def test_sees_an_outage_however_little_was_promised(self, promtool: str, tmp_path: Path) -> None:
        series = {OBJECTIVE: "0.3x120", PROMPT: "0.3x120", TURNS: "0+60x120", ERRORS: "0+60x120"}
        series |= {TIMED: "0+60x120", SLOW: "0+60x120"}
        names = ("HandrailErrorBudgetBurnsFast", "HandrailSlow")
        self._tested(promtool, tmp_path, series, [_firing(name, 40, 1) for name in names])

    def _tested(self, promtool: str, folder: Path, series: Mapping[str, str], expected: list[dict[str, Any]]) -> None:
        (folder / "rules.yaml").write_text(RULES.read_text())
        given = [{"series": name, "values": values} for name, values in series.items()]
        test = {"interval": "1m", "input_series": given, "promql_expr_test": expected}
        file = folder / "test.yaml"
        file.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}))
        _run(promtool, "test", "rules", str(file))

    def test_would_notice_an_alert_that_never_fires(self, promtool: str, tmp_path: Path) -> None:
        (tmp_path / "rules.yaml").write_text(RULES.read_text())
        quiet = {"interval": "1m", "input_series": [], "promql_expr_test": [_firing("HandrailDown", 10, 1)]}
        file = tmp_path / "test.yaml"
        file.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [quiet]}))
        done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, timeout=60, check=False)
        assert done.returncode != 0


def _firing(name: str, minutes: int, count: int) -> dict[str, Any]:
    expected = [{"labels": "{}", "value": count}] if count else []
    asked = f'count(ALERTS{{alertname="{name}",alertstate="firing"}})'
    return {"expr": asked, "eval_time": f"{minutes}m", "exp_samples": expected}


class TestNames:
    def known(self) -> set[str]:
        """Every series that a scrape can have; a metric with labels shows its name before it has a value."""
        text = Metrics().render().decode()
        names = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
        return names | {f"{name}{end}" for name in names for end in ("_bucket", "_sum", "_count", "_total")}

    def test_in_the_rules_are_metrics_of_ours(self) -> None:
        recorded = {rule["record"] for rule in rules() if "record" in rule}
        for rule in rules():
            assert asked(rule["expr"]) - recorded <= self.known() | {"up"}, rule["expr"]

    def test_in_the_dashboard_are_metrics_of_ours(self) -> None:
        for panel in dashboard()["panels"]:
            for target in panel.get("targets", ()):
                assert asked(target["expr"]) <= self.known(), target["expr"]

    def test_of_runbooks_lead_somewhere(self) -> None:
        for rule in alerts():
            path, _, heading = rule["annotations"]["runbook"].partition("#")
            headings = {line[3:].strip() for line in (ROOT / path).read_text().splitlines() if line.startswith("## ")}
            assert heading in headings, rule["alert"]

    def test_every_panel_says_what_it_tells_in_which_unit_from_the_source_that_is_chosen(self) -> None:
        shown = dashboard()
        variables = {each["name"]: each for each in shown["templating"]["list"]}
        assert variables["source"]["type"] == "datasource"
        assert len({panel["id"] for panel in shown["panels"]}) == len(shown["panels"])
        for panel in shown["panels"]:
            assert panel["title"]
            if panel["type"] == "row":
                continue
            assert len(panel["description"]) > 20, panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
            assert panel["targets"], panel["title"]
            for target in panel["targets"]:
                used = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"}
                assert used <= variables.keys(), target["expr"]
            box = panel["gridPos"]
            assert box["x"] + box["w"] <= 24

    def test_the_dashboard_is_asked_in_promql(self, promtool: str, tmp_path: Path) -> None:
        texts = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
        plain = [each.replace("$__rate_interval", "5m").replace("$agent", ".*") for each in texts]
        rules = [{"record": f"panel_{number}", "expr": each} for number, each in enumerate(plain)]
        file = tmp_path / "panels.yaml"
        file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
        _run(promtool, "check", "rules", str(file))

    def test_the_stored_dashboard_is_the_one_of_the_script(self) -> None:
        assert json.loads(FILE.read_text()) == dashboard()


def asked(expr: str) -> set[str]:
    """The names of metrics in a PromQL expression."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|(?:by|on) \([^)]*\)', " ", expr)
    return {name for name in re.findall(r"[a-z_][a-z0-9_:]+", bare) if name not in KEYWORDS and not name.isdigit()}
