"""The script of a profile test: what is done, in which order, and what is made of the bot's answers."""

from __future__ import annotations

import asyncio
import copy
import os
import signal
import time
from collections.abc import Awaitable, Callable

from connector.audio.levels import describe
from connector.config import ProfileSettings
from connector.dialects import registry
from connector.dialects.base import RejectCause, StreamStart
from connector.dialects.commands import HangUp, Transfer
from connector.media import counters
from connector.media.control import EndCause, StreamEnded, StreamStats
from connector.media.diagnosis import Known, diagnose
from connector.media.engine import MediaEngine, StreamFailed
from connector.media.quality import Quality
from connector.media.stream import NOT_AGREED
from connector.streams.handover import BadHandover, asked_handover
from connector.trial import remedies
from connector.trial.caller import Patient, TrialCall
from connector.trial.report import Report, Step

DIGITS = "69#"
SLOW_CONNECT_MS = 1_000
WORKER_S = 5.0
"""For a media worker to be there, and for the end of one to be seen."""

NewCall = Callable[[], TrialCall]


class Script:
    """Runs against one bot and writes into the report.

    Args:
        profile: Its settings.
        engine: With two workers, which the script stops and kills: that is how a network stands still and breaks.
            A quick script does nothing to them, and one will do.
        new_call: Makes calls.
        dialled: Outcomes of dialling so far.
        patient: How long is waited for what.
        quick: One call, and nothing in its way.
        report: Gets the findings.
    """

    def __init__(
        self,
        *,
        profile: ProfileSettings,
        engine: MediaEngine,
        new_call: NewCall,
        dialled: list[str],
        patient: Patient,
        quick: bool,
        report: Report,
    ) -> None:
        self._profile, self._engine, self._new_call = profile, engine, new_call
        self._dialled, self._wait, self._quick, self._report = dialled, patient, quick, report
        self._paced: tuple[Quality, StreamStats] | None = None
        """As it was before the script stood in the way."""

    async def run(self) -> None:
        """All of it. A bot that does not take the first call gets no other."""
        call = self._new_call()
        try:
            if not await self._connect(call):
                return
            await self._converse(call)
        finally:
            ended = await call.hang_up()
        if ended is not None:
            self._conclude(call, ended)
        if not self._quick:
            await self._side_by_side()
            await self._reconnect()

    # -- the first call ------------------------------------------------------------------------------------------

    async def _connect(self, call: TrialCall) -> bool:
        report = self._report
        try:
            await call.open()
        except StreamFailed as failure:
            remedy = remedies.UNREACHED.get(failure.cause, remedies.UNREACHED_OTHERWISE)
            report.error(
                Step.CONNECT, f"the bot did not take the call ({failure.cause.value}): {failure.detail}", remedy
            )
            return False
        took_ms = round(call.handle.connect_ms)
        failed = [outcome for outcome in self._dialled if outcome != "opened"]
        if failed:
            report.warning(
                Step.CONNECT,
                f"it took {len(self._dialled)} attempts: {', '.join(failed)}",
                remedies.UNREACHED.get(EndCause(failed[-1]), remedies.UNREACHED_OTHERWISE),
            )
        elif took_ms > SLOW_CONNECT_MS:
            report.warning(
                Step.CONNECT,
                f"the bot took the call after {took_ms} ms; a caller waits for that long",
                remedies.UNREACHED[EndCause.BOT_TIMEOUT],
            )
        else:
            report.ok(Step.CONNECT, f"the bot took the call within {took_ms} ms")
        return True

    async def _converse(self, call: TrialCall) -> None:
        call.answer()
        steps: tuple[tuple[Step, Callable[[TrialCall], Awaitable[None]]], ...]
        two_way = (
            (Step.GREETING, self._greeting),
            (Step.CALLER_AUDIO, self._speech),
            (Step.INTERRUPT, self._interrupt),
            (Step.DIGITS, self._digits),
        )
        steps = two_way if call.two_way else ((Step.CALLER_AUDIO, self._listens),)
        if not self._quick:
            steps = (*steps, (Step.SLOW_READ, self._freeze))
        for number, (step, work) in enumerate(steps):
            await work(call)
            if not call.over:
                continue
            self._ended_early(call, step)
            for left, _ in steps[number + 1 :]:
                self._report.skipped(left, "the call was over before")
            return

    async def _greeting(self, call: TrialCall) -> None:
        began_s = time.time()
        if await call.until(lambda: call.heard_since(began_s), self._wait.greeting):
            after_ms = round((call.last_heard - began_s) * 1000)
            self._report.ok(Step.GREETING, f"the bot speaks first, {after_ms} ms after the answer")
            await call.until(lambda: time.time() - call.last_heard > self._wait.quiet, self._wait.finish)
        elif not call.over:
            self._report.warning(
                Step.GREETING, f"the bot said nothing within {self._wait.greeting:g} s", remedies.NO_GREETING
            )

    async def _speech(self, call: TrialCall) -> None:
        began_s = time.time()
        call.speak(True)
        await call.until(lambda: False, self._wait.speech)
        call.speak(False)
        answered = call.heard_since(began_s) or await call.until(lambda: call.heard_since(began_s), self._wait.answer)
        if call.over:
            return
        if call.handle.stats.send_dropped:
            self._unread(call)
        elif answered:
            self._report.ok(Step.CALLER_AUDIO, "the bot spoke after the caller had")
        else:
            self._report.warning(
                Step.CALLER_AUDIO,
                f"the caller spoke for {self._wait.speech:g} s, and the bot did not answer",
                remedies.NO_ANSWER,
            )

    async def _listens(self, call: TrialCall) -> None:
        """For a server that only listens."""
        call.speak(True)
        await call.until(lambda: False, self._wait.speech)
        call.speak(False)
        if call.over:
            return
        if call.handle.stats.send_dropped:
            self._unread(call)
        else:
            self._report.ok(Step.CALLER_AUDIO, f"the server took {self._wait.speech:g} s of speech")

    def _unread(self, call: TrialCall) -> None:
        dropped = call.handle.stats.send_dropped
        self._report.error(
            Step.CALLER_AUDIO, f"the bot does not read: {dropped} messages of audio were dropped", remedies.UNREAD
        )

    async def _interrupt(self, call: TrialCall) -> None:
        asked_s = time.time()
        if not await call.until(lambda: call.heard_since(asked_s), 1.0):
            call.speak(False)
            if not call.over:
                self._report.skipped(Step.INTERRUPT, "the bot did not speak, so nobody could interrupt it")
            return
        clears = call.handle.stats.clears
        call.speak(True)
        spoken_s = time.time()

        def gave_way() -> bool:
            return call.handle.stats.clears > clears or time.time() - max(call.last_heard, spoken_s) > self._wait.quiet

        done = await call.until(gave_way, self._wait.interrupt)
        call.speak(False)
        if call.over:
            return
        if done:
            how = "cleared its speech" if call.handle.stats.clears > clears else "fell silent"
            self._report.ok(Step.INTERRUPT, f"the bot {how} when the caller spoke")
        else:
            self._report.warning(
                Step.INTERRUPT,
                f"the bot spoke on for {self._wait.interrupt:g} s while the caller spoke",
                remedies.NO_INTERRUPT,
            )

    async def _digits(self, call: TrialCall) -> None:
        options = self._profile.dialect
        if registry.create(options.name, StreamStart("s", "c"), options.plain()).dtmf("1") is None:
            self._report.skipped(Step.DIGITS, f"{options.name} has no word for digits")
            return
        await call.until(lambda: time.time() - call.last_heard > self._wait.quiet, self._wait.digits)
        began_s, before = time.time(), call.handle.stats.clears
        for digit in DIGITS:
            call.handle.send_dtmf(digit)
        reacted = await call.until(
            lambda: call.heard_since(began_s) or call.handle.stats.clears > before, self._wait.digits
        )
        if not call.over:
            what = "and the bot did something about them" if reacted else "and the bot let them pass"
            self._report.ok(Step.DIGITS, f"the caller pressed {' '.join(DIGITS)}, {what}")

    async def _freeze(self, call: TrialCall) -> None:
        """Nothing is read and nothing is sent for a while, as on a network that stands still."""
        if call.handle.quality is not None:
            self._paced = copy.deepcopy(call.handle.quality), copy.copy(call.handle.stats)
        call.speak(True)
        pids = [worker.pid for worker in self._engine.workers if worker.pid is not None]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(self._wait.freeze)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        await call.until(lambda: False, self._wait.after)
        call.speak(False)
        if not call.over:
            self._report.ok(Step.SLOW_READ, f"nothing was read for {self._wait.freeze:g} s, and the call went on")

    def _ended_early(self, call: TrialCall, step: Step) -> None:
        report = self._report
        match call.decided:
            case HangUp():
                report.warning(step, "the bot hung up before the script was over", "nothing, if that was meant")
                return
            case Transfer() as asked:
                try:
                    handover = asked_handover(self._profile.handover, asked, trusted=False)
                except BadHandover as error:
                    report.error(
                        step, f"the bot wants to hand the call over, and may not: {error}", remedies.NOT_ALLOWED
                    )
                else:
                    report.warning(
                        step, f"the bot handed the call over to {handover.target}", "nothing, if that was meant"
                    )
                return
        ended = call.handle.ended.result()
        if step is Step.SLOW_READ:
            report.error(
                step, f"after nothing was read for {self._wait.freeze:g} s: {ended.detail}", remedies.NO_PATIENCE
            )
        else:
            remedy = remedies.BROKEN.get(ended.cause, remedies.UNREACHED_OTHERWISE)
            report.error(step, f"the call ended in the middle ({ended.cause.value}): {ended.detail}", remedy)

    # -- what it was like ----------------------------------------------------------------------------------------

    def _conclude(self, call: TrialCall, ended: StreamEnded) -> None:
        if call.two_way:
            self._heard(call, ended.stats)
            if ended.stats.bot_audio_bytes:
                self._pace_and_sound(ended)
                self._marks(ended.stats)
        self._protocol(ended)
        report = self._report
        if ended.cause is not EndCause.CALLER_HUNG_UP:
            report.skipped(Step.HANG_UP, "the call was over before")
        elif ended.detail == NOT_AGREED:
            report.warning(Step.HANG_UP, f"the caller hung up, and {ended.detail} within a second", remedies.NOT_CLOSED)
        else:
            report.ok(Step.HANG_UP, "the caller hung up, and the bot closed its side")

    def _heard(self, call: TrialCall, stats: StreamStats) -> None:
        if not stats.bot_audio_bytes:
            self._report.error(Step.BOT_AUDIO, "the bot sent no audio in the whole call", remedies.NO_AUDIO)
        elif not call.last_heard:
            self._report.error(
                Step.BOT_AUDIO,
                f"the bot sent {stats.bot_audio_bytes} bytes of audio, and all of it is silence",
                remedies.NO_AUDIO,
            )
        else:
            self._report.ok(Step.BOT_AUDIO, f"the caller heard the bot; it sent {stats.bot_audio_bytes} bytes of audio")

    def _pace_and_sound(self, ended: StreamEnded) -> None:
        report, options, stats, quality = self._report, self._profile.dialect, ended.stats, ended.quality
        known = Known(caller_audio=describe(options.to_bot), bot_audio=describe(options.from_bot))
        if quality is not None:
            paced = diagnose(*(self._paced or (quality, stats)), known)
            faults = [fault for fault in paced if fault.fault in remedies.OF_PACE]
            faults += [fault for fault in diagnose(quality, stats, known) if fault.fault in remedies.OF_SOUND]
            for fault in faults:
                tell = report.error if fault.fault in remedies.CERTAIN else report.warning
                step = Step.PACE if fault.fault in remedies.OF_PACE else Step.SOUND
                tell(step, fault.evidence, fault.remedy)
        if stats.playout_dropped_bytes:
            report.error(
                Step.PACE,
                f"the bot sent more ahead than is kept: {stats.playout_dropped_bytes} bytes were dropped",
                remedies.OVERFILLED,
            )
        if not report.found(Step.PACE):
            report.ok(Step.PACE, f"nothing was dropped; the bot's speech ran dry {stats.underruns} times")
        if not report.found(Step.SOUND) and quality is not None and quality.bot.looked_ms:
            report.ok(Step.SOUND, f"{known.bot_audio}, {quality.bot.level_dbfs:.0f} dBFS when it speaks")

    def _marks(self, stats: StreamStats) -> None:
        dropped = self._engine.stats.counters[counters.BOT_MARKS_DROPPED]
        if dropped:
            self._report.warning(
                Step.MARKS, f"{dropped} marks were dropped: too many waited at once", remedies.MARKS_DROPPED
            )
        elif stats.marks:
            self._report.ok(Step.MARKS, f"{stats.marks} marks were returned when their audio had been played")
        else:
            self._report.skipped(Step.MARKS, "the bot sent none: it cannot know when the caller has heard it out")

    def _protocol(self, ended: StreamEnded) -> None:
        stats = ended.stats
        wrong = {cause: text for cause, text in ended.complaints.items() if cause in {*RejectCause}}
        if stats.bot_rejected:
            what = "; ".join(f"{cause} ({text})" for cause, text in wrong.items())
            self._report.error(
                Step.PROTOCOL,
                f"{stats.bot_rejected} of {stats.bot_messages} messages of the bot could not be used: {what}",
                remedies.refused(wrong),
            )
        elif stats.bot_messages:
            self._report.ok(Step.PROTOCOL, f"all {stats.bot_messages} messages of the bot were understood")

    # -- more calls ----------------------------------------------------------------------------------------------

    async def _side_by_side(self) -> None:
        """Three calls at once, of which one is hung up before it is answered."""
        calls = [self._new_call() for _ in range(3)]
        try:
            opened = await asyncio.gather(*(call.open() for call in calls), return_exceptions=True)
            failed = [each for each in opened if isinstance(each, BaseException)]
            for each in failed:
                if not isinstance(each, StreamFailed):
                    raise each
            if failed:
                self._report.error(
                    Step.SIDE_BY_SIDE,
                    f"{len(failed)} of three calls at once failed: {failed[0]}",
                    remedies.ONE_AT_A_TIME,
                )
                return
            await calls[2].hang_up()
            for call in calls[:2]:
                call.answer()
                call.speak(True)
            await asyncio.gather(*(call.until(lambda: False, self._wait.after) for call in calls[:2]))
            over = [call for call in calls[:2] if call.over and call.decided is None]
            if over:
                self._report.error(
                    Step.SIDE_BY_SIDE,
                    f"of two calls at once, beside a third that was hung up at once, {len(over)} ended: "
                    f"{over[0].handle.ended.result().detail}",
                    remedies.ONE_AT_A_TIME,
                )
            else:
                self._report.ok(Step.SIDE_BY_SIDE, "two calls at once, beside a third that was hung up at once")
        finally:
            await asyncio.gather(*(call.hang_up() for call in calls))

    async def _reconnect(self) -> None:
        """The connection breaks without a word, and the same call is dialled again."""
        call = self._new_call()
        try:
            await call.open()
        except StreamFailed as failure:
            self._report.error(Step.RECONNECT, f"a call after the others failed: {failure}", remedies.ONE_AT_A_TIME)
            return
        try:
            call.answer()
            call.speak(True)
            await call.until(lambda: False, self._wait.after)
            if call.over:
                self._report.skipped(Step.RECONNECT, "the bot ended the call before it could be tried")
                return
            worker = next(each for each in self._engine.workers if each.rtp == call.handle.rtp)
            if worker.pid is None:
                return
            await call.until(lambda: all(each.up for each in self._engine.workers), WORKER_S)
            os.kill(worker.pid, signal.SIGKILL)
            await call.until(lambda: not worker.up, WORKER_S)
            await call.open_again()
            await call.until(lambda: False, self._wait.after)
            if call.over and call.decided is None:
                self._no_second(call.handle.ended.result().cause, call.handle.ended.result().detail)
            else:
                self._report.ok(Step.RECONNECT, "the connection broke, and the bot took the call up again")
        except StreamFailed as failure:
            self._no_second(failure.cause, failure.detail)
        finally:
            await call.hang_up()

    def _no_second(self, cause: EndCause, detail: str) -> None:
        self._report.error(
            Step.RECONNECT,
            f"the connection broke, and the second one failed ({cause.value}): {detail}",
            remedies.NO_SECOND,
        )
