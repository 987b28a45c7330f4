"""Lost packets: what is made up for them goes on as the sound before did, fades, and joins what comes after."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from connector.audio import g711
from connector.audio.formats import AudioFormat, Encoding
from connector.audio.levels import read
from connector.audio.tone import dominant_tone, sine
from connector.audio.wire import PLAIN, WIRES
from connector.media.conceal import MAX_MS, Concealer, concealer_for, pitch_period
from connector.media.rtp import RtpPacket, uint16, uint32
from connector.media.timeline import Timeline
from connector.media.timeline_rows import TimelineRows

FORMATS = [
    AudioFormat(),
    AudioFormat(Encoding.PCMA),
    AudioFormat(Encoding.L16BE, 16_000),
    AudioFormat(Encoding.L16, 48_000),
]


def written(samples: NDArray[np.int16], encoding: Encoding) -> bytes:
    match encoding:
        case Encoding.PCMU:
            return g711.ulaw_encode(samples).tobytes()
        case Encoding.PCMA:
            return g711.alaw_encode(samples).tobytes()
        case Encoding.L16BE:
            return samples.astype(">i2").tobytes()
        case _:
            return samples.astype("<i2").tobytes()


def frames_of(audio: AudioFormat, hz: float, count: int) -> list[bytes]:
    whole = written(sine(hz, audio.frame_samples * count, rate_hz=audio.rate_hz), audio.encoding)
    return [whole[at : at + audio.frame_bytes] for at in range(0, len(whole), audio.frame_bytes)]


@pytest.mark.parametrize("audio", FORMATS, ids=lambda audio: audio.encoding.value)
@pytest.mark.parametrize("hz", [90.0, 130.0, 450.0, 1010.0])
def test_a_lost_packet_is_hardly_heard(audio: AudioFormat, hz: float) -> None:
    frames = frames_of(audio, hz, 12)
    concealer = Concealer(audio)
    heard = [concealer.heard(frame) for frame in frames[:8]]
    heard.append(concealer.make_up(audio.frame_samples))
    heard += [concealer.heard(frame) for frame in frames[9:]]
    samples = read(b"".join(heard), audio.encoding)
    assert samples.size == 12 * audio.frame_samples
    # No step is larger than those of the tone itself, but for the codec's own and what the fade in may add.
    steepest = np.abs(np.diff(sine(hz, audio.rate_hz, rate_hz=audio.rate_hz).astype(np.int32))).max()
    assert np.abs(np.diff(samples.astype(np.int32))).max() < 1.3 * steepest + 700
    made_up = samples[8 * audio.frame_samples : 9 * audio.frame_samples]
    assert dominant_tone(made_up, audio.rate_hz).dbfs == pytest.approx(-11, abs=1.5)
    assert heard[10:] == frames[10:]  # what was not touched is as it came


def test_it_goes_on_in_phase_where_the_period_is_a_whole_number_of_samples() -> None:
    audio = AudioFormat()
    frames = frames_of(audio, 100.0, 10)
    concealer = Concealer(audio)
    for frame in frames[:8]:
        concealer.heard(frame)
    made_up = g711.ulaw_decode(concealer.make_up(80)).astype(np.int32)
    assert np.abs(made_up - g711.ulaw_decode(frames[8][:80])).max() <= 512  # a step of mu-law at this level


def test_it_gets_softer_and_ends() -> None:
    concealer = Concealer(AudioFormat())
    for frame in frames_of(AudioFormat(), 200.0, 5):
        concealer.heard(frame)
    made_up = g711.ulaw_decode(b"".join(concealer.make_up(80) for _ in range(8))).astype(np.int32)
    peaks = [int(np.abs(made_up[at : at + 80]).max()) for at in range(0, 640, 80)]
    assert peaks[0] == pytest.approx(10_362, rel=0.05)
    assert peaks[:6] == sorted(peaks[:6], reverse=True)
    assert peaks[3] == pytest.approx(0.6 * 10_362, rel=0.1)
    assert peaks[6:] == [0, 0]
    assert MAX_MS == 60


def test_nothing_is_made_of_nothing() -> None:
    concealer = Concealer(AudioFormat())
    assert concealer.make_up(160) == b"\xff" * 160
    frame = frames_of(AudioFormat(), 450.0, 1)[0]
    concealer.heard(frame)
    concealer.forget()
    assert concealer.make_up(160) == b"\xff" * 160
    assert concealer_for(WIRES["rtp/g722"].heard) is None


def test_any_bytes_can_be_gone_on_with() -> None:
    dice = np.random.default_rng(1)
    for audio in FORMATS:
        concealer = Concealer(audio)
        for size in (0, 1, 7, audio.frame_bytes, 3 * audio.frame_bytes, 5):
            concealer.heard(dice.bytes(size))
            assert len(concealer.make_up(33)) == 33 * audio.frame_bytes // audio.frame_samples


def test_the_period_of_a_voice_is_found() -> None:
    # Pulses of a larynx through a formant, 125 a second.
    pulses = np.zeros(800, np.float32)
    pulses[::64] = 8_000
    ring = np.exp(-np.arange(60) / 12) * np.sin(2 * np.pi * 700 / 8000 * np.arange(60))
    voice = np.convolve(pulses, ring)[:800].astype(np.float32)
    assert pitch_period(voice[-280:], 8) == 64


# -- in the timeline ---------------------------------------------------------------------------------------------------


def packet(number: int, payload: bytes, *, pause: int = 0) -> RtpPacket:
    return RtpPacket(0, uint16(65_533 + number), uint32(160 * (number + pause)), 7, payload)


def test_a_timeline_conceals_what_was_lost_and_no_pause() -> None:
    frames = frames_of(AudioFormat(), 450.0, 20)
    timeline = Timeline(0.0, conceals=True)
    out = []
    for number in (*range(5), 6, *range(8, 10)):
        out += timeline.receive(packet(number, frames[number]), 0.02 * (number + 1))
    assert timeline.counts.lost == 2
    assert timeline.counts.concealed_samples == 320
    assert timeline.counts.filled_samples == 0
    assert [frame.timestamp_ms for frame in out] == list(range(0, 200, 20))
    assert all(np.abs(g711.ulaw_decode(frame.payload).astype(np.int32)).max() > 8_000 for frame in out)
    # The next packet in sequence, later by its timestamp: the caller was silent, nothing was lost.
    out = timeline.receive(packet(10, frames[10], pause=3), 0.28)
    assert [frame.payload for frame in out[:3]] == [b"\xff" * 160] * 3
    assert timeline.counts.concealed_samples == 320
    # One packet after a pause is too little to go on with, and what was before the pause is not.
    out = timeline.receive(packet(12, frames[12], pause=3), 0.32)
    assert [frame.payload for frame in out] == [b"\xff" * 160, frames[12]]
    assert timeline.counts.concealed_samples == 320


def test_a_long_loss_is_made_up_for_60_ms_and_then_silent() -> None:
    frames = frames_of(AudioFormat(), 450.0, 20)
    timeline = Timeline(0.0, conceals=True)
    for number in range(4):
        timeline.receive(packet(number, frames[number]), 0.02 * (number + 1))
    out = timeline.receive(packet(9, frames[9]), 0.09)
    assert len(out) == 6
    assert (timeline.counts.concealed_samples, timeline.counts.filled_samples) == (480, 320)
    assert [frame.payload for frame in out[3:5]] == [b"\xff" * 160] * 2


def test_silence_that_our_clock_has_given_is_not_made_up_once_more() -> None:
    frames = frames_of(AudioFormat(), 450.0, 20)
    timeline = Timeline(0.0, conceals=True)
    for number in range(4):
        timeline.receive(packet(number, frames[number]), 0.02 * (number + 1))
    given = sum(len(timeline.tick(0.08 + 0.02 * step)) for step in range(1, 8))
    out = timeline.receive(packet(11, frames[11]), 0.24)
    assert given + len(out) == 8
    assert timeline.counts.concealed_samples == 0


def test_what_was_before_a_pause_that_the_columns_filled_is_not_gone_on_with() -> None:
    frames = frames_of(AudioFormat(), 450.0, 40)
    timeline = Timeline(0.0, conceals=True)
    rows = TimelineRows(1)
    rows.open(0, timeline)
    for number in range(4):
        rows.receive_one(0, packet(number, frames[number]), 0.02 * (number + 1))
    filled = 0
    for step in range(1, 16):
        filled += rows.tick(np.zeros(1, np.int64), 0.08 + 0.02 * step)[0].size
    assert filled > 10
    rows.receive_one(0, packet(4, frames[4], pause=filled), 0.40)
    assert timeline.counts.filled_samples == 160 * filled  # by the columns alone
    rows.receive_one(0, packet(6, frames[6], pause=filled), 0.44)
    assert timeline.counts.lost == 1
    assert timeline.counts.concealed_samples == 0  # one packet is too little
    for number in (7, 8, 10):
        rows.receive_one(0, packet(number, frames[number], pause=filled), 0.02 * (number + 16))
    assert timeline.counts.concealed_samples == 160


def test_off_is_silence_and_g722_too() -> None:
    frames = frames_of(AudioFormat(), 450.0, 20)
    for wire, conceals in ((PLAIN, False), (WIRES["rtp/g722"], True)):
        timeline = Timeline(0.0, wire, conceals=conceals)
        for number in (0, 1, 2, 4):
            timeline.receive(packet(number, frames[number]), 0.02 * (number + 1))
        assert (timeline.counts.concealed_samples, timeline.counts.filled_samples) == (0, 160)
