"""An open gRPC stream to a server that listens: what `BotSocket` is for a WebSocket, as far as one needs it there.

By grpcio, which is imported only when such a stream is opened. The address was looked up and checked before, and gRPC
is given that alone, so that a name that changes its address changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from connector.dialects.base import AudioPattern, WireMessage
from connector.dialects.ringcx_events import METHOD
from connector.media.botsocket import CLOSE_TIMEOUT_S, End, SocketUser
from connector.media.control import EndCause
from connector.net.reach import Reach

SCHEMES = ("grpc", "grpc+plain")
"""RingCX's `grpc://` is always TLS; the other is for networks that are somebody's own."""
WAITING_MAX = 20
"""Messages that wait for the server to read: two seconds of audio of one participant. Beyond, the outbox drops."""
SYSTEM_ROOTS = Path("/etc/ssl/certs/ca-certificates.crt")


class GrpcFailed(Exception):
    """The server was not reached."""

    def __init__(self, cause: EndCause, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail


class GrpcSocket:
    """An open stream.

    Args:
        user: Is told when there is room, and when there is none.

    Attributes:
        full: More is not to be sent now. True at first; whoever sends sets it to False to begin.
        ended: Resolves once, when the stream is over. Never an exception.
        line: There is none; for a WebSocket of the fast path.
    """

    line: None = None

    def __init__(self, user: SocketUser) -> None:
        self._loop = asyncio.get_running_loop()
        self.full = True
        self.ended: asyncio.Future[End] = self._loop.create_future()
        self._user: SocketUser | None = user
        self._waiting: deque[bytes] = deque()
        self._more = asyncio.Event()
        self._closing = False
        self._full_since_s: float | None = None
        self._channel: Any = None
        self._carrying: asyncio.Task[None] | None = None

    async def open(self, url: str, headers: Mapping[str, str], reach: Reach) -> None:
        """Connects and begins the stream.

        Raises:
            GrpcFailed: It did not come about.
            OSError: The name or the address cannot be used.
        """
        try:
            # Half a second of work the first time, which no other stream of this process may wait for.
            await asyncio.to_thread(importlib.import_module, "grpc.aio")
            grpc: Any = importlib.import_module("grpc")
        except ImportError:
            raise GrpcFailed(
                EndCause.BOT_FORBIDDEN, "ringcx-grpc needs gRPC: pip install asterisk-connector[grpc]"
            ) from None
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
        reach.check_host(host)
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for *_, address in found:
            reach.check_address(host, str(address[0]))
        family, *_, address = found[0]
        target = f"ipv6:[{address[0]}]:{port}" if family == socket.AF_INET6 else f"ipv4:{address[0]}:{port}"
        options = [("grpc.enable_http_proxy", 0), ("grpc.default_authority", f"{host}:{port}")]
        if parts.scheme == "grpc+plain":
            self._channel = grpc.aio.insecure_channel(target, options=options)
        else:
            credentials = grpc.ssl_channel_credentials(_roots())
            named = [*options, ("grpc.ssl_target_name_override", host)]
            self._channel = grpc.aio.secure_channel(target, credentials, options=named)
        try:
            await self._connect(grpc)
            stream = self._channel.stream_unary(METHOD)
            call = stream(metadata=tuple((name.lower(), value) for name, value in headers.items()))
        except BaseException:
            await asyncio.shield(self._channel.close())
            raise
        self._carrying = asyncio.create_task(self._carry(call, grpc))

    async def _connect(self, grpc: Any) -> None:
        state = self._channel.get_state(try_to_connect=True)
        while state != grpc.ChannelConnectivity.READY:
            await self._channel.wait_for_state_change(state)
            state = self._channel.get_state(try_to_connect=True)
            if state == grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                raise GrpcFailed(EndCause.BOT_REFUSED, "no gRPC connection: nobody listens there, or TLS failed")

    # -- towards the server ----------------------------------------------------------------------------------------

    def send(self, message: WireMessage) -> None:
        """Sends a message, as soon as the ones before it are on their way."""
        assert isinstance(message, bytes)
        self._waiting.append(message)
        self._more.set()
        if len(self._waiting) >= WAITING_MAX and not self.full:
            self.full = True
            self._full_since_s = self._loop.time()
            if self._user is not None:
                self._user.on_full()

    async def watch(self, ping_interval_s: float, ping_timeout_s: float) -> End:
        """Waits until the stream is over, or nothing is read for `ping_timeout_s`."""
        while True:
            done, _ = await asyncio.wait((self.ended,), timeout=ping_interval_s)
            if done:
                return self.ended.result()
            if self._full_since_s is not None and self._loop.time() - self._full_since_s >= ping_timeout_s:
                return EndCause.BOT_LOST, f"the server has read nothing for {ping_timeout_s:g} s"

    async def close(self) -> bool:
        """Says that nothing more comes, and waits a bounded time for the server's answer; gives whether it came."""
        self._closing = True
        self._more.set()
        await asyncio.wait((self.ended,), timeout=CLOSE_TIMEOUT_S)
        return self.ended.done()

    def abort(self) -> None:
        """Lets go of the stream at once."""
        if self._carrying is not None:
            self._carrying.cancel()

    def let_go(self) -> None:
        """Nobody's from now on, once it has ended."""
        self._user = None

    def learn(self, pattern: AudioPattern | None, max_message_bytes: int) -> None:
        """There is nothing to learn of a server that says nothing."""

    async def _carry(self, call: Any, grpc: Any) -> None:
        """Owns the stream: writes what waits until it is over, then lets go of everything."""
        try:
            end = await self._write(call, grpc)
        except asyncio.CancelledError:
            end = EndCause.BOT_LOST, "we left the stream"
            call.cancel()
        finally:
            self.full = True
            with contextlib.suppress(Exception):
                await asyncio.shield(self._channel.close())
        if not self.ended.done():
            self.ended.set_result(end)

    async def _write(self, call: Any, grpc: Any) -> End:
        answer = asyncio.ensure_future(call)
        try:
            while not answer.done():
                while self._waiting and not answer.done():
                    await call.write(self._waiting.popleft())
                    self._check_room()
                if self._closing and not self._waiting:
                    await call.done_writing()
                    await answer
                    break
                self._more.clear()
                more = asyncio.ensure_future(self._more.wait())
                await asyncio.wait((more, answer), return_when=asyncio.FIRST_COMPLETED)
                more.cancel()
            await answer
        except (grpc.RpcError, asyncio.InvalidStateError) as error:
            return _end_of(call, await call.code(), grpc, error)
        finally:
            answer.cancel()
        return EndCause.BOT_CLOSED, "the server ended the stream"

    def _check_room(self) -> None:
        if self.full and self._full_since_s is not None and len(self._waiting) < WAITING_MAX // 2:
            self.full = False
            self._full_since_s = None
            if self._user is not None:
                self._user.on_writable()


def _end_of(call: Any, code: Any, grpc: Any, error: Exception) -> End:
    name = getattr(code, "name", str(code))
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED):
        return EndCause.BOT_REJECTED, f"the server refused the stream: {name}"
    return EndCause.BOT_LOST, f"the stream broke: {name}"


def _roots() -> bytes | None:
    """The certificate authorities that the rest of the process trusts; None: those that gRPC brings along."""
    paths = ssl.get_default_verify_paths()
    for place in (os.environ.get(paths.openssl_cafile_env, ""), paths.cafile, SYSTEM_ROOTS):
        if place and Path(place).is_file():
            return Path(place).read_bytes()
    return None
