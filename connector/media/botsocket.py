"""An open WebSocket to a bot: messages both ways, and how it ended.

By picows: of the WebSocket libraries it costs least, and nothing is awaited for a frame. Where there is a fast path,
that reads instead and writes audio; what else is to be written still goes by picows, on the same connection.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from connector.dialects.base import AudioPattern, WireMessage
from connector.media.control import EndCause
from connector.media.fastpath import BROKEN, TOO_LONG, FastPath, Line

WRITE_LIMIT_BYTES = 8_192
"""Of the process, each stream: beyond, messages wait in the outbox, where the oldest can still be dropped."""
HARD_LIMIT_EXTRA_BYTES = 1 << 20
"""A message so much longer than allowed is not even read to be counted: the connection is closed with 1009."""
CLOSE_TIMEOUT_S = 1.0

MAX_CONTROL_BYTES = 125
"""RFC 6455 section 5.5."""
NO_STATUS = 1005
"""RFC 6455 section 7.4.1: the close frame had none."""

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
End = tuple[EndCause, str]
"""Why a connection ended, and one sentence for the operator."""


class SocketUser(Protocol):
    """Whose WebSocket it is."""

    def on_message(self, message: WireMessage) -> None:
        """A message of the bot."""
        ...

    def on_audio(self, audio: bytes) -> None:
        """A message that the fast path has read: audio in the bot's format."""
        ...

    def on_full(self) -> None:
        """There is no room to send any more."""
        ...

    def on_writable(self) -> None:
        """There is room to send again."""
        ...


class _Nobody:
    """Of a connection that has ended."""

    def on_message(self, message: WireMessage) -> None:
        pass

    def on_audio(self, audio: bytes) -> None:
        pass

    def on_full(self) -> None:
        pass

    def on_writable(self) -> None:
        pass


_NOBODY = _Nobody()


class BotSocket(WSListener):
    """An open WebSocket.

    Args:
        user: Takes what comes.
        max_message_bytes: Longer messages end the connection with 1009.
        fast: For a connection without TLS; None: there is none.

    Attributes:
        full: More is not to be sent now: the bot does not read. True at first; whoever sends sets it to False to begin.
        ended: Resolves once, when the connection has gone. Never an exception.
        line: Of the fast path, while the connection is open and has one.
    """

    def __init__(self, user: SocketUser, max_message_bytes: int, fast: FastPath | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.full = True
        self.ended: asyncio.Future[End] = loop.create_future()
        self._loop = loop
        self.line: Line | None = None
        self._pattern: AudioPattern | None = None
        self.on_audio = user.on_audio
        self._user: SocketUser = user
        self._fast = fast
        self._max_bytes = max_message_bytes
        self._transport: WSTransport
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._parts_are_text = False
        self._full_since_s: float | None = None
        self._pinged_s: float | None = None
        self._closed_by_bot: tuple[int, str] | None = None

    # -- towards the bot ---------------------------------------------------------------------------------------

    def send(self, message: WireMessage) -> None:
        """Sends a message, or what the kernel takes of it at once; the rest waits in this process."""
        if isinstance(message, str):
            self._transport.send(WSMsgType.TEXT, message.encode())
        else:
            self._transport.send(WSMsgType.BINARY, message)

    async def watch(self, ping_interval_s: float, ping_timeout_s: float) -> End:
        """Pings until the connection ends, or is lost: no pong, or nothing read, for `ping_timeout_s`."""
        while True:
            done, _ = await asyncio.wait((self.ended,), timeout=ping_interval_s)
            if done:
                return self.ended.result()
            now_s = self._loop.time()
            if self._full_since_s is not None and now_s - self._full_since_s >= ping_timeout_s:
                return EndCause.BOT_LOST, f"the bot has read nothing for {ping_timeout_s:g} s"
            if self._pinged_s is None:
                self._pinged_s = now_s
                self._transport.send_ping()
            elif now_s - self._pinged_s >= ping_timeout_s:
                return EndCause.BOT_LOST, f"the bot has not answered a ping for {ping_timeout_s:g} s"

    async def close(self) -> bool:
        """Closes with 1000 and waits a bounded time for the bot to agree; gives whether it did."""
        self._transport.send_close(WSCloseCode.OK)
        await asyncio.wait((self.ended,), timeout=CLOSE_TIMEOUT_S)
        return self.ended.done()

    def abort(self) -> None:
        """Lets go of the connection at once."""
        self._drop_line()
        self._transport.disconnect(graceful=False)

    def let_go(self) -> None:
        """Nobody's from now on, once it has ended.

        Else it and its user would hold each other until the collector of garbage finds them, and that seldom looks at
        what has lived long.
        """
        self._user = _NOBODY
        self.on_audio = _NOBODY.on_audio

    # -- called by the library ---------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        self._transport = transport
        limit_bytes = WRITE_LIMIT_BYTES if self._fast is None else 0  # the fast path must not overtake what waits
        transport.underlying_transport.set_write_buffer_limits(high=limit_bytes)

    @property
    def takes_over(self) -> bool:
        """Whether a fast path is to read what follows the upgrade."""
        return self._fast is not None

    def take_over(self, begun: bytes) -> None:
        """From now on the fast path reads; `begun` has been read already."""
        assert self._fast is not None
        connection = self._transport.underlying_transport
        connection.pause_reading()
        fd = connection.get_extra_info("socket").fileno()
        self.line = self._fast.open(fd, self, max_bytes=self._max_bytes, begun=begun)

    def learn(self, pattern: AudioPattern | None, max_message_bytes: int) -> None:
        """Messages of this form, not longer, are audio; None: no form is known."""
        if pattern is not self._pattern and self.line is not None:
            self._pattern = pattern
            self.line.read(pattern, max_message_bytes)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame; messages in several are put together."""
        if frame.msg_type != WSMsgType.PING:  # which the library answers
            self.on_frame(frame.msg_type, frame.fin, frame.get_payload_as_bytes())  # type: ignore[arg-type]  # an int, whatever the stubs say

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The connection has gone."""
        self.full = True
        self._drop_line()
        if not self.ended.done():
            self.ended.set_result(_end_of(transport, self._closed_by_bot))

    def pause_writing(self) -> None:
        """More waits in the process than the limit."""
        self.full = True
        self._user.on_full()
        self._full_since_s = self._loop.time()

    def resume_writing(self) -> None:
        """The bot has read."""
        self.full = False
        self._full_since_s = None
        self._user.on_writable()

    # -- called by the fast path -------------------------------------------------------------------------------

    def on_frame(self, opcode: int, fin: bool, payload: bytes) -> None:
        """A frame; messages in several are put together."""
        if opcode in (_TEXT, _BINARY) and fin and not self._parts:
            self._take_whole(payload, opcode == _TEXT)
        elif opcode in (_CONTINUATION, _TEXT, _BINARY):
            self._take_part(opcode, fin, payload)
        elif opcode == _PONG:
            self._pinged_s = None
        elif opcode == _CLOSE:
            self._take_close(payload)
        elif opcode == _PING and fin and len(payload) <= MAX_CONTROL_BYTES:
            self._transport.send_pong(payload)
        else:
            self._refuse(WSCloseCode.PROTOCOL_ERROR, f"a frame of opcode {opcode}")

    def on_rest(self, rest: bytes) -> None:
        """The kernel took a frame of the fast path in part."""
        self._transport.underlying_transport.write(rest)

    def on_lost(self, kind: int, error: int) -> None:
        """The fast path reads no more."""
        if kind == TOO_LONG:
            self._refuse(WSCloseCode.MESSAGE_TOO_BIG, f"a message of more than {self._max_bytes} bytes")
        elif kind == BROKEN:
            self._refuse(WSCloseCode.PROTOCOL_ERROR, "a frame that is masked or has an extension")
        else:
            self._transport.disconnect(graceful=False)

    # -- frames ------------------------------------------------------------------------------------------------

    def _drop_line(self) -> None:
        if self.line is not None:
            self.line.close()
            self.line = None

    def _take_whole(self, payload: bytes, is_text: bool) -> None:
        try:
            self._user.on_message(payload.decode() if is_text else payload)
        except UnicodeDecodeError:
            self._refuse(WSCloseCode.INVALID_TEXT, "text that is not UTF-8")

    def _take_close(self, payload: bytes) -> None:
        code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else NO_STATUS
        if not self._transport.is_close_frame_sent:
            self._closed_by_bot = code, payload[2:].decode(errors="replace")
            try:
                agreed = WSCloseCode(code)
            except ValueError:
                agreed = WSCloseCode.OK
            self._transport.send_close(agreed)
        self._transport.disconnect()

    def _take_part(self, opcode: int, fin: bool, payload: bytes) -> None:
        first = opcode != _CONTINUATION
        if first == bool(self._parts):
            self._refuse(WSCloseCode.PROTOCOL_ERROR, "frames of messages out of order")
            return
        if first:
            self._parts_are_text = opcode == _TEXT
            self._parts_bytes = 0
        self._parts.append(payload)
        # An empty part costs memory too.
        self._parts_bytes += len(payload) + 64
        if self._parts_bytes > self._max_bytes:
            self._parts.clear()
            self._refuse(WSCloseCode.MESSAGE_TOO_BIG, f"a message of more than {self._max_bytes} bytes")
        elif fin:
            whole = b"".join(self._parts)
            self._parts.clear()
            self._take_whole(whole, self._parts_are_text)

    def _refuse(self, code: WSCloseCode, why: str) -> None:
        self._drop_line()
        self._transport.send_close(code, why.encode())
        self._transport.disconnect()


def _end_of(transport: WSTransport, closed_by_bot: tuple[int, str] | None) -> End:
    """Who closed, and how (RFC 6455 section 7.4)."""
    if closed_by_bot is not None:
        code, reason = closed_by_bot
        return EndCause.BOT_CLOSED, f"the bot closed with code {code:d}" + (f" {reason!r}" if reason else "")
    handshake = transport.close_handshake
    if handshake is not None and handshake.sent is not None:
        reason = handshake.sent.reason or "protocol error"
        return EndCause.BOT_LOST, f"we closed with code {handshake.sent.code:d}: {reason}"
    return EndCause.BOT_LOST, "the connection broke: no close frame"
