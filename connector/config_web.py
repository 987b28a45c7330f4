"""Settings of the HTTP side: where it listens, who may use it, who is told by webhook."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self
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
    "call-handed-over",
)
"""Names of the events that webhooks and the push connection carry; their shapes are `web.happenings`'s."""


class OidcSettings(Section):
    """Log-in at a provider of OpenID Connect, by authorization code with PKCE. Off without `issuer`."""

    issuer: str = ""
    """For example https://login.example/realms/company; its /.well-known/openid-configuration says the rest."""
    client_id: str = "connector"
    client_secret: SecretStr = SecretStr("")
    title: str = "Single sign-on"
    """On the button."""
    name_claim: str = "preferred_username"
    """Claim that names the account."""
    role_claim: str = ""
    """Claim that lists groups or roles, for example groups. Empty: only accounts made by hand (`connector user add
    NAME --oidc`) may log in, with the role they have."""
    roles: dict[str, Literal["viewer", "supervisor", "admin"]] = Field(default={})
    """What a value of `role_claim` makes of somebody, at each log-in; the highest counts."""
    queues_claim: str = ""
    """Claim that lists the queues of a viewer or supervisor, for those whose role comes from `roles`."""
    teams_claim: str = ""
    """The same for teams."""
    scopes: str = "openid profile email"
    """Asked for."""

    @field_validator("issuer")
    @classmethod
    def _url(cls, value: str) -> str:
        if not value:
            return value
        parts = urlsplit(checked_url(value, ("https", "http")))
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise ValueError("must be https: who can change it on the way could log in as anybody")
        return value.rstrip("/")


class HttpSettings(Section):
    """Metrics, health, the pages and the API."""

    host: str = "127.0.0.1"
    """Address to listen on. Any other than loopback needs TLS: here, or in a proxy of `trusted_proxies`."""
    port: Port = 8089
    tls_certificate: Path | None = None
    """Certificate with its chain, PEM."""
    tls_key: Path | None = None
    """Its key, PEM."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of the proxies before us; their X-Forwarded-For, -Proto and -Host are believed."""
    plain: bool = False
    """Listen beyond loopback without TLS: passwords and callers can be read on the way."""
    anonymous: Literal["", "viewer", "supervisor", "admin"] = ""
    """Role of who has not logged in, over everything. Empty: who has not logged in gets nothing. Loopback only."""
    metrics: Literal["login", "open", "off"] = "login"
    """/metrics: `login` needs a token with the scope metrics, `open` nothing."""
    health: Literal["open", "login", "off"] = "open"
    """/healthz and /readyz."""
    allowed_origins: tuple[str, ...] = ()
    """Other web origins that may use the API from a browser, for example https://wallboard.example."""
    session_hours: Annotated[float, Field(gt=0, le=720)] = 12.0
    """After it a browser logs in again."""
    mask_numbers: bool = True
    """Viewers see only the last digits of callers' numbers."""
    oidc: OidcSettings = OidcSettings()

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            try:
                ipaddress.ip_network(each)
            except ValueError as error:
                raise ValueError(f"{each!r} is no address or network, for example 127.0.0.1 or 10.0.0.0/8") from error
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
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together: set both, or neither")
        if is_loopback(self.host):
            return self
        if self.anonymous:
            raise ValueError(f"host {self.host} can be reached by others: anonymous must be empty there")
        if self.tls_certificate is None and not self.trusted_proxies and not self.plain:
            raise ValueError(
                f"host {self.host} can be reached by others and passwords would go there in the clear: set "
                "tls_certificate and tls_key, or trusted_proxies with the proxy that has them, or listen on 127.0.0.1"
            )
        return self


class WebhookSettings(Section):
    """An address that is told what happens in the queues, by signed HTTP POST."""

    url: str
    secret: SecretStr
    """Key of the signature (HMAC-SHA256); at least 16 characters."""
    events: tuple[str, ...] = ()
    """Names of events, see docs/webhooks.md. Empty: all."""
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
