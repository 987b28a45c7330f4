"""Recordings on disk: a file and a note beside it (`.json`) for each, checked, uploaded, and deleted in time.

The folder is the truth: what a killed worker left has a note without a checksum, which is made good at the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import msgspec
import structlog

from connector.config_recording import RecordingSettings
from connector.media.recorder import Recorded, RecordTo, check_container, sha256_of

log = structlog.get_logger()

SWEEP_S = 3_600.0
UPLOAD_TRIES_S = (0.0, 2.0, 10.0, 60.0, 300.0)
"""Before each try to upload a file; what is left then is tried again at the next sweep."""
UPLOAD_TIMEOUT_S = 300.0
DAY_S = 86_400.0


class Note(msgspec.Struct):
    """What stands beside a recording.

    Attributes:
        file: Its name.
        pbx: Name of the PBX.
        channel_id: Uniqueid of the caller's channel.
        stream_id: Of the stream.
        profile: Of the bot.
        started_at: Unix time.
        duration_ms: Of the sound; None while the call lasts, and where the writer died.
        size_bytes: Of the file, once it is closed.
        sha256: Of the file, in hexadecimal; empty while the call lasts.
        dropped_ms: Sound that the disk was too slow for.
        paused_ms: Sound that was left out.
        recovered: The writer died; the file has what it had written.
        error: Why there is no whole file.
        uploaded_at: Unix time; None where it is not, or nobody asked for it.
    """

    file: str
    pbx: str
    channel_id: str
    stream_id: str
    profile: str
    started_at: float
    duration_ms: int | None = None
    size_bytes: int = 0
    sha256: str = ""
    dropped_ms: int = 0
    paused_ms: int = 0
    recovered: bool = False
    error: str = ""
    uploaded_at: float | None = None


class Recordings:
    """Keeps the folder.

    Args:
        settings: Where and how.
        directory: Where, if the settings do not say.
        clock: Seconds since the epoch.

    Attributes:
        uploaded: Files uploaded.
        upload_failed: Tries to upload that failed.
        deleted: Recordings deleted because their time was over.
    """

    def __init__(self, settings: RecordingSettings, directory: Path, *, clock: Callable[[], float]) -> None:
        self.uploaded = self.upload_failed = self.deleted = 0
        self._settings = settings
        self._directory = settings.directory or directory
        self._clock = clock
        self._lasting: dict[str, Path] = {}
        self._uploading: set[Path] = set()
        self._closed: asyncio.Queue[Recorded] = asyncio.Queue()
        self._http: aiohttp.ClientSession | None = None

    def begin(self, *, pbx: str, channel_id: str, stream_id: str, profile: str) -> RecordTo:
        """Makes the note of a recording, and says where it goes.

        Raises:
            OSError: The folder cannot be written to.
            RecordingMissing: The library for this kind of file is not there.
        """
        check_container(self._settings.container)
        now = self._clock()
        folder = self._directory / time.strftime("%Y-%m-%d", time.gmtime(now))
        folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^A-Za-z0-9._-]", "_", f"{pbx}-{channel_id}-{stream_id.rpartition('-')[2][:12]}")
        path = folder / f"{name}.{self._settings.container}"
        _write(path, Note(path.name, pbx, channel_id, stream_id, profile, now))
        self._lasting[stream_id] = path
        return RecordTo(str(path), self._settings.container, beep_every_s=self._settings.beep_every_s)

    def on_recorded(self, message: Recorded) -> None:
        """A worker has closed a file."""
        self._closed.put_nowait(message)

    async def run(self) -> None:
        """Finishes notes, uploads and deletes, until cancelled."""
        timeout = aiohttp.ClientTimeout(total=UPLOAD_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as self._http, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep_for_ever())
            while True:
                message = await self._closed.get()
                path = await asyncio.to_thread(self._finish, message)
                if path is not None and self._settings.upload_url:
                    tasks.create_task(self._upload(path))

    def _finish(self, message: Recorded) -> Path | None:
        first, path = self._lasting.get(message.stream_id), Path(message.path)
        note = _read(path if first is None else first)
        if note is None:
            return None
        if first is not None and first != path:  # the stream outlived its worker
            if not note.sha256:
                self._recover(first, note)
            note = msgspec.structs.replace(note, file=path.name, recovered=False, uploaded_at=None)
        for name in ("duration_ms", "size_bytes", "sha256", "dropped_ms", "paused_ms", "error"):
            setattr(note, name, getattr(message, name))
        _write(path, note)
        self._lasting.pop(message.stream_id, None)  # only now may a sweep look at it
        return None if message.error else path

    # -- upload -------------------------------------------------------------------------------------------------

    async def _upload(self, path: Path) -> None:
        if path in self._uploading:
            return
        self._uploading.add(path)
        try:
            await self._try_to_upload(path)
        finally:
            self._uploading.discard(path)

    async def _try_to_upload(self, path: Path) -> None:
        for wait_s in UPLOAD_TRIES_S:
            await asyncio.sleep(wait_s)
            error = await self._put(path)
            if not error:
                self.uploaded += 1
                note = await asyncio.to_thread(_read, path)
                if note is not None:
                    note.uploaded_at = self._clock()
                    await asyncio.to_thread(_write, path, note)
                return
            self.upload_failed += 1
        log.warning("recording_not_uploaded", file=path.name, error=error)

    async def _put(self, path: Path) -> str:
        assert self._http is not None
        headers = {name: value.get_secret_value() for name, value in self._settings.upload_headers.items()}
        try:
            with path.open("rb") as file:
                async with self._http.put(
                    f"{self._settings.upload_url}/{path.name}", data=file, headers=headers
                ) as answer:
                    return "" if answer.status < 300 else f"the server answered {answer.status}"
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            return str(error) or type(error).__name__

    # -- what is there ------------------------------------------------------------------------------------------

    async def _sweep_for_ever(self) -> None:
        while True:
            try:
                for path in await asyncio.to_thread(self.sweep):
                    if (note := await asyncio.to_thread(_read, path)) is not None and note.uploaded_at is None:
                        await self._upload(path)
            except OSError as error:
                log.warning("recordings_not_swept", error=str(error))
            await asyncio.sleep(SWEEP_S)

    def sweep(self) -> list[Path]:
        """Deletes what is too old and makes good what a dead worker left; gives what is still to be uploaded."""
        waiting = []
        lasting = set(self._lasting.values())  # before the look: what is closed meanwhile is not taken for a dead one's
        keep_s = self._settings.retention_days * DAY_S
        for beside in sorted(self._directory.glob("*/*.json")):
            path, note = _file_of(beside)
            if note is None or path in lasting:
                continue
            if keep_s and note.started_at < self._clock() - keep_s:
                for each in (path, beside):
                    each.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    beside.parent.rmdir()  # when it was the last of its day
                self.deleted += 1
                continue
            if not note.sha256 and not note.error:
                self._recover(path, note)
            if self._settings.upload_url and note.sha256 and note.uploaded_at is None:
                waiting.append(path)
        return waiting

    def _recover(self, path: Path, note: Note) -> None:
        note.recovered = True
        try:
            note.size_bytes, note.sha256 = path.stat().st_size, sha256_of(path)
        except OSError as error:
            note.error = f"its worker died, and nothing is left: {error.strerror}"
        _write(path, note)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _file_of(beside: Path) -> tuple[Path, Note | None]:
    path = beside.with_name(beside.name.removesuffix(".json"))
    return path, _read(path)


def _read(path: Path) -> Note | None:
    try:
        return msgspec.json.decode(_beside(path).read_bytes(), type=Note)
    except (OSError, msgspec.DecodeError) as error:
        log.warning("recording_note_unreadable", file=path.name, error=str(error))
        return None


def _write(path: Path, note: Note) -> None:
    beside = _beside(path)
    temporary = beside.with_name(beside.name + ".new")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(note), indent=2))
    temporary.replace(beside)
