"""Gain, background and fade, heard as samples."""

import wave
from pathlib import Path

import numpy as np
import pytest

from connector.audio import g711
from connector.audio.formats import AudioFormat, Encoding
from connector.audio.tone import dominant_tone, sine
from connector.media.playout import Playout
from connector.media.voice import Voice, VoiceOptions, voice_for

PCMU = AudioFormat()
L16 = AudioFormat(Encoding.L16, 16_000)


def tone(audio: AudioFormat, frames: int, hz: float = 600, dbfs: float = -20.0) -> list[bytes]:
    samples = sine(hz, frames * audio.frame_samples, rate_hz=audio.rate_hz, dbfs=dbfs)
    data = samples.astype("<i2").tobytes() if audio.encoding is Encoding.L16 else g711.ulaw_encode(samples).tobytes()
    return [data[at : at + audio.frame_bytes] for at in range(0, len(data), audio.frame_bytes)]


def samples_of(audio: AudioFormat, frames: list[bytes]) -> np.ndarray:
    data = b"".join(frames)
    return np.frombuffer(data, "<i2") if audio.encoding is Encoding.L16 else g711.ulaw_decode(data)


def level_db(samples: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(samples.astype(float) ** 2)) / 32_768))


@pytest.fixture
def background(tmp_path: Path) -> str:
    path = tmp_path / "office.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 8_000, 0, "NONE", ""))
        one = sine(300, 8_000, rate_hz=8_000, dbfs=-10.0)
        file.writeframes(np.stack((one, one), axis=1).astype("<i2").tobytes())
    return str(path)


def test_nothing_wanted_is_no_voice() -> None:
    assert voice_for(PCMU, VoiceOptions()) is None


@pytest.mark.parametrize("audio", [PCMU, L16], ids=["pcmu", "l16"])
@pytest.mark.parametrize("gain_db", [-6.0, 6.0])
def test_gain_is_what_it_says(audio: AudioFormat, gain_db: float) -> None:
    voice = Voice(audio, VoiceOptions(gain_db=gain_db))
    shaped = [voice.shape(frame) or b"" for frame in tone(audio, 20)]
    before, after = level_db(samples_of(audio, tone(audio, 20))), level_db(samples_of(audio, shaped))
    assert after - before == pytest.approx(gain_db, abs=0.2)
    assert voice.shape(None) is None


def test_too_much_gain_clips_and_does_not_wrap() -> None:
    loud = samples_of(L16, [Voice(L16, VoiceOptions(gain_db=20)).shape(f) or b"" for f in tone(L16, 5, dbfs=-3)])
    quiet = samples_of(L16, tone(L16, 5, dbfs=-3))
    assert (np.sign(loud[quiet != 0]) == np.sign(quiet[quiet != 0])).all()


@pytest.mark.parametrize("audio", [PCMU, L16], ids=["pcmu", "l16"])
def test_the_background_fills_pauses_and_goes_down_under_speech(audio: AudioFormat, background: str) -> None:
    voice = voice_for(audio, VoiceOptions(ambiance=background, ambiance_db=-10, duck_db=-20))
    assert voice is not None
    pause = samples_of(audio, [voice.shape(None) or b"" for _ in range(60)])
    assert dominant_tone(pause, audio.rate_hz).hz == pytest.approx(300, abs=5)
    assert level_db(pause) == pytest.approx(-20 - 3, abs=1.5)
    silent = tone(audio, 1, dbfs=-90)[0]
    under = samples_of(audio, [voice.shape(silent) or b"" for _ in range(60)])[-audio.rate_hz // 2 :]
    assert level_db(pause) - level_db(under) == pytest.approx(20, abs=1.5)
    spoken = samples_of(audio, [voice.shape(frame) or b"" for frame in tone(audio, 30)])
    assert dominant_tone(spoken, audio.rate_hz).hz == pytest.approx(600, abs=5)
    steps = np.abs(np.diff(pause.astype(int)))
    assert steps.max() < 4 * np.median(steps), "a click where the background begins anew or a frame ends"


@pytest.mark.parametrize("content", [None, b"", b"RIFF nonsense"], ids=["absent", "empty", "nonsense"])
def test_a_background_that_cannot_be_read_costs_itself_alone(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "b.wav"
    if content is not None:
        path.write_bytes(content)
    assert voice_for(PCMU, VoiceOptions(ambiance=str(path))) is None
    voice = voice_for(PCMU, VoiceOptions(ambiance=str(path), gain_db=3))
    assert voice is not None
    assert voice.idle


def test_a_clear_fades_what_was_being_said() -> None:
    voice = Voice(PCMU, VoiceOptions(fade_ms=60))
    playout = Playout(max_ms=1_000, prebuffer_ms=0, voice=voice)
    playout.write(b"".join(tone(PCMU, 20)))
    playout.mark("end")
    playout.read()
    assert playout.clear() == ["end"]
    playout.write(b"\x11" * 160)  # what comes next waits for the end of the fade
    faded = [playout.read()[0] or b"" for _ in range(3)]
    levels = [level_db(samples_of(PCMU, [frame])) for frame in faded]
    assert levels[0] > levels[1] > levels[2]
    assert np.abs(samples_of(PCMU, faded)[-8:]).max() < 100
    assert playout.read()[0] == b"\x11" * 160
    assert playout.clear() == []
    assert playout.read() == (None, [])  # nothing was being said: nothing to fade
