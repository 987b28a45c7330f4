"""Any format to any other: the tone that goes in comes out, and no frame joins the next with a click."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from connector.audio.formats import AudioFormat, Encoding
from connector.audio.g711 import ulaw_decode, ulaw_encode
from connector.audio.tone import dominant_tone, sine
from connector.audio.transcode import Transcoder, silence

PCMU, PCMA = AudioFormat(Encoding.PCMU), AudioFormat(Encoding.PCMA)
G722 = AudioFormat(Encoding.G722, 16_000)
L16 = {rate_hz: AudioFormat(Encoding.L16, rate_hz) for rate_hz in (8_000, 16_000, 24_000, 48_000)}
OPUS = AudioFormat(Encoding.OPUS, 48_000)
FORMATS = [PCMU, PCMA, G722, *L16.values(), AudioFormat(Encoding.L16BE, 16_000), OPUS]
HZ = 1010


def name(audio: AudioFormat) -> str:
    return f"{audio.encoding}-{audio.rate_hz}"


def spoken(audio: AudioFormat, ms: int = 1200) -> list[bytes]:
    """A tone in this format, in frames."""
    linear = L16[audio.rate_hz]
    wave = sine(HZ, audio.rate_hz * ms // 1000, rate_hz=audio.rate_hz).astype("<i2").tobytes()
    to_format = Transcoder(linear, audio)
    size = linear.frame_bytes
    return [to_format.convert_one(wave[at : at + size]) for at in range(0, len(wave), size)]


def linear(frames: list[bytes], audio: AudioFormat) -> NDArray[np.int16]:
    to_linear = Transcoder(audio, L16[audio.rate_hz])
    return np.frombuffer(b"".join(to_linear.convert_one(frame) for frame in frames), "<i2")


@pytest.mark.parametrize(("source", "target"), list(itertools.product(FORMATS, FORMATS)), ids=name)
def test_a_tone_comes_out_as_it_went_in(source: AudioFormat, target: AudioFormat) -> None:
    transcoder = Transcoder(source, target)
    heard = linear([transcoder.convert_one(frame) for frame in spoken(source)], target)[-target.rate_hz :]
    tone = dominant_tone(heard, target.rate_hz)
    assert abs(tone.hz - HZ) < 1
    assert abs(tone.dbfs + 10) < 0.5
    power = np.abs(np.fft.rfft(heard * np.blackman(heard.size))) ** 2
    seams = np.array([HZ + 50 * step for step in (*range(-19, 0), *range(1, 40))])
    # G.711 carries its own noise some 38 dB down, spread over all of the spectrum; a click a frame would stand in
    # these lines.
    assert 10 * np.log10(power[seams].max() / power.max()) < -45


@pytest.mark.parametrize("audio", [audio for audio in FORMATS if audio is not OPUS], ids=name)
def test_the_same_format_is_handed_on(audio: AudioFormat) -> None:
    transcoder = Transcoder(audio, AudioFormat(audio.encoding, audio.rate_hz, frame_ms=40))
    payload = bytes(range(160))
    assert transcoder.identity
    assert transcoder.convert_one(payload) is payload


def test_mu_law_to_linear_is_the_table() -> None:
    codes = bytes(range(256))
    assert Transcoder(PCMU, L16[8_000]).convert_one(codes) == ulaw_decode(codes).astype("<i2").tobytes()
    wave = np.arange(-32768, 32768, 7).astype("<i2")
    assert Transcoder(L16[8_000], PCMU).convert_one(wave.tobytes()) == ulaw_encode(wave).tobytes()


def test_byte_orders_are_swapped_once() -> None:
    transcoder = Transcoder(AudioFormat(Encoding.L16BE, 8_000), L16[8_000])
    assert transcoder.convert_one(b"\x12\x34\x56\x78") == b"\x34\x12\x78\x56"


@pytest.mark.parametrize("audio", FORMATS, ids=name)
def test_an_empty_payload_is_silence(audio: AudioFormat) -> None:
    """After speech, too: a decoder with a state would make a hum of any constant."""
    transcoder = Transcoder(audio, L16[audio.rate_hz])
    for frame in spoken(audio):
        transcoder.convert_one(frame)
    transcoder.convert_one(b"")  # where what the resampler still held comes out
    heard = np.frombuffer(transcoder.convert_one(b""), "<i2")
    assert heard.size == audio.rate_hz // 50
    assert np.abs(heard).max() <= 8


@pytest.mark.parametrize("audio", [PCMU, PCMA, L16[8_000], AudioFormat(Encoding.L16BE, 16_000)], ids=name)
def test_frames_of_silence(audio: AudioFormat) -> None:
    assert Transcoder(audio, audio).convert_one(b"") == silence(audio)
    assert len(silence(audio)) == audio.frame_bytes
    assert np.abs(linear([silence(audio)], audio)).max() <= 8


@pytest.mark.parametrize(("source", "target"), [(G722, PCMU), (PCMU, L16[16_000]), (L16[24_000], G722)], ids=name)
def test_streams_do_not_hear_each_other(source: AudioFormat, target: AudioFormat) -> None:
    frames = spoken(source, 200)
    alone = Transcoder(source, target)
    expected = [alone.convert_one(frame) for frame in frames]
    many = Transcoder(source, target, capacity=1)
    many.grow(3)
    rows = np.array([2, 0])
    got = [many.convert([b"", frame], rows) for frame in frames]
    if target is not G722:  # whose predictor magnifies a sample that was rounded the other way
        assert [frame for _, frame in got] == expected
    quiet = linear([frame for frame, _ in got], target)
    assert np.abs(quiet).max() <= 8


def test_a_row_is_given_on_without_its_past() -> None:
    for source, target in ((G722, PCMU), (PCMU, L16[16_000])):
        fresh = Transcoder(source, target)
        used = Transcoder(source, target)
        for frame in spoken(source, 200):
            used.convert_one(frame)
        used.reset(0)
        frame = spoken(source, 20)[0]
        assert used.convert_one(frame) == fresh.convert_one(frame)


def test_the_delay_is_that_of_the_resampler() -> None:
    assert Transcoder(PCMU, L16[8_000]).delay_ms == 0
    assert round(Transcoder(PCMU, L16[16_000]).delay_ms, 2) == 2.7
    assert round(Transcoder(G722, L16[24_000]).delay_ms, 2) == 1.35
