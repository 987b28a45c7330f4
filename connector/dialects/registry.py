"""The wire protocols by the name that a profile gives. A new one is a file of its own and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError

from connector.dialects.audiohook import Audiohook
from connector.dialects.base import Dialect, DialectOptions, StreamStart
from connector.dialects.exotel import Exotel
from connector.dialects.openai_realtime import OpenaiRealtime
from connector.dialects.plivo import Plivo
from connector.dialects.raw import Raw
from connector.dialects.ringcx import Ringcx
from connector.dialects.ringcx_grpc import RingcxGrpc
from connector.dialects.rustpbx import Rustpbx
from connector.dialects.telnyx import Telnyx
from connector.dialects.twilio import Twilio
from connector.dialects.vonage import Vonage

_ALL: tuple[type[Dialect], ...] = (
    Audiohook,
    Exotel,
    OpenaiRealtime,
    Plivo,
    Raw,
    Ringcx,
    RingcxGrpc,
    Rustpbx,
    Telnyx,
    Twilio,
    Vonage,
)

DIALECTS: Mapping[str, type[Dialect]] = MappingProxyType(
    {each.options_type.model_fields["name"].default: each for each in _ALL}
)

DEFAULT: DialectOptions = Twilio.options_type()
"""What most bots speak."""

_Name = Literal[tuple(DIALECTS)]  # type: ignore[valid-type]


def _by_name(value: object) -> object:
    """`dialect = "raw"` is short for `dialect = { name = "raw" }`."""
    return {"name": value} if isinstance(value, str) else value


if TYPE_CHECKING:
    AnyOptions = DialectOptions
else:
    _Options = Annotated[Union[tuple(each.options_type for each in DIALECTS.values())], Field(discriminator="name")]  # noqa: UP007
    AnyOptions = Annotated[SerializeAsAny[_Options], BeforeValidator(_by_name, json_schema_input_type=_Name | _Options)]
    """The options of any dialect, told apart by `name`: as a type for settings."""


def create(name: str, start: StreamStart, options: Mapping[str, Any] | None = None) -> Dialect:
    """A dialect for one WebSocket.

    Args:
        name: Of the dialect.
        start: What the bot is told.
        options: As `DialectOptions.plain` gives them; None: the defaults.

    Raises:
        ValueError: There is no such dialect, or the options are not the dialect's; the message says what there is.
    """
    checked = read_options(name, options)
    return DIALECTS[name](start, checked)


def read_options(name: str, options: Mapping[str, Any] | None = None) -> DialectOptions:
    """The options of a dialect, among them what it hears and says.

    Args:
        name: Of the dialect.
        options: As `DialectOptions.plain` gives them; None: the defaults.

    Raises:
        ValueError: There is no such dialect, or the options are not the dialect's; the message says what there is.
    """
    try:
        dialect = DIALECTS[name]
    except KeyError:
        raise ValueError(f"unknown dialect {name!r}; there is: {', '.join(sorted(DIALECTS))}") from None
    try:
        return dialect.options_type.model_validate(options or {})
    except ValidationError as error:  # its own text shows values, which may be secrets
        problems = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ValueError(f"options of dialect {name}: {'; '.join(problems)}") from None
