"""The measuring instrument measures rightly: known delays are found, loss is counted, rubbish does no harm."""

from __future__ import annotations

import asyncio
import socket
import struct

import numpy as np
import pytest

from connector.audio import g711
from connector.audio.tone import dominant_tone
from connector.lab.rtp import Received, RtpSession, burst_source, round_trip_ms, tone_source


def packet(sequence: int, *, at: float = 0.0, ssrc: int = 1, payload: bytes = b"\xff" * 160) -> Received:
    return Received(at, sequence, sequence * 160, ssrc, 0, False, payload)


@pytest.fixture
async def session() -> RtpSession:
    return RtpSession(seed=1)


@pytest.mark.parametrize("delay_ms", [0.0, 7.5, 60.0, 480.0])
async def test_a_known_delay_is_found(session: RtpSession, delay_ms: float) -> None:
    source = burst_source(on_ms=100, period_ms=500)
    for frame in range(100):
        sent_at = 1000.0 + frame * 0.02
        payload = g711.ulaw_encode(source(frame * 160, 160)).tobytes()
        session.sent.append((frame * 160, sent_at))
        session.received.append(packet(frame, at=sent_at + delay_ms / 1000, payload=payload))
    latencies = round_trip_ms(session, period_ms=500)
    assert len(latencies) == 4
    assert latencies == pytest.approx([delay_ms] * 4, abs=0.5)  # the first samples of a sine are below the threshold
    await session.close()


async def test_an_onset_inside_a_packet_counts_by_its_sample(session: RtpSession) -> None:
    source = burst_source(on_ms=100, period_ms=500)
    stream = np.concatenate([np.zeros(80, np.int16), source(0, 8000)])  # re-framed 10 ms late
    for frame in range(50):
        at = 1000.0 + frame * 0.02
        session.sent.append((frame * 160, at))
        session.received.append(
            packet(frame, at=at, payload=g711.ulaw_encode(stream[frame * 160 : frame * 160 + 160]).tobytes())
        )
    assert round_trip_ms(session, period_ms=500) == pytest.approx([10.0, 10.0], abs=0.5)
    await session.close()


async def test_silence_by_absence_of_packets_is_quiet_too(session: RtpSession) -> None:
    loud = g711.ulaw_encode(tone_source(1000)(0, 160)).tobytes()
    session.sent.extend([(0, 10.0), (4000, 10.5)])
    session.received.extend([packet(0, at=10.1, payload=loud), packet(1, at=10.6, payload=loud)])
    assert round_trip_ms(session, period_ms=500) == pytest.approx([100, 100], abs=0.5)
    await session.close()


async def test_loss_is_counted_over_the_wrap_and_per_source(session: RtpSession) -> None:
    session.received.extend(packet(number) for number in (65533, 65535, 65534, 1, 1, 2))  # 0 is missing
    session.received.extend(packet(number, ssrc=2) for number in (7, 10))  # 8, 9 are missing
    assert session.lost() == 3
    await session.close()


async def test_two_sessions_hear_each_other_and_press_digits() -> None:
    one, other = RtpSession(source=tone_source(700)), RtpSession(source=tone_source(1100))
    one.start(("127.0.0.1", other.port))
    other.start(("127.0.0.1", one.port))
    await one.wait_for_packets(20)
    assert dominant_tone(one.audio(last_ms=200), 8000).hz == pytest.approx(1100, abs=10)
    await one.send_digits("5#")
    await other.wait_for(lambda rtp: rtp.digits == "5#")
    assert one.lost() == 0
    with pytest.raises(ValueError, match="digits of"):
        await one.send_digits("x")
    await one.close()
    await other.close()
    one.start(("127.0.0.1", 9))  # a late re-INVITE: nothing starts again


async def test_rubbish_is_counted_and_csrcs_and_extensions_are_skipped(session: RtpSession) -> None:
    session.start(("127.0.0.1", 9))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", session.port))
        sock.send(b"short")
        sock.send(b"\x00" * 40)
        header = struct.pack("!BBHII", 0x91, 0, 5, 0, 1) + b"\x00" * 4 + struct.pack("!HH", 0xBEDE, 1) + b"\x00" * 4
        sock.send(header + b"\x55" * 160)
    await session.wait_for(lambda rtp: rtp.packets_in == 1)
    assert session.malformed == 2
    assert session.received[0].payload == b"\x55" * 160
    await session.close()


async def test_a_wait_that_is_in_vain_ends(session: RtpSession) -> None:
    with pytest.raises(TimeoutError):
        await session.wait_for_packets(1, timeout_s=0.01)
    await session.close()
    await asyncio.sleep(0)
