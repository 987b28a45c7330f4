"""Names of what the connector creates in Asterisk: `<app>-<node>-<kind>-<uuid>`.

Choosing the id ourselves lets us register a channel before it exists, so no first event is lost, and lets a later
process find what a dead one left behind.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from uuid import UUID

_NAME = re.compile(r"[A-Za-z0-9_.]{1,32}")
_HEX = re.compile(r"[0-9a-f]{32}")


class Kind(enum.StrEnum):
    """What an id names."""

    EXTERNAL_MEDIA = "em"
    BRIDGE = "bridge"
    SNOOP = "snoop"
    CALL = "call"
    """A channel of a call that we place."""
    STREAM = "stream"
    """No object of Asterisk: our own word for one exchange of audio with a bot."""
    TAP = "tap"
    """No object of Asterisk either: our own word for listening to one call."""


@dataclass(frozen=True, slots=True)
class ObjectId:
    """The parts of an id."""

    app: str
    node: str
    kind: Kind
    uuid: UUID

    def __str__(self) -> str:
        return f"{self.app}-{self.node}-{self.kind}-{self.uuid.hex}"


def check_name(what: str, value: str) -> str:
    """Returns `value` if it can be the ARI application or the node in an id.

    Args:
        what: How to call it in the error, for example the key in the settings.
        value: The name.

    Raises:
        ValueError: It holds another character, above all '-', which parts the id, or ',', which parts applications.
    """
    if _NAME.fullmatch(value) is None:
        raise ValueError(
            f"{what} is {value!r}: use 1 to 32 letters, digits, '_' or '.'. "
            "'-' is not allowed because it parts the ids of channels and bridges."
        )
    return value


def make_id(app: str, node: str, kind: Kind | str, uuid: UUID) -> str:
    """The id of a channel or bridge that we are about to create; at most 105 characters of Asterisk's 149.

    Raises:
        ValueError: `app`, `node` or `kind` is not allowed.
    """
    return str(ObjectId(check_name("app", app), check_name("node", node), Kind(kind), uuid))


def parse_id(text: str) -> ObjectId | None:
    """The parts of an id made by `make_id` of any app and node; None for every other channel or bridge of the PBX."""
    parts = text.split("-")
    if len(parts) != 4:
        return None
    app, node, kind, uuid = parts
    if not (_NAME.fullmatch(app) and _NAME.fullmatch(node) and _HEX.fullmatch(uuid)) or kind not in set(Kind):
        return None
    return ObjectId(app, node, Kind(kind), UUID(uuid))
