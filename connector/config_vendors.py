"""Settings of the vendors' own REST interfaces, by which bots hang up and update calls; off without an account."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from connector.config_types import Section, checked_line


class VendorAccount(Section):
    """An account that bots use; its name is the account id that the bot is told in `start`."""

    secret: SecretStr
    """Auth token, API key or token. `env:NAME` is the environment variable CONNECTOR_SECRET_NAME, `file:NAME` a file in
    `outgoing.secrets_directory`."""
    login: str = ""
    """User name of Basic authentication where it is not the account id, such as the sid of an API key."""

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if not text.startswith(("env:", "file:")) and len(text) < 16:
            raise ValueError("must have at least 16 characters, for example from: openssl rand -hex 32")
        return value


Accounts = dict[str, VendorAccount]


class RingcxSettings(Section):
    """What RingCX's products are here."""

    queues: dict[str, str] = Field(default={})
    """Queues in Asterisk by productId, for example 1234 = "support". One that is not here is called by its number."""
    campaigns: dict[str, str] = Field(default={})
    """Tags of campaigns by productId, in the same way."""
    media_control: bool = False
    """Serve the routes that have any server listen to any call of any PBX, by a token of `ringcx`."""
    any_url: bool = False
    """Take any ws:// or wss:// as streamingUrl. RingCX takes wss://host[:port] alone, with no path and no query."""


class VendorApiSettings(Section):
    """The REST interfaces of vendors whose dialects the bots speak, for calls that are with such a bot."""

    twilio: Accounts = Field(default={})
    """By account sid: `account_sid` of the dialect's settings."""
    telnyx: Accounts = Field(default={})
    """By user id: `user_id` of the dialect's settings."""
    plivo: Accounts = Field(default={})
    """By auth id: `account_id` of the dialect's settings."""
    exotel: Accounts = Field(default={})
    """By account sid: `account_sid` of the dialect's settings; `login` is the API key, `secret` the API token."""
    ringcx: Accounts = Field(default={})
    """By sub-account id; `secret` is the bearer token."""
    ringcx_products: RingcxSettings = RingcxSettings()
    dial_context: str = ""
    """Dialplan context of numbers that a bot names here; empty: the one that the call came from. What may be dialled
    is the profile's `handover.allow`, for example extension:+49*@outbound."""
    requests_per_second: Annotated[float, Field(gt=0, le=1_000)] = 20
    """Of each account, with bursts of twice as many; more get 429."""

    @field_validator("dial_context")
    @classmethod
    def _context(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{0,80}", value):
            raise ValueError("may hold letters, digits and _ . -")
        return value

    @field_validator("twilio", "telnyx", "plivo", "exotel", "ringcx")
    @classmethod
    def _ids(cls, value: Accounts) -> Accounts:
        for name in value:
            checked_line(name)
            if len(name) > 64 or "/" in name:
                raise ValueError(f"{name[:64]!r} is no account id: at most 64 characters, no /")
        return value
