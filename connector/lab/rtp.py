"""The audio side of a laboratory phone: sends on an absolute clock, records what comes with the kernel's time.

It is a measuring instrument, so it shares no code with what it measures (`connector.media`).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connector.audio import g711, tone

FRAME_MS = 20
FRAME_SAMPLES = 160
RATE_HZ = g711.SAMPLE_RATE_HZ
MAX_RECORDED_PACKETS = 60_000
"""20 minutes of one call; the oldest are dropped first and counted."""
_SCM_TIMESTAMPNS = 35  # linux/socket.h SO_TIMESTAMPNS, which is SCM_TIMESTAMPNS too
_DIGITS = "0123456789*#ABCD"  # RFC 4733 section 3.2, events 0 to 15

Source = Callable[[int, int], NDArray[np.int16]]
"""Gives samples: (first sample, count) -> shape (count,) at 8 kHz."""


def silence(start: int, count: int) -> NDArray[np.int16]:
    """A source of zeros."""
    return np.zeros(count, np.int16)


def tone_source(hz: float, *, dbfs: float = -10.0) -> Source:
    """A source of an endless sine."""
    return lambda start, count: tone.sine(hz, count, rate_hz=RATE_HZ, start=start, dbfs=dbfs)


def burst_source(hz: float = 1000.0, *, on_ms: int = 100, period_ms: int = 1000, dbfs: float = -10.0) -> Source:
    """A source of tone bursts, each beginning on a frame, whose onsets tell the round trip (`round_trip_ms`)."""
    on, period = on_ms * RATE_HZ // 1000, period_ms * RATE_HZ // 1000

    def samples(start: int, count: int) -> NDArray[np.int16]:
        phase = np.arange(start, start + count) % period
        wave = tone.sine(hz, count, rate_hz=RATE_HZ, start=start, dbfs=dbfs)
        return np.where(phase < on, wave, 0).astype(np.int16)

    return samples


@dataclass(frozen=True, slots=True)
class Received:
    """One RTP packet as it came.

    Attributes:
        at: Unix time of its arrival by the kernel.
        sequence: 16 bits.
        timestamp: 32 bits, in samples.
        ssrc: 32 bits.
        payload_type: 7 bits.
        marker: The marker bit.
        payload: Without header.
    """

    at: float
    sequence: int
    timestamp: int
    ssrc: int
    payload_type: int
    marker: bool
    payload: bytes


class RtpSession:
    """One RTP stream each way on a socket of its own.

    Attributes:
        received: The packets that came, oldest first, at most MAX_RECORDED_PACKETS.
        sent: Unix time of each audio frame sent, by its first sample; bounded alike.
        digits: What came as RFC 4733 digits.
        malformed: Datagrams that were no RTP.
        unrecorded: Packets dropped from `received` by its bound.
    """

    def __init__(self, host: str = "127.0.0.1", *, source: Source = silence, seed: int | None = None) -> None:
        """Binds a free port.

        Args:
            host: Address to bind.
            source: What to send.
            seed: For the SSRC and the first sequence number and timestamp (RFC 3550 section 5.1).
        """
        dice = random.Random(seed)
        self.source = source
        self.remote: tuple[str, int] | None = None
        self.received: deque[Received] = deque(maxlen=MAX_RECORDED_PACKETS)
        self.sent: deque[tuple[int, float]] = deque(maxlen=MAX_RECORDED_PACKETS)
        self.digits = ""
        self.malformed = 0
        self.unrecorded = 0
        self.packets_in = 0
        self.packets_out = 0
        self._ssrc = dice.getrandbits(32)
        self._sequence = dice.getrandbits(16)
        self._base = dice.getrandbits(32)
        self._digits_to_send: deque[str] = deque(maxlen=64)
        self._digits_done = asyncio.Event()
        self._last_digit_timestamp: int | None = None
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        self._sock.setsockopt(socket.SOL_SOCKET, _SCM_TIMESTAMPNS, 1)
        self._sock.bind((host, 0))
        self._sender: asyncio.Task[None] | None = None
        self._arrival = asyncio.Event()

    @property
    def port(self) -> int:
        """The UDP port it listens on."""
        return int(self._sock.getsockname()[1])

    def start(self, remote: tuple[str, int]) -> None:
        """Begins to receive and to send; called again it only changes where to. Nothing once closed."""
        self.remote = remote
        if self._sender is None and self._sock.fileno() >= 0:
            asyncio.get_running_loop().add_reader(self._sock, self._readable)
            self._sender = asyncio.create_task(self._send(), name="lab-rtp")

    async def close(self) -> None:
        """Ends it and gives the port back; what was recorded stays."""
        if self._sender is not None:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sender
            self._sender = None
        self._sock.close()
        self._digits_done.set()
        self._arrival.set()

    async def send_digits(self, digits: str) -> None:
        """Sends digits (0-9, *, #, A-D) one after the other as RFC 4733 events and waits until they are out."""
        if not digits or any(digit not in _DIGITS for digit in digits):
            raise ValueError(f"digits of {_DIGITS} wanted, not {digits!r}")
        self._digits_done.clear()
        self._digits_to_send.extend(digits)
        await self._digits_done.wait()

    async def wait_for(self, condition: Callable[[RtpSession], bool], *, timeout_s: float = 10.0) -> None:
        """Waits until the condition holds, looking after each packet.

        Raises:
            TimeoutError: It did not come true.
        """
        async with asyncio.timeout(timeout_s):
            while not condition(self):
                self._arrival.clear()
                await self._arrival.wait()

    async def wait_for_packets(self, count: int, *, timeout_s: float = 10.0) -> None:
        """Waits until so many more packets came."""
        goal = self.packets_in + count
        await self.wait_for(lambda rtp: rtp.packets_in >= goal, timeout_s=timeout_s)

    def audio(self, last_ms: int | None = None) -> NDArray[np.int16]:
        """The sound that came, packets joined in order of arrival.

        Args:
            last_ms: Only the last so many milliseconds of sound.

        Returns:
            Samples at 8 kHz, shape (n,).
        """
        packets = list(self.received)
        if last_ms is not None:
            packets = packets[-max(1, last_ms // FRAME_MS) :]
        parts = [_samples(packet) for packet in packets]
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)

    def lost(self) -> int:
        """Packets missing by sequence number (RFC 3550 appendix A.3), summed over the SSRCs that came."""
        missing = 0
        for ssrc in {packet.ssrc for packet in self.received}:
            numbers = [packet.sequence for packet in self.received if packet.ssrc == ssrc]
            extended, cycles, previous = set(), 0, numbers[0]
            for number in numbers:
                step = (number - previous + 0x8000) % 0x10000 - 0x8000
                cycles += step
                previous = number
                extended.add(cycles)
            missing += max(extended) - min(extended) + 1 - len(extended)
        return missing

    def _readable(self) -> None:
        for _ in range(64):  # then the loop's other work gets its turn
            try:
                data, ancillary, _, _ = self._sock.recvmsg(2048, 64)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # an ICMP error about something we sent; the peer's port is closed
                continue
            at = time.time()
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == _SCM_TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack("@ll", value[:16])
                    at = seconds + nanoseconds / 1e9
            self._record(data, at)

    def _record(self, data: bytes, at: float) -> None:
        if len(data) < 12 or data[0] >> 6 != 2:
            self.malformed += 1
            return
        first, second, sequence, timestamp, ssrc = struct.unpack("!BBHII", data[:12])
        offset = 12 + 4 * (first & 15)
        if first & 0x10 and len(data) >= offset + 4:
            offset += 4 + 4 * int.from_bytes(data[offset + 2 : offset + 4], "big")
        packet = Received(at, sequence, timestamp, ssrc, second & 0x7F, bool(second & 0x80), data[offset:])
        self.packets_in += 1
        if packet.payload_type == 101:
            self._record_digit(packet)
        else:
            self.unrecorded += len(self.received) == self.received.maxlen
            self.received.append(packet)
        self._arrival.set()

    def _record_digit(self, packet: Received) -> None:
        # The end is sent three times with one timestamp (RFC 4733 section 2.5.1.4).
        if len(packet.payload) >= 4 and packet.payload[1] & 0x80 and packet.timestamp != self._last_digit_timestamp:
            self._last_digit_timestamp = packet.timestamp
            if packet.payload[0] < len(_DIGITS):
                self.digits += _DIGITS[packet.payload[0]]

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        frame = 0
        while True:
            if self._digits_to_send:
                frame = await self._send_digit(self._digits_to_send.popleft(), start, frame)
                if not self._digits_to_send:
                    self._digits_done.set()
                continue
            position = frame * FRAME_SAMPLES
            samples = self.source(position, FRAME_SAMPLES)
            self.sent.append((position, time.time()))
            self._transmit(0, frame == 0, position, g711.ulaw_encode(samples).tobytes())
            frame += 1
            await _until(loop, start + frame * FRAME_MS / 1000)

    async def _send_digit(self, digit: str, start: float, frame: int) -> int:
        """Sends one event of 100 ms, its end three times, and 60 ms of pause; returns the next frame."""
        loop = asyncio.get_running_loop()
        event = _DIGITS.index(digit)
        timestamp = frame * FRAME_SAMPLES
        for step in range(1, 9):
            duration = min(step, 6) * FRAME_SAMPLES
            end = 0x80 if step >= 6 else 0
            self._transmit(101, step == 1, timestamp, struct.pack("!BBH", event, end | 10, duration))
            frame += 1
            await _until(loop, start + frame * FRAME_MS / 1000)
        for _ in range(3):
            self._transmit(0, False, frame * FRAME_SAMPLES, bytes([g711.ULAW_SILENCE]) * FRAME_SAMPLES)
            frame += 1
            await _until(loop, start + frame * FRAME_MS / 1000)
        return frame

    def _transmit(self, payload_type: int, marker: bool, position: int, payload: bytes) -> None:
        header = struct.pack(
            "!BBHII",
            0x80,
            payload_type | (0x80 if marker else 0),
            self._sequence,
            (self._base + position) & 0xFFFFFFFF,
            self._ssrc,
        )
        self._sequence = (self._sequence + 1) & 0xFFFF
        if self.remote is not None:
            with contextlib.suppress(OSError):  # a full buffer or a closed port is loss, as on any network
                self._sock.sendto(header + payload, self.remote)
                self.packets_out += 1


def round_trip_ms(rtp: RtpSession, *, period_ms: int = 1000, quiet_ms: int = 60, threshold: int = 1500) -> list[float]:
    """Latencies of the bursts of `burst_source` that came back.

    The onset of a burst is the first sample above the threshold after a quiet stretch. A packet's first sample
    counts at the packet's arrival, as it does at its sending, so a frame returned at once measures 0 ms.

    Args:
        rtp: The session that sent the bursts and heard them.
        period_ms: As given to `burst_source`; latencies from this on are ambiguous.
        quiet_ms: How long it must be quiet before an onset, shorter than the pause between bursts.
        threshold: Linear level, 0 to 32767; an eighth of a -10 dBFS tone by default.

    Returns:
        One value per burst that was heard, in order.
    """
    period = period_ms * RATE_HZ // 1000
    sent = [at for position, at in rtp.sent if position % period == 0]
    latencies = []
    quiet = quiet_ms * RATE_HZ // 1000  # the beginning counts as quiet
    last_end = 0.0
    for packet in rtp.received:
        # Where nothing was sent for a while, it was quiet.
        if last_end and packet.at > last_end:
            quiet += int((packet.at - last_end) * RATE_HZ)
        samples = _samples(packet)
        loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > threshold)
        if loud.size:
            if quiet + loud[0] >= quiet_ms * RATE_HZ // 1000:
                heard = packet.at + float(loud[0]) / RATE_HZ
                before = [at for at in sent if at <= heard]
                if before and (heard - before[-1]) * 1000 < period_ms:
                    latencies.append((heard - before[-1]) * 1000)
            quiet = samples.size - 1 - int(loud[-1])
        else:
            quiet += samples.size
        last_end = packet.at + samples.size / RATE_HZ
    return latencies


def _samples(packet: Received) -> NDArray[np.int16]:
    if packet.payload_type == 0:
        return g711.ulaw_decode(packet.payload)
    if packet.payload_type == 8:
        return g711.alaw_decode(packet.payload)
    return np.zeros(FRAME_SAMPLES, np.int16)


async def _until(loop: asyncio.AbstractEventLoop, when: float) -> None:
    await asyncio.sleep(max(0.0, when - loop.time()))
