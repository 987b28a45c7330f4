"""The control process's side of the media worker: keeps it running and gives each stream a handle."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import msgspec
import structlog

from connector.dialects.commands import Command, Notice
from connector.media import counters
from connector.media.control import (
    MAX_LINE_BYTES,
    Address,
    AttachMedia,
    BotCommand,
    CloseStream,
    EndCause,
    FromWorker,
    Notify,
    OpenStream,
    SendDtmf,
    StreamEnded,
    StreamOpened,
    StreamStats,
    ToWorker,
    WorkerReady,
    WorkerStats,
    decode_from_worker,
    encode,
)
from connector.media.worker import EXIT_CANNOT_BIND, EXIT_PORT_TAKEN

SILENT_WORKER_S = 10.0
"""A worker reports each second; one that says nothing for so long hangs, and is replaced."""
OPEN_GRACE_S = 2.0
"""On top of the connect timeout that the worker itself keeps."""
STOP_S = 4.0
STABLE_S = 30.0
"""A worker that lived so long starts the backoff anew."""
MAX_COMMANDS = 100
"""Of one stream that nobody has taken yet; beyond, the newest is dropped and counted."""
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.1, 5.0

log = structlog.get_logger()


class BindFailed(Exception):
    """The UDP address of the settings cannot be used; the message names it, the keys and the way out."""


class StreamFailed(Exception):
    """A stream was not opened.

    Attributes:
        cause: For the counter.
        detail: One sentence for the operator.
    """

    def __init__(self, cause: EndCause, detail: str) -> None:
        super().__init__(f"{cause.value}: {detail}" if detail else cause.value)
        self.cause = cause
        self.detail = detail


@dataclass(slots=True)
class EngineStats:
    """What the workers counted since the engine started.

    Attributes:
        counters: Totals by name (`connector.media.counters.NAMES`), kept over restarts of the worker; what a
            killed worker counted in its last second is missing.
        tick_late_ms: Largest lateness of a pacing step in the last second.
        streams: Streams that are open.
        restarts: Workers that ended without being asked to.
    """

    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(counters.NAMES, 0))
    tick_late_ms: float = 0.0
    streams: int = 0
    restarts: int = 0


class StreamHandle:
    """An open stream: the bot has accepted the WebSocket.

    Attributes:
        stream_id: As in the request.
        ended: Resolves once, with the last message about the stream. Never an exception.
        stats: Counters, at most one second old; final once `ended` is done.
        connect_ms: How long the bot took to accept.
        commands: What the bot asks for beyond audio, in order.
    """

    def __init__(self, engine: MediaEngine, stream_id: str) -> None:
        self.stream_id = stream_id
        self.ended: asyncio.Future[StreamEnded] = asyncio.get_running_loop().create_future()
        self.stats = StreamStats()
        self.connect_ms = 0.0
        self.commands: asyncio.Queue[Command] = asyncio.Queue(MAX_COMMANDS)
        self._engine = engine
        self._opened: asyncio.Future[StreamOpened] = asyncio.get_running_loop().create_future()

    def attach(self, remote: Address) -> None:
        """Starts audio both ways and tells the bot that the stream begins.

        Args:
            remote: Where the ExternalMedia channel listens (UNICASTRTP_LOCAL_ADDRESS and _PORT).
        """
        self._send(AttachMedia(self.stream_id, remote))

    def send_dtmf(self, digit: str) -> None:
        """Tells the bot of a digit the caller pressed."""
        self._send(SendDtmf(self.stream_id, digit))

    def notify(self, notice: Notice) -> None:
        """Tells the bot of something, if its dialect has a word for it."""
        self._send(Notify(self.stream_id, notice))

    def close(self, cause: EndCause) -> None:
        """Asks for the end; `ended` tells when it has come. Audio stops at once."""
        self._send(CloseStream(self.stream_id, cause))

    def _send(self, message: ToWorker) -> None:
        if not self.ended.done():
            self._engine._send(message)


class MediaEngine:
    """Owns one media worker.

    Args:
        bind_host: IP address of the UDP socket.
        bind_port: UDP port, kept over restarts; 0 lets the system choose at the first start.
        ping_interval_s: How often each bot is pinged.
        ping_timeout_s: Without a pong for so long a bot is lost.
        log_format: `console` or `json`.
        log_level: Of the worker.
        rng: For the jitter of restarts.
        command: Starts the worker, without its arguments.

    Attributes:
        ready: Set while a worker can take streams.
        stats: Totals.
    """

    def __init__(
        self,
        *,
        bind_host: str,
        bind_port: int,
        ping_interval_s: float = 5.0,
        ping_timeout_s: float = 10.0,
        log_format: str = "console",
        log_level: str = "info",
        rng: random.Random | None = None,
        command: Sequence[str] = (sys.executable, "-m", "connector.media.worker"),
    ) -> None:
        self.ready = asyncio.Event()
        self.stats = EngineStats()
        self._rng = rng or random.Random()
        self._host = bind_host
        self._port = bind_port
        self._arguments = (
            f"--ping-interval-s={ping_interval_s}",
            f"--ping-timeout-s={ping_timeout_s}",
            f"--log-format={log_format}",
            f"--log-level={log_level}",
        )
        self._command = tuple(command)
        self._rtp_address: Address | None = None
        self._pid: int | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._handles: dict[str, StreamHandle] = {}
        self._past = dict.fromkeys(counters.NAMES, 0)  # of workers that have ended

    @property
    def rtp_address(self) -> Address:
        """Where the worker's UDP socket is bound.

        Raises:
            RuntimeError: No worker has been ready yet.
        """
        if self._rtp_address is None:
            raise RuntimeError("the media worker has not started yet: wait for `ready`")
        return self._rtp_address

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker, while there is one that is ready."""
        return self._pid

    async def run(self) -> None:
        """Keeps a worker running until cancelled; then all streams end with SHUTDOWN.

        Raises:
            BindFailed: The UDP address cannot be used. Only before the first worker was ready: later the port is
                waited for.
        """
        backoff_s = FIRST_BACKOFF_S
        loop = asyncio.get_running_loop()
        while True:
            started_s = loop.time()
            code = await self._run_worker()
            if self._rtp_address is None and code in (EXIT_PORT_TAKEN, EXIT_CANNOT_BIND):
                raise BindFailed(self._cannot_bind(code))
            self.stats.restarts += 1
            if loop.time() - started_s > STABLE_S:
                backoff_s = FIRST_BACKOFF_S
            log.error("media_worker_ended", exit_code=code, restart_in_s=backoff_s)
            await asyncio.sleep(backoff_s * self._rng.uniform(0.8, 1.2))
            backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)

    async def open(self, request: OpenStream) -> StreamHandle:
        """Opens a stream: returns once the bot has accepted.

        Raises:
            StreamFailed: With the cause; nothing is left open.
            ValueError: A stream of this id is open already.
        """
        if request.stream_id in self._handles:
            raise ValueError(f"stream {request.stream_id} is open already")
        if not self.ready.is_set():
            raise StreamFailed(EndCause.WORKER_LOST, "the media worker is not running; it is being started")
        handle = StreamHandle(self, request.stream_id)
        self._handles[request.stream_id] = handle
        self.stats.streams = len(self._handles)
        self._send(request)
        try:
            async with asyncio.timeout(request.connect_timeout_ms / 1000 + OPEN_GRACE_S):
                await asyncio.wait((handle._opened, handle.ended), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            handle.close(EndCause.BOT_TIMEOUT)
            raise StreamFailed(EndCause.WORKER_LOST, "the media worker does not answer") from None
        except asyncio.CancelledError:
            handle.close(EndCause.CALLER_HUNG_UP)
            raise
        if handle.ended.done():
            ended = handle.ended.result()
            raise StreamFailed(ended.cause, ended.detail)
        return handle

    # -- one worker --------------------------------------------------------------------------------------------

    async def _run_worker(self) -> int:
        """From start to end of one worker; returns its exit code, negative for a signal."""
        async with self._process() as (process, reader):
            try:
                await self._listen(reader)
            finally:
                self._lost(EndCause.SHUTDOWN if _cancelling() else EndCause.WORKER_LOST)
        code = process.returncode
        assert code is not None
        return code

    @contextlib.asynccontextmanager
    async def _process(self) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.StreamReader]]:
        """A worker process with its control channel; on the way out the channel closes and the process is gone."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    f"--control-fd={theirs.fileno()}",
                    f"--bind-host={self._host}",
                    f"--bind-port={self._port}",
                    *self._arguments,
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,  # a Ctrl-C in the terminal is not for the worker
                )
            except BaseException:
                ours.close()
                raise
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=MAX_LINE_BYTES)
        try:
            yield process, reader
        finally:
            self._writer.close()
            self._writer = None
            await _end(process)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """Takes messages until the worker ends or hangs."""
        while True:
            try:
                async with asyncio.timeout(SILENT_WORKER_S):
                    line = await reader.readline()
            except TimeoutError:
                log.error("media_worker_hangs", silent_s=SILENT_WORKER_S, pid=self._pid)
                return
            except ConnectionError:
                return
            if not line.endswith(b"\n"):
                return
            try:
                self._handle(decode_from_worker(line))
            except msgspec.DecodeError:
                log.exception("media_worker_message_unreadable")

    def _handle(self, message: FromWorker) -> None:
        match message:
            case WorkerReady(pid, rtp):
                self._pid = pid
                self._rtp_address = rtp
                self._port = rtp.port
                self.ready.set()
                log.info("media_worker_ready", pid=pid, rtp=f"{rtp.host}:{rtp.port}")
            case StreamOpened(stream_id, connect_ms):
                if (handle := self._handles.get(stream_id)) is not None and not handle._opened.done():
                    handle.connect_ms = connect_ms
                    handle._opened.set_result(message)
            case BotCommand(stream_id, command):
                self._take_command(stream_id, command)
            case StreamEnded():
                self._end_stream(message)
            case WorkerStats(totals, tick_late_ms, streams):
                self.stats.tick_late_ms = tick_late_ms
                for name, value in totals.items():
                    self.stats.counters[name] = self._past.get(name, 0) + value
                for stream_id, stats in streams.items():
                    if (handle := self._handles.get(stream_id)) is not None:
                        handle.stats = stats

    def _take_command(self, stream_id: str, command: Command) -> None:
        if (handle := self._handles.get(stream_id)) is not None:
            try:
                handle.commands.put_nowait(command)
            except asyncio.QueueFull:
                self._past[counters.BOT_COMMANDS_DROPPED] += 1

    def _lost(self, cause: EndCause) -> None:
        """The worker is no more: its streams end, its totals stay."""
        self.ready.clear()
        self._pid = None
        self._past = dict(self.stats.counters)
        self.stats.tick_late_ms = 0.0
        detail = "the connector stops" if cause is EndCause.SHUTDOWN else "the media worker ended"
        for handle in list(self._handles.values()):
            self._end_stream(StreamEnded(handle.stream_id, cause, detail, handle.stats))

    def _end_stream(self, message: StreamEnded) -> None:
        handle = self._handles.pop(message.stream_id, None)
        self.stats.streams = len(self._handles)
        if handle is not None:
            handle.stats = message.stats
            handle.ended.set_result(message)

    def _send(self, message: ToWorker) -> None:
        """To the worker; while there is none nothing is lost, for its streams have ended."""
        if self._writer is not None:
            self._writer.write(encode(message))

    def _cannot_bind(self, code: int) -> str:
        where = f"{self._host}:{self._port}"
        if code == EXIT_PORT_TAKEN:
            return f"UDP {where} is taken: stop what uses it (ss -ulpn), or set another media.bind_port"
        return f"UDP {where} cannot be bound: media.bind_host must be an address of this machine"


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _end(process: asyncio.subprocess.Process) -> None:
    """Waits for a worker whose control channel is closed; kills one that does not end by itself."""
    waiting = asyncio.ensure_future(process.wait())
    try:
        await asyncio.wait((waiting,), timeout=STOP_S)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await waiting
