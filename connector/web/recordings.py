"""`/api/v1/recordings/{day}/{file}/audio`: the content of a recording, whole or by ranges (RFC 9110 section 14)."""

from __future__ import annotations

from aiohttp import web

from connector.access.rights import Right
from connector.web.audit import Audit
from connector.web.auth.identity import who
from connector.web.rest.problems import Refused
from connector.web.rest.recordings import RecordingsApi

PATH = "/api/v1/recordings/{day}/{file}/audio"
TYPES = {".wav": "audio/wav", ".flac": "audio/flac", ".ogg": "audio/ogg", ".mp3": "audio/mpeg"}


class RecordingFiles:
    """Serves those who may play recordings; each that is begun to be played stands in the audit.

    Args:
        recordings: Knows who may hear which.
        audit: Keeps who did.
    """

    def __init__(self, recordings: RecordingsApi, audit: Audit) -> None:
        self._recordings = recordings
        self._audit = audit

    def add_to(self, application: web.Application) -> None:
        """Makes it reachable."""
        application.router.add_get(PATH, self.serve)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answers one request."""
        listener = who(request)
        day, file = request.match_info["day"], request.match_info["file"]
        result, pbx = "failed", ""
        try:
            path, note = await self._recordings.found(listener.need(Right.PLAY_RECORDINGS).sight, day, file)
            result, pbx = "ok", note.pbx
        except Refused as refused:
            result = refused.kind
            raise
        finally:
            if result != "ok" or _from_the_beginning(request):  # not once more for each part of the same
                self._audit.write(listener, "recording.play", f"{day}/{file}"[:128], result=result, pbx=pbx)
        headers = {"Cache-Control": "no-store", "Content-Type": TYPES.get(path.suffix, "application/octet-stream")}
        return web.FileResponse(path, headers=headers)


def _from_the_beginning(request: web.Request) -> bool:
    try:
        return request.http_range.start in (None, 0)
    except ValueError:  # no range; it is answered by 416
        return True
