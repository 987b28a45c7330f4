"""The control process's side of the media workers: places streams on them and gives each stream a handle.

A stream stays where it was placed: Asterisk sends its audio to that worker's port. When the worker dies it is started
again on the same port, and what was open there is opened anew: the call has never noticed but for the gap.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import structlog

from connector.dialects.base import Track
from connector.dialects.commands import Command, Notice, Pause, Reconnected
from connector.media import counters
from connector.media.control import (
    AttachMedia,
    BotCommand,
    CloseStream,
    EndCause,
    FromWorker,
    Notify,
    OpenStream,
    PauseRecording,
    Remote,
    SendDtmf,
    StartRecording,
    StopRecording,
    StreamEnded,
    StreamOpened,
    StreamQualities,
    StreamStats,
    ToWorker,
    WorkerStats,
    add_stats,
)
from connector.media.quality import Quality
from connector.media.recorder import Recorded, RecordTo
from connector.media.workerlink import BindFailed, WorkerLink
from connector.net.reach import origin_of

__all__ = ["BindFailed", "EngineStats", "MediaEngine", "StreamFailed", "StreamHandle"]

OPEN_GRACE_S = 2.0
"""On top of the connect timeout that the worker itself keeps."""
REOPEN_WITHIN_S = 5.0
"""A caller hears nothing meanwhile; one whose worker is not back by then goes on in the dialplan."""
MAX_REOPENED = 3
"""Workers that one stream may outlive: it could be what they die of."""
MAX_COMMANDS = 100
"""Of one stream that nobody has taken yet; beyond, the newest is dropped and counted."""
BUSY = 0.85
"""Share of a core from which on a worker gets no more streams: those it has would suffer."""

log = structlog.get_logger()


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
        counters: Totals by name (`connector.media.counters.NAMES`) over all workers, kept over their restarts.
        tick_late_ms: Largest lateness of a pacing step in the last second.
        streams: Streams that are open.
        restarts: Workers that ended without being asked to.
        reopened: Streams that outlived their worker.
        gap_ms: Audio that they missed, added up.
        refused: Streams for which no worker had room.
    """

    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(counters.NAMES, 0))
    tick_late_ms: float = 0.0
    streams: int = 0
    restarts: int = 0
    reopened: int = 0
    gap_ms: int = 0
    refused: int = 0


class StreamHandle:
    """An open stream: the bot has accepted the WebSocket.

    Attributes:
        stream_id: As in the request.
        ended: Resolves once, with the last message about the stream. Never an exception.
        stats: Counters, at most one second old; final once `ended` is done.
        quality: How it sounds, at most one second old; None until audio flows.
        connect_ms: How long the bot took to accept.
        commands: What the bot asks for beyond audio, in order.
        rtp: Where the worker that has the stream takes RTP.
        recording_paused: What is said is left out of its recording.
    """

    def __init__(self, engine: MediaEngine, link: WorkerLink, request: OpenStream) -> None:
        assert link.rtp is not None
        self.stream_id = request.stream_id
        self.ended: asyncio.Future[StreamEnded] = asyncio.get_running_loop().create_future()
        self.stats = StreamStats()
        self.quality: Quality | None = None
        self.connect_ms = 0.0
        self.commands: asyncio.Queue[Command] = asyncio.Queue(MAX_COMMANDS)
        self.rtp = link.rtp
        self.recording_paused = False
        self._engine = engine
        self._link = link
        self._request = request
        self._remotes: dict[Track | None, Remote] = {}
        self._opened: asyncio.Future[StreamOpened] = asyncio.get_running_loop().create_future()
        self._past = StreamStats()  # in workers that have ended
        self._reopened = 0
        self._closing: EndCause | None = None
        self._lost_at_s: float | None = None
        self._giving_up: asyncio.TimerHandle | None = None

    @property
    def remote(self) -> Remote | None:
        """How Asterisk's media is exchanged, once attached; of a stream without tracks."""
        return self._remotes.get(None)

    @property
    def peer(self) -> str:
        """Where the bot is: scheme, host and port."""
        return origin_of(self._request.url)

    def attach(self, remote: Remote, track: Track | None = None) -> None:
        """Starts audio both ways and tells the bot that the stream begins.

        Args:
            remote: Where the ExternalMedia channel has its audio.
            track: Whose audio it carries; None: of the first track.
        """
        self._remotes[track] = remote
        self._send(AttachMedia(self.stream_id, remote, track))

    def send_dtmf(self, digit: str) -> None:
        """Tells the bot of a digit the caller pressed."""
        self._send(SendDtmf(self.stream_id, digit))

    def notify(self, notice: Notice) -> None:
        """Tells the bot of something, if its dialect has a word for it."""
        self._send(Notify(self.stream_id, notice))

    @property
    def worker(self) -> int:
        """Number of the media worker that has it."""
        return self._link.number

    @property
    def recorded(self) -> RecordTo | None:
        """Where it is recorded."""
        return self._request.record

    def start_recording(self, to: RecordTo) -> None:
        """Records it from now on; it is not recorded yet."""
        self._request = msgspec.structs.replace(self._request, record=to)
        self._send(StartRecording(self.stream_id, to))

    def stop_recording(self) -> None:
        """Records it no more."""
        self._request = msgspec.structs.replace(self._request, record=None)
        self.recording_paused = False
        self._send(StopRecording(self.stream_id))

    def pause_recording(self, paused: bool) -> None:
        """Leaves what is said out of the recording, a card number for instance; silence stands in its place."""
        self.recording_paused = paused
        self._send(PauseRecording(self.stream_id, paused))

    def close(self, cause: EndCause) -> None:
        """Asks for the end; `ended` tells when it has come. Audio stops at once."""
        self._closing = cause
        if self._lost_at_s is not None:  # nobody is there to ask
            self._end(StreamEnded(self.stream_id, cause, "while its media worker was down", StreamStats()))
        self._send(CloseStream(self.stream_id, cause))

    def _send(self, message: ToWorker) -> None:
        if not self.ended.done() and self._lost_at_s is None:
            self._link.send(message)

    def _count(self, stats: StreamStats) -> None:
        self.stats = add_stats(self._past, stats)

    def _end(self, message: StreamEnded) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
        if not self.ended.done():
            self._count(message.stats)
            self.quality = message.quality or self.quality
            self._engine._forget(self)
            self.ended.set_result(msgspec.structs.replace(message, stats=self.stats))

    def _lose(self) -> None:
        """The worker died: the stream waits for the next one, for a while, unless it was about to end."""
        if self._closing is not None:
            self._end(StreamEnded(self.stream_id, self._closing, "as its media worker ended", StreamStats()))
            return
        loop = asyncio.get_running_loop()
        self._past, self._lost_at_s = self.stats, loop.time()
        self._giving_up = loop.call_later(REOPEN_WITHIN_S, self._end, self._lost())

    def _lost(self) -> StreamEnded:
        return StreamEnded(self.stream_id, EndCause.WORKER_LOST, "the media worker ended", StreamStats())

    def _reopen(self) -> None:
        self._reopened += 1
        self._link.send(self._request)
        if self.recording_paused:  # what was not to be kept is not to be kept now
            self._link.send(PauseRecording(self.stream_id, True))

    def _on_opened(self, message: StreamOpened) -> None:
        if not self._opened.done():
            self.connect_ms = message.connect_ms
            self._opened.set_result(message)
        elif self._lost_at_s is not None:
            gap_ms = round((asyncio.get_running_loop().time() - self._lost_at_s) * 1000)
            self._lost_at_s = None
            for track, remote in self._remotes.items():
                self._link.send(AttachMedia(self.stream_id, remote, track))
            if self._remotes:
                self.notify(Reconnected(gap_ms, self._reopened))
            if self._giving_up is not None:
                self._giving_up.cancel()
            self._engine.stats.reopened += 1
            self._engine.stats.gap_ms += gap_ms
            log.warning("stream_reopened", stream_id=self.stream_id, worker=self._link.number, gap_ms=gap_ms)


class MediaEngine:
    """Owns the media workers.

    Args:
        bind_host: IP address of the UDP sockets.
        bind_port: UDP port of the first worker, the next one's is one higher; kept over restarts. 0 lets the system
            choose at the first start.
        workers: How many.
        max_streams_per_worker: A worker that has so many gets no more.
        ping_interval_s: How often each bot is pinged.
        ping_timeout_s: Without a pong for so long a bot is lost.
        log_format: `console` or `json`.
        log_level: Of the workers.
        fast_path: Whether to use the compiled helper where it is there.
        rng: For the jitter of restarts.
        command: Starts a worker, without its arguments.

    Attributes:
        ready: Set while a worker can take streams.
        on_recorded: Told of each recording that a worker has closed.
    """

    def __init__(
        self,
        *,
        bind_host: str,
        bind_port: int,
        workers: int = 1,
        max_streams_per_worker: int = 1_000,
        ping_interval_s: float = 5.0,
        ping_timeout_s: float = 10.0,
        log_format: str = "console",
        log_level: str = "info",
        fast_path: bool = True,
        rng: random.Random | None = None,
        command: Sequence[str] = (sys.executable, "-m", "connector.media.worker"),
    ) -> None:
        self.ready = asyncio.Event()
        self.on_recorded: Callable[[Recorded], None] = lambda message: None
        self._stats = EngineStats()
        self._commands_dropped = 0
        self._limit = max_streams_per_worker
        self._handles: dict[str, StreamHandle] = {}
        arguments = (
            f"--ping-interval-s={ping_interval_s}",
            f"--ping-timeout-s={ping_timeout_s}",
            f"--log-format={log_format}",
            f"--log-level={log_level}",
            *([] if fast_path else ["--no-fast-path"]),
        )
        self._links = [
            WorkerLink(
                number,
                host=bind_host,
                port=bind_port + number if bind_port else 0,
                command=(*command, *arguments),
                rng=rng or random.Random(),
                heard=self._heard,
                came=self._came,
                went=self._went,
            )
            for number in range(workers)
        ]

    @property
    def workers(self) -> Sequence[WorkerLink]:
        """All workers, by number."""
        return self._links

    @property
    def stats(self) -> EngineStats:
        """Totals over all workers, as they last reported them."""
        stats = self._stats
        stats.tick_late_ms = max(link.tick_late_ms for link in self._links)
        stats.restarts = sum(link.restarts for link in self._links)
        stats.streams = len(self._handles)
        return stats

    @property
    def has_room(self) -> bool:
        """Whether a worker would take one more stream."""
        return self._place() is not None

    async def run(self) -> None:
        """Keeps the workers running until cancelled; then all streams end with SHUTDOWN.

        Raises:
            BindFailed: A UDP address cannot be used.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for link in self._links:
                    tasks.create_task(link.run(), name=f"media-worker-{link.number}")
        except* BindFailed as failures:
            raise failures.exceptions[0] from None

    async def open(self, request: OpenStream, *, near: StreamHandle | None = None) -> StreamHandle:
        """Opens a stream: returns once the bot has accepted.

        Args:
            request: What is wanted.
            near: An earlier stream whose RTP address this one keeps: it goes to the same worker.

        Raises:
            StreamFailed: With the cause; nothing is left open.
            ValueError: A stream of this id is open already.
        """
        if request.stream_id in self._handles:
            raise ValueError(f"stream {request.stream_id} is open already")
        if not self.ready.is_set():
            raise StreamFailed(EndCause.WORKER_LOST, "no media worker is running; it is being started")
        link = self._place() if near is None else near._link
        if link is None or not link.up:
            self._stats.refused += 1
            raise StreamFailed(EndCause.WORKER_FULL, "every media worker has as many streams as it can carry")
        handle = StreamHandle(self, link, request)
        self._handles[request.stream_id] = handle
        link.streams += 1
        link.send(request)
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

    def _place(self) -> WorkerLink | None:
        """The worker with the fewest streams of those that have room."""
        able = (link for link in self._links if link.up and link.streams < self._limit and link.busy < BUSY)
        return min(able, key=lambda link: (link.streams, link.busy), default=None)

    # -- what the links tell -----------------------------------------------------------------------------------

    def _came(self, link: WorkerLink) -> None:
        self.ready.set()
        for handle in [handle for handle in self._handles.values() if handle._link is link]:
            handle._reopen()

    def _went(self, link: WorkerLink, asked: bool) -> None:
        if not any(other.up for other in self._links):
            self.ready.clear()
        for handle in [handle for handle in self._handles.values() if handle._link is link]:
            if asked:
                handle._end(StreamEnded(handle.stream_id, EndCause.SHUTDOWN, "the connector stops", StreamStats()))
            elif handle._opened.done() and handle._reopened < MAX_REOPENED:
                handle._lose()
            else:
                handle._end(handle._lost())

    def _heard(self, link: WorkerLink, message: FromWorker) -> None:
        if isinstance(message, WorkerStats):
            totals = self._stats.counters
            for name in totals:
                totals[name] = sum(each.counters[name] for each in self._links)
            totals[counters.BOT_COMMANDS_DROPPED] += self._commands_dropped
            for stream_id, stats in message.streams.items():
                if (handle := self._handles.get(stream_id)) is not None:
                    handle._count(stats)
        elif isinstance(message, Recorded):
            self.on_recorded(message)
        elif isinstance(message, StreamQualities):
            for stream_id, quality in message.streams.items():
                if (handle := self._handles.get(stream_id)) is not None:
                    handle.quality = quality
        elif isinstance(message, StreamOpened | BotCommand | StreamEnded):
            handle = self._handles.get(message.stream_id)
            if handle is None:
                return
            if isinstance(message, StreamOpened):
                handle._on_opened(message)
            elif isinstance(message, StreamEnded):
                handle._end(message)
            else:
                self._take_command(handle, message.command)

    def _take_command(self, handle: StreamHandle, command: Command) -> None:
        if isinstance(command, Pause):
            handle.recording_paused = command.paused  # the worker has done it already
        try:
            handle.commands.put_nowait(command)
        except asyncio.QueueFull:
            self._commands_dropped += 1

    def _forget(self, handle: StreamHandle) -> None:
        if self._handles.pop(handle.stream_id, None) is not None:
            handle._link.streams -= 1
