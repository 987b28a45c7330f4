"""Settings of profiles that ask a server by HTTP where a call goes, and stream nothing: passthru and connect."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from connector.config_targets import checked_target
from connector.config_types import Section, checked_url

_DIAL = re.compile(r"[A-Za-z0-9_]+/[A-Za-z0-9_.@:/{}+-]{1,120}")


class PassthruSettings(Section):
    """A server is told of the call, and its answer says where it goes: Exotel's Passthru."""

    request: Literal["get", "get_json", "post_before", "post_after"] = "get"
    """What it is sent. `get`: the call and `Stream[...]` of the stream before it as a query; `get_json`: with one
    parameter Stream, JSON. `post_after`: JSON with names in lower case; `post_before`: JSON of a stream that begins."""
    wait: bool = True
    """Whether the call waits for the answer; else it goes where `on_200` says, and the answer counts for nothing."""
    on_200: str = "dialplan"
    """Where the call goes when the answer is 200."""
    on_302: str = "dialplan"
    """Where the call goes when the answer is 302."""
    otherwise: str = "dialplan"
    """Where the call goes when there is another answer, or none in time."""
    timeout_ms: Annotated[int, Field(ge=100, le=30_000)] = 5_000
    """Bound of the request; the caller waits for it."""
    flow_id: str = ""
    """Of the request, as it is."""
    custom_field: str = ""
    """Of the request, as it is."""
    recordings_url: str = ""
    """What addresses of recordings that are not uploaded begin with, for example https://connector.example.com."""

    _targets = field_validator("on_200", "on_302", "otherwise")(checked_target)

    @field_validator("recordings_url")
    @classmethod
    def _url(cls, value: str) -> str:
        return checked_url(value, ("http", "https")).rstrip("/") if value else value


class ConnectSettings(Section):
    """A server says whom to call, and Asterisk dials: Exotel's Connect by dynamic URL."""

    fallback_url: str = ""
    """Asked when `url` gives no usable answer; empty: nobody is."""
    dial: str = ""
    """How a number is dialled, `{number}` for the number: PJSIP/{number}@carrier. Empty: numbers are not."""
    trunks: dict[str, str] = Field(default={})
    """How a trunk is dialled, by the name that the server gives: {"trunk-2134": "PJSIP/{to}@other"}, with `{to}` for
    the number that the caller dialled."""
    max_numbers: Annotated[int, Field(ge=1, le=50)] = 10
    """Of one answer; more are not dialled."""
    max_fetches: Annotated[int, Field(ge=1, le=20)] = 5
    """How often the server is asked in one call, where it wants to be asked after each attempt."""
    timeout_ms: Annotated[int, Field(ge=100, le=30_000)] = 5_000
    """Bound of one request."""
    context: str = "connector-connect"
    """Dialplan context that dials, from asterisk-conf/connector-extensions.conf."""

    @field_validator("fallback_url")
    @classmethod
    def _url(cls, value: str) -> str:
        return checked_url(value, ("http", "https")) if value else value

    @field_validator("dial")
    @classmethod
    def _dial(cls, value: str) -> str:
        return _checked_dial(value, "{number}") if value else value

    @field_validator("trunks")
    @classmethod
    def _trunks(cls, value: dict[str, str]) -> dict[str, str]:
        return {name: _checked_dial(each, "{to}") for name, each in value.items()}

    @field_validator("context")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,80}", value):
            raise ValueError("may hold letters, digits and _ . -")
        return value


def _checked_dial(value: str, place: str) -> str:
    if not _DIAL.fullmatch(value) or re.search(r"[{}]", value.replace(place, "")):
        raise ValueError(f"must be technology/resource as Dial() takes it, with {place} where that belongs")
    return value
