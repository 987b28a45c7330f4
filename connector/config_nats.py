"""Settings of the feed into NATS."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from connector.config_types import Section, checked_url

_SUBJECT = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


class NatsSettings(Section):
    """What happens, and finished calls and streams, as messages of NATS. Needs the extra `nats`."""

    url: str = ""
    """nats:// or tls:// address of a server, for example nats://127.0.0.1:4222; empty: no messages."""
    subject: str = "connector"
    """What every subject begins with."""
    token: SecretStr = SecretStr("")
    """Where the server asks for one."""
    user: str = ""
    """Where the server asks for a user."""
    password: SecretStr = SecretStr("")
    """Of the user."""
    tls_ca_file: Path | None = None
    """CA that signed the server's certificate, PEM; without it those that this machine trusts."""
    max_waiting: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000
    """Messages that wait while the server cannot be reached; beyond it the oldest are dropped and counted."""

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        return checked_url(value, ("nats", "tls")) if value else value

    @field_validator("subject")
    @classmethod
    def _words(cls, value: str) -> str:
        if not _SUBJECT.fullmatch(value):
            raise ValueError(f"{value!r} must be words of letters, digits, _ and - with dots between them")
        return value

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if bool(self.user) != bool(self.password.get_secret_value()):
            raise ValueError("user and password belong together: set both, or neither")
        if self.user and self.token.get_secret_value():
            raise ValueError("set token, or user and password, not both")
        return self
