"""The stream that a call had last: what later steps of the call may ask for."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from pathlib import PurePath

from connector.config_recording import RecordingSettings
from connector.streams.passthru import StreamData
from connector.streams.voicebot import VoicebotCall

CALLS_MAX = 1_000
"""Remembered; the oldest goes. A step follows its stream at once."""
ENDING_S = 3.0
"""For a stream to have ended: its call is with the next step as soon as it has left."""


class LastStreams:
    """Of one PBX.

    Args:
        recording: Where recordings go.
    """

    def __init__(self, recording: RecordingSettings) -> None:
        self._recording = recording
        self._calls: OrderedDict[str, VoicebotCall] = OrderedDict()

    def put(self, call: VoicebotCall) -> None:
        """A call is with a bot."""
        self._calls[call.call.channel_id] = call
        self._calls.move_to_end(call.call.channel_id)
        while len(self._calls) > CALLS_MAX:
            self._calls.popitem(last=False)

    async def of(self, channel_id: str, *, recordings_url: str) -> StreamData | None:
        """The last stream of a channel, once it has ended; None if it had none.

        Args:
            channel_id: Of the caller.
            recordings_url: What addresses of recordings here begin with.
        """
        call = self._calls.get(channel_id)
        if call is None:
            return None
        await asyncio.wait({call.ending}, timeout=ENDING_S)
        if not call.ending.done():
            return None
        ending = call.ending.result()
        return StreamData(
            stream_id=call.call.stream_id,
            url=call.peer,
            cause=ending.cause,
            detail=ending.detail,
            duration_s=ending.lasted_s,
            recording_url="" if call.recorded is None else self._recording_url(call.recorded.path, recordings_url),
        )

    def _recording_url(self, path: str, base: str) -> str:
        file = PurePath(path)
        if self._recording.upload_url:
            return f"{self._recording.upload_url}/{file.name}"
        return f"{base}/api/v1/recordings/{file.parent.name}/{file.name}/audio"
