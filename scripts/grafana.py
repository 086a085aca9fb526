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
PROMISED = 'max by (agent) (handrail_objective_ratio{agent=~"$agent",objective="availability"})'
# By row: title, unit, and by legend what is asked for.
ROWS: dict[str, list[tuple[str, str, dict[str, str]]]] = {
    "What users get": [
        ("Turns a second by intent", "reqps", {"{{intent}}": rate("agent_requests_total", "intent")}),
        (
            "Turns that failed",
            "percentunit",
            {
                "{{agent}}": ratio(rate("agent_errors_total", "agent"), rate("agent_requests_total", "agent")),
                "{{agent}}: may": f"1 - {PROMISED}",
            },
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


# By panel, what it tells and when to look twice; Grafana shows it beside the title.
DESCRIPTIONS: dict[str, str] = {
    "Turns a second by intent": "What users come for. A fall to nothing at a busy hour is an outage.",
    "Turns that failed": "The share of turns that ended in an error, and what each agent's objective allows.",
    "Errors by type": "Error codes as in the reference of errors; each has its place in the runbook.",
    "Whole answer, p95 by class": "Simple turns call no model, medium ones once, complex ones more often.",
    "First word, p95 by class": "How long users see nothing; of models that think first it is most of the answer.",
    "Handrail's own share, p95": "What is left of a turn without models, tools and waiting in line.",
    "Tokens a second": "Read and written by the models. A jump without more turns: longer conversations or loops.",
    "Model calls, p95": "One call of one model, retries apart.",
    "Fallbacks": "Calls that another model answered, because the first could not.",
    "Tool calls that failed": "Failed or unknown, by tool; refusals of permission count with it.",
    "Breakers (1 is open)": "An open breaker calls no more what kept failing, and tries it again after a while.",
    "Rungs that answered": "Which step of the ladders of models and tools gave the answer; honest is none.",
    "Approvals waiting": "Actions that wait for people.",
    "The oldest of them": "How long the oldest approval has waited; nobody is served meanwhile.",
    "Escalations": "Conversations that were given to people, by team.",
    "Guardrails that tripped": "By guardrail and what was done: flagged, masked, withheld or refused.",
    "Refused for who asked": "Denials by code: keys that did not work, roles and scopes that do not reach.",
    "Unsupported claims": "Claims of answers that nothing given to the agent holds; a proxy for made-up answers.",
    "Turns running and waiting": "In all processes; beyond the limit turns are refused before anything is stored.",
    "Refused": "For lack of place, or for a rate of the caller.",
    "Counting is behind by": "How old the figures of the console are; some seconds are usual.",
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
                "description": DESCRIPTIONS[title],
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
