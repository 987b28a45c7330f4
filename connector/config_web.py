"""Settings of the HTTP side: where it listens, who may use it, who is told by webhook."""

from __future__ import annotations

import re
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from connector.config_types import Port, Section, checked_url, is_loopback

HAPPENINGS = (
    "agent-called",
    "caller-joined",
    "agent-connected",
    "call-abandoned",
    "queue-member-added",
    "queue-member-removed",
    "call.hangup",
)
"""Names of the events that webhooks and the push connection carry; their shapes are `web.happenings`'s."""


class HttpSettings(Section):
    """Metrics, health, the live page and the API."""

    host: str = "127.0.0.1"
    """Address to listen on. Any other than loopback needs `token`: whoever reaches the API sees callers and numbers."""
    port: Port = 8089
    token: SecretStr = SecretStr("")
    """Needed for /api, as `Authorization: Bearer <token>`. Empty: nobody needs one, which only loopback allows."""
    token_for_metrics: bool = True
    """With a token: /metrics needs it too. Set false where only Prometheus can reach the port."""
    allowed_origins: tuple[str, ...] = ()
    """Other web origins that may use the API from a browser, for example https://wallboard.example."""

    @field_validator("token")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text and not re.fullmatch(r"[A-Za-z0-9._~+-]{16,256}", text):
            raise ValueError("must have 16 to 256 letters, digits or . _ ~ + -, for example from: openssl rand -hex 32")
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if urlsplit(checked_url(origin, ("http", "https"))).path:
                raise ValueError(
                    f"{origin!r} must be scheme, host and port alone, for example https://wallboard.example"
                )
        return value

    @model_validator(mode="after")
    def _not_open(self) -> Self:
        if not self.token.get_secret_value() and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host} can be reached by others and there is no token: set http.token, "
                "or listen on 127.0.0.1"
            )
        return self


class WebhookSettings(Section):
    """An address that is told what happens in the queues, by signed HTTP POST."""

    url: str
    secret: SecretStr
    """Key of the signature (HMAC-SHA256); at least 16 characters."""
    events: tuple[str, ...] = ()
    """Names of events, see docs/webhooks.md. Empty: the seven of Rocket.Chat."""
    queues: tuple[str, ...] = ()
    """Only events of these queues. Empty: all."""
    agents: tuple[str, ...] = ()
    """Only events that concern one of these agents, by directory id or interface. Empty: all."""
    allow_private: bool = False
    """Allow an address within private networks or on this machine."""
    timeout_ms: Annotated[int, Field(ge=100, le=60_000)] = 10_000
    """Of one attempt, from the name look-up to the answer."""
    max_pending: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Deliveries that may wait; beyond it the oldest is dropped and counted."""
    max_age_hours: Annotated[int, Field(ge=1, le=720)] = 24
    """A delivery older than that is tried no more and kept among the dead letters."""

    @field_validator("url")
    @classmethod
    def _http(cls, value: str) -> str:
        return checked_url(value, ("http", "https"))

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value()) < 16:
            raise ValueError("must have at least 16 characters, for example from: openssl rand -hex 32")
        return value

    @field_validator("events")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in HAPPENINGS:
                raise ValueError(f"{name!r} is no event; there are: {', '.join(HAPPENINGS)}")
        return value
