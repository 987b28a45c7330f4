"""What the sections of the settings are made of: their base class and the checks that several share."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

Port = Annotated[int, Field(ge=1, le=65535)]

_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,30}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # token, RFC 9110 section 5.6.2


class Section(BaseModel):
    """A table of the settings file; a key that it does not have is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def ip_literal(value: str) -> str:
    """Passes an IP address; raises ValueError for anything else."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise ValueError("must be an IP address, for example 127.0.0.1; names are not resolved here") from None
    return value


def whole(value: object) -> object:
    """Reads digits as a number and passes anything else: the environment has text alone."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def is_loopback(host: str) -> bool:
    """Whether nobody beyond this machine can reach what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def checked_name(value: str) -> str:
    """Passes the name of a PBX, a profile, a node; raises ValueError for anything else."""
    if not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not a name: 1 to 31 lower-case letters, digits and _, not starting with _")
    return value


def checked_line(value: str) -> str:
    """Passes text that cannot end a header; raises ValueError for anything else."""
    if not value or any(character in value for character in "\r\n\0"):
        raise ValueError("must be one non-empty line without control characters")
    return value


def checked_url(value: str, schemes: tuple[str, ...]) -> str:
    """Passes a URL of these schemes without credentials; raises ValueError for anything else."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"must be a URL that starts with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if parts.username or parts.password:
        raise ValueError("must not hold a user or password: addresses are shown in logs; use the keys made for them")
    return value


def checked_header_name(value: str) -> str:
    """Passes the name of an HTTP or SIP header (RFC 9110 5.1); raises ValueError for anything else."""
    if not _HEADER_NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not the name of a header")
    return value


def _checked_headers(value: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, content in value.items():
        checked_header_name(name)
        checked_line(content.get_secret_value())
    return value


SecretHeaders = Annotated[dict[str, SecretStr], AfterValidator(_checked_headers)]
"""HTTP headers by name; their contents may be secrets."""


def checked_zone(value: str) -> str:
    """A time zone's name that this machine knows."""
    try:
        ZoneInfo(value)
    except (OSError, ValueError, KeyError):
        raise ValueError(f"{value!r} is no time zone known here: write for example Europe/Berlin") from None
    return value
