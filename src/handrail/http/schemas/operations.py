"""What operators see: releases, keys, switches, breakers, jobs, the audit log, health."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from handrail.core.principal import Role
from handrail.http.schemas.shared import SOMETIMES, At, Failure, Page, Resource
from handrail.serving.resilience import BreakerState, SwitchKind


class Agent(Resource):
    """An agent and the release that answers its new conversations."""

    name: str
    object: Literal["agent"]
    release_id: str | None
    updated_at: At


class AgentList(Page[Agent]):
    """Agents."""


class UsedAgent(Resource):
    """An agent after another release was let answer."""

    object: Literal["agent"]
    name: str
    stable_release_id: str | None
    previous_release_id: str | None
    updated_at: At


class Release(Resource):
    """An immutable snapshot of an agent project."""

    id: str
    object: Literal["release"]
    agent: str
    stable: bool
    digest: str
    format_version: int
    note: str | None
    author: str | None
    git_commit: str | None
    git_dirty: bool | None
    lock_hash: str | None
    created_at: At


class ReleaseList(Page[Release]):
    """Releases, newest first."""


class ReleaseFile(Resource):
    """One file of a release."""

    path: str
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class ReleaseWithFiles(Release):
    """A release and what it consists of."""

    files: list[ReleaseFile]


class FileChange(Resource):
    """What became of one file."""

    path: str
    change: Literal["added", "removed", "changed"]
    unified: str = Field(description="A unified diff.")


class ReleaseDiff(Resource):
    """What one release changes against another."""

    object: Literal["release_diff"]
    old: str
    new: str
    changes: list[FileChange]


class Key(Resource):
    """An API key without its secret."""

    id: str
    object: Literal["api_key"]
    tenant_id: str
    subject: str
    role: Role
    scopes: list[str]
    teams: list[str]
    prefix: str
    note: str | None
    created_at: At
    expires_at: At | None
    revoked_at: At | None
    last_used_at: At | None
    replaced_by: str | None = Field(description="The key that took its place when it was rotated.")


class KeyList(Page[Key]):
    """Keys."""


class CreatedKey(Key):
    """A new key with its text, which is shown once."""

    key: str


class SignInLink(Resource):
    """A link that signs one of the staff in to the console, once; its path is shown here and nowhere else."""

    id: str
    object: Literal["sign_in_link"]
    tenant_id: str
    subject: str
    roles: list[Role]
    path: str
    expires_at: At


class Switch(Resource):
    """Something that is off, or was."""

    id: str
    object: Literal["switch"]
    kind: SwitchKind
    name: str
    tenant: str | None = Field(description="Null when it holds for all.")
    off: bool
    reason: str
    stops_running: bool
    switched_by: str
    created_at: At
    released_by: str | None
    release_reason: str | None
    released_at: At | None


class SwitchMade(Switch):
    """A switch just made."""

    warning: str | None = Field(description="That no loaded release knows the tool or model; it is off all the same.")


class SwitchList(Page[Switch]):
    """Switches, newest first."""


class Breaker(Resource):
    """A circuit breaker of the process that answers."""

    object: Literal["breaker"]
    kind: str
    name: str
    key: str
    state: BreakerState
    reason: str | None
    calls: int = Field(ge=0)
    failed: int = Field(ge=0)
    slow: int = Field(ge=0)
    in_state_seconds: float = Field(ge=0)
    retry_after_seconds: float | None


class BreakerList(Page[Breaker]):
    """Breakers, by key."""


class JobRun(Resource):
    """One run of a job; `report` says what it did, by tenant."""

    id: str
    object: Literal["job_run"]
    job: str
    status: Literal["waiting", "running", "completed", "failed"]
    requested_by: str | None
    attempts: int = Field(ge=0)
    report: dict[str, dict[str, Any]]
    error: Failure | None
    created_at: At
    started_at: At | None
    ended_at: At | None


class Job(Resource):
    """Work in the background."""

    name: str
    object: Literal["job"]
    says: str
    schedule: str | None
    next_run_at: At | None
    last_run: JobRun | None


class JobWithRuns(Job):
    """A job and its newest runs."""

    runs: list[JobRun]


class JobList(Page[Job]):
    """All jobs, and the state of the engine that runs them."""

    engine: str


class AuditRecord(Resource):
    """Something that was done or denied; people are pseudonyms here, staff with their name beside it."""

    v: int
    id: str
    object: Literal["audit_record"]
    at: At
    tenant_id: str
    actor: str
    action: str
    outcome: Literal["done", "denied", "failed", "unknown"]
    target: str
    seq: int | None = Field(description="Its place in the log; null until it is sealed.")
    actor_name: str = SOMETIMES
    roles: list[Role] = SOMETIMES
    actor_tenant_id: str = SOMETIMES
    key_id: str = SOMETIMES
    subject: str = SOMETIMES
    conversation_id: str = SOMETIMES
    release_id: str = SOMETIMES
    details: dict[str, Any] = SOMETIMES


class AuditRecordList(Page[AuditRecord]):
    """Records, newest first."""


class Checkpoint(Resource):
    """A signed statement about the log up to here."""

    number: int = Field(ge=0)
    size: int = Field(ge=0)
    root: str
    previous: str
    at: int = Field(description="Microseconds since 1970.")
    key_id: str
    signature: str


class CheckpointList(Page[Checkpoint]):
    """The newest checkpoint, if there is one."""


class AuditLine(Resource):
    """A line of the exported log: a header, each record or only its hash, each checkpoint."""

    model_config = ConfigDict(extra="allow")

    type: Literal["header", "record", "leaf", "checkpoint"]


class Erasure(Resource):
    """What was erased of a user."""

    object: Literal["erasure"]
    tenant: str
    subject_hash: str = Field(description="How the audit log and the list of erasures know them.")
    conversations: int = Field(ge=0)
    key_destroyed: bool
    remains: list[str] = Field(description="What can't be promised.")
    erased_at: At


class Health(Resource):
    """The process answers."""

    status: Literal["ok"]


class Checks(Resource):
    """What must be well for turns to be taken."""

    store: str
    admitting: bool


class Readiness(Resource):
    """What is on and off, and whether turns can be taken."""

    status: Literal["ready", "not_ready"]
    checks: Checks
    models: list[str]
    authentication: str
    prices: str
    jobs: str
    shared_state: str
    running_turns: int = Field(ge=0)
    off: list[str]
