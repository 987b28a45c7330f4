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
from connector.media.recorder import Recorded, RecordingMissing, RecordTo, check_container, sha256_of
from connector.telemetry.recordings import RecordingStats

log = structlog.get_logger()

SWEEP_S = 3_600.0
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}")
DEAD_AFTER_S = 600.0
"""A recording that nobody has written to for so long has lost its writer."""
UPLOAD_TRIES_S = (0.0, 2.0, 10.0, 60.0, 300.0)
"""Before each try to upload a file; what is left then is tried again at the next sweep."""
UPLOAD_TIMEOUT_S = 300.0
DAY_S = 86_400.0


class Note(msgspec.Struct):
    """What stands beside a recording.

    Attributes:
        file: Its name.
        pbx: Name of the PBX.
        channel_id: Uniqueid of the caller's channel, or of the one that was listened to.
        stream_id: Of the stream.
        profile: Of the bot; empty where there was none.
        linkedid: Of the call; empty if it was not known.
        right: Who is on the right channel: bot or agent.
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
    linkedid: str = ""
    right: str = "bot"
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
        stats: Counters.
    """

    def __init__(self, settings: RecordingSettings, directory: Path, *, clock: Callable[[], float]) -> None:
        self.stats = RecordingStats()
        self._settings = settings
        self._directory = settings.directory or directory
        self._clock = clock
        self._lasting: set[Path] = set()
        self._uploading: set[Path] = set()
        self._closed: asyncio.Queue[Recorded] = asyncio.Queue()
        self._http: aiohttp.ClientSession | None = None

    @property
    def folder(self) -> Path:
        """Where they are, in a folder a day."""
        return self._directory

    @property
    def beeps(self) -> bool:
        """Whether a recording is to be heard by those who talk."""
        return self._settings.beep_every_s > 0

    def try_to_begin(
        self, *, pbx: str, channel_id: str, stream_id: str, profile: str, linkedid: str = "", tap: bool = False
    ) -> RecordTo | None:
        """As `begin`; a folder that cannot be written to costs the recording, not the call."""
        try:
            return self.begin(
                pbx=pbx, channel_id=channel_id, stream_id=stream_id, profile=profile, linkedid=linkedid, tap=tap
            )
        except (OSError, RecordingMissing) as error:
            log.error("recording_impossible", pbx=pbx, call_id=f"{pbx}:{channel_id}", error=str(error))
            self.stats.impossible += 1
            return None

    def begin(
        self, *, pbx: str, channel_id: str, stream_id: str, profile: str, linkedid: str = "", tap: bool = False
    ) -> RecordTo:
        """Makes the note of a recording, and says where it goes.

        Raises:
            OSError: The folder cannot be written to.
            RecordingMissing: The library for this kind of file is not there.
        """
        check_container(self._settings.container)
        now = self._clock()
        folder = self._directory / time.strftime("%Y-%m-%d", time.gmtime(now))
        folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^A-Za-z0-9._-]", "_", f"{pbx}-{channel_id}-{stream_id.rpartition('-')[2][:12]}").lstrip(".")
        path = folder / f"{name}.{self._settings.container}"
        again = 1
        while _beside(path).exists():  # the stream was recorded before
            again += 1
            path = folder / f"{name}.{again}.{self._settings.container}"
        right = "agent" if tap else "bot"
        _write(path, Note(path.name, pbx, channel_id, stream_id, profile, now, linkedid=linkedid, right=right))
        self._lasting.add(path)
        self.stats.started += 1
        self.stats.active = len(self._lasting)
        return RecordTo(str(path), self._settings.container, beep_every_s=self._settings.beep_every_s, tap=tap)

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
        first, path = Path(message.asked), Path(message.path)
        note = _read(first)
        if note is None:
            return None
        if first != path:  # the stream outlived its worker
            if not note.sha256:
                self._recover(first, note)
            note = msgspec.structs.replace(note, file=path.name, recovered=False, uploaded_at=None)
        if not message.duration_ms and not message.error:  # it never came to audio
            for each in (path, _beside(path), _beside(first)):
                each.unlink(missing_ok=True)
            self._lasting.discard(first)
            self.stats.active = len(self._lasting)
            return None
        for name in ("duration_ms", "size_bytes", "sha256", "dropped_ms", "paused_ms", "error"):
            setattr(note, name, getattr(message, name))
        _write(path, note)
        self._lasting.discard(first)  # only now may a sweep look at it
        self.stats.count(message, len(self._lasting))
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
                self.stats.uploaded += 1
                note = await asyncio.to_thread(_read, path)
                if note is not None:
                    note.uploaded_at = self._clock()
                    await asyncio.to_thread(_write, path, note)
                return
            self.stats.upload_failed += 1
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
        # Before the look: what is closed meanwhile is not taken for a dead one's.
        lasting = {path for path in set(self._lasting) if _is_written(path, self._clock())}
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
                self.stats.deleted += 1
                continue
            if not note.sha256 and not note.error:
                self._recover(path, note)
                self._lasting.discard(path)
                self.stats.active = len(self._lasting)
            if self._settings.upload_url and note.sha256 and note.uploaded_at is None:
                waiting.append(path)
        return waiting

    def days(self, since: float, until: float) -> list[str]:
        """Days (names of folders) of recordings that began in a span of time, the latest first. For a thread."""
        first, last = (time.strftime("%Y-%m-%d", time.gmtime(at)) for at in (since, until))
        names = (folder.name for folder in self._directory.glob("????-??-??"))
        return sorted((name for name in names if first <= name <= last), reverse=True)

    def of_day(self, day: str) -> list[Note]:
        """The notes of a day's recordings, the latest first. For a thread: it reads each."""
        notes = (_file_of(beside)[1] for beside in (self._directory / day).glob("*.json"))
        return sorted((note for note in notes if note), key=lambda note: (note.started_at, note.file), reverse=True)

    def one(self, day: str, file: str) -> tuple[Path, Note] | None:
        """One by its folder and name, if there is such a one. For a thread."""
        path = self._directory / day / file
        if not (_DAY.fullmatch(day) and _FILE.fullmatch(file) and _beside(path).exists()):
            return None
        if path.resolve() != self._directory.resolve() / day / file:  # a link, which may lead out of the folder
            return None
        note = _read(path)
        return None if note is None else (path, note)

    def _recover(self, path: Path, note: Note) -> None:
        note.recovered = True
        self.stats.recovered += 1
        try:
            note.size_bytes, note.sha256 = path.stat().st_size, sha256_of(path)
        except OSError as error:
            note.error = f"its worker died, and nothing is left: {error.strerror}"
        _write(path, note)


def _is_written(path: Path, now: float) -> bool:
    """Whether somebody still writes a recording: that is each second, also in silence."""
    try:
        return max(each.stat().st_mtime for each in (path, _beside(path)) if each.exists()) > now - DEAD_AFTER_S
    except (OSError, ValueError):
        return False


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
