"""Recordings: each side in its channel, whole or playable whatever happens, and never in the way of audio."""

from __future__ import annotations

import hashlib
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import av
import pytest
import soundfile

from connector.audio import g711
from connector.audio.formats import AudioFormat, Encoding
from connector.audio.tone import dominant_tone, sine
from connector.media import recorder as module
from connector.media.recorder import Recorded, Recorder, Recording, RecordTo

LEFT_HZ, RIGHT_HZ = 1000.0, 600.0
PCMU = AudioFormat()
WIDE = AudioFormat(Encoding.L16, 16_000)


def frame(hz: float, number: int, audio: AudioFormat = PCMU) -> bytes:
    samples = sine(hz, audio.frame_samples, rate_hz=audio.rate_hz, start=number * audio.frame_samples)
    return (g711.ulaw_encode(samples) if audio is PCMU else samples.astype("<i2")).tobytes()


class Bench:
    def __init__(self) -> None:
        self.done: queue.Queue[Recorded] = queue.Queue()
        self.recorder = Recorder(self.done.put)

    def start(
        self, path: Path, container: Any = "wav", left: AudioFormat = PCMU, right: AudioFormat = PCMU
    ) -> Recording:
        return self.recorder.start("s1", RecordTo(str(path), container), left, right)

    def finish(self, recording: Recording) -> Recorded:
        recording.close()
        return self.done.get(timeout=20)


@pytest.fixture
def bench() -> Any:
    made = Bench()
    yield made
    made.recorder.stop()


def talk(recording: Recording, seconds: float, *, right: AudioFormat = PCMU, left: AudioFormat = PCMU) -> None:
    for number in range(int(seconds * 50)):
        recording.left(frame(LEFT_HZ, number, left))
        recording.right(frame(RIGHT_HZ, number, right))


@pytest.mark.parametrize("container", ["wav", "flac", "ogg", "mp3"])
def test_caller_left_other_side_right_in_every_container(bench: Bench, tmp_path: Path, container: str) -> None:
    path = tmp_path / f"call.{container}"
    recording = bench.start(path, container)
    talk(recording, 3.5)
    told = bench.finish(recording)
    assert (told.duration_ms, told.dropped_ms, told.paused_ms, told.error) == (3500, 0, 0, "")
    assert told.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert told.size_bytes == path.stat().st_size
    sound, rate_hz = soundfile.read(path, dtype="int16")
    assert rate_hz == 8000
    assert sound.shape[0] == pytest.approx(28_000, abs=2400)  # mp3 adds what its encoder is late
    middle = sound[8000:24_000]
    for channel, hz in ((0, LEFT_HZ), (1, RIGHT_HZ)):
        found = dominant_tone(middle[:, channel], rate_hz)
        assert found.hz == pytest.approx(hz, abs=3)
        assert found.dbfs == pytest.approx(-10, abs=1)
        assert found.share > 0.99


def test_channels_of_two_rates_are_of_one_length(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    recording = bench.start(path, left=WIDE, right=PCMU)
    talk(recording, 2, left=WIDE)
    bench.finish(recording)
    sound, rate_hz = soundfile.read(path, dtype="int16")
    assert (rate_hz, sound.shape) == (16_000, (32_000, 2))
    assert dominant_tone(sound[8000:, 0], rate_hz).hz == pytest.approx(LEFT_HZ, abs=3)
    assert dominant_tone(sound[8000:, 1], rate_hz).hz == pytest.approx(RIGHT_HZ, abs=3)


def test_a_channel_that_stops_is_silence_and_holds_up_nothing(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    recording = bench.start(path)
    talk(recording, 1)
    for number in range(500):
        recording.right(frame(RIGHT_HZ, number))
    assert bench.finish(recording).duration_ms == 11_000
    sound, _ = soundfile.read(path, dtype="int16")
    assert sound[:8000, 0].any()
    assert not sound[9000:, 0].any()
    assert sound[80_000:, 1].any()


def test_what_is_said_during_a_pause_is_in_no_file(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    recording = bench.start(path)
    talk(recording, 1)
    recording.pause(True)
    talk(recording, 1.5)
    recording.pause(False)
    talk(recording, 1)
    told = bench.finish(recording)
    assert (told.duration_ms, told.paused_ms) == (3500, 1500)
    sound, _ = soundfile.read(path, dtype="int16")
    assert not sound[8000:20_000].any()
    assert sound[:8000].any()
    assert sound[20_000:].any()


CRASH = """
import sys, time
from connector.audio.formats import AudioFormat
from connector.media.recorder import Recorder, RecordTo
from tests.unit.media.test_recorder import talk
recorder = Recorder(print)
recording = recorder.start("s1", RecordTo(sys.argv[1], sys.argv[2]), AudioFormat(), AudioFormat())
talk(recording, 20)
while recorder._queue.qsize():
    time.sleep(0.01)
print("written", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("container", ["wav", "flac", "ogg", "mp3"])
def test_a_killed_process_leaves_a_playable_file(tmp_path: Path, container: str) -> None:
    path = tmp_path / f"call.{container}"
    process = subprocess.Popen([sys.executable, "-c", CRASH, path, container], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with av.open(str(path)) as file:  # another library than the one that wrote it
        decoded = sum(frame.samples for frame in file.decode(audio=0))
    assert decoded == pytest.approx(160_000, abs=17_000)


def test_a_slow_disk_drops_seconds_and_keeps_the_rest_in_its_place(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE_CHUNKS", 2)
    held = threading.Event()
    write = module._Wav.write

    def slow(self: Any, stereo: Any) -> None:
        held.wait()
        write(self, stereo)

    monkeypatch.setattr(module._Wav, "write", slow)
    path = tmp_path / "call.wav"
    recording = bench.start(path)
    talk(recording, 10)
    held.set()
    told = bench.finish(recording)
    assert told.dropped_ms >= 6000
    assert told.duration_ms == 10_000
    assert bench.recorder.dropped_frames == told.dropped_ms // 20


def test_a_folder_that_is_not_there_is_told_and_costs_nobody_else(bench: Bench, tmp_path: Path) -> None:
    lost = bench.start(tmp_path / "none" / "call.wav")
    kept = bench.start(tmp_path / "call.wav")
    talk(lost, 1)
    talk(kept, 1)
    assert bench.finish(lost).error
    assert bench.finish(kept).error == ""
