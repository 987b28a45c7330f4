"""Plivo's Call resource (API v1), for calls that are with a bot of Plivo's dialect."""

from __future__ import annotations

import uuid

from aiohttp import web

from connector.dialects.commands import HangUp, SendDigits
from connector.dialects.wire import read_digits
from connector.web.vendors.base import Asked, Handler, VendorApi, VendorRefused, Wrong, answer
from connector.web.vendors.callxml import Redirect
from connector.web.vendors.desk import Found

CALL = "/v1/Account/{account}/Call/{call}/"

STATUS = {
    Wrong.UNAUTHORIZED: 401,
    Wrong.LIMITED: 429,
    Wrong.NOT_FOUND: 404,
    Wrong.INVALID: 400,
    Wrong.NOT_SERVED: 400,
    Wrong.NOT_ALLOWED: 403,
    Wrong.FETCH: 400,
    Wrong.CONFLICT: 409,
    Wrong.FAILED: 500,
}


class PlivoApi(VendorApi):
    """Hang up, transfer, press keys, stop a stream."""

    vendor = "plivo"

    @property
    def routes(self) -> list[tuple[str, str, Handler]]:
        """Of API v1; Plivo ends its paths with a slash, and bots forget it."""
        served: list[tuple[str, str, Handler]] = [
            ("DELETE", CALL, self._hang_up),
            ("POST", CALL, self._transfer),
            ("POST", CALL + "DTMF/", self._send_digits),
            ("DELETE", CALL + "Stream/", self._stop),
            ("DELETE", CALL + "Stream/{stream}/", self._stop),
        ]
        return served + [(method, path.rstrip("/"), handler) for method, path, handler in served]

    def error(self, refused: VendorRefused, path: str) -> web.Response:
        """`error` and an id of the request."""
        return answer({"api_id": _api_id(), "error": refused.detail}, STATUS[refused.wrong])

    async def _hang_up(self, asked: Asked) -> web.Response:
        await self.order(asked, self.find(asked, asked.path["call"]), HangUp("hangup"))
        return web.Response(status=204)

    async def _transfer(self, asked: Asked) -> web.Response:
        """The caller's leg is the A leg."""
        found = self.find(asked, asked.path["call"])
        url = asked.text("aleg_url")
        if (asked.text("legs") or "aleg") != "aleg" or not url:
            raise VendorRefused(Wrong.NOT_SERVED, "only legs=aleg with aleg_url is served")
        await self.follow(asked, found, Redirect(url, (asked.text("aleg_method") or "POST").upper()))
        return answer({"api_id": _api_id(), "call_uuids": [found.ids.call], "message": "call transferred"}, 202)

    async def _send_digits(self, asked: Asked) -> web.Response:
        found = self.find(asked, asked.path["call"])
        digits = read_digits(asked.values.get("digits"))
        if digits is None:
            raise VendorRefused(Wrong.INVALID, "digits are 0-9, A-D, *, #, w or W, at most 64")
        await self.order(asked, found, SendDigits(digits))
        return answer({"api_id": _api_id(), "message": "digits sent"}, 202)

    async def _stop(self, asked: Asked) -> web.Response:
        found = self.find(asked, asked.path["call"])
        if asked.path.get("stream", found.ids.stream) != found.ids.stream:
            raise VendorRefused(Wrong.NOT_FOUND, "the call has no such stream")
        self.stop_stream(asked, found)
        return web.Response(status=204)

    def request_fields(self, asked: Asked, found: Found) -> dict[str, str]:
        """Plivo's parameters of a request for XML."""
        return {
            "CallUUID": found.ids.call,
            "CallStatus": "in-progress",
            "Direction": "inbound",
            "Event": "Redirect",
            "From": found.caller,
            "To": found.dialled,
        }


def _api_id() -> str:
    return str(uuid.uuid4())
