"""One call of a laboratory phone, as its user sees it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Protocol, Self

from connector.lab import sip
from connector.lab.rtp import RtpSession, Source


@dataclass(frozen=True, slots=True)
class Answer:
    """Answers an incoming call after so many seconds of ringing."""

    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuses an incoming call: 486 busy, 480 unavailable, 603 declined."""

    status: int = 486


@dataclass(frozen=True, slots=True)
class RingForever:
    """Rings until the caller gives up."""


OnInvite = Answer | Reject | RingForever


class CallFailed(Exception):
    """A call was not answered; `status` is the final SIP status, 0 where none came."""

    def __init__(self, exten: str, status: int) -> None:
        super().__init__(f"call to {exten} was not answered: {status or 'no final response'}")
        self.exten, self.status = exten, status


class CallOwner(Protocol):
    """What a call asks of its phone.

    Attributes:
        host: Its own address, where the PBX sends audio to.
    """

    host: str

    async def end_call(self, call: Call) -> None:
        """Ends the call, in whatever state it is."""
        ...

    async def reinvite(self, call: Call, direction: str) -> None:
        """Offers another direction of the audio."""
        ...

    async def refer(self, call: Call, exten: str, consulted: Call | None = None) -> None:
        """Passes the other side on."""
        ...


class Call:
    """One dialog of a phone, in either direction.

    Attributes:
        call_id: SIP Call-ID.
        peer: User part of the other side.
        incoming: Whether the other side called.
        status: The last SIP status seen or sent, 0 before any.
        by_peer: Whether the other side ended the call.
        reason: Reason header of the BYE, if any (RFC 3326).
        remote_direction: Direction attribute of the other side's last SDP.
        rtp: The audio.
    """

    def __init__(self, phone: CallOwner, call_id: str, peer: str, *, incoming: bool, source: Source, seed: int) -> None:
        self.call_id, self.peer, self.incoming = call_id, peer, incoming
        self.status = 0
        self.by_peer = False
        self.reason = ""
        self.remote_direction = "sendrecv"
        self.rtp = RtpSession(phone.host, source=source, seed=seed)
        self.answered = asyncio.Event()
        self.ended = asyncio.Event()
        self._phone = phone
        self._changed = asyncio.Event()
        self._sdp_version = 1
        self._local = self._remote = self._target = ""
        self._cseq = 1
        self._invite: sip.Message | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def invite_headers(self) -> dict[str, str]:
        """Headers of the INVITE, names in lower case; of several of a name the last."""
        return {} if self._invite is None else {name.lower(): value for name, value in self._invite.headers}

    @property
    def live(self) -> bool:
        """Whether it is answered and not over."""
        return self.answered.is_set() and not self.ended.is_set()

    async def wait_answered(self, *, timeout_s: float = 10.0) -> Self:
        """Waits for the answer.

        Raises:
            CallFailed: It was refused, given up, or not answered in time.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self.answered.is_set() and not self.ended.is_set():
                    self._changed.clear()
                    await self._changed.wait()
        if not self.answered.is_set():
            raise CallFailed(self.peer, self.status)
        return self

    async def wait_status(self, status: int, *, timeout_s: float = 10.0) -> None:
        """Waits until a response of at least this status was seen, for example 180.

        Raises:
            TimeoutError: It did not come.
        """
        async with asyncio.timeout(timeout_s):
            while self.status < status:
                self._changed.clear()
                await self._changed.wait()

    async def wait_ended(self, *, timeout_s: float = 10.0) -> None:
        """Waits until the call is over.

        Raises:
            TimeoutError: It is not.
        """
        async with asyncio.timeout(timeout_s):
            await self.ended.wait()

    async def hang_up(self) -> None:
        """Ends it: BYE when answered, CANCEL while calling out, 486 while it rings here. Harmless when over."""
        await self._phone.end_call(self)

    async def hold(self) -> None:
        """Re-INVITE with sendonly (RFC 3264 section 8.4)."""
        await self._phone.reinvite(self, "sendonly")

    async def unhold(self) -> None:
        """Re-INVITE with sendrecv."""
        await self._phone.reinvite(self, "sendrecv")

    async def transfer(self, exten: str, consulted: Call | None = None) -> None:
        """Passes the other side on to an extension by REFER: blind, or to the party of one's own second call."""
        await self._phone.refer(self, exten, consulted)

    async def send_digits(self, digits: str) -> None:
        """Presses digits by RFC 4733."""
        await self.rtp.send_digits(digits)

    def _notify(self) -> None:
        self._changed.set()

    async def _close(self) -> None:
        if not self.ended.is_set():
            self.ended.set()
            self._notify()
            await self.rtp.close()
