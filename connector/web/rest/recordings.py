"""Recordings: of calls that go on, begun, paused and ended; and those there are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from connector.access.rights import Right
from connector.access.sight import Sight
from connector.media.peaks import Peaks, Unreadable, peaks_of
from connector.streams.recordedcalls import (
    AlreadyRecorded,
    LiveRecording,
    NoSuchCall,
    NotRecorded,
    RecordedCalls,
    TapRefused,
)
from connector.streams.recordings import Note, Recordings
from connector.web.ports import History, Live
from connector.web.rest.endpoint import Call, Deed, Endpoint, Nothing
from connector.web.rest.fields import CallCursor, Limit, Text, Time
from connector.web.rest.history import available, finished_call, span
from connector.web.rest.live import CallPath, state_of
from connector.web.rest.problems import Refused, not_found
from connector.web.scope import own_agents, reaches_call, sees_call, shown_finished

OUTLINES_MAX = 100
"""That are kept; the oldest goes."""
READERS = 2
"""Recordings that are read for their outline at once."""

Day = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
File = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}$")]


class RecordingPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One recording."""

    day: Day
    file: File


class RecordingsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which recordings, by their beginning."""

    pbx: Text = ""
    call: Annotated[Text, Meta(description="Linkedid of the call.")] = ""
    since: Annotated[Time | None, Meta(description="Begins at or after; without it, a day before `until`.")] = None
    until: Annotated[Time | None, Meta(description="Begins before; without it, until now.")] = None
    limit: Limit = 100
    after: CallCursor = ""


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """A recording: the caller on the left channel, `right` says who is on the right one."""

    day: str
    file: str
    pbx: str
    linkedid: str
    channel_id: str
    stream_id: str
    profile: str
    right: str
    started_at: float
    state: Annotated[str, Meta(description="recording, closed, recovered (its writer died) or failed.")]
    duration_ms: int | None
    size_bytes: int
    sha256: str
    dropped_ms: int
    paused_ms: int
    error: str
    uploaded_at: float | None
    audio: Annotated[str, Meta(description="Path of the file's content.")]


class RecordingList(msgspec.Struct, frozen=True, kw_only=True):
    """Recordings, the latest first; `next` is empty at the end."""

    recordings: tuple[Recording, ...]
    next: str


class PauseRecordingBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether what is said is left out, a card number for instance."""

    paused: bool


class HasRecorded(Protocol):
    """Who has the recordings of a PBX's calls; `streams.manager.StreamManager` does."""

    @property
    def recorded(self) -> RecordedCalls:
        """They."""
        ...


class RecordingsApi:
    """Begins, pauses and ends recordings, and gives those there are, within the scope of who asks.

    Args:
        of_calls: By PBX who has the recordings of its calls.
        recordings: The folder.
        live: Calls that go on.
        history: Calls that ended.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        of_calls: Mapping[str, HasRecorded],
        recordings: Recordings,
        live: Live,
        history: History,
        clock: Callable[[], float],
    ) -> None:
        self._of_calls = of_calls
        self._recordings = recordings
        self._live = live
        self._history = history
        self._clock = clock
        self._outlines: dict[str, Peaks] = {}
        self._reading = asyncio.Semaphore(READERS)

    def endpoints(self) -> list[Endpoint]:
        """What it serves."""
        at = "/calls/{pbx}/{linkedid}/recording"

        def deed(action: str) -> Deed:
            return Deed(f"recording.{action}", lambda call: call.path.linkedid, pbx=lambda call: call.path.pbx)

        return [
            Endpoint("GET", at, "get_call_recording", "The recording of a call that goes on", "recordings", self._of,
                     LiveRecording, parameters=CallPath, problems=(404,), right=Right.SEE),
            Endpoint("POST", at, "start_call_recording", "Record a call from now on", "recordings", self._start,
                     LiveRecording, parameters=CallPath, status=201, problems=(404, 409, 503), right=Right.RECORD,
                     deed=deed("start")),
            Endpoint("PUT", at, "pause_call_recording", "Leave what is said out of a recording, or no longer",
                     "recordings", self._pause, LiveRecording, parameters=CallPath, body=PauseRecordingBody,
                     problems=(404,), right=Right.RECORD,
                     deed=Deed("recording.pause", lambda call: call.path.linkedid, pbx=lambda call: call.path.pbx,
                               detail=lambda call: f"paused {str(call.body.paused).lower()}")),
            Endpoint("DELETE", at, "stop_call_recording", "Record a call no more", "recordings", self._stop,
                     LiveRecording, parameters=CallPath, problems=(404,), right=Right.RECORD, deed=deed("stop")),
            Endpoint("GET", "/recordings", "list_recordings", "Recordings, the latest first", "recordings", self._list,
                     RecordingList, query=RecordingsQuery, problems=(503,), right=Right.PLAY_RECORDINGS),
            Endpoint("GET", "/recordings/{day}/{file}", "get_recording", "One recording", "recordings", self._get,
                     Recording, parameters=RecordingPath, problems=(404, 503), right=Right.PLAY_RECORDINGS),
            Endpoint("GET", "/recordings/{day}/{file}/peaks", "get_recording_peaks", "The outline of a recording",
                     "recordings", self._peaks, Peaks, parameters=RecordingPath, problems=(404, 409, 503),
                     right=Right.PLAY_RECORDINGS),
        ]  # fmt: skip

    # -- calls that go on -----------------------------------------------------------------------------------------

    async def _of(self, call: Call[CallPath, Nothing, None]) -> LiveRecording:
        recorded = self._reached(call).of(call.path.linkedid)
        if recorded is None:
            raise _not_recorded(call.path)
        return recorded

    async def _start(self, call: Call[CallPath, Nothing, None]) -> LiveRecording:
        try:
            return await self._reached(call, acts=True).start(call.path.linkedid)
        except NoSuchCall:
            raise _no_call(call.path) from None
        except AlreadyRecorded:
            raise Refused(
                409, "already-recorded", "The call is recorded already.", remedy="PUT and DELETE change that recording."
            ) from None
        except TapRefused as refused:
            raise Refused(
                503, "no-room", f"There is no room for listening to another call: {refused}.", remedy="Try again later."
            ) from None
        except NotRecorded as error:
            raise Refused(
                503, "not-recorded", str(error), remedy="Look at the log and at recording.directory."
            ) from None

    async def _pause(self, call: Call[CallPath, Nothing, PauseRecordingBody]) -> LiveRecording:
        try:
            return self._reached(call, acts=True).pause(call.path.linkedid, call.body.paused)
        except NoSuchCall:
            raise _not_recorded(call.path) from None

    async def _stop(self, call: Call[CallPath, Nothing, None]) -> LiveRecording:
        try:
            return self._reached(call, acts=True).stop(call.path.linkedid)
        except NoSuchCall:
            raise _not_recorded(call.path) from None

    def _reached(self, call: Call[CallPath, Nothing, Any], acts: bool = False) -> RecordedCalls:
        state = state_of(self._live, call.path.pbx)
        live = state.calls.get(call.path.linkedid)
        if live is None or not sees_call(call.sight, state, live):
            raise _no_call(call.path)
        if acts and not reaches_call(call.sight, state, live):
            raise Refused(
                403, "out-of-scope", "The call is in a queue of somebody else now.", remedy="Ask who has that queue."
            )
        return self._of_calls[state.pbx].recorded

    # -- what there is --------------------------------------------------------------------------------------------

    async def _list(self, call: Call[Nothing, RecordingsQuery, None]) -> RecordingList:
        query = call.query
        since, until = span(query.since, query.until, self._clock())
        page: list[Recording] = []
        for day in await asyncio.to_thread(self._recordings.days, since, until):
            for note in await asyncio.to_thread(self._recordings.of_day, day):
                if (
                    not since <= note.started_at < until
                    or (query.pbx and note.pbx != query.pbx)
                    or (query.call and note.linkedid != query.call)
                    or (query.after and _place(note) >= _after(query.after))
                    or not await self._seen(call.sight, note)
                ):
                    continue
                if len(page) == query.limit:
                    last = page[-1]
                    return RecordingList(recordings=tuple(page), next=f"{_decimal(last.started_at)}~{last.file}")
                page.append(shown_recording(day, note))
        return RecordingList(recordings=tuple(page), next="")

    async def _get(self, call: Call[RecordingPath, Nothing, None]) -> Recording:
        _, note = await self.found(call.sight, call.path.day, call.path.file)
        return shown_recording(call.path.day, note)

    async def _peaks(self, call: Call[RecordingPath, Nothing, None]) -> Peaks:
        path, note = await self.found(call.sight, call.path.day, call.path.file)
        if not note.sha256:
            raise Refused(409, "not-closed", "The recording is not closed.", remedy="Wait until the call has ended.")
        if note.sha256 not in self._outlines:
            async with self._reading:
                try:
                    outline = await asyncio.to_thread(peaks_of, path)
                except Unreadable as error:
                    raise Refused(409, "unreadable", str(error), remedy="Download it: audio has its address.") from None
            while len(self._outlines) >= OUTLINES_MAX:
                del self._outlines[next(iter(self._outlines))]
            self._outlines[note.sha256] = outline
        return self._outlines[note.sha256]

    async def found(self, sight: Sight, day: str, file: str) -> tuple[Path, Note]:
        """A recording that somebody may hear.

        Raises:
            Refused: There is no such one in their scope.
        """
        found = await asyncio.to_thread(self._recordings.one, day, file)
        if found is None or not await self._seen(sight, found[1]):
            raise not_found(f"There is no recording {day}/{file}.", "See /api/v1/recordings for those there are.")
        return found

    async def _seen(self, sight: Sight, note: Note) -> bool:
        """Whether a recording's call is one that they see, going on or ended."""
        if sight.whole:
            return True
        state = self._live.states().get(note.pbx)
        if state is None or not note.linkedid:
            return False
        live = state.calls.get(note.linkedid)
        if live is not None:
            return sees_call(sight, state, live)
        record = await available(self._history.call(note.pbx, note.linkedid))
        return record is not None and bool(
            shown_finished(sight, finished_call(record), own_agents(sight, [state])).visits
        )


def shown_recording(day: str, note: Note) -> Recording:
    """A recording as it is shown."""
    if note.error:
        state = "failed"
    elif not note.sha256:
        state = "recording"
    else:
        state = "recovered" if note.recovered else "closed"
    return Recording(
        day=day,
        file=note.file,
        pbx=note.pbx,
        linkedid=note.linkedid,
        channel_id=note.channel_id,
        stream_id=note.stream_id,
        profile=note.profile,
        right=note.right,
        started_at=note.started_at,
        state=state,
        duration_ms=note.duration_ms,
        size_bytes=note.size_bytes,
        sha256=note.sha256,
        dropped_ms=note.dropped_ms,
        paused_ms=note.paused_ms,
        error=note.error,
        uploaded_at=note.uploaded_at,
        audio=f"/api/v1/recordings/{day}/{note.file}/audio",
    )


def _decimal(at: float) -> str:
    return f"{at:.9f}".rstrip("0").rstrip(".")


def _place(note: Note) -> tuple[float, str]:
    return float(_decimal(note.started_at)), note.file


def _after(cursor: str) -> tuple[float, str]:
    at, _, file = cursor.partition("~")
    return float(at), file


def _no_call(path: CallPath) -> Refused:
    return not_found(f"{path.pbx} has no call {path.linkedid!r} now.", "See /api/v1/calls for those that go on.")


def _not_recorded(path: CallPath) -> Refused:
    return not_found(f"The call {path.linkedid!r} is not recorded.", "POST to begin a recording.")
