"""The tables of history."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies it."""
    op.create_table(
        "agent_aggregates",
        sa.Column("pbx", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("available_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("ringing_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("on_call_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("on_hold_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("wrap_up_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("paused_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("unavailable_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("handled", sa.Integer(), server_default="0", nullable=False),
        sa.Column("transferred", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rang_in_vain", sa.Integer(), server_default="0", nullable=False),
        sa.Column("handled_talk_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("handled_hold_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("handled_wrap_up_s", sa.Double(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("pbx", "agent", "starts_at", name=op.f("pk_agent_aggregates")),
    )
    with op.batch_alter_table("agent_aggregates", schema=None) as batch_op:
        batch_op.create_index("ix_agent_aggregates_starts_at", ["starts_at"], unique=False)

    op.create_table(
        "agent_interfaces",
        sa.Column("pbx", sa.Text(), nullable=False),
        sa.Column("interface", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pbx", "interface", name=op.f("pk_agent_interfaces")),
    )
    with op.batch_alter_table("agent_interfaces", schema=None) as batch_op:
        batch_op.create_index("ix_agent_interfaces_agent_id", ["agent_id"], unique=False)

    op.create_table(
        "agent_intervals",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("pbx", sa.Text(), server_default="", nullable=False),
        sa.Column("agent", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("started_at", sa.Double(), server_default="0", nullable=False),
        sa.Column("ended_at", sa.Double(), server_default="0", nullable=False),
        sa.Column("linkedid", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_agent_intervals")),
    )
    with op.batch_alter_table("agent_intervals", schema=None) as batch_op:
        batch_op.create_index("ix_agent_intervals_agent", ["pbx", "agent", "started_at"], unique=False)
        batch_op.create_index("ix_agent_intervals_ended_at", ["ended_at", "key"], unique=False)

    op.create_table(
        "agents",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("teams", sa.JSON(), nullable=False),
        sa.Column("skills", sa.Text(), server_default="", nullable=False),
        sa.Column("source", sa.Text(), server_default="", nullable=False),
        sa.Column("updated_at", sa.Double(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agents")),
    )
    op.create_table(
        "audit",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), server_default="0", nullable=False),
        sa.Column("pbx", sa.Text(), server_default="", nullable=False),
        sa.Column("actor", sa.Text(), server_default="", nullable=False),
        sa.Column("action", sa.Text(), server_default="", nullable=False),
        sa.Column("target", sa.Text(), server_default="", nullable=False),
        sa.Column("result", sa.Text(), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("remote", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_audit")),
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index("ix_audit_at", ["at", "key"], unique=False)

    op.create_table(
        "calls",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("pbx", sa.Text(), server_default="", nullable=False),
        sa.Column("linkedid", sa.Text(), server_default="", nullable=False),
        sa.Column("started_at", sa.Double(), server_default="0", nullable=False),
        sa.Column("ended_at", sa.Double(), server_default="0", nullable=False),
        sa.Column("direction", sa.Text(), server_default="", nullable=False),
        sa.Column("number", sa.Text(), server_default="", nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("dialled", sa.Text(), server_default="", nullable=False),
        sa.Column("answered_at", sa.Double(), nullable=True),
        sa.Column("legs", sa.Integer(), server_default="0", nullable=False),
        sa.Column("recovered", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_calls")),
    )
    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.create_index("ix_calls_ended_at", ["ended_at", "key"], unique=False)
        batch_op.create_index("ix_calls_number", ["number", "ended_at"], unique=False)

    op.create_table(
        "marks",
        sa.Column("pbx", sa.Text(), nullable=False),
        sa.Column("heard_until", sa.Double(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("pbx", name=op.f("pk_marks")),
    )
    op.create_table(
        "queue_aggregates",
        sa.Column("pbx", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("offered", sa.Integer(), server_default="0", nullable=False),
        sa.Column("answered", sa.Integer(), server_default="0", nullable=False),
        sa.Column("abandoned", sa.Integer(), server_default="0", nullable=False),
        sa.Column("timed_out", sa.Integer(), server_default="0", nullable=False),
        sa.Column("left_empty", sa.Integer(), server_default="0", nullable=False),
        sa.Column("join_empty", sa.Integer(), server_default="0", nullable=False),
        sa.Column("full", sa.Integer(), server_default="0", nullable=False),
        sa.Column("key_exit", sa.Integer(), server_default="0", nullable=False),
        sa.Column("withdrawn", sa.Integer(), server_default="0", nullable=False),
        sa.Column("redirected", sa.Integer(), server_default="0", nullable=False),
        sa.Column("unknown", sa.Integer(), server_default="0", nullable=False),
        sa.Column("target_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("answered_within_target", sa.Integer(), server_default="0", nullable=False),
        sa.Column("abandoned_within_target", sa.Integer(), server_default="0", nullable=False),
        sa.Column("short_abandon_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("abandoned_short", sa.Integer(), server_default="0", nullable=False),
        sa.Column("wait_s_sum", sa.Double(), server_default="0", nullable=False),
        sa.Column("wait_s_max", sa.Double(), server_default="0", nullable=False),
        sa.Column("answered_wait_s_sum", sa.Double(), server_default="0", nullable=False),
        sa.Column("answered_wait_s_max", sa.Double(), server_default="0", nullable=False),
        sa.Column("abandoned_wait_s_sum", sa.Double(), server_default="0", nullable=False),
        sa.Column("abandoned_wait_s_max", sa.Double(), server_default="0", nullable=False),
        sa.Column("talk_s_sum", sa.Double(), server_default="0", nullable=False),
        sa.Column("talk_s_max", sa.Double(), server_default="0", nullable=False),
        sa.Column("hold_s_sum", sa.Double(), server_default="0", nullable=False),
        sa.Column("hold_s_max", sa.Double(), server_default="0", nullable=False),
        sa.Column("wrap_up_s_sum", sa.Double(), server_default="0", nullable=False),
        sa.Column("wrap_up_s_max", sa.Double(), server_default="0", nullable=False),
        sa.Column("rang_in_vain", sa.Integer(), server_default="0", nullable=False),
        sa.Column("transferred", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("pbx", "queue", "starts_at", name=op.f("pk_queue_aggregates")),
    )
    with op.batch_alter_table("queue_aggregates", schema=None) as batch_op:
        batch_op.create_index("ix_queue_aggregates_starts_at", ["starts_at"], unique=False)

    op.create_table(
        "streams",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("pbx", sa.Text(), server_default="", nullable=False),
        sa.Column("stream_id", sa.Text(), server_default="", nullable=False),
        sa.Column("uniqueid", sa.Text(), server_default="", nullable=False),
        sa.Column("profile", sa.Text(), server_default="", nullable=False),
        sa.Column("cause", sa.Text(), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("started_at", sa.Double(), server_default="0", nullable=False),
        sa.Column("ended_at", sa.Double(), server_default="0", nullable=False),
        sa.Column("setup_s", sa.Double(), nullable=True),
        sa.Column("stats", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_streams")),
    )
    with op.batch_alter_table("streams", schema=None) as batch_op:
        batch_op.create_index("ix_streams_ended_at", ["ended_at", "key"], unique=False)

    op.create_table(
        "timeline",
        sa.Column("call_key", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), server_default="0", nullable=False),
        sa.Column("what", sa.Text(), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("call_key", "seq", name=op.f("pk_timeline")),
    )
    with op.batch_alter_table("timeline", schema=None) as batch_op:
        batch_op.create_index(
            "ix_timeline_rang_in_vain",
            ["at", "detail"],
            unique=False,
            sqlite_where=sa.text("what = 'rang_in_vain'"),
            postgresql_where=sa.text("what = 'rang_in_vain'"),
        )

    op.create_table(
        "visits",
        sa.Column("call_key", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("pbx", sa.Text(), server_default="", nullable=False),
        sa.Column("queue", sa.Text(), server_default="", nullable=False),
        sa.Column("uniqueid", sa.Text(), server_default="", nullable=False),
        sa.Column("joined_at", sa.Double(), server_default="0", nullable=False),
        sa.Column("ended_at", sa.Double(), server_default="0", nullable=False),
        sa.Column("outcome", sa.Text(), server_default="", nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.Column("wait_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("agent", sa.Text(), server_default="", nullable=False),
        sa.Column("ring_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("talk_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("hold_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("wrap_up_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("rang_in_vain", sa.Integer(), server_default="0", nullable=False),
        sa.Column("transferred", sa.Boolean(), nullable=False),
        sa.Column("bucket", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("call_key", "seq", name=op.f("pk_visits")),
    )
    with op.batch_alter_table("visits", schema=None) as batch_op:
        batch_op.create_index("ix_visits_agent", ["pbx", "agent", "ended_at"], unique=False)
        batch_op.create_index("ix_visits_bucket", ["pbx", "queue", "bucket"], unique=False)
        batch_op.create_index("ix_visits_uniqueid", ["uniqueid"], unique=False)


def downgrade() -> None:
    """Takes it back."""
    with op.batch_alter_table("visits", schema=None) as batch_op:
        batch_op.drop_index("ix_visits_uniqueid")
        batch_op.drop_index("ix_visits_bucket")
        batch_op.drop_index("ix_visits_agent")

    op.drop_table("visits")
    with op.batch_alter_table("timeline", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_timeline_rang_in_vain",
            sqlite_where=sa.text("what = 'rang_in_vain'"),
            postgresql_where=sa.text("what = 'rang_in_vain'"),
        )

    op.drop_table("timeline")
    with op.batch_alter_table("streams", schema=None) as batch_op:
        batch_op.drop_index("ix_streams_ended_at")

    op.drop_table("streams")
    with op.batch_alter_table("queue_aggregates", schema=None) as batch_op:
        batch_op.drop_index("ix_queue_aggregates_starts_at")

    op.drop_table("queue_aggregates")
    op.drop_table("marks")
    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.drop_index("ix_calls_number")
        batch_op.drop_index("ix_calls_ended_at")

    op.drop_table("calls")
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.drop_index("ix_audit_at")

    op.drop_table("audit")
    op.drop_table("agents")
    with op.batch_alter_table("agent_intervals", schema=None) as batch_op:
        batch_op.drop_index("ix_agent_intervals_ended_at")
        batch_op.drop_index("ix_agent_intervals_agent")

    op.drop_table("agent_intervals")
    with op.batch_alter_table("agent_interfaces", schema=None) as batch_op:
        batch_op.drop_index("ix_agent_interfaces_agent_id")

    op.drop_table("agent_interfaces")
    with op.batch_alter_table("agent_aggregates", schema=None) as batch_op:
        batch_op.drop_index("ix_agent_aggregates_starts_at")

    op.drop_table("agent_aggregates")
