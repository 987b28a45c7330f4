"""Recording of calls in a media worker: stereo to disk by a thread of its own, so that no disk holds up audio.

The audio loop hands over a second at a time through a bounded queue; where the disk is too slow for it, seconds are
dropped and counted, and silence stands in their place so that what follows is where it was said. A file is playable
whenever the process dies: WAV has its header brought up to date with every second, the others are streams by nature.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import threading
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from connector.audio.formats import AudioFormat, Encoding
from connector.audio.transcode import Transcoder

log = structlog.get_logger()

Container = Literal["wav", "flac", "ogg", "mp3"]

FRAME_MS = 20
CHUNK_FRAMES = 50
"""A second: what the death of the process may cost."""
QUEUE_CHUNKS = 2_000
"""2 s of 1,000 calls; beyond it the disk is too slow for them."""
MAX_SKEW_FRAMES = 100
"""By so much one channel may be ahead of the other before the other is filled with silence."""
STOP_S = 10.0

Samples = NDArray[np.int16]


class RecordingMissing(Exception):
    """The library for this kind of file is not installed."""


class RecordTo(msgspec.Struct, frozen=True):
    """Where a stream is recorded.

    Attributes:
        path: File; its folder exists.
        container: Kind of the file.
        rate_hz: Of the file; 0 for the higher one of both channels.
        beep_every_s: A beep of 200 ms at 1400 Hz that both sides can hear, as some laws ask for; 0 for none.
        tap: The right channel is the agent's track of a call that is listened to, not what the stream says.
    """

    path: str
    container: Container
    rate_hz: int = 0
    beep_every_s: int = 0
    tap: bool = False


class Recorded(msgspec.Struct, frozen=True, tag="recorded"):
    """A recording is closed; a message of the worker.

    Attributes:
        stream_id: Of which stream; of several that are recorded together the first.
        asked: Path that was asked for.
        path: Its file: another than that if the stream outlived its worker.
        duration_ms: Of the sound in it.
        size_bytes: Of the file.
        sha256: Of the file, in hexadecimal; empty where `error` is not.
        dropped_ms: Sound that the disk was too slow for; silence stands in its place.
        paused_ms: Sound left out as asked for; silence stands in its place.
        error: Why there is no whole file; empty if there is.
    """

    stream_id: str
    asked: str
    path: str
    duration_ms: int
    size_bytes: int
    sha256: str
    dropped_ms: int
    paused_ms: int
    error: str = ""


class _File(Protocol):
    def write(self, stereo: Samples) -> None:
        """Appends samples of shape (n, 2)."""
        ...

    def close(self) -> None: ...


class _Wav:
    def __init__(self, path: str, rate_hz: int) -> None:
        self._raw = Path(path).open("wb")  # noqa: SIM115 (open for as long as the call)
        self._file = wave.open(self._raw, "wb")  # noqa: SIM115
        self._file.setnchannels(2)
        self._file.setsampwidth(2)
        self._file.setframerate(rate_hz)

    def write(self, stereo: Samples) -> None:
        self._file.writeframes(stereo.astype("<i2").tobytes())  # brings the header up to date as well
        self._raw.flush()

    def close(self) -> None:
        self._file.close()
        self._raw.close()


class _Compressed:
    def __init__(self, path: str, rate_hz: int, container: Container) -> None:
        soundfile = _soundfile()
        subtype = {"flac": "PCM_16", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}[container]
        self._file = soundfile.SoundFile(
            path, "w", samplerate=rate_hz, channels=2, format=container.upper(), subtype=subtype
        )

    def write(self, stereo: Samples) -> None:
        # As 32 bit: of 16 bit stereo libsndfile 1.2.2 makes MP3 in which both channels are mixed.
        self._file.write(stereo.astype(np.int32) << 16)
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _soundfile() -> Any:
    try:
        import soundfile
    except ImportError:
        raise RecordingMissing(
            'flac, ogg and mp3 need the extra: pip install "asterisk-connector[recording]", or record as wav'
        ) from None
    return soundfile


def check_container(container: Container) -> None:
    """Whether this kind of file can be written here.

    Raises:
        RecordingMissing: The library is not there; says what to do.
    """
    if container != "wav":
        _soundfile()


def unused(path: str) -> str:
    """The path, or the next one of which there is no file: a stream that outlived its worker begins a second file."""
    first, part = Path(path), 2
    free = first
    while free.exists():
        free = first.with_name(f"{first.stem}-{part}{first.suffix}")
        part += 1
    return str(free)


class Recording:
    """One recording: the audio loop's side of it. Frames of both channels come each 20 ms.

    The channel that begins later gets silence first, so that both tell of the same moment.

    Attributes:
        asked: Path that was asked for.
        streams: That are recorded in it.
        paused: What is said is left out.
    """

    def __init__(
        self, recorder: Recorder, stream_id: str, to: RecordTo, left: AudioFormat, right: AudioFormat, asked: str
    ) -> None:
        self.stream_id = stream_id
        self.to = to
        self.asked = asked
        self.formats = (left, right)
        self.streams = 0
        self.paused = False
        self.dropped_frames = 0
        self._recorder = recorder
        self._waiting: tuple[list[bytes], list[bytes]] = ([], [])
        self._begun = [False, False]
        self._closed = False

    def left(self, payload: bytes) -> None:
        """20 ms of the caller, in the left format; empty for silence."""
        self._take(0, payload)

    def right(self, payload: bytes) -> None:
        """20 ms of the other side, in the right format; empty for silence."""
        self._take(1, payload)

    def _take(self, channel: int, payload: bytes) -> None:
        own, other = self._waiting[channel], self._waiting[1 - channel]
        if not self._begun[channel]:
            self._begun[channel] = True
            own.extend([b""] * (len(other) - 1))
        own.append(b"" if self.paused else payload)
        if len(own) >= CHUNK_FRAMES and (len(other) >= CHUNK_FRAMES or len(own) >= CHUNK_FRAMES + MAX_SKEW_FRAMES):
            self._hand_over()

    def pause(self, paused: bool) -> None:
        """Leaves out what is said, a card number for instance; silence stands in its place."""
        if not self._closed and paused is not self.paused:
            self._hand_over()
            self.paused = paused

    def close(self) -> None:
        """Ends it; `Recorded` follows."""
        if not self._closed:
            self._closed = True
            self._hand_over(last=True)

    def _hand_over(self, last: bool = False) -> None:
        have, want = sorted(map(len, self._waiting))
        # What one channel is ahead is kept for the next time, unless the other has stopped.
        count = want if last else max(have, want - MAX_SKEW_FRAMES)
        left, right = (channel[:count] for channel in self._waiting)
        self._waiting = (self._waiting[0][count:], self._waiting[1][count:])
        for channel in (left, right):
            channel.extend([b""] * (count - len(channel)))
        self._recorder.put(_Chunk(self, left, right, self.paused, last))


class _Chunk:
    __slots__ = ("last", "left", "paused", "recording", "right")

    def __init__(self, recording: Recording, left: list[bytes], right: list[bytes], paused: bool, last: bool) -> None:
        self.recording = recording
        self.left, self.right = left, right
        self.paused = paused
        self.last = last


class _Open:
    """A file in the thread."""

    def __init__(self, recording: Recording) -> None:
        to = recording.to
        rate_hz = to.rate_hz or max(each.rate_hz for each in recording.formats)
        self.linear = AudioFormat(Encoding.L16, rate_hz)
        self.channels = [Transcoder(source, self.linear) for source in recording.formats]
        self.file: _File
        if to.container == "wav":
            self.file = _Wav(to.path, rate_hz)
        else:
            self.file = _Compressed(to.path, rate_hz, to.container)
        self.frames = 0
        self.paused_frames = 0

    def write(self, chunk: _Chunk, dropped: int) -> None:
        silence = dropped * self.linear.frame_samples
        if silence:
            self.file.write(np.zeros((silence, 2), np.int16))
        stereo = np.zeros((len(chunk.left) * self.linear.frame_samples, 2), np.int16)
        for channel, payloads in enumerate((chunk.left, chunk.right)):
            sound = b"".join(self.channels[channel].convert_one(payload) for payload in payloads)
            samples = np.frombuffer(sound, "<i2")[: len(stereo)]
            stereo[: samples.size, channel] = samples
        self.file.write(stereo)
        self.frames += len(chunk.left) + dropped
        self.paused_frames += len(chunk.left) if chunk.paused else 0


class Recorder:
    """Writes all recordings of a worker.

    Args:
        done: Told in the thread of each recording that is closed.

    Attributes:
        dropped_frames: 20 ms pieces that the disk was too slow for, over all recordings.
    """

    def __init__(self, done: Callable[[Recorded], None]) -> None:
        self.dropped_frames = 0
        self._done = done
        self._queue: queue.Queue[_Chunk | None] = queue.Queue()
        self._waiting = 0
        self._thread: threading.Thread | None = None
        self._open: dict[Recording, _Open | None] = {}

    def start(self, stream_id: str, to: RecordTo, left: AudioFormat, right: AudioFormat) -> Recording:
        """Begins a recording of a stream whose channels have these formats."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
            self._thread.start()
        free = msgspec.structs.replace(to, path=unused(to.path))
        return Recording(self, stream_id, free, left, right, asked=to.path)

    def put(self, chunk: _Chunk) -> None:
        """Takes what is to be written. The last of a recording is never dropped, so that its file is closed."""
        if self._queue.qsize() >= QUEUE_CHUNKS and not chunk.last:
            if not chunk.recording.dropped_frames:
                log.warning("recording_too_slow", stream_id=chunk.recording.stream_id, path=chunk.recording.to.path)
            chunk.recording.dropped_frames += len(chunk.left)
            self.dropped_frames += len(chunk.left)
            return
        self._queue.put_nowait(chunk)

    def stop(self) -> None:
        """Writes what waits, and ends. Blocks for as long as the disk takes, within bounds."""
        if self._thread is not None:
            self._queue.put_nowait(None)
            self._thread.join(STOP_S)
            self._thread = None

    # -- the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        dropped: dict[Recording, int] = {}
        while (chunk := self._queue.get()) is not None:
            recording = chunk.recording
            missing = recording.dropped_frames - dropped.get(recording, 0)
            dropped[recording] = recording.dropped_frames
            error = self._write(chunk, missing)
            if error:
                log.error("recording_failed", stream_id=recording.stream_id, path=recording.to.path, error=error)
            if chunk.last:
                del dropped[recording]
                self._close(recording)

    def _write(self, chunk: _Chunk, dropped: int) -> str:
        recording = chunk.recording
        try:
            if recording not in self._open:
                self._open[recording] = _Open(recording)
            opened = self._open[recording]
            if opened is not None:
                opened.write(chunk, dropped)
        except (OSError, ValueError, RuntimeError, RecordingMissing) as error:  # soundfile's errors are RuntimeErrors
            failed, self._open[recording] = self._open.get(recording), None
            if failed is not None:
                with contextlib.suppress(OSError, RuntimeError):
                    failed.file.close()
            return str(error)
        return ""

    def _close(self, recording: Recording) -> None:
        opened = self._open.pop(recording, None)
        path, error = recording.to.path, "" if opened is not None else "it could not be written; see the log"
        size, digest = 0, ""
        if opened is not None:
            try:
                opened.file.close()
                size, digest = Path(path).stat().st_size, sha256_of(path)
            except (OSError, RuntimeError) as failure:
                error = str(failure)
        self._done(
            Recorded(
                stream_id=recording.stream_id,
                asked=recording.asked,
                path=path,
                duration_ms=(opened.frames if opened is not None else 0) * FRAME_MS,
                size_bytes=size,
                sha256=digest,
                dropped_ms=recording.dropped_frames * FRAME_MS,
                paused_ms=(opened.paused_frames if opened is not None else 0) * FRAME_MS,
                error=error,
            )
        )


def sha256_of(path: str | Path) -> str:
    """Of a file, in hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
