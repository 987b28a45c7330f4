"""Recording of calls that go on, begun, paused and ended by whoever may: whichever stream carries a call is recorded.

A call with a bot is recorded in the bot's stream, one that is listened to in that stream; any other is listened to for
the recording alone. It is recorded once, however many ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from connector.streams.admission import Refusal
from connector.streams.recordings import Recordings
from connector.streams.tapcall import TapCall, TapOrder
from connector.streams.taps import CallView, TapRefused, Taps
from connector.streams.voicebot import VoicebotCall

START_S = 5.0
"""Until a call that is listened to for its recording alone has to be heard."""


class LiveRecording(msgspec.Struct, frozen=True, kw_only=True):
    """A recording that goes on.

    Attributes:
        pbx: Name of the PBX.
        linkedid: Of the call.
        day: With `file` the recording's place in the list of recordings.
        file: Its name.
        profile: Of the bot, or of the server that listens; empty where nobody does.
        right: Who is on the right channel: bot or agent. The caller is on the left one.
        paused: What is said is left out.
    """

    pbx: str
    linkedid: str
    day: str
    file: str
    profile: str
    right: str
    paused: bool


class AlreadyRecorded(Exception):
    """The call is recorded."""


class NoSuchCall(Exception):
    """The call does not go on, or is not recorded."""


class NotRecorded(Exception):
    """Asterisk or the disk did not give the recording; the message says why."""


class RecordedCalls:
    """The recordings of the calls of one PBX.

    Args:
        pbx: Its name.
        calls: Calls with a bot.
        taps: Calls that are listened to.
        recordings: The folder.
        view: What is known of calls.
    """

    def __init__(
        self,
        pbx: str,
        calls: Callable[[], Iterable[VoicebotCall]],
        taps: Taps,
        recordings: Recordings,
        view: CallView,
    ) -> None:
        self._pbx = pbx
        self._calls = calls
        self._taps = taps
        self._recordings = recordings
        self._view = view

    def of(self, linkedid: str) -> LiveRecording | None:
        """The recording of a call, if it is recorded."""
        found = next((each for each in self._streams(linkedid) if each.recorded is not None), None)
        return None if found is None else self._told(linkedid, found)

    async def start(self, linkedid: str) -> LiveRecording:
        """Records a call from now on.

        Raises:
            NoSuchCall: It does not go on.
            AlreadyRecorded: It is recorded.
            NotRecorded: It cannot be.
            TapRefused: There is no room for listening to it.
        """
        if self.of(linkedid) is not None:
            raise AlreadyRecorded
        for stream in self._streams(linkedid):
            if isinstance(stream, VoicebotCall):
                call = stream.call
                channel_id, stream_id, profile = call.channel_id, call.stream_id, call.profile
            elif self._can_record(stream):
                channel_id, stream_id, profile = (
                    stream.order.channel_id, stream.stream_ids[0], stream.order.profile
                )  # fmt: skip
            else:
                continue
            to = self._recordings.try_to_begin(
                pbx=self._pbx,
                channel_id=channel_id,
                stream_id=stream_id,
                profile=profile,
                linkedid=linkedid,
                tap=isinstance(stream, TapCall),
            )
            if to is None:
                raise NotRecorded("The folder of the recordings cannot be written to; the log says why.")
            stream.start_recording(to)
            return self._told(linkedid, stream)
        return await self._listen(linkedid)

    def pause(self, linkedid: str, paused: bool) -> LiveRecording:
        """Leaves what is said out of the recording, or no longer.

        Raises:
            NoSuchCall: It is not recorded.
        """
        stream = self._recorded(linkedid)
        stream.pause_recording(paused)
        return self._told(linkedid, stream)

    def stop(self, linkedid: str) -> LiveRecording:
        """Records a call no more; gives what was.

        Raises:
            NoSuchCall: It is not recorded.
        """
        stream = self._recorded(linkedid)
        told = self._told(linkedid, stream)
        stream.stop_recording()
        return told

    async def _listen(self, linkedid: str) -> LiveRecording:
        channel_id = self._view.caller_of(linkedid)
        if not channel_id:
            raise NoSuchCall
        tap = self._taps.start(TapOrder(channel_id, profile=""))
        waits = [asyncio.create_task(event.wait()) for event in (tap.started, tap.over)]
        try:
            await asyncio.wait(waits, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not tap.started.is_set() or tap.recorded is None:
            tap.stop()
            raise NotRecorded("The call has ended, or cannot be listened to or written to disk; the log says why.")
        return self._told(linkedid, tap)

    def _can_record(self, tap: TapCall) -> bool:
        """Whether a recording can begin in what is there: where both sides are to hear a beep, they have to."""
        return tap.started.is_set() and tap.can_record and (tap.tap.audible or not self._recordings.beeps)

    def _recorded(self, linkedid: str) -> VoicebotCall | TapCall:
        found = next((each for each in self._streams(linkedid) if each.recorded is not None), None)
        if found is None:
            raise NoSuchCall
        return found

    def _streams(self, linkedid: str) -> list[VoicebotCall | TapCall]:
        of = self._view.linkedid_of
        bots = [call for call in self._calls() if of(call.call.channel_id) == linkedid and call.live_since is not None]
        taps = [
            tap
            for tap in self._taps.active.values()
            if isinstance(tap, TapCall) and not tap.over.is_set() and of(tap.order.channel_id) == linkedid
        ]
        return [*bots, *taps]

    def _told(self, linkedid: str, stream: VoicebotCall | TapCall) -> LiveRecording:
        to = stream.recorded
        assert to is not None
        path = Path(to.path)
        return LiveRecording(
            pbx=self._pbx,
            linkedid=linkedid,
            day=path.parent.name,
            file=path.name,
            profile=stream.order.profile if isinstance(stream, TapCall) else stream.call.profile,
            right="agent" if to.tap else "bot",
            paused=stream.recording_paused,
        )


__all__ = ["AlreadyRecorded", "LiveRecording", "NoSuchCall", "NotRecorded", "RecordedCalls", "Refusal", "TapRefused"]
