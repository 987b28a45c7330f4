"""The vocabulary of channels, lines and the PBX itself: what is heard below the queues.

`connector.events` has the rest and gives all of it under one name; import from there.
"""

from __future__ import annotations

import enum

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What all events share.

    Attributes:
        pbx: Name of the PBX in the settings.
        at: When it happened by Asterisk's clock; by ours where Asterisk sent no Timestamp.
    """

    pbx: str
    at: float


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """A channel. `state` is Asterisk's ChannelStateDesc in lower case (down, ring, ringing, up, busy ...)."""

    uniqueid: str
    linkedid: str
    channel: str
    state: str
    number: str
    name: str
    context: str
    exten: str
    started_at: float


class LegsSnapshot(Event, frozen=True, kw_only=True):
    """All channels as CoreShowChannels lists them."""

    legs: tuple[Leg, ...]


class LegStarted(Event, frozen=True, kw_only=True):
    """Newchannel."""

    leg: Leg


class LegChanged(Event, frozen=True, kw_only=True):
    """Newstate or BridgeEnter: the channel's state, with its linkedid as it is now (a bridge joins two calls)."""

    uniqueid: str
    linkedid: str
    state: str


class HangupRequested(Event, frozen=True, kw_only=True):
    """HangupRequest or SoftHangupRequest: somebody wants the channel gone.

    A far end that hangs up sends it before QueueCallerAbandon. SoftHangupRequest also comes at every channel's end.
    """

    uniqueid: str


class LegEnded(Event, frozen=True, kw_only=True):
    """Hangup, with the Q.850 cause (0 or 16 after a plain BYE, by version)."""

    uniqueid: str
    linkedid: str
    cause: int
    location: str = ""


class DialEnded(Event, frozen=True, kw_only=True):
    """DialEnd: one channel's attempt to reach another is over.

    Attributes:
        uniqueid: Who dialled; empty where Asterisk itself did.
        dialled: Uniqueid of the channel that was reached or not.
        status: ANSWER, BUSY, NOANSWER, CANCEL, CONGESTION, CHANUNAVAIL ...
    """

    uniqueid: str
    dialled: str
    status: str


class LegHeld(Event, frozen=True, kw_only=True):
    """Hold or Unhold, by the channel's own device. A transfer sends an Unhold that no Hold came before."""

    uniqueid: str
    held: bool


class Transferred(Event, frozen=True, kw_only=True):
    """BlindTransfer or AttendedTransfer that succeeded.

    Attributes:
        attended: The new party was spoken to first.
        transferer: Uniqueid of the channel that leaves, on the call that is passed on.
        consult: Of an attended transfer: uniqueid of the transferer's second channel.
        transferee: Uniqueid of the channel that is passed on; empty where several were.
        to: Extension, or empty.
    """

    attended: bool
    transferer: str
    consult: str = ""
    transferee: str = ""
    to: str = ""


class SpyChanged(Event, frozen=True, kw_only=True):
    """ChanSpyStart or ChanSpyStop.

    Attributes:
        spyer: Uniqueid of the channel that listens; empty where Asterisk did not say.
        spied: Uniqueid of the channel that is listened to.
        started: Or stopped.
    """

    spyer: str
    spied: str
    started: bool


class ListenAsked(Event, frozen=True, kw_only=True):
    """UserEvent ConnectorListen: the dialplan or somebody at AMI wants a server to listen to a call, or no more.

    Attributes:
        uniqueid: Of a channel of the call.
        profile: Name of the profile.
        start: Or stop.
    """

    uniqueid: str
    profile: str
    start: bool


class Whereabouts(enum.StrEnum):
    """Where a channel waits or talks outside of a queue."""

    PARKED = "parked"
    UNPARKED = "unparked"
    PARKING_TIMED_OUT = "parking_timed_out"
    PARKING_GIVEN_UP = "parking_given_up"
    CONFERENCE_JOINED = "conference_joined"
    CONFERENCE_LEFT = "conference_left"


class LegMoved(Event, frozen=True, kw_only=True):
    """ParkedCall, UnParkedCall, ParkedCallTimeOut, ParkedCallGiveUp, ConfbridgeJoin, ConfbridgeLeave."""

    uniqueid: str
    what: Whereabouts
    place: str
    """Parking space or conference."""


# -- lines ----------------------------------------------------------------------------------------------------


class DeviceState(enum.StrEnum):
    """A member's device as app_queue numbers it (Asterisk include/asterisk/devicestate.h)."""

    UNKNOWN = "unknown"
    NOT_IN_USE = "not_in_use"
    IN_USE = "in_use"
    BUSY = "busy"
    INVALID = "invalid"
    UNAVAILABLE = "unavailable"
    RINGING = "ringing"
    RING_IN_USE = "ring_in_use"
    ON_HOLD = "on_hold"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A phone or a trunk that phones in: `name` is technology and resource, such as PJSIP/alice."""

    name: str
    online: bool


class EndpointsSnapshot(Event, frozen=True, kw_only=True):
    """All endpoints as ARI's /endpoints lists them."""

    endpoints: tuple[Endpoint, ...]


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """An address at which an endpoint is reached.

    Attributes:
        uri: The SIP URI that is dialled.
        status: Asterisk's last word on it, empty where it has said none.
        address: Host and port that the registration came from; empty for one that is configured, not registered.
        user_agent: What the phone calls itself.
    """

    uri: str
    status: str = ""
    address: str = ""
    user_agent: str = ""


class ContactsSnapshot(Event, frozen=True, kw_only=True):
    """All registrations at the PBX's registrar, as pairs of endpoint (such as PJSIP/alice) and contact."""

    contacts: tuple[tuple[str, Contact], ...]


class ContactChanged(Event, frozen=True, kw_only=True):
    """ContactStatus: an address at which an endpoint is reached came, went, or answers no more.

    Attributes:
        endpoint: Technology and name, such as PJSIP/alice.
        contact: Its URI.
        status: Asterisk's word in lower case: created, reachable, unreachable, nonqualified, unknown, removed ...
    """

    endpoint: str
    contact: str
    status: str


class PeerChanged(Event, frozen=True, kw_only=True):
    """PeerStatus: an endpoint as a whole; `status` in lower case: reachable, unreachable, registered ..."""

    endpoint: str
    status: str


class TrunkChanged(Event, frozen=True, kw_only=True):
    """Registry: our PBX's own registration at a provider; `status` in lower case: registered, rejected ..."""

    trunk: str
    """Technology and account, such as PJSIP/4711@provider.example; with ` via ` and the server if that is another."""
    status: str
    cause: str = ""


class Trunk(msgspec.Struct, frozen=True, kw_only=True):
    """A registration of our PBX at a provider as it is listed.

    Attributes:
        trunk: As in `TrunkChanged`.
        label: Name of its section in the configuration.
        endpoint: That its calls come in by, such as PJSIP/provider; empty where the registration names none.
        status: In lower case.
    """

    trunk: str
    label: str
    endpoint: str
    status: str


class TrunksSnapshot(Event, frozen=True, kw_only=True):
    """All registrations at providers, as PJSIPShowRegistrationsOutbound lists them."""

    trunks: tuple[Trunk, ...]


# -- the PBX --------------------------------------------------------------------------------------------------


class PbxPhase(enum.StrEnum):
    """What the PBX as a whole tells of itself."""

    BOOTED = "booted"
    RELOADED = "reloaded"
    STOPPING = "stopping"


class PbxChanged(Event, frozen=True, kw_only=True):
    """FullyBooted, which every login gets, Reload or Shutdown.

    Attributes:
        phase: Which.
        detail: The module reloaded.
        booted_at: With `booted`: when Asterisk started, seconds since the epoch; 0 if it did not say.
    """

    phase: PbxPhase
    detail: str = ""
    booted_at: float = 0.0


# -- the link -------------------------------------------------------------------------------------------------


class LinkState(enum.StrEnum):
    """How a connection to Asterisk stands."""

    UP = "up"
    DOWN = "down"
    REFUSED = "refused"
    """Wrong user, password or rights, or the ARI application was taken over: needs a person, not a retry."""


class LinkChanged(Event, frozen=True, kw_only=True):
    """A connection to the PBX changed its state.

    Attributes:
        link: ami or ari.
        state: The new state.
        detail: One sentence for the operator.
        gap_s: With `up`: how long events were missing; 0 at the first connection.
    """

    link: str
    state: LinkState
    detail: str
    gap_s: float = 0.0


class EventsMissed(Event, frozen=True, kw_only=True):
    """Events of AMI were dropped on our side: what is known is stale until both lists were read again."""

    dropped: int
