"""Deployment settings, read once from the environment (`HANDRAIL_...`); the agent's own are in its project."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from handrail.core.addresses import Network, networks_of
from handrail.core.errors import UsageError
from handrail.core.prices import Budget, DeclaredPrice
from handrail.core.principal import Role
from handrail.egress import EgressRules, rules_of
from handrail.insight.traces.exporter import headers_of

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


class TurnSettings(BaseModel):
    """`HANDRAIL_TURN__...`"""

    model_config = ConfigDict(extra="forbid")

    deadline_seconds: float = Field(default=60.0, gt=0, le=3600, description="Hard limit of a turn, retries included.")
    lease_seconds: float = Field(
        default=15.0, gt=0, le=300, description="A turn whose process gives no sign of life for so long is taken over."
    )
    sweep_seconds: float = Field(default=2.0, gt=0, le=60, description="How often to look for such turns.")
    most_owners: int = Field(
        default=10, ge=1, le=1_000_000, description="A turn that so many processes lost in a row goes to a person."
    )
    drain_seconds: float = Field(default=10.0, ge=0, le=300, description="How long a shutdown waits for running turns.")


class RateLimitSettings(BaseModel):
    """`HANDRAIL_RATE_LIMIT__...`"""

    model_config = ConfigDict(extra="forbid")

    turns_per_minute: float = Field(default=60.0, gt=0, description="Turns a principal may begin a minute, on average.")
    burst: int = Field(default=20, ge=1, description="Turns a principal may begin at once.")
    conversations_per_minute: float | None = Field(
        default=None, gt=0, description="Conversations a principal may begin a minute; ten times the turns by default."
    )
    conversations_burst: int | None = Field(default=None, ge=1, description="Of these, at once.")
    tokens_per_minute: int | None = Field(
        default=None, ge=1, description="Tokens of models a principal may use a minute; unlimited when left out."
    )
    requests_per_minute: float = Field(default=6000.0, gt=0, description="Requests of one address, on average.")
    requests_burst: int = Field(default=1000, ge=1, description="Of these, at once.")
    failures_per_minute: int = Field(
        default=30, ge=1, description="Keys and tokens that do not work, of one address; then it has to wait."
    )


class ToolSettings(BaseModel):
    """`HANDRAIL_TOOLS__...`"""

    model_config = ConfigDict(extra="forbid")

    threads: int = Field(default=16, ge=1, le=256, description="Threads for tools that are not async.")
    result_bytes: int = Field(default=65_536, ge=1024, description="A longer result is cut and marked.")


class StoreSettings(BaseModel):
    """`HANDRAIL_STORE__...`: the PostgreSQL server; a SQLite file answers or fails at once."""

    model_config = ConfigDict(extra="forbid")

    timeout_seconds: float = Field(default=10.0, gt=0, le=300, description="How long a short read or a batch may take.")
    open_seconds: float = Field(default=5.0, gt=0, le=300, description="How long a failing server is left alone.")


class AdmissionSettings(BaseModel):
    """`HANDRAIL_ADMISSION__...`: of one process."""

    model_config = ConfigDict(extra="forbid")

    running: int = Field(default=256, ge=1, description="Turns at once.")
    running_per_tenant: int = Field(default=128, ge=1, description="Of these, one tenant's.")
    waiting: int = Field(default=1024, ge=0, description="Turns that wait for a place.")
    waiting_per_tenant: int = Field(default=256, ge=0, description="Of these, one tenant's.")
    wait_seconds: float = Field(default=5.0, ge=0, le=60, description="How long one waits before it is refused.")
    connections: int = Field(default=4096, ge=1, description="Requests, streams and sockets that are open at once.")
    followers_per_tenant: int = Field(default=1024, ge=1, description="Sockets and streams of events, of one tenant.")


class ResilienceSettings(BaseModel):
    """`HANDRAIL_RESILIENCE__...`: of every model and every tool."""

    model_config = ConfigDict(extra="forbid")

    attempts: int = Field(default=3, ge=1, le=10, description="Calls in all, the first included.")
    backoff_seconds: float = Field(default=0.2, gt=0, le=60, description="Longest wait after the first failure.")
    first_token_seconds: float = Field(default=20.0, gt=0, description="A model's time until its first token.")
    failure_rate: float = Field(default=0.5, gt=0, le=1, description="This share of failed calls opens a breaker.")
    slow_rate: float = Field(default=0.8, gt=0, le=1, description="This share of slow calls opens a breaker.")
    slow_model_seconds: float = Field(default=30.0, gt=0, description="A model call of this length is slow.")
    slow_tool_seconds: float = Field(default=10.0, gt=0, description="A tool call of this length is slow.")
    open_seconds: float = Field(default=60.0, gt=0, le=3600, description="How long an open breaker refuses calls.")
    tool_calls: int = Field(default=32, ge=1, description="Calls of one tool at once.")
    tool_wait_seconds: float = Field(default=1.0, ge=0, le=60, description="How long a further call waits.")
    last_good_seconds: float = Field(default=3600.0, gt=0, description="How old a last good value may be.")


class JobSettings(BaseModel):
    """`HANDRAIL_JOBS__...`"""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = Field(default=True, description="Whether this process runs jobs.")
    conversation_log: Literal["off", "daily", "weekly"] = Field(
        default="off", description="How often an anonymised log of the conversations is written."
    )


class RetentionSettings(BaseModel):
    """`HANDRAIL_RETENTION__...`: how many days each class of data is kept; for good when left out."""

    model_config = ConfigDict(extra="forbid")

    conversations: int | None = Field(default=None, ge=1, description="Days since anything happened in one.")
    escalations: int | None = Field(default=None, ge=1, description="Days since one was resolved.")
    approvals: int | None = Field(default=None, ge=1, description="Days since one was decided.")
    facts: int | None = Field(
        default=None, ge=1, description="Days since a deleted conversation ended: what was counted of it, one by one."
    )
    usage: int | None = Field(default=None, ge=1, description="Days since a model call, as its usage is on the books.")
    keys: int | None = Field(default=None, ge=1, description="Days since an API key or a sign-in link was over.")
    switches: int | None = Field(default=None, ge=1, description="Days since something was switched on again.")
    exports: int | None = Field(default=None, ge=1, description="Days since an export was written.")
    traces: int = Field(default=30, ge=1, description="Days since one began.")
    jobs: int = Field(default=30, ge=1, description="Days since a run of a job ended.")
    alerts: int = Field(default=90, ge=1, description="Days since an alert was resolved or a message written.")


class TraceSettings(BaseModel):
    """`HANDRAIL_TRACES__...`: what is kept of how turns went."""

    model_config = ConfigDict(extra="forbid")

    sample: float = Field(
        default=1.0, ge=0, le=1, description="Share of traces; failed, slow and tripped ones are kept besides."
    )
    content: Literal["off", "redacted"] = Field(
        default="off", description="Whether spans hold texts, with personal data and secrets masked."
    )
    otlp_url: str | None = Field(
        default=None, description="A collector's address for OTLP over HTTP, such as https://collector/v1/traces."
    )
    otlp_headers: SecretStr = Field(default=SecretStr(""), description="What it wants sent, as name=value by comma.")
    service: str = Field(default="handrail", min_length=1, description="What this deployment is called there.")

    @model_validator(mode="after")
    def _can_be_sent(self) -> "TraceSettings":
        headers_of(self.otlp_headers.get_secret_value())
        if self.otlp_url is not None:
            _require_origin_of(self.otlp_url)
        return self


class AuditSettings(BaseModel):
    """`HANDRAIL_AUDIT__...`"""

    model_config = ConfigDict(extra="forbid")

    secret: str | None = Field(
        default=None, description="32 bytes as base64, the same for all replicas; a file in data_dir when left out."
    )


class AlertSettings(BaseModel):
    """`HANDRAIL_ALERTS__...`: what is looked at and who is told; the rules themselves are in `alerts.yaml`."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = Field(default=True, description="Whether this process looks at the rules.")
    file: Path | None = Field(default=None, description="Rules, routes and maintenance; `alerts.yaml` in data_dir.")
    channels: dict[str, SecretStr] = Field(default={}, description="Addresses for apprise by name; they are secrets.")
    every_seconds: float = Field(default=15.0, ge=1, le=300, description="How often the rules are looked at.")
    send_seconds: float = Field(default=30.0, gt=0, le=300, description="How long a channel may take.")
    console_url: str = Field(default="", description="Address of this server in messages; paths when left out.")
    digest: Literal["off", "daily", "weekly"] = Field(
        default="weekly", description="How often the channels are told what the agents did; `alerts.yaml` names them."
    )
    runbook_url: str = Field(default="", description="Address of the runbook in messages; the console's own page.")
    operated_by: str = Field(
        default="default", min_length=1, description="The tenant whose operators look after the whole deployment."
    )

    @field_validator("channels")
    @classmethod
    def _are_named(cls, channels: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, address in channels.items():
            if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name):
                raise ValueError(f"channel {name!r} is named by small letters, digits, '_' and '-'")
            if "://" not in address.get_secret_value():
                raise ValueError(f"channel {name!r} has no address such as slack://... or mailto://...")
        return channels


class CostSettings(BaseModel):
    """`HANDRAIL_COSTS__...`: what models cost, and what may be spent. Budgets are watched and stop nothing."""

    model_config = ConfigDict(extra="forbid")

    prices: dict[str, DeclaredPrice] = Field(
        default={},
        description="JSON: by `host/model`, `provider/model` or `model`, 'free' or dollars per million tokens.",
    )
    budgets: tuple[Budget, ...] = Field(default=(), description="JSON: a list of budgets.")


class FeedbackSettings(BaseModel):
    """`HANDRAIL_FEEDBACK__...`"""

    model_config = ConfigDict(extra="forbid")

    csat: bool = Field(default=False, description="Whether the chat page asks for a rating of the conversation.")
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$", description="What value events are counted in.")
    usd: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="What one unit of that currency is in US dollars."
    )
    per_minute: float = Field(default=60.0, gt=0, description="Words of feedback a principal may give a minute.")
    burst: int = Field(default=30, ge=1, description="Of these, at once.")


class EncryptionSettings(BaseModel):
    """`HANDRAIL_ENCRYPTION__...`: content is sealed in the database once one of these is set."""

    model_config = ConfigDict(extra="forbid")

    master_key: str | None = Field(
        default=None, description="32 bytes as base64; older ones that still unwrap after a comma."
    )
    key_file: Path | None = Field(default=None, description="A file with such keys, one a line, instead.")
    kms: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="`package.module:factory` of a key management service of yours.",
    )
    kms_wraps: bool = Field(
        default=True, description="With a key and a KMS: whether the KMS wraps, or only unwraps what it wrapped before."
    )
    kms_seconds: float = Field(default=5.0, gt=0, le=60, description="How long the KMS may take to answer.")

    @model_validator(mode="after")
    def _is_one(self) -> "EncryptionSettings":
        if self.master_key and self.key_file:
            raise ValueError("set HANDRAIL_ENCRYPTION__MASTER_KEY or HANDRAIL_ENCRYPTION__KEY_FILE, not both")
        return self


class AuthSettings(BaseModel):
    """`HANDRAIL_AUTH__...`: tokens (JWT) of an identity provider; none are taken without `keys` or `secret`."""

    model_config = ConfigDict(extra="forbid")

    keys: str | None = Field(default=None, description="https address of a JWK set, or a file: JWK set or PEM.")
    secret: str | None = Field(default=None, description="HS256 instead: 32 bytes or more as base64.")
    issuer: str | None = Field(default=None, min_length=1, description="What `iss` must be.")
    audience: str | None = Field(default=None, min_length=1, description="What `aud` must be or hold.")
    leeway_seconds: float = Field(default=30.0, ge=0, le=300, description="How far clocks may differ.")
    tenant: str = Field(default="default", min_length=1, description="Tenant of all tokens without `tenant_claim`.")
    tenant_claim: str | None = Field(default=None, description="Claim with the tenant; then each token needs it.")
    subject_claim: str = Field(default="sub", min_length=1, description="Claim with the subject.")
    roles_claim: str | None = Field(default=None, description="Claim with roles; dots lead into objects.")
    scopes_claim: str | None = Field(default=None, description="Claim with scopes.")
    teams_claim: str | None = Field(default=None, description="Claim with teams, for staff.")
    keep_seconds: float = Field(default=300.0, ge=30, le=86_400, description="How often keys are read again.")
    stale_seconds: float = Field(default=3600.0, ge=30, le=604_800, description="How long unreadable keys serve.")

    @model_validator(mode="after")
    def _is_whole(self) -> "AuthSettings":
        if self.keys and self.secret:
            raise ValueError("set HANDRAIL_AUTH__KEYS or HANDRAIL_AUTH__SECRET, not both")
        if (self.keys or self.secret) and not (self.issuer and self.audience):
            raise ValueError("tokens need HANDRAIL_AUTH__ISSUER and HANDRAIL_AUTH__AUDIENCE")
        return self


class OidcSettings(BaseModel):
    """`HANDRAIL_OIDC__...`: people sign in to the console at an identity provider; off without an issuer."""

    model_config = ConfigDict(extra="forbid")

    issuer: str | None = Field(default=None, description="https address of the provider, as `iss` has it.")
    client_id: str | None = Field(default=None, min_length=1, description="What the provider calls this server.")
    client_secret: str | None = Field(default=None, min_length=1, description="None for a public client.")
    address: str | None = Field(default=None, description="Where people reach this server: https://host[:port].")
    name: str = Field(default="single sign-on", min_length=1, max_length=60, description="On the button.")
    scopes: str = Field(default="openid profile", description="What is asked for, with `openid`.")
    tenant: str = Field(default="default", min_length=1, description="Tenant of all without `tenant_claim`.")
    tenant_claim: str | None = Field(default=None, description="Claim with the tenant.")
    subject_claim: str = Field(default="sub", min_length=1, description="Claim with the subject.")
    roles_claim: str = Field(default="roles", min_length=1, description="Claim with groups or roles.")
    roles: str = Field(default="", description="What values of it mean: `value=role`, by comma; all others nothing.")
    teams_claim: str | None = Field(default=None, description="Claim with teams.")
    leeway_seconds: float = Field(default=30.0, ge=0, le=300, description="How far clocks may differ.")

    @field_validator("roles")
    @classmethod
    def _are_roles(cls, text: str) -> str:
        _roles_of(text)
        return text

    @field_validator("issuer", "address")
    @classmethod
    def _is_safe(cls, text: str | None) -> str | None:
        parts = urlsplit(text or "https://none")
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK_NAMES):
            raise ValueError(f"{text!r} is no https address")
        if not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{text!r} is an address with a query or without a host")
        return text

    @model_validator(mode="after")
    def _is_whole(self) -> "OidcSettings":
        if self.issuer and not (self.client_id and self.address and self.roles):
            raise ValueError(
                "signing in at a provider needs HANDRAIL_OIDC__CLIENT_ID, HANDRAIL_OIDC__ADDRESS and "
                "HANDRAIL_OIDC__ROLES: nobody has a role that is not mapped"
            )
        if self.address:
            _require_origin(self.address)
        if "openid" not in self.scopes.split():
            raise ValueError("HANDRAIL_OIDC__SCOPES needs 'openid'")
        return self

    @property
    def role_of(self) -> Mapping[str, frozenset[Role]]:
        return _roles_of(self.roles)


def _roles_of(text: str) -> Mapping[str, frozenset[Role]]:
    found: dict[str, frozenset[Role]] = {}
    for part in _parts(text):
        value, equals, role = (each.strip() for each in part.rpartition("="))
        if not (equals and value and role in set(Role) - {Role.END_USER}):
            raise ValueError(f"{part!r} is not `value=role` with a role of staff, such as `Ops=operator`")
        found[value] = found.get(value, frozenset()) | {Role(role)}
    return found


class ConsoleSettings(BaseModel):
    """`HANDRAIL_CONSOLE__...`: signing in to the pages for people."""

    model_config = ConfigDict(extra="forbid")

    idle_minutes: float = Field(default=60.0, gt=0, le=10_080, description="A session unused for so long is over.")
    hours: float = Field(default=12.0, gt=0, le=720, description="How long a session lasts at most.")
    sign_ins_per_minute: float = Field(default=10.0, gt=0, description="Attempts from one address, on average.")
    sign_ins_burst: int = Field(default=10, ge=1, description="Attempts from one address at once.")


class HttpSettings(BaseModel):
    """`HANDRAIL_HTTP__...`: the border of the server."""

    model_config = ConfigDict(extra="forbid")

    trusted_proxies: str = Field(
        default="", description="Addresses and CIDR ranges of proxies whose `X-Forwarded-For` is believed, by comma."
    )
    cors_origins: str = Field(default="", description="Sites whose pages may call the API from a browser, by comma.")
    head_seconds: float = Field(default=20.0, gt=0, le=300, description="How long a request's head may take to come.")
    body_seconds: float = Field(default=30.0, gt=0, le=300, description="How long all of a request may take to come.")
    connections_per_address: int = Field(default=512, ge=1, description="Connections of one address at once.")
    streams_per_principal: int = Field(default=512, ge=1, description="Event streams and sockets of one principal.")

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        networks_of(text)
        return text

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, text: str) -> str:
        for origin in _parts(text):
            _require_origin(origin)
        return text

    @property
    def proxies(self) -> tuple[Network, ...]:
        return networks_of(self.trusted_proxies)

    @property
    def origins(self) -> tuple[str, ...]:
        return tuple(_parts(self.cors_origins))


class EgressSettings(BaseModel):
    """`HANDRAIL_EGRESS__...`: where the server may connect to."""

    model_config = ConfigDict(extra="forbid")

    allow: str = Field(
        default="", description="Hosts, `*.domain`, addresses and CIDR ranges that may be reached, by comma."
    )
    only_declared: bool = Field(default=False, description="Whether public addresses must be declared as well.")

    @field_validator("allow")
    @classmethod
    def _are_rules(cls, text: str) -> str:
        rules_of(text)
        return text

    @property
    def rules(self) -> EgressRules:
        return rules_of(self.allow, only_declared=self.only_declared)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _require_origin(text: str) -> None:
    parts = urlsplit(text)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or "*" in text
        or f"{parts.scheme}://{parts.netloc}" != text
    ):
        raise ValueError(f"{text!r} is no origin; name each site as https://app.example.com, and never '*'")


def _require_origin_of(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.fragment:
        raise ValueError("otlp_url must be an http or https address without a name and password in it")


class TlsSettings(BaseModel):
    """`HANDRAIL_TLS__...`: certificate files; without them the server speaks plain HTTP."""

    model_config = ConfigDict(extra="forbid")

    cert: Path | None = Field(default=None, description="PEM file: the certificate and what leads to its root.")
    key: Path | None = Field(default=None, description="PEM file: its private key, not encrypted.")

    @model_validator(mode="after")
    def _is_a_pair(self) -> "TlsSettings":
        if (self.cert is None) != (self.key is None):
            raise ValueError("TLS needs both HANDRAIL_TLS__CERT and HANDRAIL_TLS__KEY")
        return self

    @property
    def is_on(self) -> bool:
        return self.cert is not None


class Settings(BaseSettings):
    """Everything a deployment sets."""

    model_config = SettingsConfigDict(env_prefix="HANDRAIL_", env_nested_delimiter="__", extra="ignore")

    data_dir: Path = Field(default=Path(".handrail"), description="Where the SQLite database and local secrets live.")
    database_url: str | None = Field(default=None, description="postgresql://...; SQLite in data_dir when left out.")
    valkey_url: str | None = Field(
        default=None, description="redis://...; what several processes count and tell one another, when there is one."
    )
    host: str = Field(default="127.0.0.1", description="Address to bind; beyond loopback only with API keys.")
    port: int = Field(default=8080, ge=0, le=65535)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    turn: TurnSettings = TurnSettings()
    rate_limit: RateLimitSettings = RateLimitSettings()
    tools: ToolSettings = ToolSettings()
    alerts: AlertSettings = AlertSettings()
    audit: AuditSettings = AuditSettings()
    auth: AuthSettings = AuthSettings()
    encryption: EncryptionSettings = EncryptionSettings()
    oidc: OidcSettings = OidcSettings()
    console: ConsoleSettings = ConsoleSettings()
    http: HttpSettings = HttpSettings()
    tls: TlsSettings = TlsSettings()
    egress: EgressSettings = EgressSettings()
    store: StoreSettings = StoreSettings()
    admission: AdmissionSettings = AdmissionSettings()
    resilience: ResilienceSettings = ResilienceSettings()
    jobs: JobSettings = JobSettings()
    retention: RetentionSettings = RetentionSettings()
    traces: TraceSettings = TraceSettings()
    costs: CostSettings = CostSettings()
    feedback: FeedbackSettings = FeedbackSettings()

    @property
    def sqlite_file(self) -> Path:
        """The database where no other is set."""
        return self.data_dir / "handrail.db"

    @property
    def url(self) -> str:
        return self.database_url or f"sqlite:///{self.sqlite_file}"


def read_settings(**given: object) -> Settings:
    """Environment plus what the command line gave; raises `UsageError` naming the variable that is wrong."""
    from pydantic import ValidationError

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # pyright: ignore[reportArgumentType]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = "HANDRAIL_" + "__".join(str(part) for part in first["loc"]).upper()
        # A whole group's values are not repeated: a secret may be among them.
        # Nor is one of a group of secrets.
        is_secret = isinstance(first["input"], dict | SecretStr) or "channels" in first["loc"]
        got = "" if is_secret else f" (got {first['input']!r})"
        raise UsageError(f"{name}: {first['msg']}{got}") from error
