"""What ARI sends, as far as the connector uses it: a test compares every field with the rest-api JSON of Asterisk.

Only fields that Asterisk 16 and 22 both describe stand here; unknown ones are ignored. Names are Asterisk's own.
"""

from __future__ import annotations

from datetime import datetime
from typing import get_args

import msgspec


class CallerID(msgspec.Struct, frozen=True, kw_only=True):
    """Who: number and name, empty where unknown."""

    name: str
    number: str


class DialplanCEP(msgspec.Struct, frozen=True, kw_only=True):
    """Where in the dialplan a channel is: context, extension, priority and the running application."""

    context: str
    exten: str
    priority: int
    app_name: str
    app_data: str


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A channel. `state` is Down, Ring, Ringing, Up, Busy and so on; `id` is AMI's Uniqueid."""

    id: str
    name: str
    state: str
    caller: CallerID
    connected: CallerID
    accountcode: str
    dialplan: DialplanCEP
    creationtime: datetime
    language: str
    protocol_id: str = ""
    """Call-ID of a SIP channel."""
    channelvars: dict[str, object] = {}


class Bridge(msgspec.Struct, frozen=True, kw_only=True):
    """A bridge; `technology` is simple_bridge, softmix, native_rtp and so on, `channels` holds ids."""

    id: str
    technology: str
    bridge_type: str
    bridge_class: str
    creator: str
    name: str
    channels: list[str]


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """A Stasis application: what is in it or subscribed to."""

    name: str
    channel_ids: list[str]
    bridge_ids: list[str]
    endpoint_ids: list[str]
    device_names: list[str]


class SystemInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Asterisk's version, for example `22.10.1`, and the id of this installation."""

    version: str
    entity_id: str


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A phone or trunk; `state` is online, offline or unknown."""

    technology: str
    resource: str
    state: str = "unknown"


class StatusInfo(msgspec.Struct, frozen=True, kw_only=True):
    """When Asterisk started and last reloaded."""

    startup_time: datetime
    last_reload_time: datetime


class ConfigInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of asterisk.conf; None where it sets none."""

    max_channels: int | None = None
    max_open_files: int | None = None
    max_load: float | None = None


class AsteriskInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Which Asterisk this is. A changed `startup_time` is the sign of a restart."""

    system: SystemInfo | None = None
    status: StatusInfo | None = None
    config: ConfigInfo | None = None


class Module(msgspec.Struct, frozen=True, kw_only=True):
    """A loaded module, for example chan_rtp.so; `status` is Running or Not Running."""

    name: str
    description: str
    use_count: int
    status: str
    support_level: str


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """Value of a channel variable or dialplan function."""

    value: str


class RTPstat(msgspec.Struct, frozen=True, kw_only=True):
    """What Asterisk counted of a channel's RTP: `rx` is what came from the phone, `tx` what went to it.

    Times in s. The jitters are named the other way round: `txjitter` is of what came (seen on 16.28 and 22.10).
    """

    rxcount: int
    txcount: int
    rxploss: int = 0
    txploss: int = 0
    rxjitter: float = 0.0
    txjitter: float = 0.0
    rtt: float = 0.0


# -- events ---------------------------------------------------------------------------------------------------


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=True):
    """What all events share; the class name is the `type`.

    Attributes:
        application: Whose event it is.
        timestamp: When, by Asterisk's clock.
    """

    application: str
    timestamp: datetime

    @property
    def at(self) -> float:
        """The timestamp in seconds since the epoch."""
        return self.timestamp.timestamp()


class StasisStart(Event, frozen=True, kw_only=True):
    """A channel entered the application, with the arguments of Stasis()."""

    args: list[str]
    channel: Channel
    replace_channel: Channel | None = None


class StasisEnd(Event, frozen=True, kw_only=True):
    """A channel left the application."""

    channel: Channel


class ChannelCreated(Event, frozen=True, kw_only=True):
    """A channel came into being."""

    channel: Channel


class ChannelStateChange(Event, frozen=True, kw_only=True):
    """A channel changed its state."""

    channel: Channel


class ChannelDtmfReceived(Event, frozen=True, kw_only=True):
    """A caller's digit ended (0-9, A-D, # or *)."""

    digit: str
    duration_ms: int
    channel: Channel


class ChannelHold(Event, frozen=True, kw_only=True):
    """The phone of this channel put the call on hold."""

    channel: Channel
    musicclass: str = ""


class ChannelUnhold(Event, frozen=True, kw_only=True):
    """The phone of this channel took the call back."""

    channel: Channel


class ChannelHangupRequest(Event, frozen=True, kw_only=True):
    """Somebody wants the channel gone; `cause` (Q.850) where Asterisk knows it."""

    channel: Channel
    cause: int = 0
    soft: bool = False


class ChannelDestroyed(Event, frozen=True, kw_only=True):
    """The channel is gone; the cause (Q.850) of a plain BYE is 0 on 22 and 16 on 16."""

    cause: int
    cause_txt: str
    channel: Channel


class ChannelEnteredBridge(Event, frozen=True, kw_only=True):
    """A channel is in a bridge."""

    bridge: Bridge
    channel: Channel | None = None


class ChannelLeftBridge(Event, frozen=True, kw_only=True):
    """A channel left a bridge."""

    bridge: Bridge
    channel: Channel


class BridgeCreated(Event, frozen=True, kw_only=True):
    """A bridge came into being."""

    bridge: Bridge


class BridgeDestroyed(Event, frozen=True, kw_only=True):
    """A bridge is gone."""

    bridge: Bridge


class Dial(Event, frozen=True, kw_only=True):
    """A channel is being called; `dialstatus` is empty at the start, then RINGING, ANSWER, BUSY and so on."""

    peer: Channel
    dialstatus: str
    caller: Channel | None = None
    dialstring: str = ""


class ApplicationReplaced(Event, frozen=True, kw_only=True):
    """Another process opened the events of the same application; this connection gets nothing more."""


AnyEvent = (
    StasisStart
    | StasisEnd
    | ChannelCreated
    | ChannelStateChange
    | ChannelDtmfReceived
    | ChannelHold
    | ChannelUnhold
    | ChannelHangupRequest
    | ChannelDestroyed
    | ChannelEnteredBridge
    | ChannelLeftBridge
    | BridgeCreated
    | BridgeDestroyed
    | Dial
    | ApplicationReplaced
)
"""Every event that is decoded; others are counted and ignored."""

EVENT_TYPES: dict[str, type[Event]] = {kind.__name__: kind for kind in get_args(AnyEvent)}


class _Tag(msgspec.Struct, frozen=True):
    type: str


_tag = msgspec.json.Decoder(_Tag)
_event: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def decode_event(raw: bytes | str) -> Event | None:
    """Reads one message of the events WebSocket; None for a type that is not used.

    Raises:
        msgspec.DecodeError: Not JSON, or no event of the shape that Asterisk describes.
    """
    if _tag.decode(raw).type not in EVENT_TYPES:
        return None
    return _event.decode(raw)
