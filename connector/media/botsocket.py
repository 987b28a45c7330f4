"""An open WebSocket to a bot: messages both ways, and how it ended.

By picows: of the WebSocket libraries it costs least, and nothing is awaited for a frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from connector.dialects.base import WireMessage
from connector.media.control import EndCause

WRITE_LIMIT_BYTES = 8_192
"""Of the process, each stream: beyond, messages wait in the outbox, where the oldest can still be dropped."""
HARD_LIMIT_EXTRA_BYTES = 1 << 20
"""A message so much longer than allowed is not even read to be counted: the connection is closed with 1009."""
CLOSE_TIMEOUT_S = 1.0

_TEXT = WSMsgType.TEXT
End = tuple[EndCause, str]
"""Why a connection ended, and one sentence for the operator."""


class BotSocket(WSListener):
    """An open WebSocket.

    Args:
        receive: Takes each message of the bot.
        writable: Called when there is room to send again.
        max_message_bytes: Longer messages end the connection with 1009.

    Attributes:
        full: More is not to be sent now: the bot does not read. True at first; whoever sends sets it to False to begin.
        ended: Resolves once, when the connection has gone. Never an exception.
    """

    def __init__(
        self, receive: Callable[[WireMessage], None], writable: Callable[[], None], max_message_bytes: int
    ) -> None:
        loop = asyncio.get_running_loop()
        self.full = True
        self.ended: asyncio.Future[End] = loop.create_future()
        self._loop = loop
        self._receive = receive
        self._writable = writable
        self._max_bytes = max_message_bytes
        self._transport: WSTransport
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._parts_are_text = False
        self._full_since_s: float | None = None
        self._pinged_s: float | None = None

    # -- towards the bot ---------------------------------------------------------------------------------------

    def send(self, message: WireMessage) -> None:
        """Sends a message, or what the kernel takes of it at once; the rest waits in this process."""
        if isinstance(message, str):
            self._transport.send(_TEXT, message.encode())
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

    async def close(self) -> None:
        """Closes with 1000 and waits a bounded time for the bot to agree."""
        self._transport.send_close(WSCloseCode.OK)
        await asyncio.wait((self.ended,), timeout=CLOSE_TIMEOUT_S)

    def abort(self) -> None:
        """Lets go of the connection at once."""
        self._transport.disconnect(graceful=False)

    # -- called by the library ---------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(high=WRITE_LIMIT_BYTES)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame; messages in several are put together."""
        kind = frame.msg_type
        if kind == _TEXT and frame.fin:
            try:
                self._receive(frame.get_payload_as_utf8_text())
            except UnicodeDecodeError:
                self._refuse(WSCloseCode.INVALID_TEXT, "text that is not UTF-8")
        elif kind == WSMsgType.BINARY and frame.fin:
            self._receive(frame.get_payload_as_bytes())
        elif kind == WSMsgType.PONG:
            self._pinged_s = None
        elif kind == WSMsgType.CLOSE:
            if not transport.is_close_frame_sent:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif kind in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            self._take_part(frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The connection has gone."""
        self.full = True
        if not self.ended.done():
            self.ended.set_result(_end_of(transport))

    def pause_writing(self) -> None:
        """More waits in the process than the limit."""
        self.full = True
        self._full_since_s = self._loop.time()

    def resume_writing(self) -> None:
        """The bot has read."""
        self.full = False
        self._full_since_s = None
        self._writable()

    def _take_part(self, frame: WSFrame) -> None:
        first = frame.msg_type != WSMsgType.CONTINUATION
        if first == bool(self._parts):
            self._refuse(WSCloseCode.PROTOCOL_ERROR, "frames of messages out of order")
            return
        if first:
            self._parts_are_text = frame.msg_type == WSMsgType.TEXT
            self._parts_bytes = 0
        self._parts.append(frame.get_payload_as_bytes())
        # An empty part costs memory too.
        self._parts_bytes += frame.payload_size + 64
        if self._parts_bytes > self._max_bytes:
            self._parts.clear()
            self._refuse(WSCloseCode.MESSAGE_TOO_BIG, f"a message of more than {self._max_bytes} bytes")
        elif frame.fin:
            whole = b"".join(self._parts)
            self._parts.clear()
            try:
                message = whole.decode() if self._parts_are_text else whole
            except UnicodeDecodeError:
                self._refuse(WSCloseCode.INVALID_TEXT, "text that is not UTF-8")
                return
            self._receive(message)

    def _refuse(self, code: WSCloseCode, why: str) -> None:
        self._transport.send_close(code, why.encode())
        self._transport.disconnect()


def _end_of(transport: WSTransport) -> End:
    """Who closed, and how (RFC 6455 section 7.4)."""
    handshake = transport.close_handshake
    if handshake is not None and handshake.recv is not None and (handshake.sent is None or handshake.recv_then_sent):
        reason = f" {handshake.recv.reason!r}" if handshake.recv.reason else ""
        return EndCause.BOT_CLOSED, f"the bot closed with code {handshake.recv.code:d}{reason}"
    if handshake is not None and handshake.sent is not None:
        reason = handshake.sent.reason or "protocol error"
        return EndCause.BOT_LOST, f"we closed with code {handshake.sent.code:d}: {reason}"
    return EndCause.BOT_LOST, "the connection broke: no close frame"
