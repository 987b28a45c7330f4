"""AMI messages about channels, lines and the PBX become events: pure. The builders of `asterisk.translate`'s table."""

from __future__ import annotations

from collections.abc import Callable

from connector.asterisk.headers import Fault, Message, Refuse, count, leg, location, required, text, trunk_name
from connector.events import (
    AnyEvent,
    ContactChanged,
    DialEnded,
    HangupRequested,
    LegChanged,
    LegEnded,
    LegHeld,
    LegMoved,
    LegStarted,
    ListenAsked,
    PbxChanged,
    PbxPhase,
    PeerChanged,
    SpyChanged,
    Transferred,
    TrunkChanged,
    Whereabouts,
)

Builder = Callable[[Message, str, float], AnyEvent | None]


def _leg_started(m: Message, pbx: str, at: float) -> AnyEvent:
    return LegStarted(pbx=pbx, at=at, leg=leg(m, at))


def _leg_changed(m: Message, pbx: str, at: float) -> AnyEvent:
    uniqueid = required(m, "Uniqueid")
    return LegChanged(
        pbx=pbx,
        at=at,
        uniqueid=uniqueid,
        linkedid=text(m, "Linkedid") or uniqueid,
        state=required(m, "ChannelStateDesc").lower(),
    )


def _hangup_requested(m: Message, pbx: str, at: float) -> AnyEvent:
    return HangupRequested(pbx=pbx, at=at, uniqueid=required(m, "Uniqueid"))


def _leg_ended(m: Message, pbx: str, at: float) -> AnyEvent:
    uniqueid = required(m, "Uniqueid")
    return LegEnded(
        pbx=pbx,
        at=at,
        uniqueid=uniqueid,
        linkedid=text(m, "Linkedid") or uniqueid,
        cause=count(m, "Cause", 0),
        location=location(m),
    )


def _dial_ended(m: Message, pbx: str, at: float) -> AnyEvent:
    return DialEnded(
        pbx=pbx,
        at=at,
        uniqueid=text(m, "Uniqueid"),
        dialled=required(m, "DestUniqueid"),
        status=required(m, "DialStatus"),
    )


def _held(held: bool) -> Builder:
    def build(m: Message, pbx: str, at: float) -> AnyEvent:
        return LegHeld(pbx=pbx, at=at, uniqueid=required(m, "Uniqueid"), held=held)

    return build


def _blind(m: Message, pbx: str, at: float) -> AnyEvent | None:
    if text(m, "Result") != "Success":
        return None
    return Transferred(
        pbx=pbx,
        at=at,
        attended=False,
        transferer=required(m, "TransfererUniqueid"),
        transferee=text(m, "TransfereeUniqueid"),
        to=text(m, "Extension"),
    )


def _attended(m: Message, pbx: str, at: float) -> AnyEvent | None:
    if text(m, "Result") != "Success":
        return None
    return Transferred(
        pbx=pbx,
        at=at,
        attended=True,
        transferer=required(m, "OrigTransfererUniqueid"),
        consult=text(m, "SecondTransfererUniqueid"),
        transferee=text(m, "TransfereeUniqueid"),
        to=text(m, "SecondTransfererExten"),
    )


def _parked(what: Whereabouts) -> Builder:
    def build(m: Message, pbx: str, at: float) -> AnyEvent:
        place = f"{text(m, 'Parkinglot')}/{text(m, 'ParkingSpace')}"
        return LegMoved(pbx=pbx, at=at, uniqueid=required(m, "ParkeeUniqueid"), what=what, place=place)

    return build


def _conference(what: Whereabouts) -> Builder:
    def build(m: Message, pbx: str, at: float) -> AnyEvent:
        return LegMoved(pbx=pbx, at=at, uniqueid=required(m, "Uniqueid"), what=what, place=text(m, "Conference"))

    return build


def _spy(started: bool) -> Builder:
    def build(m: Message, pbx: str, at: float) -> AnyEvent:
        return SpyChanged(
            pbx=pbx, at=at, spyer=text(m, "SpyerUniqueid"), spied=text(m, "SpyeeUniqueid"), started=started
        )

    return build


def _contact(m: Message, pbx: str, at: float) -> AnyEvent | None:
    endpoint = text(m, "EndpointName")
    if not endpoint:  # an address of record that no endpoint has
        return None
    return ContactChanged(
        pbx=pbx,
        at=at,
        endpoint=f"PJSIP/{endpoint}",
        contact=required(m, "URI"),
        status=required(m, "ContactStatus").lower(),
    )


def _peer(m: Message, pbx: str, at: float) -> AnyEvent:
    return PeerChanged(pbx=pbx, at=at, endpoint=required(m, "Peer"), status=required(m, "PeerStatus").lower())


def _registry(m: Message, pbx: str, at: float) -> AnyEvent:
    return TrunkChanged(
        pbx=pbx,
        at=at,
        trunk=trunk_name(text(m, "ChannelType"), text(m, "Username"), text(m, "Domain")),
        status=required(m, "Status").lower(),
        cause=text(m, "Cause"),
    )


def _booted(m: Message, pbx: str, at: float) -> AnyEvent:
    uptime = text(m, "Uptime")
    return PbxChanged(pbx=pbx, at=at, phase=PbxPhase.BOOTED, booted_at=at - count(m, "Uptime") if uptime else 0.0)


def _pbx(phase: PbxPhase) -> Builder:
    def build(m: Message, pbx: str, at: float) -> AnyEvent:
        return PbxChanged(pbx=pbx, at=at, phase=phase, detail=text(m, "Module"))

    return build


def _listen_asked(m: Message, pbx: str, at: float) -> AnyEvent | None:
    if m.get("UserEvent") != "ConnectorListen":
        return None
    operation = required(m, "Operation").lower()
    if operation not in ("start", "stop"):
        raise Refuse(Fault.UNKNOWN_VALUE, "Operation")
    return ListenAsked(
        pbx=pbx, at=at, uniqueid=required(m, "Uniqueid"), profile=required(m, "Profile"), start=operation == "start"
    )


BUILDERS: dict[str, Builder] = {
    "Newchannel": _leg_started,
    "Newstate": _leg_changed,
    "BridgeEnter": _leg_changed,
    "UserEvent": _listen_asked,
    "HangupRequest": _hangup_requested,
    "SoftHangupRequest": _hangup_requested,
    "Hangup": _leg_ended,
    "DialEnd": _dial_ended,
    "Hold": _held(True),
    "Unhold": _held(False),
    "BlindTransfer": _blind,
    "AttendedTransfer": _attended,
    "ParkedCall": _parked(Whereabouts.PARKED),
    "UnParkedCall": _parked(Whereabouts.UNPARKED),
    "ParkedCallTimeOut": _parked(Whereabouts.PARKING_TIMED_OUT),
    "ParkedCallGiveUp": _parked(Whereabouts.PARKING_GIVEN_UP),
    "ConfbridgeJoin": _conference(Whereabouts.CONFERENCE_JOINED),
    "ConfbridgeLeave": _conference(Whereabouts.CONFERENCE_LEFT),
    "ChanSpyStart": _spy(True),
    "ChanSpyStop": _spy(False),
    "ContactStatus": _contact,
    "PeerStatus": _peer,
    "Registry": _registry,
    "FullyBooted": _booted,
    "Reload": _pbx(PbxPhase.RELOADED),
    "Shutdown": _pbx(PbxPhase.STOPPING),
}
"""By AMI event."""
