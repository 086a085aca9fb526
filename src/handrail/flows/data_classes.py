"""What each column of the database holds, by class: what is sealed, what names a person, what says nothing of anybody.

`content` is what people, models and tools wrote about a user: sealed under the user's own key once there is a master
key. `subject` names a person and is searched by, so it stays readable: let it be an opaque id. `staff` is what people
of the deployment wrote about their work. `derived` is a digest of content: nothing to read, but a guess can be checked
against it. All else is technical.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from handrail.db.sealed import SealedTable


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one table, names with blanks between them; each stands in one class."""

    technical: str
    content: str = ""
    subject: str = ""
    staff: str = ""
    derived: str = ""
    # Of the sealed ones: which hold JSON, and what column says where a row belongs.
    json: str = ""
    anchor: str = ""


# What every sum is by.
_ROLLED_UP = "tenant_id grain starts_at agent release_id intent channel"

DATA_CLASSES: Mapping[str, Columns] = {
    "conversation": Columns(
        "id tenant_id agent release_id channel turn_count failures created_at updated_at",
        content="title awaiting",
        subject="subject",
        json="awaiting",
        anchor="subject",
    ),
    "turn": Columns(
        "id tenant_id conversation_id seq status agent release_id moved_from intent confidence action route "
        "latency_class owner epoch lease_expires_at event_seq trace_id awaiting escalation_id roles scopes teams "
        "ladder error_code input_tokens output_tokens cost_micros overhead_micros created_at started_at ended_at "
        "cancel_requested_at",
        content="parked tripped error_message",
        json="parked tripped",
        anchor="conversation_id",
    ),
    "message": Columns(
        "id tenant_id conversation_id turn_id turn_seq position role provenance sources created_at",
        content="content tool_calls",
        json="tool_calls",
        anchor="conversation_id",
    ),
    "tool_call": Columns(
        "id tenant_id conversation_id turn_id provider_id name effect status ladder created_at ended_at",
        content="arguments arguments_hash result tripped",
        json="tripped",
        anchor="conversation_id",
    ),
    "token": Columns(
        "id tenant_id conversation_id kind created_at", content="value", derived="handle", anchor="conversation_id"
    ),
    "idempotency_key": Columns("tenant_id route key resource_id created_at", subject="subject", derived="body_hash"),
    "approval": Columns(
        "id tenant_id conversation_id turn_id tool_call_id agent release_id tool revision version rules risk "
        "votes_needed approvers status expires_at remind_at reminded_at escalate_at escalated_at decided_at "
        "resumed_at created_at",
        content="arguments original_arguments reason decision_reason",
        subject="requester",
        staff="decided_by",
        derived="fingerprint",
        json="arguments original_arguments",
        anchor="conversation_id",
    ),
    "approval_vote": Columns(
        "id tenant_id approval_id decision revision capacity created_at",
        content="reason diff",
        staff="voter",
        derived="fingerprint",
        json="diff",
        anchor="approval_id",
    ),
    "approval_question": Columns(
        "id tenant_id approval_id turn_id asked_at answered_at",
        content="question answer",
        staff="asked_by",
        anchor="approval_id",
    ),
    "approval_view": Columns("approval_id tenant_id shown_at", staff="viewer"),
    "approval_delegation": Columns(
        "id tenant_id capacity starts_at ends_at created_at revoked_at", staff="lender delegate reason revoked_by"
    ),
    "escalation": Columns(
        "id tenant_id conversation_id turn_id agent team status created_at updated_at",
        content="reason summary",
        json="summary",
        anchor="conversation_id",
    ),
    "trace": Columns(
        "id tenant_id trace_id conversation_id turn_id epoch agent release_id intent variant channel latency_class "
        "instructions_hash status error_code started_at duration_micros overhead_micros cost_micros parent_id link "
        "spans",
        content="content",
        json="content",
        anchor="conversation_id",
    ),
    "model_usage": Columns(
        "id tenant_id turn_id conversation_id agent release_id intent provider model input_tokens output_tokens "
        "cached_tokens milliseconds finish_reason cost_micros created_at"
    ),
    "fact_change": Columns("id tenant_id conversation_id created_at"),
    "conversation_fact": Columns(
        "conversation_id tenant_id agent release_id channel intent variant started_at last_at closes_at is_closed "
        "turns failed_turns is_completed is_resolved is_escalated is_recontacted said_resolved escalation_reason "
        "tool_calls tool_failures tripped refused side_effects approvals csat nps thumbs_up thumbs_down model_calls "
        "input_tokens output_tokens cost_micros unpriced_calls value_micros latency_micros unsupported_turns "
        "contribution version updated_at",
        subject="subject",
    ),
    # Hashes of words under a key of the tenant. They go with their conversation, and are in no backup.
    "search_entry": Columns(
        "tenant_id started_at conversation_id key read_to indexed_at agent release_id intent channel", derived="words"
    ),
    "search_pending": Columns("conversation_id tenant_id since changed_at changes"),
    "turn_rollup": Columns(
        f"{_ROLLED_UP} latency_class turns completed failed cancelled parked handed_off clarified refused tripped "
        "overhead_micros model_calls input_tokens output_tokens cost_micros unpriced_calls tool_calls tool_failures "
        "side_effects approvals latencies"
    ),
    "conversation_rollup": Columns(
        f"{_ROLLED_UP} conversations closed completed resolved escalated recontacted closed_turns closed_cost_micros "
        "resolved_cost_micros turns cost_micros unpriced_calls value_micros csat_sum csat_count nps_promoters "
        "nps_detractors nps_count thumbs_up thumbs_down"
    ),
    "reason_rollup": Columns(f"{_ROLLED_UP} kind reason count"),
    "usage_rollup": Columns(
        f"{_ROLLED_UP} provider model calls input_tokens output_tokens cached_tokens cost_micros no_price no_tokens "
        "broken_off lost"
    ),
    "fact_folder": Columns("name owner expires_at"),
    "feedback": Columns(
        "id tenant_id conversation_id turn_id about agent release_id intent kind score source created_at replaced_at",
        content="comment",
        subject="given_by",
        anchor="conversation_id",
    ),
    "value_event": Columns(
        "id tenant_id conversation_id turn_id agent release_id intent name amount_micros currency key created_at",
        staff="recorded_by",
    ),
    "review_verdict": Columns(
        "id tenant_id conversation_id turn_id agent release_id intent intent_correct hallucination action_correct "
        "resolved sample inclusion_probability created_at replaced_at",
        staff="reviewer",
    ),
    "cache_verification": Columns("id tenant_id correct created_at replaced_at", staff="verified_by", derived="hit"),
    "api_key": Columns(
        "id tenant_id role scopes teams prefix hash created_at expires_at revoked_at last_used_at replaced_by",
        subject="subject",
        staff="note",
    ),
    "console_session": Columns(
        "id tenant_id roles scopes teams key_id hash created_at seen_at expires_at", staff="subject"
    ),
    "provider_visit": Columns("hash tenant_id expires_at"),
    "sign_in_link": Columns("id tenant_id roles hash created_at expires_at used_at", staff="subject"),
    "erasure": Columns("tenant_id erased_at", derived="owner"),
    "audit_record": Columns("id tenant_id at action outcome actor target seq leaf", derived="body"),
    "audit_checkpoint": Columns("number size root previous at key_id signature frontier"),
    "audit_key": Columns("key_id public first_used_at"),
    "switch": Columns(
        "id tenant_id kind name stops_running created_at released_at",
        staff="reason switched_by released_by release_reason",
    ),
    "scorecard_baseline": Columns(
        "id tenant_id agent version source since until release_id measures created_at currency",
        staff="note created_by",
    ),
    "release": Columns(
        "tenant_id id agent digest format_version git_commit git_dirty lock_hash created_at", staff="note author"
    ),
    "release_file": Columns("tenant_id release_id path content"),
    "artefact": Columns("tenant_id kind hash made_from content created_at"),
    "release_artefact": Columns("tenant_id release_id kind hash created_at"),
    "agent": Columns("tenant_id name stable_release_id previous_release_id updated_at"),
    "outbox": Columns("id tenant_id job arguments created_at sent_at"),
    "job_run": Columns(
        "id tenant_id job status attempts report error_code error_message created_at started_at ended_at",
        staff="requested_by",
    ),
    "executor": Columns("id protocol beat_at"),
    # Alerts hold names of agents and numbers, and of a user a pseudonym.
    "alert": Columns(
        "id tenant_id fingerprint rule severity labels state said numbers started_at fired_at ok_since resolved_at "
        "flaps told told_at escalated_at notices acknowledged_at version",
        staff="acknowledged_by note",
    ),
    "alert_silence": Columns(
        "id tenant_id matchers starts_at ends_at created_at ended_at", staff="reason created_by ended_by"
    ),
    "alert_notice": Columns(
        "id tenant_id channel kind severity alert_ids title body status attempts next_at created_at sent_at error"
    ),
    "alert_lease": Columns("name owner epoch expires_at"),
    "alert_report": Columns("owner body reported_at"),
    "alert_rule_state": Columns("tenant_id rule state said changed_at"),
}

SEALED = tuple(
    SealedTable(name, tuple(each.content.split()), each.anchor, tuple(each.json.split()))
    for name, each in DATA_CLASSES.items()
    if each.content
)
