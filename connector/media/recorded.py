"""The recordings of a worker's streams: begun and ended at any moment, one file for all streams of a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from connector.audio.formats import AudioFormat
from connector.dialects.base import Track
from connector.media.gauge import Gauge
from connector.media.recorder import Recorded, Recorder, Recording, RecordTo


class Voice(Protocol):
    """One voice of a stream: what comes in at one address."""

    gauge: Gauge


class Recordable(Protocol):
    """A stream."""

    stream_id: str
    bot_hears: AudioFormat
    bot_says: AudioFormat
    gauge: Gauge

    @property
    def legs(self) -> Mapping[Track, Voice]:
        """Where the audio of each track comes in."""
        ...


class RecordedStreams:
    """Which streams are recorded where.

    Args:
        done: Told, in the thread that writes, of each recording that is closed.
    """

    def __init__(self, done: Callable[[Recorded], None]) -> None:
        self._recorder = Recorder(done)
        self._by_path: dict[str, Recording] = {}

    @property
    def dropped_frames(self) -> int:
        """20 ms pieces that the disk was too slow for."""
        return self._recorder.dropped_frames

    def start(self, stream: Recordable, to: RecordTo) -> None:
        """Records a stream from now on, with what else goes to the same file."""
        if stream.gauge.recording is not None:
            return
        recording = self._by_path.get(to.path)
        if recording is None:
            right = stream.bot_hears if to.tap else stream.bot_says
            recording = self._recorder.start(stream.stream_id, to, stream.bot_hears, right)
            self._by_path[to.path] = recording
        recording.streams += 1
        if not to.tap:
            stream.gauge.record(recording, heard=recording.left, said=recording.right, beeps=True)
            return
        # A tap can be heard where it listens to the caller's own channel, or to whoever it was ordered for: its first.
        first = recording.streams == 1
        for track, leg in stream.legs.items():
            heard = recording.left if track is Track.CALLER else recording.right
            leg.gauge.record(recording, heard=heard, said=None, beeps=first)
            first = False

    def stop(self, stream: Recordable) -> None:
        """Records it no more; the file is closed when the last stream in it is done."""
        recording = stream.gauge.recording
        if recording is None:
            return
        stream.gauge.stop_recording()
        for leg in stream.legs.values():
            leg.gauge.stop_recording()
        recording.streams -= 1
        if not recording.streams:
            del self._by_path[recording.asked]
            recording.close()

    def close(self) -> None:
        """Writes what waits, and ends. Blocks for as long as the disk takes, within bounds."""
        self._recorder.stop()
