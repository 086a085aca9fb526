"""Releases, their files and artefacts, and which release of an agent is stable."""

from sqlalchemy import Column, ForeignKeyConstraint, Index, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text

from handrail.db import boolean, metadata, micros

release = Table(
    "release",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("format_version", Integer, nullable=False),
    Column("note", Text),
    Column("author", Text, nullable=False),
    Column("git_commit", Text),
    boolean("git_dirty", nullable=True),
    Column("lock_hash", Text),
    micros("created_at"),
    # The id is made from the content, so two tenants with the same project have the same one.
    PrimaryKeyConstraint("tenant_id", "id"),
    Index("ix_release_agent_created_at", "tenant_id", "agent", "created_at"),
)

release_file = Table(
    "release_file",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("release_id", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant_id", "release_id", "path"),
    ForeignKeyConstraint(["tenant_id", "release_id"], ["release.tenant_id", "release.id"]),
)

artefact = Table(
    "artefact",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("made_from", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    micros("created_at"),
    # Stored once for all releases it belongs to: a trained head has megabytes, and most edits don't change it.
    PrimaryKeyConstraint("tenant_id", "kind", "hash"),
    Index("ix_artefact_made_from", "tenant_id", "kind", "made_from"),
)

release_artefact = Table(
    "release_artefact",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("release_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("hash", Text, nullable=False),
    micros("created_at"),
    PrimaryKeyConstraint("tenant_id", "release_id", "kind", "hash"),
    ForeignKeyConstraint(["tenant_id", "release_id"], ["release.tenant_id", "release.id"]),
    ForeignKeyConstraint(
        ["tenant_id", "kind", "hash"],
        ["artefact.tenant_id", "artefact.kind", "artefact.hash"],
        name="fk_release_artefact_artefact",
    ),
)

agent = Table(
    "agent",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("stable_release_id", Text),
    Column("previous_release_id", Text),
    micros("updated_at"),
    PrimaryKeyConstraint("tenant_id", "name"),
    ForeignKeyConstraint(
        ["tenant_id", "stable_release_id"], ["release.tenant_id", "release.id"], name="fk_agent_stable_release"
    ),
    ForeignKeyConstraint(
        ["tenant_id", "previous_release_id"], ["release.tenant_id", "release.id"], name="fk_agent_previous_release"
    ),
)
