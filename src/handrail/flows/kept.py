"""How long the rows of each table are kept: by which setting, until which end of their own, or why for good."""

from collections.abc import Mapping
from dataclasses import fields

from handrail.flows.background import KeptDays

# Either a setting of `HANDRAIL_RETENTION__...`, or words that say what ends them: "own end: ..." or "for good: ...".
KEPT: Mapping[str, str] = {
    **dict.fromkeys(("conversation", "turn", "message", "tool_call", "token", "search_entry"), "conversations"),
    **dict.fromkeys(("feedback", "value_event", "review_verdict", "cache_verification"), "conversations"),
    **dict.fromkeys(
        ("approval", "approval_vote", "approval_question", "approval_view", "approval_delegation"), "approvals"
    ),
    "escalation": "escalations",
    "idempotency_key": "own end: a day after its request",
    "model_usage": "usage",
    "trace": "traces",
    **dict.fromkeys(("api_key", "sign_in_link"), "keys"),
    "console_session": "own end: the session's",
    "provider_visit": "own end: twenty minutes after the visit began, at the next one",
    "switch": "switches",
    **dict.fromkeys(("outbox", "job_run"), "jobs"),
    "executor": "own end: a day after its process",
    "erasure": "for good: a restored backup is erased by it",
    **dict.fromkeys(("audit_record", "audit_checkpoint", "audit_key"), "for good: the audit log is append-only"),
    **dict.fromkeys(
        ("release", "release_file", "artefact", "release_artefact", "agent"), "for good: a turn names its release"
    ),
    **dict.fromkeys(
        ("alert", "alert_silence", "alert_notice", "alert_report"), "own end: the keeper of alerts sets it"
    ),
    **dict.fromkeys(("alert_lease", "alert_rule_state"), "for good: one row a name"),
    **dict.fromkeys(("fact_change", "fact_folder"), "own end: once it is counted"),
    "search_pending": "own end: once it is read into the index",
    "scorecard_baseline": "for good: a figure by day that people chose",
    "conversation_fact": "facts",
    **dict.fromkeys(
        ("turn_rollup", "conversation_rollup", "reason_rollup", "usage_rollup"), "for good: sums by the hour"
    ),
}
ENDS = ("own end: ", "for good: ")


def unbounded(kept: KeptDays) -> list[str]:
    """The settings that a deployment has left out, so that these rows are kept for good."""
    return [each.name for each in fields(kept) if getattr(kept, each.name) is None]
