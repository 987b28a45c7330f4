"""What an exchange of tones proves: every outcome, without a network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from connector.audio import g711
from connector.audio.tone import sine
from connector.check.findings import Cause, Finding, Findings, Level
from connector.check.verdict import TONES_HZ, Exchange, Source, compressed, is_ipv6, judge

FIRST, SECOND = ("10.0.0.1", 20_000), ("10.0.0.1", 20_002)
INTO_FIRST, INTO_SECOND = TONES_HZ


def frames(hz: float, count: int = 20, among: tuple[float, ...] = ()) -> list[bytes]:
    wave = sine(hz, 160 * count, rate_hz=8000)
    for other in among:
        wave = wave + sine(other, 160 * count, rate_hz=8000, dbfs=-14)
    sound = g711.ulaw_encode(wave).tobytes()
    return [sound[at : at + 160] for at in range(0, len(sound), 160)]


def noise(count: int = 20) -> list[bytes]:
    sound = np.random.default_rng(1).integers(0, 256, 160 * count, dtype=np.uint8).tobytes()
    return [sound[at : at + 160] for at in range(0, len(sound), 160)]


GOOD: Mapping[Source, list[bytes]] = {FIRST: frames(INTO_SECOND), SECOND: frames(INTO_FIRST)}


def verdict(heard: Mapping[Source, list[bytes]], unasked: Mapping[Source, list[bytes]] | None = None) -> Finding:
    findings = Findings()
    judge("pbx.main.rtp", "main", Exchange([FIRST, SECOND], heard, unasked or {}, "10.0.0.2", 39_000), findings)
    (finding,) = findings
    return finding


def test_each_tone_came_out_of_the_other_channel() -> None:
    finding = verdict(GOOD)
    assert (finding.level, finding.cause) == (Level.OK, Cause.RTP_AUDIO)
    assert "10.0.0.2:39000" in finding.text


def test_audio_of_a_call_left_behind_does_not_count() -> None:
    stranger = {("10.0.0.1", 21_000): frames(300.0)}
    assert verdict({**GOOD, **stranger}).level is Level.OK
    assert verdict(stranger, stranger).cause is Cause.RTP_FROM_ASTERISK


def test_nothing_at_all() -> None:
    finding = verdict({})
    assert (finding.level, finding.cause) == (Level.ERROR, Cause.RTP_FROM_ASTERISK)
    assert "media.advertise_host" in finding.text
    assert "10.0.0.2:39000" in finding.text


def test_only_what_asterisk_sends_by_itself() -> None:
    finding = verdict({}, {FIRST: noise(1)})
    assert (finding.level, finding.cause) == (Level.ERROR, Cause.RTP_TO_ASTERISK)
    assert "20000 and 20002" in finding.text
    assert 'rtp_host = "192.0.2.7"' in verdict({}, {("192.0.2.7", 20_000): noise(1)}).text


def test_from_another_address() -> None:
    finding = verdict({("192.0.2.7", port): heard for (_, port), heard in GOOD.items()})
    assert (finding.level, finding.cause) == (Level.ERROR, Cause.RTP_SOURCE)
    assert 'rtp_host = "192.0.2.7" in [pbx.main]' in finding.text


def test_from_another_port() -> None:
    finding = verdict({("10.0.0.1", port + 5_000): heard for (_, port), heard in GOOD.items()})
    assert (finding.level, finding.cause) == (Level.ERROR, Cause.RTP_SOURCE)
    assert "10.0.0.1:25000" in finding.text


@pytest.mark.parametrize(
    "heard",
    [
        {FIRST: noise(), SECOND: frames(INTO_FIRST)},
        {SECOND: frames(INTO_FIRST)},
        {FIRST: frames(INTO_FIRST), SECOND: frames(INTO_SECOND)},  # each its own: an echo on the way, no bridge
        {FIRST: frames(INTO_SECOND, 5), SECOND: frames(INTO_FIRST)},
        {FIRST: frames(INTO_SECOND, among=(600.0, 1500.0, 2200.0)), SECOND: frames(INTO_FIRST)},
    ],
    ids=["noise", "one way", "echo", "too little", "among others"],
)
def test_packets_but_not_the_tone(heard: Mapping[Source, list[bytes]]) -> None:
    finding = verdict(heard)
    assert (finding.level, finding.cause) == (Level.ERROR, Cause.RTP_AUDIO)


def test_addresses_have_one_spelling() -> None:
    assert compressed("2001:DB8:0:0::1") == "2001:db8::1"
    assert compressed("pbx") == "pbx"
    assert [is_ipv6(host) for host in ("::1", "127.0.0.1", "pbx")] == [True, False, None]
