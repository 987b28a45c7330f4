"""Settings of history: where it is kept, for how long, and where a PBX's own account of its queues is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from connector.config_types import Section

NAME = "asterisk-connector"


def state_directory(environ: Mapping[str, str] = os.environ, *, root: bool | None = None) -> Path:
    """Where a service keeps its state: systemd's own word, /var/lib, or the user's state directory (XDG)."""
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    if os.geteuid() == 0 if root is None else root:
        return Path("/var/lib") / NAME
    home = environ.get("XDG_STATE_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".local" / "state") / NAME


Days = Annotated[int, Field(ge=0, le=36_500)]


class RetentionSettings(Section):
    """Days that each kind of record is kept; 0 keeps it for ever."""

    calls: Days = 400
    """Calls with their visits and timelines: they hold callers' numbers and names."""
    agent_intervals: Days = 400
    aggregates: Days = 1_830
    """Sums by quarter of an hour, of queues and agents. They stay right when their calls are gone."""
    streams: Days = 90
    audit: Days = 730


class StoreSettings(Section):
    """History. The connector goes on without it: what it cannot write waits in memory and on disk."""

    directory: Path = Field(default_factory=state_directory, json_schema_extra={"default": f"/var/lib/{NAME}"})
    """Holds the spool, the database if it is SQLite, and undelivered webhooks. By default what systemd's
    StateDirectory= gives, else /var/lib/asterisk-connector for root, $XDG_STATE_HOME/asterisk-connector for others."""
    url: str = ""
    """Database: postgresql://user@host:5432/name, or sqlite:////path/history.sqlite. Empty: SQLite in `directory`."""
    password: SecretStr = SecretStr("")
    """Of the database's user."""
    retention_days: RetentionSettings = RetentionSettings()
    spool_max_bytes: Annotated[int, Field(ge=65_536)] = 268_435_456
    """Records on disk while the database is away; beyond it the oldest are dropped and counted."""

    @field_validator("url")
    @classmethod
    def _database(cls, value: str) -> str:
        return checked_database(value, ("sqlite", "postgresql")) if value else value

    @property
    def database_url(self) -> str:
        """The URL in effect."""
        return self.url or f"sqlite:///{self.directory.absolute() / 'history.sqlite'}"


def checked_database(value: str, kinds: tuple[str, ...] = ()) -> str:
    """A database's URL, without a password.

    Args:
        value: As written.
        kinds: Allowed beginnings; empty for any.

    Raises:
        ValueError: It is none, or shows a password.
    """
    try:
        parts = urlsplit(value)
        password = parts.password
    except ValueError:
        parts, password = urlsplit(""), None
    kind = parts.scheme.partition("+")[0]
    if not kind or "://" not in value or (kinds and kind not in kinds):
        raise ValueError(f"must be a database's URL that begins with {' or '.join(f'{k}://' for k in kinds) or 'x://'}")
    if password is not None:
        raise ValueError("must not hold a password: addresses are shown in logs; use the password key beside it")
    return value


def checked_queue_log(value: str) -> str:
    """An absolute path, or the URL of a database that Asterisk writes queue_log to.

    Raises:
        ValueError: Neither.
    """
    if "://" in value:
        return checked_database(value)
    if not value.startswith("/"):
        raise ValueError("must be an absolute path, for example /var/log/asterisk/queue_log, or a database's URL")
    return value
