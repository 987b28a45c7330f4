"""What a stream measures of itself, and the faults that are named from it."""

from __future__ import annotations

import msgspec
import pytest

from connector.audio import g711
from connector.audio.formats import AudioFormat, Encoding
from connector.audio.tone import sine
from connector.media.control import StreamStats
from connector.media.diagnosis import Fault, Known, diagnose
from connector.media.mos import MOS_MAX, mos, r_factor
from connector.media.quality import Allowance, PaceMeter, Quality, Sound, SoundMeter, estimate_mos, loss_percent

GOOD = Sound(looked_ms=2000, level_dbfs=-20, peak_dbfs=-6, silence_share=0.3)
FINE = StreamStats(packets_in=1000, packets_out=1000, bot_audio_bytes=100_000)
KNOWN = Known()


def quality(**changes: object) -> Quality:
    values: dict[str, object] = {"age_s": 30.0, "since_packet_s": 0.02, "mos": 4.4, "caller": GOOD, "bot": GOOD}
    return Quality(**{**values, **changes})  # type: ignore[arg-type]


def faults(measured: Quality, stats: StreamStats = FINE, known: Known = KNOWN) -> list[Fault]:
    found = diagnose(measured, stats, known)
    assert all(each.evidence and each.remedy for each in found)
    return [each.fault for each in found]


def test_a_good_call_has_no_fault() -> None:
    assert faults(quality()) == []


NOTHING_CAME = StreamStats(packets_in=0, packets_out=1000, bot_audio_bytes=100_000)
SILENT = Sound(looked_ms=2000, silence_share=1.0)


@pytest.mark.parametrize(
    ("fault", "measured", "stats", "known"),
    [
        (Fault.NO_RTP, quality(), NOTHING_CAME, KNOWN),
        (Fault.NO_RTP, quality(), NOTHING_CAME, Known(caller_sends=0)),
        (Fault.NO_RTP, quality(), NOTHING_CAME, Known(caller_sends=500)),
        (Fault.NAT_CHANGED_PORT, quality(stranger="192.0.2.1:40000"), NOTHING_CAME, KNOWN),
        (Fault.WRONG_PAYLOAD_TYPE, quality(wrong_type=99, wrong_type_last=8), NOTHING_CAME, KNOWN),
        (Fault.RTP_STOPPED, quality(since_packet_s=20.0), FINE, KNOWN),
        (Fault.NAT_CHANGED_PORT, quality(since_packet_s=20.0, stranger="192.0.2.1:40000"), FINE, KNOWN),
        (Fault.LOSS, quality(loss_percent=5.0), FINE, KNOWN),
        (Fault.JITTER, quality(jitter_ms=45.0), FINE, KNOWN),
        (Fault.CALLER_NOT_HEARD, quality(caller=SILENT), FINE, KNOWN),
        (Fault.BOT_NOT_HEARD, quality(bot=SILENT), FINE, KNOWN),
        (Fault.BOT_NOT_HEARD, quality(bot=Sound()), StreamStats(packets_in=1000), KNOWN),
        (Fault.CALLER_WRONG_CODEC, quality(caller=Sound(looked_ms=500, sounds_like="pcma")), FINE, KNOWN),
        (Fault.BOT_WRONG_CODEC, quality(bot=Sound(looked_ms=500, sounds_like="l16")), FINE, KNOWN),
        (
            Fault.BOT_WRONG_BYTE_ORDER,
            quality(bot=Sound(looked_ms=500, sounds_like="l16be")),
            FINE,
            Known(bot_audio="l16 at 16000 Hz"),
        ),
        (Fault.BOT_RESAMPLED_TWICE, quality(bot=Sound(looked_ms=500, narrowband=True)), FINE, KNOWN),
        (Fault.BOT_CLIPS, quality(bot=Sound(looked_ms=500, nature_known=True, clipped_share=0.1)), FINE, KNOWN),
        (Fault.BOT_WRONG_RATE, quality(bot_pace=2.0, bot_regular=True), FINE, KNOWN),
        (Fault.BOT_WRONG_RATE, quality(bot_pace=0.5, bot_regular=True, bot_dry=99), FINE, KNOWN),
        (Fault.BOT_TOO_SLOW, quality(bot_pace=0.8, bot_dry=9), FINE, KNOWN),
        (Fault.BOT_TOO_FAST, quality(bot_pace=1.2, bot_regular=True, bot_backlog_ms=4000), FINE, KNOWN),
    ],
    ids=lambda value: value.value if isinstance(value, Fault) else "",
)
def test_each_fault_is_named_and_no_other(fault: Fault, measured: Quality, stats: StreamStats, known: Known) -> None:
    assert faults(measured, stats, known) == [fault]


@pytest.mark.parametrize(
    ("measured", "stats", "known"),
    [
        (quality(age_s=1.0), NOTHING_CAME, KNOWN),  # it has just begun
        (quality(since_packet_s=60.0), FINE, Known(held=True)),
        (quality(caller=SILENT), FINE, Known(held=True)),
        (quality(caller=SILENT, age_s=5.0), FINE, KNOWN),
        (quality(bot=Sound()), StreamStats(packets_in=1000), Known(bot_speaks=False)),
        (quality(bot=Sound(), caller=SILENT, age_s=9.0), StreamStats(packets_in=1000), KNOWN),
        (quality(bot_pace=2.0), FINE, KNOWN),  # a sentence at once is no rate
        (quality(bot_pace=1.2, bot_regular=True, bot_backlog_ms=200), FINE, KNOWN),
        (quality(bot_pace=0.9), FINE, KNOWN),  # nothing was missing
        (quality(caller=Sound(looked_ms=500, narrowband=True)), FINE, Known(caller_widened=True)),
        (quality(bot=Sound(looked_ms=500, clipped_share=0.1)), FINE, KNOWN),  # or noise, by another codec
    ],
)
def test_what_is_no_fault(measured: Quality, stats: StreamStats, known: Known) -> None:
    assert faults(measured, stats, known) == []


def test_mos_is_that_of_the_e_model() -> None:
    # G.107 annex B: R 93.2 is MOS 4.41, R 80 is 4.03, R 70 is 3.60, R 50 is 2.58.
    assert mos(93.2) == pytest.approx(MOS_MAX, abs=0.005)
    assert [round(mos(r), 2) for r in (80, 70, 50, 0, -5)] == [4.02, 3.6, 2.58, 1.0, 1.0]
    assert r_factor(loss_percent=0, delay_ms=0) == 93.2
    assert r_factor(loss_percent=5, delay_ms=0) == pytest.approx(93.2 - 95 * 5 / 9.3)
    assert r_factor(loss_percent=0, delay_ms=277.3) == pytest.approx(93.2 - 0.024 * 277.3 - 11)
    assert r_factor(loss_percent=100, delay_ms=1000) == 0
    assert estimate_mos(0, 0, 0, 0) == 0
    assert estimate_mos(1000, 0, 0, 0) > estimate_mos(990, 10, 0, 0) > estimate_mos(990, 10, 300, 20)
    assert loss_percent(0, 0) == 0
    assert loss_percent(90, 10) == 10


def test_a_direction_is_looked_at_a_tenth_of_the_time() -> None:
    meter = SoundMeter(AudioFormat())
    meter.measure(Allowance(1))
    assert meter.wanted == 5
    tone = g711.ulaw_encode(sine(600, 800, rate_hz=8000, dbfs=-10)).tobytes()
    for frame in range(50):
        if meter.wanted:
            meter.take(tone[frame % 5 * 160 :][:160])
    meter.measure(Allowance(1))
    assert meter.sound.looked_ms == 100
    assert meter.sound.level_dbfs == pytest.approx(-13, abs=0.2)
    assert meter.sound.peak_dbfs == pytest.approx(-10, abs=0.2)
    for _ in range(5):
        meter.take(b"\xff" * 160)
    meter.measure(Allowance(1))
    assert meter.sound.silence_share == 0.5
    assert meter.sound.level_dbfs == pytest.approx(-13, abs=0.2)  # of what was not silent
    assert meter.sound.sounds_like == ""


def test_what_is_no_sound_as_agreed_is_told() -> None:
    meter = SoundMeter(AudioFormat(Encoding.L16, 16_000))
    meter.measure(Allowance(1))
    meter.take(sine(500, 1600, rate_hz=16_000).astype(">i2").tobytes())
    meter.measure(Allowance(1))
    assert meter.sound.sounds_like == "l16be"
    held_up = SoundMeter(AudioFormat(Encoding.L16, 16_000))
    for allowed in (0, 1, 0):  # when its turn comes, and of the second that follows
        assert held_up.sound.sounds_like == ""
        held_up.measure(Allowance(allowed))
        assert held_up.watches == (1 if allowed else 6)
        held_up.take(sine(500, 1600, rate_hz=16_000).astype(">i2").tobytes())
    held_up.measure(Allowance(0))
    assert held_up.sound.sounds_like == "l16be"
    hushed = SoundMeter(AudioFormat(Encoding.L16, 16_000))
    for _ in range(3):  # silence takes nobody's turn
        allowance = Allowance(1)
        hushed.measure(allowance)
        hushed.take(bytes(3200))
    assert allowance.take()
    opus = SoundMeter(AudioFormat(Encoding.OPUS, 48_000))
    opus.measure(Allowance(1))
    assert opus.wanted == 0


def test_sums_say_the_same_as_the_samples() -> None:
    by_frames, by_sums = SoundMeter(AudioFormat()), SoundMeter(AudioFormat())
    for amplitude_dbfs in (-90, -10, 0):
        tone = g711.ulaw_encode(sine(600, 800, rate_hz=8000, dbfs=amplitude_dbfs)).tobytes()
        samples = g711.ulaw_decode(tone).astype(int)
        clipped = int((abs(samples) >= 32_100).sum())
        by_frames.take(tone)
        by_sums.add(800, int(samples.sum()), int((samples**2).sum()), int(abs(samples).max()), clipped)
        for meter in (by_frames, by_sums):
            meter.measure(Allowance(0))
    ours, theirs = (msgspec.structs.asdict(meter.sound) for meter in (by_frames, by_sums))
    assert ours.pop("sounds_like") == theirs.pop("sounds_like") == ""
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert by_sums.sound.clipped_share > 0


def test_pace_is_known_after_five_seconds_of_speech() -> None:
    pace = PaceMeter()
    for _ in range(4):
        pace.add(1000, 50, 0)
        assert pace.pace == 0
    pace.add(1000, 50, 0)
    assert (pace.pace, pace.regular) == (1.0, True)
    for _ in range(5):
        pace.add(2000, 50, 1)
    assert (pace.pace, pace.regular, pace.dry) == (2.0, True, 5)
    pace.add(0, 0, 0)
    assert pace.pace == 0
    for audio_ms, messages in ((9000, 3), (100, 1), (4000, 40), (10, 1), (800, 9)):
        pace.add(audio_ms, messages, 0)
    assert not pace.regular
