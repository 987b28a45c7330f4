"""A SIP phone beside its PBX: places calls, answers, rejects, holds, presses digits; a measuring instrument.

It speaks the part of RFC 3261 that an Asterisk on the same machine needs: UDP, no authentication, no proxies.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import quote

from connector.lab import sip
from connector.lab.call import Answer, Call, CallFailed, OnInvite, Reject, RingForever
from connector.lab.rtp import Source, silence
from connector.lab.useragent import UserAgent

__all__ = ["Answer", "Call", "CallFailed", "OnInvite", "Phone", "Reject", "RingForever"]

MAX_CALLS = 1000


_REASONS = {480: "Temporarily Unavailable", 486: "Busy Here", 503: "Service Unavailable", 603: "Decline"}


class Phone(UserAgent):
    """A phone with one UDP port and any number of calls.

    Attributes:
        calls: The latest calls, over or not, by Call-ID; at most MAX_CALLS, the oldest is forgotten first.
        on_invite: What becomes of incoming calls; may be changed at any time.
        source: What its calls send.
        display_name: Its caller id's name; may be changed at any time.
        muted: Sends no packet in calls that begin; may be changed at any time.
    """

    def __init__(
        self,
        port: int,
        user: str,
        server: tuple[str, int],
        *,
        on_invite: OnInvite | None = None,
        source: Source = silence,
        on_answered: Callable[[Call], None] | None = None,
        seed: int | None = None,
    ) -> None:
        """Describes it; `start` opens it.

        Args:
            port: UDP port, 0 for any.
            user: Its name, and its caller id.
            server: SIP address of the PBX.
            on_invite: What becomes of incoming calls, `Answer()` if not given.
            source: What its calls send.
            on_answered: Called when an incoming call has been answered.
            seed: For tags, branches and RTP numbers.
        """
        super().__init__(port, user, server, seed=seed)
        self.on_invite: OnInvite = on_invite or Answer()
        self.source = source
        self.display_name = ""
        self.muted = False
        self.calls: dict[str, Call] = {}
        self._on_answered = on_answered
        self._new_call = asyncio.Event()
        self._texts: dict[str, str] = {}

    @property
    def texts(self) -> list[str]:
        """The texts it got by SIP MESSAGE (RFC 3428), in order."""
        return list(self._texts.values())

    # -- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Opens its port.

        Raises:
            OSError: The port is taken.
        """
        await self.open()

    async def stop(self) -> None:
        """Ends its calls and closes its port."""
        await asyncio.gather(*(self.end_call(call) for call in list(self.calls.values())), return_exceptions=True)
        await self.close()
        for call in self.calls.values():
            await call._close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.stop()

    # -- calling --------------------------------------------------------------------------------------------------

    async def call(self, exten: str, *, source: Source | None = None, headers: dict[str, str] | None = None) -> Call:
        """Sends an INVITE and returns at once; `wait_answered` on the call waits.

        Args:
            exten: Whom to call.
            source: What to send, the phone's own if not given.
            headers: Further SIP headers.
        """
        call = self._add(self.token(), exten, incoming=False, source=source)
        call._target = f"sip:{exten}@{self.server[0]}:{self.server[1]}"
        call._local = f"{sip.quoted(self.display_name)}<{self.contact}>;tag={self.token()}"
        call._remote = f"<{call._target}>"
        invite = self._request(call, "INVITE", sip.sdp(self.host, call.rtp.port, 1))
        invite.headers += (headers or {}).items()
        call._invite = invite
        call._task = self.spawn(self._calling(call, invite))
        return call

    async def next_call(self, *, timeout_s: float = 10.0, after: int = 0) -> Call:
        """Waits for an incoming call.

        Args:
            timeout_s: How long.
            after: How many incoming calls to pass over, from the first the phone ever had.

        Raises:
            TimeoutError: None came.
        """
        async with asyncio.timeout(timeout_s):
            while True:
                incoming = [call for call in self.calls.values() if call.incoming]
                if len(incoming) > after:
                    return incoming[after]
                self._new_call.clear()
                await self._new_call.wait()

    async def _calling(self, call: Call, invite: sip.Message) -> None:
        final = await self.transact(invite)
        if final is None or final.status >= 300:
            if final is not None:
                self._ack(call, invite, final)
                call.status = final.status
            await call._close()
            return
        self._ack(call, invite, final)
        call._remote = final.get("To")
        call._target = sip.uri(final.get("Contact")) or call._target
        self._take_sdp(call, final.body)
        call.status = final.status
        call.answered.set()
        call._notify()

    async def end_call(self, call: Call) -> None:
        """BYE, CANCEL or 486, as the state of the call asks for."""
        if call.ended.is_set():
            return
        if call.answered.is_set():
            await self.transact(self._request(call, "BYE"), sendings=2)
            await call._close()
        elif call.incoming:
            if call._task is not None:
                call._task.cancel()
            if call._invite is not None:
                self._respond(call, call._invite, 486, "Busy Here")
            await call._close()
        elif call._invite is not None:
            # CANCEL may only follow a provisional response (RFC 3261 section 9.1).
            with contextlib.suppress(TimeoutError):
                await call.wait_status(100, timeout_s=2.0)
            if call.answered.is_set() or call.ended.is_set():
                await self.end_call(call)
                return
            cancel = sip.Message(
                call._invite.start.replace("INVITE", "CANCEL", 1),
                [(name, value) for name, value in call._invite.headers if name in ("Via", "From", "To", "Call-ID")],
            )
            cancel.headers += [("CSeq", f"{call._invite.cseq[0]} CANCEL"), ("Max-Forwards", "70")]
            await self.transact(cancel)
            with contextlib.suppress(TimeoutError):  # 487 ends it, or 200 where the answer was faster
                await call.wait_ended(timeout_s=2.0)
            if call.answered.is_set():
                await self.end_call(call)
            await call._close()

    async def reinvite(self, call: Call, direction: str) -> None:
        """Offers another direction of the audio.

        Raises:
            CallFailed: The other side refused.
        """
        call._sdp_version += 1
        invite = self._request(call, "INVITE", sip.sdp(self.host, call.rtp.port, call._sdp_version, direction))
        final = await self.transact(invite)
        if final is None or final.status >= 300:
            raise CallFailed(call.peer, final.status if final else 0)
        self._ack(call, invite, final)
        self._take_sdp(call, final.body)

    async def refer(self, call: Call, exten: str, consulted: Call | None = None) -> None:
        """Passes the other side on (RFC 3515), to replace one's own call to the new party if there is one (RFC 3891).

        Args:
            call: Whose other side is passed on.
            exten: To whom.
            consulted: One's own call to that party; without it the transfer is blind.

        Raises:
            CallFailed: The PBX refused.
        """
        replaces = ""
        if consulted is not None:
            tags = f";to-tag={sip.tag(consulted._remote)};from-tag={sip.tag(consulted._local)}"
            replaces = f"?Replaces={quote(consulted.call_id + tags, safe='')}"
        refer = self._request(call, "REFER")
        refer.headers.append(("Refer-To", f"<sip:{exten}@{self.server[0]}:{self.server[1]}{replaces}>"))
        final = await self.transact(refer)
        if final is None or final.status >= 300:
            raise CallFailed(exten, final.status if final else 0)

    async def register(self, expires_s: int, *, user_agent: str = "lab phone") -> None:
        """Registers at the PBX under its name (RFC 3261 section 10).

        Args:
            expires_s: For how long; 0 to leave.
            user_agent: What it calls itself.

        Raises:
            CallFailed: The PBX refused.
        """
        who = f"<sip:{self.user}@{self.server[0]}>"
        register = sip.Message(
            f"REGISTER sip:{self.server[0]}:{self.server[1]} SIP/2.0",
            [
                ("Via", self.via()),
                ("From", f"{who};tag={self.token()}"),
                ("To", who),
                ("Call-ID", self.token()),
                ("CSeq", "1 REGISTER"),
                ("Contact", f"<{self.contact}>"),
                ("Expires", str(expires_s)),
                ("User-Agent", user_agent),
                ("Max-Forwards", "70"),
            ],
        )
        final = await self.transact(register)
        if final is None or final.status >= 300:
            raise CallFailed("the registrar", final.status if final else 0)

    # -- being called ---------------------------------------------------------------------------------------------

    def _invited(self, invite: sip.Message) -> None:
        call = self.calls.get(invite.get("Call-ID"))
        if call is not None and call.live and sip.tag(invite.get("To")):
            # A re-INVITE of the other side: accept as it is.
            self._take_sdp(call, invite.body)
            call._sdp_version += 1
            self._respond(call, invite, 200, "OK", body=sip.sdp(self.host, call.rtp.port, call._sdp_version))
            return
        if call is not None:  # a retransmission, which the response that is on its way answers
            return
        call = self._add(
            invite.get("Call-ID"), sip.uri(invite.get("From")).partition(":")[2].partition("@")[0], incoming=True
        )
        call._invite = invite
        call._local = f"{invite.get('To')};tag={self.token()}"
        call._remote = invite.get("From")
        call._target = sip.uri(invite.get("Contact"))
        self._new_call.set()
        call._task = self.spawn(self._answering(call, invite, self.on_invite))

    async def _answering(self, call: Call, invite: sip.Message, what: OnInvite) -> None:
        if isinstance(what, Reject):
            self._respond(call, invite, what.status, _REASONS.get(what.status, "Rejected"))
            await call._close()
            return
        self._respond(call, invite, 180, "Ringing")
        if isinstance(what, RingForever):
            return
        await asyncio.sleep(what.after_s)
        call.answered.set()
        self._take_sdp(call, invite.body)
        self._respond(call, invite, 200, "OK", body=sip.sdp(self.host, call.rtp.port, 1))
        call._notify()
        if self._on_answered is not None:
            self._on_answered(call)

    async def _cancelled(self, call: Call, cancel: sip.Message) -> None:
        self.send(sip.response(cancel, 200, "OK", to_tag=sip.tag(call._local)))
        if call.answered.is_set() or call._invite is None:
            return
        if call._task is not None:
            call._task.cancel()
        call.by_peer = True
        self._respond(call, call._invite, 487, "Request Terminated")
        await call._close()

    async def _bye(self, call: Call, bye: sip.Message) -> None:
        call.by_peer = True
        call.reason = bye.get("Reason")
        self.send(sip.response(bye, 200, "OK"))
        await call._close()

    # -- messages -------------------------------------------------------------------------------------------------

    def on_request(self, request: sip.Message) -> None:
        """Takes a request of the PBX."""
        call = self.calls.get(request.get("Call-ID"))
        if request.method == "INVITE":
            self._invited(request)
        elif request.method == "OPTIONS":
            self.send(sip.response(request, 200, "OK", to_tag=self.token()))
        elif request.method == "MESSAGE":
            if call is None and request.get("Call-ID") not in self._texts:  # else a retransmission
                self._texts[request.get("Call-ID")] = request.body
            self.send(sip.response(request, 200, "OK", to_tag=self.token()))
        elif request.method == "ACK":
            return
        elif call is None:
            self.send(sip.response(request, 481, "Call/Transaction Does Not Exist"))
        elif request.method == "BYE":
            self.spawn(self._bye(call, request))
        elif request.method == "CANCEL":
            self.spawn(self._cancelled(call, request))
        else:
            self.send(sip.response(request, 200, "OK"))

    def on_response(self, response: sip.Message) -> None:
        """Takes a provisional response, or a 200 whose ACK was lost."""
        call = self.calls.get(response.get("Call-ID"))
        if call is None or response.cseq[1] != "INVITE":
            return
        if response.status < 200:
            call.status = max(call.status, response.status)
            call._notify()
        elif response.status < 300:
            self._ack(call, call._invite or response, response)

    def provisional(self, request: sip.Message) -> bool:
        """Whether the call of an INVITE is being worked on."""
        call = self.calls.get(request.get("Call-ID"))
        return request.method == "INVITE" and call is not None and call.status >= 100

    def _ack(self, call: Call, invite: sip.Message, final: sip.Message) -> None:
        # The ACK of a refusal belongs to the INVITE's transaction and keeps its branch (RFC 3261 section 17.1.1.3).
        refused = final.status >= 300
        target = sip.uri(final.get("Contact")) or call._target
        ack = sip.Message(
            invite.start.replace("INVITE", "ACK", 1) if refused else f"ACK {target} SIP/2.0",
            [
                ("Via", invite.get("Via") if refused else self.via()),
                ("From", final.get("From")),
                ("To", final.get("To")),
                ("Call-ID", call.call_id),
                ("CSeq", f"{final.cseq[0]} ACK"),
                ("Max-Forwards", "70"),
            ],
        )
        self.send(ack)

    def _request(self, call: Call, method: str, body: str = "") -> sip.Message:
        message = sip.Message(
            f"{method} {call._target} SIP/2.0",
            [
                ("Via", self.via()),
                ("From", call._local),
                ("To", call._remote),
                ("Call-ID", call.call_id),
                ("CSeq", f"{call._cseq} {method}"),
                ("Contact", f"<{self.contact}>"),
                ("Max-Forwards", "70"),
            ],
            body,
        )
        call._cseq += 1
        return message

    def _respond(self, call: Call, request: sip.Message, status: int, reason: str, body: str = "") -> None:
        call.status = status
        to_tag = sip.tag(call._local)
        self.send(sip.response(request, status, reason, to_tag=to_tag, contact=self.contact, body=body))

    def _take_sdp(self, call: Call, body: str) -> None:
        address = sip.media_address(body)
        if address is not None:
            call.remote_direction = sip.direction(body)
            call.rtp.start(address)
            if self.muted:
                call.rtp.remote = None

    # -- small things ---------------------------------------------------------------------------------------------

    def _add(self, call_id: str, peer: str, *, incoming: bool, source: Source | None = None) -> Call:
        over = [key for key, call in self.calls.items() if call.ended.is_set()]
        if len(self.calls) >= MAX_CALLS and over:
            del self.calls[over[0]]
        call = Call(
            self, call_id, peer, incoming=incoming, source=source or self.source, seed=self.dice.getrandbits(32)
        )
        self.calls[call_id] = call
        return call
