"""Write the Grafana dashboard to deploy/grafana/. Run it after a panel here or a metric has changed."""

from pathlib import Path
from typing import Any

from handrail.core import json

FILE = Path(__file__).parent.parent / "deploy" / "grafana" / "handrail.json"
WIDTH, HEIGHT, COLUMNS = 8, 8, 3
AGENT = '{agent=~"$agent"}'


def rate(metric: str, by: str, labels: str = AGENT) -> str:
    """So many a second."""
    return f"sum by ({by}) (rate({metric}{labels}[$__rate_interval]))"


def p95(metric: str, by: str, labels: str = AGENT) -> str:
    """95 of 100 are below it."""
    return f"histogram_quantile(0.95, sum by (le, {by}) (rate({metric}_bucket{labels}[$__rate_interval])))"


def ratio(part: str, whole: str) -> str:
    return f"{part} / {whole}"


FAILED_TOOLS = rate("tool_calls_total", "tool", '{agent=~"$agent",status!="completed"}')
# By row: title, unit, and by legend what is asked for.
ROWS: dict[str, list[tuple[str, str, dict[str, str]]]] = {
    "What users get": [
        ("Turns a second by intent", "reqps", {"{{intent}}": rate("agent_requests_total", "intent")}),
        (
            "Turns that failed",
            "percentunit",
            {"{{agent}}": ratio(rate("agent_errors_total", "agent"), rate("agent_requests_total", "agent"))},
        ),
        ("Errors by type", "reqps", {"{{error_type}}": rate("agent_errors_total", "error_type")}),
        ("Whole answer, p95 by class", "s", {"{{latency_class}}": p95("agent_latency_seconds", "latency_class")}),
        ("First word, p95 by class", "s", {"{{latency_class}}": p95("agent_first_text_seconds", "latency_class")}),
        ("Handrail's own share, p95", "s", {"{{agent}}": p95("handrail_overhead_seconds", "agent")}),
    ],
    "Models and tools": [
        ("Tokens a second", "short", {"{{model}} {{kind}}": rate("model_tokens_total", "model, kind")}),
        ("Model calls, p95", "s", {"{{model}}": p95("model_latency_seconds", "model", "")}),
        ("Fallbacks", "reqps", {"{{model}} to {{to}}": rate("model_fallbacks_total", "model, to", "")}),
        ("Tool calls that failed", "percentunit", {"{{tool}}": ratio(FAILED_TOOLS, rate("tool_calls_total", "tool"))}),
        ("Breakers (1 is open)", "short", {"{{breaker}}": "max by (breaker) (handrail_breaker_state)"}),
        ("Rungs that answered", "reqps", {"{{kind}} {{rung}}": rate("handrail_rungs_total", "kind, rung")}),
    ],
    "People": [
        ("Approvals waiting", "short", {"{{agent}}": f"max by (agent) (approvals_waiting{AGENT})"}),
        ("The oldest of them", "s", {"oldest": "max(approvals_oldest_seconds)"}),
        ("Escalations", "reqps", {"{{team}}": rate("escalations_total", "team")}),
    ],
    "Safety": [
        (
            "Guardrails that tripped",
            "reqps",
            {"{{guardrail}} {{action}}": rate("guardrails_tripped_total", "guardrail, action")},
        ),
        ("Refused for who asked", "reqps", {"{{code}}": rate("handrail_denied_total", "code", "")}),
        ("Unsupported claims", "percentunit", {"{{agent}}": f"max by (agent) (unsupported_claim_rate{AGENT})"}),
    ],
    "Room": [
        (
            "Turns running and waiting",
            "short",
            {"running": "sum(handrail_admission_running)", "waiting": "sum(handrail_admission_waiting)"},
        ),
        (
            "Refused",
            "reqps",
            {
                "{{code}}": rate("handrail_admission_refused_total", "code", ""),
                "rate {{rate}}": rate("handrail_rate_limited_total", "rate", ""),
            },
        ),
        ("Counting is behind by", "s", {"lag": "max(rollup_lag_seconds)"}),
    ],
}


def dashboard() -> dict[str, Any]:
    """As Grafana imports it; the data source and the agent are chosen there."""
    return {
        "title": "Handrail",
        "uid": "handrail",
        "tags": ["handrail"],
        "schemaVersion": 39,
        "timezone": "utc",
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"},
                {
                    "name": "agent",
                    "label": "Agent",
                    "type": "query",
                    "datasource": {"type": "prometheus", "uid": "${source}"},
                    "query": "label_values(agent_requests_total, agent)",
                    "includeAll": True,
                    "multi": True,
                    "allValue": ".*",
                    "refresh": 2,
                },
            ]
        },
        "panels": list(_panels()),
    }


def _panels() -> Any:
    number, top = 0, 0
    for row, panels in ROWS.items():
        number += 1
        yield {"id": number, "type": "row", "title": row, "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}, "panels": []}
        top += 1
        for place, (title, unit, asked) in enumerate(panels):
            number += 1
            x, y = place % COLUMNS * WIDTH, top + place // COLUMNS * HEIGHT
            yield {
                "id": number,
                "type": "timeseries",
                "title": title,
                "datasource": {"type": "prometheus", "uid": "${source}"},
                "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
                "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                "targets": [
                    {"refId": chr(65 + index), "expr": expr, "legendFormat": legend}
                    for index, (legend, expr) in enumerate(asked.items())
                ],
            }
        top += -(-len(panels) // COLUMNS) * HEIGHT


if __name__ == "__main__":
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(dashboard()) + "\n", encoding="utf-8")
    print(FILE)
