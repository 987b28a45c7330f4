"""One media worker as the control process sees it: a process on a UDP port of its own, kept running."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec
import structlog

from connector.media import counters
from connector.media.control import (
    MAX_LINE_BYTES,
    Address,
    FromWorker,
    ToWorker,
    WorkerReady,
    WorkerStats,
    decode_from_worker,
    encode,
)
from connector.media.worker import EXIT_CANNOT_BIND, EXIT_PORT_TAKEN

SILENT_WORKER_S = 10.0
"""A worker reports each second; one that says nothing for so long hangs, and is replaced."""
START_WITHIN_S = 20.0
"""A worker on a busy machine takes seconds to start."""
STOP_S = 4.0
STABLE_S = 30.0
"""A worker that lived so long starts the backoff anew."""
BUSY_WEIGHT = 0.3
"""Of the last second: opening many streams keeps a worker busy for a moment, and says little of what it can carry."""
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.1, 5.0

log = structlog.get_logger()


class BindFailed(Exception):
    """The UDP address of the settings cannot be used; the message names it, the keys and the way out."""


class WorkerLink:
    """A worker that is started again whenever it ends.

    Args:
        number: 0 for the first.
        host: IP address of the UDP socket.
        port: UDP port, kept over restarts; 0 lets the system choose at the first start.
        command: Starts the worker, with all arguments but those of its socket and channel.
        rng: For the jitter of restarts.
        heard: Takes what the worker says of its streams.
        came: Called when a worker can take streams.
        went: Called when it is no more; with True when that was asked for.

    Attributes:
        rtp: Where the worker's UDP socket is bound; None until the first was ready.
        pid: Of the process, while there is one that is ready.
        restarts: Workers that ended without being asked to.
        streams: Streams placed on it; kept by the engine.
        counters: Totals by name, kept over restarts; what a killed worker counted in its last second is missing.
        tick_late_ms: Largest lateness of a pacing step in the last second.
        busy: Share of a core in the last seconds, 0 to 1.
        fast_path: Whether it has the compiled helper.
    """

    def __init__(
        self,
        number: int,
        *,
        host: str,
        port: int,
        command: Sequence[str],
        rng: random.Random,
        heard: Callable[[WorkerLink, FromWorker], None],
        came: Callable[[WorkerLink], None],
        went: Callable[[WorkerLink, bool], None],
    ) -> None:
        self.number = number
        self.rtp: Address | None = None
        self.pid: int | None = None
        self.restarts = 0
        self.streams = 0
        self.counters = dict.fromkeys(counters.NAMES, 0)
        self.tick_late_ms = 0.0
        self.busy = 0.0
        self.fast_path = False
        self._host = host
        self._port = port
        self._command = tuple(command)
        self._rng = rng
        self._heard = heard
        self._came = came
        self._went = went
        self._writer: asyncio.StreamWriter | None = None
        self._past = dict(self.counters)  # of workers that have ended

    @property
    def up(self) -> bool:
        """Whether it can take streams."""
        return self.pid is not None

    async def run(self) -> None:
        """Keeps a worker running until cancelled.

        Raises:
            BindFailed: The UDP address cannot be used. Only before the first worker was ready: later the port is
                waited for.
        """
        backoff_s = FIRST_BACKOFF_S
        loop = asyncio.get_running_loop()
        while True:
            started_s = loop.time()
            code = await self._run_once()
            if self.rtp is None and code in (EXIT_PORT_TAKEN, EXIT_CANNOT_BIND):
                raise BindFailed(self._cannot_bind(code))
            self.restarts += 1
            if loop.time() - started_s > STABLE_S:
                backoff_s = FIRST_BACKOFF_S
            log.error("media_worker_ended", worker=self.number, exit_code=code, restart_in_s=backoff_s)
            await asyncio.sleep(backoff_s * self._rng.uniform(0.8, 1.2))
            backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)

    def send(self, message: ToWorker) -> None:
        """To the worker, if there is one."""
        if self._writer is not None:
            self._writer.write(encode(message))

    async def _run_once(self) -> int:
        """From start to end of one worker; returns its exit code, negative for a signal."""
        async with self._process() as (process, reader):
            try:
                await self._listen(reader)
            finally:
                self.pid = None
                self._past = dict(self.counters)
                self.tick_late_ms = self.busy = 0.0
                self._went(self, _cancelling())
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
                    stdin=asyncio.subprocess.DEVNULL,
                    # Matrix products of a worker are small: threads for them would take the cores of other workers.
                    env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
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
                async with asyncio.timeout(SILENT_WORKER_S if self.up else START_WITHIN_S):
                    line = await reader.readline()
            except TimeoutError:
                log.error("media_worker_hangs", worker=self.number, silent_s=SILENT_WORKER_S, pid=self.pid)
                return
            except ConnectionError:
                return
            if not line.endswith(b"\n"):
                return
            try:
                self._handle(decode_from_worker(line))
            except msgspec.DecodeError:
                log.exception("media_worker_message_unreadable", worker=self.number)

    def _handle(self, message: FromWorker) -> None:
        if isinstance(message, WorkerReady):
            self.pid, self.rtp, self.fast_path = message.pid, message.rtp, message.fast_path
            self._port = message.rtp.port
            log.info(
                "media_worker_ready", worker=self.number, pid=self.pid, rtp=f"{message.rtp.host}:{message.rtp.port}"
            )
            self._came(self)
            return
        if isinstance(message, WorkerStats):
            self.tick_late_ms = message.tick_late_ms
            self.busy += (message.busy - self.busy) * BUSY_WEIGHT
            for name, value in message.counters.items():
                self.counters[name] = self._past.get(name, 0) + value
        self._heard(self, message)

    def _cannot_bind(self, code: int) -> str:
        where = f"{self._host}:{self._port}"
        if code == EXIT_PORT_TAKEN:
            return (
                f"UDP {where} is taken: stop what uses it (ss -ulpn), or set another media.bind_port "
                f"(worker number {self.number} has that port + {self.number})"
            )
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
