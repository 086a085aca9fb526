"""The audit log: records that can't be changed, their checkpoints, and the keys that signed them.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# A record gets its place once; nothing else of it ever changes, and it never goes away.
_SQLITE = (
    """CREATE TRIGGER audit_record_is_kept BEFORE DELETE ON audit_record
    BEGIN SELECT RAISE(ABORT, 'audit records are append-only'); END""",
    """CREATE TRIGGER audit_record_is_fixed BEFORE UPDATE ON audit_record
    WHEN OLD.seq IS NOT NULL OR NEW.seq IS NULL OR NEW.id <> OLD.id OR NEW.tenant_id <> OLD.tenant_id
        OR NEW.at <> OLD.at OR NEW.action <> OLD.action OR NEW.outcome <> OLD.outcome OR NEW.actor <> OLD.actor
        OR NEW.target <> OLD.target OR NEW.body <> OLD.body
    BEGIN SELECT RAISE(ABORT, 'audit records are append-only'); END""",
)
_POSTGRESQL = (
    """CREATE FUNCTION handrail_audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'UPDATE' AND OLD.seq IS NULL AND NEW.seq IS NOT NULL AND NEW.id = OLD.id
            AND NEW.tenant_id = OLD.tenant_id AND NEW.at = OLD.at AND NEW.action = OLD.action
            AND NEW.outcome = OLD.outcome AND NEW.actor = OLD.actor AND NEW.target = OLD.target
            AND NEW.body = OLD.body THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'audit records are append-only' USING ERRCODE = 'check_violation';
    END $$""",
    """CREATE TRIGGER audit_record_is_fixed BEFORE UPDATE OR DELETE ON audit_record
    FOR EACH ROW EXECUTE FUNCTION handrail_audit_is_append_only()""",
)


def upgrade() -> None:
    op.create_table(
        "audit_record",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("leaf", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_record")),
    )
    op.create_index("ix_audit_record_tenant_id_id", "audit_record", ["tenant_id", "id"], unique=False)
    op.create_index("ix_audit_record_tenant_id_target", "audit_record", ["tenant_id", "target"], unique=False)
    op.create_index("uq_audit_record_seq", "audit_record", ["seq"], unique=True)
    op.create_index(
        "ix_audit_record_unsealed",
        "audit_record",
        ["id"],
        unique=False,
        sqlite_where=sa.text("seq IS NULL"),
        postgresql_where=sa.text("seq IS NULL"),
    )
    op.create_table(
        "audit_checkpoint",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("frontier", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_checkpoint")),
    )
    op.create_index("ix_audit_checkpoint_size", "audit_checkpoint", ["size"], unique=False)
    op.create_table(
        "audit_key",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("public", sa.Text(), nullable=False),
        sa.Column("first_used_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_audit_key")),
    )
    for statement in _POSTGRESQL if op.get_bind().dialect.name == "postgresql" else _SQLITE:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("audit_key")
    op.drop_table("audit_checkpoint")
    op.drop_table("audit_record")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION handrail_audit_is_append_only()")
