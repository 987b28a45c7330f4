"""Servers that listen to calls, begun and ended over REST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from connector.access.rights import Right
from connector.access.sight import Sight
from connector.acd.model import Call as LiveCall, PbxState
from connector.streams.listeners import Listeners, NotListening
from connector.streams.tapcall import TapCall
from connector.web.ports import Live
from connector.web.rest.endpoint import Call, Deed, Endpoint, Nothing
from connector.web.rest.fields import Name, OfPbx
from connector.web.rest.live import no_pbx
from connector.web.rest.problems import Refused, not_found
from connector.web.scope import reaches_call, sees_call

Parameters = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=20, description="For the server, beside those of the profile."),
]

_STATUS = {
    "unknown-profile": 404,
    "unknown-channel": 404,
    "not-for-listening": 409,
    "already-listening": 409,
    "no-room": 503,
    "failed": 502,
}


class ListenBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is to listen to which channel: an agent's, for the agent's part of the call, or any other, to the end."""

    pbx: Name
    uniqueid: Name
    profile: Name
    parameters: Parameters = {}


class ListenerPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One listener."""

    pbx: Name
    id: Name


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """A server that listens to a call."""

    id: str
    pbx: str
    uniqueid: str
    linkedid: str
    profile: str
    tracks: Annotated[tuple[str, ...], Meta(description="Whose audio: caller, agent.")]
    streams: Annotated[tuple[str, ...], Meta(description="Ids of its streams.")]
    started_at: float
    listening: Annotated[bool, Meta(description="Audio flows.")]
    paused: Annotated[bool, Meta(description="The call is on hold.")]


class ListenerList(msgspec.Struct, frozen=True, kw_only=True):
    """All, by PBX and id."""

    listeners: tuple[Listener, ...]


class HasListeners(Protocol):
    """Who has the listeners of a PBX; `streams.manager.StreamManager` does."""

    @property
    def listeners(self) -> Listeners:
        """They."""
        ...


class ListenersApi:
    """Begins and ends listening, within the scope of who asks.

    Args:
        of_calls: By PBX who has the listeners.
        live: Calls that go on.
    """

    def __init__(self, of_calls: Mapping[str, HasListeners], live: Live) -> None:
        self._of_calls = of_calls
        self._live = live

    def endpoints(self) -> list[Endpoint]:
        """What it serves."""
        return [
            Endpoint("GET", "/listeners", "list_listeners", "Servers that listen to calls", "listeners", self._list,
                     ListenerList, query=OfPbx, problems=(404,), right=Right.LISTEN),
            Endpoint("POST", "/listeners", "start_listener", "Have a server listen to a call", "listeners", self._start,
                     Listener, body=ListenBody, status=201, problems=(404, 409, 502, 503), right=Right.LISTEN,
                     deed=Deed("listener.start", lambda call: call.body.uniqueid, pbx=lambda call: call.body.pbx,
                               detail=lambda call: f"profile {call.body.profile}")),
            Endpoint("DELETE", "/listeners/{pbx}/{id}", "stop_listener", "Have a server listen no more", "listeners",
                     self._stop, Listener, parameters=ListenerPath, problems=(404,), right=Right.LISTEN,
                     deed=Deed("listener.stop", lambda call: call.path.id, pbx=lambda call: call.path.pbx)),
        ]  # fmt: skip

    async def _list(self, call: Call[Nothing, OfPbx, None]) -> ListenerList:
        pbxs = [self._known(call.query.pbx)] if call.query.pbx else sorted(self._of_calls)
        return ListenerList(
            listeners=tuple(
                _shown(pbx, tap, talk.linkedid)
                for pbx in pbxs
                for tap in self._of_calls[pbx].listeners.all()
                if (talk := self._call(call.sight, pbx, tap.order.channel_id)) is not None
            )
        )

    async def _start(self, call: Call[Nothing, Nothing, ListenBody]) -> Listener:
        body = call.body
        pbx = self._known(body.pbx)
        talk = self._call(call.sight, pbx, body.uniqueid)
        if talk is None:
            raise not_found(f"{pbx} has no channel {body.uniqueid!r}.", "See /api/v1/calls for those there are.")
        if not reaches_call(call.sight, self._live.states()[pbx], talk):
            raise Refused(
                403, "out-of-scope", "The call is in a queue of somebody else now.", remedy="Ask who has that queue."
            )
        listeners = self._of_calls[pbx].listeners
        try:
            tap = listeners.start(body.uniqueid, body.profile, body.parameters)
            await listeners.wait(tap)
        except NotListening as error:
            raise Refused(
                _STATUS[error.kind], error.kind, str(error), remedy="See /api/v1/profiles and /api/v1/listeners."
            ) from None
        return _shown(pbx, tap, talk.linkedid)

    async def _stop(self, call: Call[ListenerPath, Nothing, None]) -> Listener:
        pbx = self._known(call.path.pbx)
        tap = next((each for each in self._of_calls[pbx].listeners.all() if each.tap_id == call.path.id), None)
        talk = None if tap is None else self._call(call.sight, pbx, tap.order.channel_id)
        if tap is None or talk is None or not reaches_call(call.sight, self._live.states()[pbx], talk):
            raise not_found(f"There is no listener {call.path.id!r}.", "See /api/v1/listeners for those there are.")
        tap.stop()
        return _shown(pbx, tap, talk.linkedid)

    def _known(self, pbx: str) -> str:
        if pbx not in self._of_calls:
            raise no_pbx(pbx, self._of_calls)
        return pbx

    def _call(self, sight: Sight, pbx: str, uniqueid: str) -> LiveCall | None:
        """The call of a channel, if it is seen."""
        state: PbxState = self._live.states()[pbx]
        track = state.legs.get(uniqueid)
        call = None if track is None else state.calls.get(track.leg.linkedid)
        return call if call is not None and sees_call(sight, state, call) else None


def _shown(pbx: str, tap: TapCall, linkedid: str) -> Listener:
    return Listener(
        id=tap.tap_id,
        pbx=pbx,
        uniqueid=tap.order.channel_id,
        linkedid=linkedid,
        profile=tap.order.profile,
        tracks=tuple(track.value for track in tap.order.tracks),
        streams=tap.stream_ids,
        started_at=tap.started_at,
        listening=tap.started.is_set(),
        paused=tap.paused,
    )
