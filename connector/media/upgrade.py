"""The answer to a WebSocket upgrade as picows wants to see it.

picows takes `Connection: Upgrade` alone, while RFC 9110 section 7.6.1 makes it a list and proxies answer
`Connection: keep-alive, Upgrade`. So the head of the answer is gathered here, that one line is put into the form that
picows knows, and from then on the library reads by itself: what follows costs nothing more.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from picows import WSAutoPingStrategy
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # the compiled class, which its stubs leave out
from picows.url import WSParsedURL

from connector.media.botsocket import BotSocket

MAX_HEAD_BYTES = 16_384
READ_BUFFER_BYTES = 2_048
"""To begin with, each stream; grows with the bot's messages."""

_log = logging.getLogger("picows.client")


class UpgradeProtocol(WSProtocol):  # type: ignore[misc]
    """picows' protocol of a client, with a tolerant reading of the upgrade.

    Args:
        bot: Where the request goes.
        listener: Takes the open connection over.
        headers: Extra headers of the request.
        max_frame_bytes: A longer frame ends the connection.
    """

    def __init__(self, bot: WSParsedURL, listener: BotSocket, headers: Mapping[str, str], max_frame_bytes: int) -> None:
        super().__init__(
            bot.netloc.rpartition("@")[2],
            bot.resource_name,
            True,  # client
            lambda: listener,
            _log,
            True,  # an exception of the listener disconnects
            None,  # the dial has a deadline of its own
            False,  # pings are ours too
            10,
            10,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            True,  # pings of the bot are answered
            max_frame_bytes,
            dict(headers),
            READ_BUFFER_BYTES,
        )
        self._listener = listener
        self._piece = bytearray(MAX_HEAD_BYTES)
        self._head = b""
        # On the instance, so that the transport finds them until they are deleted.
        self.get_buffer = self._head_buffer
        self.buffer_updated = self._head_came

    def _head_buffer(self, size_hint: int) -> bytearray:
        return self._piece

    def _head_came(self, count: int) -> None:
        self._head += self._piece[:count]
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end and len(head) < MAX_HEAD_BYTES:
            return
        del self.get_buffer, self.buffer_updated
        self._piece = bytearray()
        self._head = b""
        self.transport.underlying_transport.set_protocol(self)  # which looks them up anew
        self._pass_on(with_one_connection_option(head) + end)
        if self._listener.takes_over and not self.transport.underlying_transport.is_closing():
            self._listener.take_over(rest)
        else:
            self._pass_on(rest)

    def _pass_on(self, data: bytes) -> None:
        while data and not self.transport.underlying_transport.is_closing():
            room = self.get_buffer(len(data))
            count = min(len(room), len(data))
            room[:count] = data[:count]
            self.buffer_updated(count)
            data = data[count:]


def with_one_connection_option(head: bytes) -> bytes:
    """The head of an answer, with `Upgrade` as its only connection option if it is one of them.

    Args:
        head: Status line and headers, without the empty line.
    """
    status, *headers = head.split(b"\r\n")
    named = [header.partition(b":") for header in headers]
    options = [
        option.strip().lower()
        for name, _, value in named
        if name.lower() == b"connection"
        for option in value.split(b",")
    ]
    if b"upgrade" not in options:
        return head
    others = [header for header, (name, _, _) in zip(headers, named, strict=True) if name.lower() != b"connection"]
    return b"\r\n".join((status, *others, b"Connection: Upgrade"))
