"""A small contact centre's day in a minute: callers who talk to the bot, callers who queue, agents, a pause.

Bounded in count and time; everything goes to the laboratory's own Asterisk on loopback. What each caller saw is
kept, so that it can be held against what the connector and Asterisk's own queue_log say.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import numpy as np
from numpy.typing import NDArray

from connector.audio.tone import dominant_tone
from connector.lab.asterisk import LabAsterisk, LabError
from connector.lab.call import Answer, Call, CallFailed, RingForever
from connector.lab.phone import Phone
from connector.lab.rtp import RATE_HZ, RtpSession, burst_source, round_trip_ms

BOT_CALLERS = 3
"""At once."""
BOT_CALL_S = 6.0
HANDED_OVER_EVERY = 4
"""Every so many bot calls the caller presses the digit at which the bot closes, and goes on to the queue."""
BURST_MS = 80
BURST_PERIOD_MS = 320
LOUD = 1500
"""Linear level above which a sample belongs to a burst, 0 to 32767."""
FIRST_TONE_HZ = 420.0
TONE_STEP_HZ = 35.0
TONES = 60
"""Then they begin again: 420 to 2485 Hz, all below the 3.4 kHz of a telephone line."""

QUEUE_EVERY_S = (0.8, 2.2)
"""Between two callers of the queue."""
PATIENCE_S = (0.5, 2.5)
"""Of those who give up."""
TALK_S = (1.5, 3.5)
PAUSE_EVERY_S = 9.0
PAUSE_S = 4.0
WAIT_FOR_ANSWER_S = 30.0


@dataclass(frozen=True, slots=True)
class BotCallResult:
    """What one caller of the bot measured.

    Attributes:
        tone_sent_hz: Of the bursts the caller sent.
        tone_heard_hz: Strongest frequency of the bursts that came back, by FFT of each; their median.
        round_trip_ms: Of each burst that came back.
        packets_sent: RTP packets sent.
        packets_heard: RTP packets that came.
        packets_lost: Missing in the sequence numbers of what came.
        bursts_lost: Bursts sent that did not come back. The first, sent while the call is being bridged, and the
            last, still under way when the caller hangs up, do not count.
    """

    tone_sent_hz: float
    tone_heard_hz: float
    round_trip_ms: list[float]
    packets_sent: int
    packets_heard: int
    packets_lost: int
    bursts_lost: int


@dataclass(slots=True)
class Seen:
    """What the callers saw, as far as it went.

    Attributes:
        bot_calls: Measurements of each bot call that ended.
        failures: Calls that did not do what they were meant to, a sentence each.
        handed_over: Calls that went from the bot to the queue.
        queue: Queue callers by what they did: answered, gave_up, timed_out.
    """

    bot_calls: list[BotCallResult] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    handed_over: int = 0
    queue: Counter[str] = field(default_factory=Counter)


class Traffic:
    """Runs the callers and agents. `run` is cancelled to stop; calls under way are then hung up.

    Args:
        pbx: Where they call.
        random: Decides who is patient.
    """

    def __init__(self, pbx: LabAsterisk, random: Random) -> None:
        self.seen = Seen()
        self._pbx = pbx
        self._random = random
        server = ("127.0.0.1", pbx.sip_port)
        self._callers = Phone(0, "2001", server)
        self._agents = [
            Phone(port, f"agent{number}", server, on_answered=self._agent_answered)
            for number, port in enumerate(pbx.ports.phones, start=1)
        ]
        self._talks: set[asyncio.Task[None]] = set()
        self._bot_calls_made = 0
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Runs until `stop`; returns when the last call has ended.

        Raises:
            OSError: A phone's port is taken.
        """
        phones = [self._callers, *self._agents]
        try:
            for phone in phones:
                await phone.start()
            async with asyncio.TaskGroup() as tasks:
                for _ in range(BOT_CALLERS):
                    tasks.create_task(self._bot_caller(), name="bot-caller")
                    await self._pause(BOT_CALL_S / BOT_CALLERS)
                tasks.create_task(self._queue_callers(tasks), name="queue-callers")
                tasks.create_task(self._pausing_agent(), name="pausing-agent")
                tasks.create_task(self._agents_mood(), name="agents-mood")
        finally:
            for talk in self._talks:
                talk.cancel()
            await asyncio.gather(*self._talks, return_exceptions=True)
            for phone in phones:
                await phone.stop()

    def stop(self) -> None:
        """No new calls; those under way end as they would."""
        self._stopping.set()

    @property
    def latest_round_trip_ms(self) -> float | None:
        """Median of the last bot call that ended."""
        latest = self.seen.bot_calls[-1].round_trip_ms if self.seen.bot_calls else []
        return statistics.median(latest) if latest else None

    # -- callers of the bot ---------------------------------------------------------------------------------------

    async def _bot_caller(self) -> None:
        while not self._stopping.is_set():
            number = self._bot_calls_made
            self._bot_calls_made += 1
            hz = FIRST_TONE_HZ + TONE_STEP_HZ * (number % TONES)
            try:
                source = burst_source(hz, on_ms=BURST_MS, period_ms=BURST_PERIOD_MS)
                call = await self._callers.call("bot", source=source)
                await call.wait_answered()
                await asyncio.sleep(BOT_CALL_S)  # whole, also at the end: a shorter one proves nothing
                self.seen.bot_calls.append(measure(call.rtp, hz))
                if number % HANDED_OVER_EVERY == HANDED_OVER_EVERY - 1 and not self._stopping.is_set():
                    await self._be_handed_over(call)
                else:
                    await call.hang_up()
            except (CallFailed, TimeoutError) as error:
                self.seen.failures.append(f"bot call with {hz:.0f} Hz: {error!r}")

    async def _be_handed_over(self, call: Call) -> None:
        """The bot closes at digit 3; the dialplan goes on to the queue, where an agent talks and hangs up."""
        await call.send_digits("3")
        self.seen.handed_over += 1
        await call.wait_ended(timeout_s=WAIT_FOR_ANSWER_S)
        self.seen.queue["answered"] += 1

    # -- callers of the queue -------------------------------------------------------------------------------------

    async def _queue_callers(self, tasks: asyncio.TaskGroup) -> None:
        while not self._stopping.is_set():
            kind = self._random.choices((self._patient, self._impatient, self._timed_out), (5, 2, 2))[0]
            tasks.create_task(kind(), name="queue-caller")
            await self._pause(self._random.uniform(*QUEUE_EVERY_S))

    async def _patient(self) -> None:
        """Waits until an agent has answered and hung up."""
        call = await self._callers.call("support")
        try:
            await call.wait_ended(timeout_s=WAIT_FOR_ANSWER_S)
            self.seen.queue["answered"] += 1
        except TimeoutError:
            self.seen.failures.append("a patient caller was not served")
            await call.hang_up()

    async def _impatient(self) -> None:
        """Gives up after a while, unless an agent was faster."""
        call = await self._callers.call("support")
        try:
            await call.wait_ended(timeout_s=self._random.uniform(*PATIENCE_S))
            self.seen.queue["answered"] += 1
        except TimeoutError:
            if call.live:  # an agent talks: stay until they have done
                await call.wait_ended(timeout_s=WAIT_FOR_ANSWER_S)
                self.seen.queue["answered"] += 1
            else:
                await call.hang_up()
                self.seen.queue["gave_up"] += 1

    async def _timed_out(self) -> None:
        """Is sent away by the queue after two seconds, unless an agent was faster."""
        call = await self._callers.call("support-timeout")
        await call.wait_ended(timeout_s=WAIT_FOR_ANSWER_S)
        self.seen.queue["answered" if call.answered.is_set() else "timed_out"] += 1

    # -- agents ---------------------------------------------------------------------------------------------------

    def _agent_answered(self, call: Call) -> None:
        talk = asyncio.create_task(self._talk(call), name="agent-talk")
        self._talks.add(talk)
        talk.add_done_callback(self._talks.discard)

    async def _talk(self, call: Call) -> None:
        try:
            await call.wait_ended(timeout_s=self._random.uniform(*TALK_S))
        except TimeoutError:
            await call.hang_up()

    async def _agents_mood(self) -> None:
        """Now and then a phone rings in vain."""
        while not self._stopping.is_set():
            for agent in self._agents:
                deaf = self._random.random() < 0.15
                agent.on_invite = RingForever() if deaf else Answer(self._random.uniform(0.2, 1.2))
            await self._pause(2.0)
        for agent in self._agents:
            agent.on_invite = Answer(0.2)

    async def _pausing_agent(self) -> None:
        member = f"PJSIP/agent{len(self._agents)}"
        while not self._stopping.is_set():
            await self._pause(PAUSE_EVERY_S)
            try:
                await self._pbx.cli(f"queue pause member {member} queue support reason Lunch")
                await self._pause(PAUSE_S)
                await self._pbx.cli(f"queue unpause member {member} queue support")
            except LabError as error:
                self.seen.failures.append(str(error))

    async def _pause(self, seconds: float) -> None:
        """Waits, unless it is time to stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass


def measure(rtp: RtpSession, hz: float) -> BotCallResult:
    """What a caller who sent bursts of `hz` can say of the call so far."""
    latencies = round_trip_ms(rtp, period_ms=BURST_PERIOD_MS)
    period = BURST_PERIOD_MS * RATE_HZ // 1000
    bursts = sum(position % period == 0 for position, _ in rtp.sent)
    return BotCallResult(
        tone_sent_hz=hz,
        tone_heard_hz=burst_hz(rtp.audio()),
        round_trip_ms=latencies,
        packets_sent=rtp.packets_out,
        packets_heard=rtp.packets_in,
        packets_lost=rtp.lost(),
        bursts_lost=max(0, bursts - 2 - len(latencies)),
    )


def burst_hz(samples: NDArray[np.int16]) -> float:
    """Median frequency of the bursts in what was heard, 0 if there is none.

    Each burst by itself: silence put in between two of them, to fill a gap, must not blur the tone.
    """
    length = BURST_MS * RATE_HZ // 1000
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > LOUD)
    found = []
    end = 0
    for onset in loud.tolist():
        if onset >= end and onset + length <= samples.size:
            found.append(dominant_tone(samples[onset : onset + length], RATE_HZ).hz)
            end = onset + length
    return statistics.median(found) if found else 0.0
