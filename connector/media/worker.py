"""The media worker: a process that owns the UDP socket and the WebSockets of many streams.

One socket serves all streams: every ExternalMedia channel of Asterisk sends from a port of its own, so the source
address names the stream. One clock paces them all. The control process is at the other end of a Unix socket; when
that closes the worker says goodbye to its bots and ends.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import gc
import ipaddress
import itertools
import logging
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable

import msgspec
import structlog
import uvloop

from connector import logs
from connector.audio.opus import OpusMissing
from connector.config import LogSettings
from connector.dialects.base import Track
from connector.dialects.commands import Pause
from connector.media import counters
from connector.media.audioloop import AudioLoop, Leg
from connector.media.carriers import Carriers
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
    PauseRecording,
    Remote,
    SendDtmf,
    StartRecording,
    StopRecording,
    StreamEnded,
    StreamQualities,
    StreamStats,
    WorkerReady,
    WorkerStats,
    decode_to_worker,
    encode,
)
from connector.media.counters import Counters
from connector.media.fastpath import FastPath, FastPathMissing
from connector.media.mutestream import MuteStream
from connector.media.quality import Allowance, Quality
from connector.media.recorded import RecordedStreams
from connector.media.recorder import Recorded, RecordTo
from connector.media.rtp import RtpReject
from connector.media.side import Side
from connector.media.stream import Stream

EXIT_PORT_TAKEN = 3
EXIT_CANNOT_BIND = 4

REPORT_EVERY_S = 1.0
REPORT_AT_ONCE = 16
NATURES_AT_ONCE = 1
"""Of those, so that a thousand calls that begin at once do not hold each other up."""
COLLECT_FROM = 10_000
"""Young objects; the default of 700 would have the collector run many times while streams open, in the way of audio."""
STOP_S = 2.0
MAX_WAITING_COMMANDS_BYTES = 1 << 20
"""Of the control channel: a bot that floods it with commands is not listened to beyond."""
RECEIVE_BUFFER_BYTES = 4 << 20

log = structlog.get_logger()


class Worker:
    """All streams of this process.

    Args:
        rtp: Bound, non-blocking UDP socket.
        send: Takes a message for the control process; returns False when that does not read.
        ping_interval_s: Towards each bot.
        ping_timeout_s: Towards each bot.
        fast: For bots without TLS.
    """

    def __init__(
        self,
        *,
        rtp: socket.socket,
        fast: FastPath | None,
        send: Callable[[FromWorker], bool],
        ping_interval_s: float,
        ping_timeout_s: float,
    ) -> None:
        self._rtp = rtp
        self._send = send
        self._ping_interval_s = ping_interval_s
        self._ping_timeout_s = ping_timeout_s
        self._tls = ssl.create_default_context()
        self._loop = asyncio.get_running_loop()
        self._counters = Counters()
        self._streams: dict[str, Stream | MuteStream] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._fast = fast
        self._audio = AudioLoop(rtp, self._counters, fast, self._failed)
        host, port = rtp.getsockname()[:2]
        self._carriers = Carriers(self._audio, host, port, self._tls, self._refused)
        self._recordings = RecordedStreams(self._recorded)
        self._reporting: asyncio.Task[None] | None = None
        self._reported = time.monotonic(), time.process_time()

    # -- life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts to read RTP and to pace."""
        self._audio.start()
        self._reporting = self._loop.create_task(self._report_for_ever())

    async def stop(self) -> None:
        """Says goodbye to every bot, waits a bounded time, and lets go of everything."""
        for stream in self._streams.values():
            stream.close(EndCause.SHUTDOWN)
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._reporting is not None:
            self._reporting.cancel()
            await asyncio.gather(self._reporting, return_exceptions=True)
        await self._carriers.close()
        self._audio.stop()
        await asyncio.to_thread(self._recordings.close)
        await asyncio.sleep(0)  # what the recorder said last is passed on
        if self._fast is not None:
            self._fast.close()
        self._rtp.close()

    # -- control -----------------------------------------------------------------------------------------------

    def handle(self, line: bytes) -> None:
        """One line of the control process. What names an unknown stream crossed with its end, and is ignored."""
        try:
            message = decode_to_worker(line)
        except msgspec.DecodeError as defect:  # of one message; it must not end the calls of all
            log.error("control_message_unreadable", error=str(defect))
            return
        if isinstance(message, OpenStream):
            self._open(message)
            return
        stream = self._streams.get(message.stream_id)
        if stream is None:
            return
        match message:
            case AttachMedia(_, remote, track):
                self._attach(stream, remote, track)
            case SendDtmf(_, digit):
                stream.dtmf(digit)
            case Notify(_, notice):
                stream.notify(notice)
            case StartRecording(_, to):
                self._record(stream, to)
            case StopRecording():
                self._recordings.stop(stream)
            case PauseRecording(_, paused):
                stream.gauge.pause_recording(paused)
            case CloseStream(_, cause):
                self._detach(stream)
                stream.close(cause)

    def _open(self, request: OpenStream) -> None:
        try:
            stream = self._stream(request)
        except (ValueError, OpusMissing) as error:
            self._send(StreamEnded(request.stream_id, EndCause.BOT_REFUSED, str(error), StreamStats()))
            return
        if request.record is not None:
            self._record(stream, request.record)
        self._streams[request.stream_id] = stream
        self._tasks[request.stream_id] = self._loop.create_task(self._live(stream))

    def _stream(self, request: OpenStream) -> Stream | MuteStream:
        if not request.url:
            return MuteStream(request)
        return Stream(
            request,
            totals=self._counters,
            ping_interval_s=self._ping_interval_s,
            ping_timeout_s=self._ping_timeout_s,
            tls=self._tls,
            fast=self._fast,
            tell=self._command,
        )

    def _record(self, stream: Stream | MuteStream, to: RecordTo) -> None:
        self._recordings.start(stream, to)
        for leg in stream.legs.values():
            self._audio.watch(leg)

    async def _live(self, stream: Stream | MuteStream) -> None:
        """A stream from its first to its last message; a defect in it ends it alone."""
        try:
            if isinstance(stream, Stream):
                await self._carriers.prepare(stream)
            ended = await stream.run(self._opened)
        except OSError as error:
            detail = f"TCP port {self._rtp.getsockname()[1]} for AudioSocket cannot be used: {error.strerror}"
            ended = StreamEnded(stream.stream_id, EndCause.ASTERISK_ERROR, detail, stream.stats())
        except Exception as defect:
            log.exception("stream_failed", stream_id=stream.stream_id)
            ended = StreamEnded(stream.stream_id, EndCause.WORKER_LOST, f"defect: {defect!r}", stream.stats())
        self._detach(stream)
        if isinstance(stream, Stream):
            await self._carriers.release(stream)
        ended = msgspec.structs.replace(
            ended, stats=stream.stats(), quality=stream.gauge.look(time.monotonic(), Allowance(0))
        )
        self._recordings.stop(stream)
        del self._streams[stream.stream_id], self._tasks[stream.stream_id]
        self._counters.add_stream(ended.stats)
        self._counters.add(counters.streams_ended(ended.cause))
        self._send(ended)

    def _recorded(self, message: Recorded) -> None:
        """Called in the recorder's thread."""
        self._loop.call_soon_threadsafe(self._send, message)

    def _opened(self, message: FromWorker) -> None:
        self._counters.add(counters.STREAMS_OPENED)
        self._send(message)

    def _command(self, message: BotCommand) -> None:
        if isinstance(message.command, Pause) and (stream := self._streams.get(message.stream_id)) is not None:
            stream.gauge.pause_recording(message.command.paused)
        if not self._send(message):
            self._counters.add(counters.BOT_COMMANDS_DROPPED)

    def _attach(self, stream: Stream | MuteStream, remote: Remote, track: Track | None) -> None:
        if not isinstance(remote, Address):
            assert isinstance(stream, Stream), "taps go by RTP"
            self._carriers.attach(stream, remote)
            return
        try:
            address = ipaddress.ip_address(remote.host)
        except ValueError:
            address = None
        if address is None or (address.version == 6) != (self._rtp.family == socket.AF_INET6):
            log.error("rtp_address_unusable", host=remote.host, stream_id=stream.stream_id)
            stream.close(EndCause.ASTERISK_ERROR)
            return
        legs: dict[Track, Stream | Side] = {**stream.legs}
        leg = next(iter(legs.values())) if track is None else legs.get(track)
        if leg is None:
            log.error("track_unknown", track=track, stream_id=stream.stream_id)
            return
        self._audio.attach(leg, address.compressed, remote.port)

    def _detach(self, stream: Stream | MuteStream) -> None:
        for leg in stream.legs.values():
            self._audio.detach(leg)

    # -- reports -----------------------------------------------------------------------------------------------

    def _refused(self, stream: Stream) -> None:
        """Audio of another kind than the stream has asked for."""
        self._counters.add(counters.rtp_rejected(RtpReject.WRONG_PAYLOAD_TYPE))
        stream.rejected_rtp(RtpReject.WRONG_PAYLOAD_TYPE)

    def _failed(self, leg: Leg, defect: Exception) -> None:
        log.error("stream_failed", stream_id=leg.stream_id, exc_info=defect)
        leg.close(EndCause.WORKER_LOST)

    async def _report_for_ever(self) -> None:
        """Counters are collected a few streams at a time: all at once would hold up the audio of a thousand calls."""
        for first in itertools.count():
            streams = list(self._streams.values())
            streams = streams[(turn := first % max(1, len(streams))) :] + streams[:turn]  # each is first in turn
            turns = len(streams) // REPORT_AT_ONCE + 1
            for turn in range(turns):
                await asyncio.sleep(REPORT_EVERY_S / turns)
                qualities: dict[str, Quality] = {}
                natures = Allowance(NATURES_AT_ONCE)
                for stream in streams[turn * REPORT_AT_ONCE : (turn + 1) * REPORT_AT_ONCE]:
                    for leg in stream.legs.values():
                        self._audio.sync(leg)
                    stream.stats()
                    if (quality := stream.gauge.look(time.monotonic(), natures)) is not None:
                        quality.stranger = self._audio.strangers.loudest
                        qualities[stream.stream_id] = quality
                    for leg in stream.legs.values():
                        self._audio.watch(leg)
                if qualities and not self._send(StreamQualities(qualities)):
                    self._counters.add(counters.STATS_SKIPPED)
            self._report()

    def _report(self) -> None:
        self._audio.forget(time.monotonic())
        streams = {stream_id: stream.counted for stream_id, stream in self._streams.items()}
        totals = dict(self._counters.values)
        counters.add_streams(totals, streams.values())
        now = time.monotonic(), time.process_time()
        busy = (now[1] - self._reported[1]) / max(now[0] - self._reported[0], 1e-3)
        self._reported = now
        if not self._send(WorkerStats(totals, self._audio.late_s * 1000, busy, streams)):
            self._counters.add(counters.STATS_SKIPPED)
        self._audio.late_s = 0.0


def bind(host: str, port: int) -> socket.socket:
    """A bound, non-blocking UDP socket.

    Raises:
        OSError: The port is taken, or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    rtp = socket.socket(family, socket.SOCK_DGRAM)
    try:
        rtp.setblocking(False)
        rtp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)  # cut to net.core.rmem_max
        rtp.bind((host, port))
    except OSError:
        rtp.close()
        raise
    return rtp


async def serve(
    control: socket.socket, rtp: socket.socket, ping_interval_s: float, ping_timeout_s: float, fast_path: bool
) -> None:
    """Runs a worker until its control channel closes."""
    reader, writer = await asyncio.open_connection(sock=control, limit=MAX_LINE_BYTES)

    def send(message: FromWorker) -> bool:
        # What became of a stream is told once, and there are no more than streams; the rest must not fill the memory.
        waiting_bytes = writer.transport.get_write_buffer_size()
        if isinstance(message, WorkerStats | StreamQualities) and waiting_bytes > 0:
            return False
        if isinstance(message, BotCommand) and waiting_bytes > MAX_WAITING_COMMANDS_BYTES:
            return False
        if writer.transport.is_closing():
            return False  # the control process is gone
        writer.write(encode(message))
        return True

    fast = None
    if fast_path:
        try:
            fast = FastPath()
        except FastPathMissing as why:
            log.warning("fast_path_missing", cause=str(why))
    worker = Worker(rtp=rtp, fast=fast, send=send, ping_interval_s=ping_interval_s, ping_timeout_s=ping_timeout_s)
    worker.start()
    host, port = rtp.getsockname()[:2]
    send(WorkerReady(os.getpid(), Address(host, port), fast is not None))
    # What lives now lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_FROM)
    try:
        while line := await reader.readline():
            worker.handle(line)
    except ConnectionError:
        pass  # the control process is gone, like an end of file
    finally:
        await worker.stop()
        writer.close()


def main() -> None:
    """`python -m connector.media.worker`, started by `connector.media.engine`."""
    parser = argparse.ArgumentParser(description="Media worker; started by the connector, not by hand.")
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--bind-host", required=True)
    parser.add_argument("--bind-port", type=int, required=True)
    parser.add_argument("--ping-interval-s", type=float, default=5.0)
    parser.add_argument("--ping-timeout-s", type=float, default=10.0)
    parser.add_argument("--no-fast-path", action="store_true")
    parser.add_argument("--log-format", choices=("console", "json"), default="console")
    parser.add_argument("--log-level", default="info")
    options = parser.parse_args()
    # A Ctrl-C or a stopped service reaches the whole group; the control process decides what ends and in which order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logs.configure(LogSettings(format=options.log_format, level=options.log_level))
    # The library logs each connection; our causes say the same once.
    logging.getLogger("picows").setLevel(logging.CRITICAL)
    try:
        rtp = bind(options.bind_host, options.bind_port)
    except OSError as error:
        sys.exit(EXIT_PORT_TAKEN if error.errno == errno.EADDRINUSE else EXIT_CANNOT_BIND)
    control = socket.socket(fileno=options.control_fd)
    uvloop.run(serve(control, rtp, options.ping_interval_s, options.ping_timeout_s, not options.no_fast_path))


if __name__ == "__main__":
    main()
