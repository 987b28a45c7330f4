"""The tables. Times are seconds since the epoch (UTC) as floats, durations seconds; buckets are 900 s from the epoch.

The migrations in `migrations/versions` make them; a test holds that both say the same.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from connector.events import Outcome
from connector.records import AgentState

BUCKET_S: Final = 900
"""Width of an aggregate's interval: the quarter of an hour that workforce management plans in."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s",
    }
)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _seconds(name: str) -> Column[float]:
    return Column(name, Double, nullable=False, server_default="0")


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="0")


calls = Table(
    "calls",
    metadata,
    Column("key", Text, primary_key=True),
    _text("pbx"),
    _text("linkedid"),
    _seconds("started_at"),
    _seconds("ended_at"),
    _text("direction"),
    _text("number"),
    _text("name"),
    _text("dialled"),
    Column("answered_at", Double),
    _count("legs"),
    Column("recovered", Boolean, nullable=False),
    Index("ix_calls_ended_at", "ended_at", "key"),
    Index("ix_calls_number", "number", "ended_at"),
)
"""One row a call."""

visits = Table(
    "visits",
    metadata,
    Column("call_key", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    _text("pbx"),
    _text("queue"),
    _text("uniqueid"),
    _seconds("joined_at"),
    _seconds("ended_at"),
    _text("outcome"),
    _count("position"),
    _seconds("wait_s"),
    _text("agent"),
    _seconds("ring_s"),
    _seconds("talk_s"),
    _seconds("hold_s"),
    _seconds("wrap_up_s"),
    _count("rang_in_vain"),
    Column("transferred", Boolean, nullable=False),
    Column("bucket", BigInteger, nullable=False),
    PrimaryKeyConstraint("call_key", "seq"),
    Index("ix_visits_bucket", "pbx", "queue", "bucket"),
    Index("ix_visits_agent", "pbx", "agent", "ended_at"),
    Index("ix_visits_uniqueid", "uniqueid"),
)
"""One row an attempt of a call at a queue. `bucket` is the start of the quarter in which the caller joined."""

timeline = Table(
    "timeline",
    metadata,
    Column("call_key", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    _seconds("at"),
    _text("what"),
    _text("detail"),
    PrimaryKeyConstraint("call_key", "seq"),
    Index(
        "ix_timeline_rang_in_vain",
        "at",
        "detail",
        sqlite_where=text("what = 'rang_in_vain'"),
        postgresql_where=text("what = 'rang_in_vain'"),
    ),
)
"""What happened in a call, in order."""

agent_intervals = Table(
    "agent_intervals",
    metadata,
    Column("key", Text, primary_key=True),
    _text("pbx"),
    _text("agent"),
    _text("state"),
    _text("reason"),
    _seconds("started_at"),
    _seconds("ended_at"),
    _text("linkedid"),
    Index("ix_agent_intervals_agent", "pbx", "agent", "started_at"),
    Index("ix_agent_intervals_ended_at", "ended_at", "key"),
)
"""One row a stretch of an agent's state."""

queue_aggregates = Table(
    "queue_aggregates",
    metadata,
    Column("pbx", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("starts_at", BigInteger, nullable=False),
    _count("offered"),
    *(_count(outcome.value) for outcome in Outcome),
    _seconds("target_s"),
    _count("answered_within_target"),
    _count("abandoned_within_target"),
    _seconds("short_abandon_s"),
    _count("abandoned_short"),
    *(
        _seconds(f"{what}_s_{how}")
        for what in ("wait", "answered_wait", "abandoned_wait", "talk", "hold", "wrap_up")
        for how in ("sum", "max")
    ),
    _count("rang_in_vain"),
    _count("transferred"),
    PrimaryKeyConstraint("pbx", "queue", "starts_at"),
    Index("ix_queue_aggregates_starts_at", "starts_at"),
)
"""One row a queue and quarter of an hour, of the callers who joined in it."""

agent_aggregates = Table(
    "agent_aggregates",
    metadata,
    Column("pbx", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("starts_at", BigInteger, nullable=False),
    *(_seconds(f"{state.value}_s") for state in AgentState),
    _count("handled"),
    _count("transferred"),
    _count("rang_in_vain"),
    *(_seconds(f"handled_{what}_s") for what in ("talk", "hold", "wrap_up")),
    PrimaryKeyConstraint("pbx", "agent", "starts_at"),
    Index("ix_agent_aggregates_starts_at", "starts_at"),
)
"""One row an agent and quarter of an hour: seconds per state within it, calls answered and refused in it."""

streams = Table(
    "streams",
    metadata,
    Column("key", Text, primary_key=True),
    _text("pbx"),
    _text("stream_id"),
    _text("uniqueid"),
    _text("profile"),
    _text("cause"),
    _text("detail"),
    _seconds("started_at"),
    _seconds("ended_at"),
    Column("setup_s", Double),
    Column("stats", JSON, nullable=False),
    Column("quality", JSON),
    *(_text(name) for name in ("dialect", "mode", "peer", "queue")),
    Index("ix_streams_ended_at", "ended_at", "key"),
)
"""One row a stream."""

audit = Table(
    "audit",
    metadata,
    Column("key", Text, primary_key=True),
    _seconds("at"),
    _text("pbx"),
    _text("actor"),
    _text("action"),
    _text("target"),
    _text("result"),
    _text("detail"),
    _text("remote"),
    Index("ix_audit_at", "at", "key"),
)
"""One row a deed of a person or program."""

agents = Table(
    "agents",
    metadata,
    Column("id", Text, primary_key=True),
    _text("name"),
    Column("teams", JSON, nullable=False),
    _text("skills"),
    _text("source"),
    _seconds("updated_at"),
)
"""The directory: one row a person."""

agent_interfaces = Table(
    "agent_interfaces",
    metadata,
    Column("pbx", Text, nullable=False),
    Column("interface", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    PrimaryKeyConstraint("pbx", "interface"),
    Index("ix_agent_interfaces_agent_id", "agent_id"),
)
"""Which person uses an interface of a PBX; the key makes it one."""

profile_versions = Table(
    "profile_versions",
    metadata,
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    _seconds("at"),
    _text("by"),
    Column("settings", Text),
    PrimaryKeyConstraint("name", "version"),
)
"""One row a version of a profile: its settings as JSON, nothing where it was removed."""

accounts = Table(
    "accounts",
    metadata,
    Column("name", Text, primary_key=True),
    _text("role"),
    Column("queues", JSON, nullable=False),
    Column("teams", JSON, nullable=False),
    _text("phone"),
    _text("source"),
    _text("password_hash"),
    _text("subject"),
    Column("disabled", Boolean, nullable=False),
    _seconds("created_at"),
    Column("preferences", JSON, nullable=False),
)
"""Who may log in. `preferences` are the page's own."""

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    _text("account"),
    _text("label"),
    _text("hash"),
    Column("scopes", JSON, nullable=False),
    _seconds("created_at"),
    Column("expires_at", Double),
    Index("ix_tokens_account", "account"),
)
"""Secrets of programs, hashed."""

sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    _text("account"),
    _seconds("created_at"),
    _seconds("expires_at"),
    _text("remote"),
    Index("ix_sessions_account", "account"),
)
"""Logins of browsers; `id` is the hash of the cookie's secret."""

marks = Table(
    "marks",
    metadata,
    Column("pbx", Text, primary_key=True),
    _seconds("heard_until"),
)
"""Until when the events of a PBX were heard without a gap: where recovery begins after a restart."""


def bucket_of(at: float) -> int:
    """Start of the quarter that a time lies in, seconds since the epoch."""
    return int(at // BUCKET_S) * BUCKET_S
