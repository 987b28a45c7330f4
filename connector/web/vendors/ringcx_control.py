"""RingCX's media control: a server that the request names listens to a call, or to one side of it, on demand.

A dialog is a call: by its linkedid, the uniqueid of one of its channels, or the callId that a server was told. A
segment is one channel of it. What is started is listened to until it is stopped or the call is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from connector.acd.model import PbxState
from connector.config_profiles import ProfileSettings
from connector.config_vendors import Accounts
from connector.dialects.base import Track
from connector.dialects.wire import hashed
from connector.streams.book import BadProfile, checked
from connector.streams.listeners import Listeners
from connector.streams.tapcall import TapCall, TapOrder
from connector.streams.taps import TapRefused, Taps
from connector.web.vendors.base import Asked, Handler, Services, VendorApi, VendorRefused, Wrong
from connector.web.vendors.ringcx import check_secret, check_url, error

BASE = "/voice/api/cx/integration/v1/accounts/{rc}/sub-accounts/{account}/dialogs/{dialog}"
PROFILE = "ringcx_control"
"""Stands for the profile in metrics and history."""
STREAMS_MAX = 1_000
"""That run at a time."""


class Properties(msgspec.Struct, kw_only=True):
    """How the audio is to be sent; there is one way."""

    encoding: Literal["PCMU", ""] = "PCMU"
    rate: Literal[8000] = 8000
    ptime: int = 20


class Wanted(msgspec.Struct, kw_only=True, rename="camel"):
    """A stream that is asked for."""

    url: Annotated[str, Meta(min_length=1, max_length=512)]
    stream_id: Annotated[str, Meta(min_length=1, max_length=128)]
    token: Annotated[str, Meta(max_length=2_048)] = ""
    properties: Properties = msgspec.field(default_factory=Properties)


class RingcxControl(VendorApi):
    """Start and stop a stream.

    Args:
        accounts: Tokens by sub-account.
        services: What it is built on.
        listeners: What is known of calls, by PBX.
        taps: Do it, by PBX.
        states: The live state of each PBX.
        any_url: Take any ws:// or wss://.
        clock: Seconds since the epoch.
    """

    vendor = "ringcx"

    def __init__(
        self,
        accounts: Accounts,
        services: Services,
        *,
        listeners: Mapping[str, Listeners],
        taps: Mapping[str, Taps],
        states: Callable[[], Mapping[str, PbxState]],
        any_url: bool,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(accounts, services)
        self._listeners = listeners
        self._taps = taps
        self._states = states
        self._any_url = any_url
        self._clock = clock
        self._running: dict[tuple[str, str], TapCall] = {}

    @property
    def routes(self) -> list[tuple[str, str, Handler]]:
        """Of dialogs, and of their segments."""
        segment = BASE + "/segments/{segment}"
        return [
            ("POST", BASE + "/streams", self._start),
            ("POST", segment + "/streams", self._start),
            ("DELETE", BASE + "/streams/{stream}", self._stop),
            ("DELETE", segment + "/streams/{stream}", self._stop),
        ]

    def error(self, refused: VendorRefused, path: str) -> web.Response:
        """As RingCX's services put it."""
        return error(refused, path, self._clock())

    async def _start(self, asked: Asked) -> web.Response:
        try:
            wanted = msgspec.convert(asked.values, Wanted)
        except msgspec.ValidationError as problem:
            raise VendorRefused(Wrong.INVALID, str(problem)) from None
        check_url(wanted.url, any_url=self._any_url)
        check_secret(wanted.token)
        pbx, order = self._order(asked, wanted)
        self._running = {key: tap for key, tap in self._running.items() if not tap.over.is_set()}
        key = asked.account, wanted.stream_id
        if key in self._running:
            raise VendorRefused(Wrong.CONFLICT, f"there is a stream {wanted.stream_id!r} already")
        result = "no-room"
        try:
            if len(self._running) >= STREAMS_MAX:
                raise VendorRefused(Wrong.FAILED, f"there are {STREAMS_MAX} streams already")
            self._running[key] = self._taps[pbx].start(order)
            result = "ok"
        except TapRefused as refused:
            raise VendorRefused(Wrong.FAILED, f"there is no room for another stream: {refused}") from None
        finally:
            self._services.audit.write(
                asked.who, "listener.start", order.channel_id, result=result, detail=wanted.url, pbx=pbx
            )
        return web.Response()

    async def _stop(self, asked: Asked) -> web.Response:
        tap = self._running.pop((asked.account, asked.path["stream"]), None)
        if tap is None or tap.over.is_set():
            raise VendorRefused(Wrong.NOT_FOUND, "there is no such stream")
        tap.stop()
        self._services.audit.write(asked.who, "listener.stop", tap.order.channel_id)
        return web.Response()

    def _order(self, asked: Asked, wanted: Wanted) -> tuple[str, TapOrder]:
        pbx, linkedid, legs = self._call(asked.path["dialog"])
        segment = asked.path.get("segment")
        listeners = self._listeners[pbx]
        channel = segment or listeners.caller_of(linkedid) or next(iter(legs))
        if channel not in legs:
            raise VendorRefused(Wrong.NOT_FOUND, "the dialog has no such segment")
        speaker = Track.AGENT if listeners.is_agent(channel) else Track.CALLER
        other = Track.CALLER if speaker is Track.AGENT else Track.AGENT
        return pbx, TapOrder(
            channel_id=channel,
            profile=PROFILE,
            tracks=(speaker,) if segment else (speaker, other),
            speaker=speaker,
            settings=self._settings(asked, wanted),
        )

    def _settings(self, asked: Asked, wanted: Wanted) -> ProfileSettings:
        settings: dict[str, Any] = {
            "url": wanted.url,
            "mode": "on_demand",
            "dialect": {"name": "ringcx", "rc_account_id": asked.path["rc"], "subaccount_id": asked.account},
            "auth": {"kind": "bearer", "secret": wanted.token} if wanted.token else {},
            "parameters": {"streamId": wanted.stream_id},
        }
        try:
            return checked(PROFILE, settings)
        except BadProfile as problem:
            raise VendorRefused(Wrong.INVALID, str(problem)) from None

    def _call(self, dialog: str) -> tuple[str, str, list[str]]:
        """PBX, linkedid and channels of a call."""
        for pbx, state in self._states().items():
            for linkedid, call in state.calls.items():
                legs = list(call.legs)
                if legs and (dialog in (linkedid, *legs) or dialog in {hashed(f"{pbx}:{leg}") for leg in legs}):
                    return pbx, linkedid, legs
        raise VendorRefused(Wrong.NOT_FOUND, "there is no such dialog now")
