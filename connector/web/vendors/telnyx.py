"""Telnyx's call control commands (API v2), for calls that are with a bot of Telnyx's dialect."""

from __future__ import annotations

import re

from aiohttp import web

from connector.dialects.commands import HangUp, SendDigits, Transfer
from connector.dialects.wire import read_digits
from connector.web.vendors.base import Asked, Handler, VendorApi, VendorRefused, Wrong, answer
from connector.web.vendors.callxml import target_of

ACTIONS = "/v2/calls/{call}/actions/"

CODES = {
    Wrong.UNAUTHORIZED: (401, "10009", "Authentication failed"),
    Wrong.LIMITED: (429, "10011", "Too many requests"),
    Wrong.NOT_FOUND: (422, "90018", "Call has already ended"),
    Wrong.INVALID: (422, "10015", "Bad request"),
    Wrong.NOT_SERVED: (422, "10015", "Bad request"),
    Wrong.NOT_ALLOWED: (403, "10010", "Authorization failed"),
    Wrong.FETCH: (422, "10015", "Bad request"),
    Wrong.CONFLICT: (409, "10015", "Bad request"),
    Wrong.FAILED: (500, "10007", "Unexpected error"),
}
"""HTTP status, Telnyx's error code and its title: https://developers.telnyx.com/api/errors."""
UNKNOWN = (422, "90015", "Invalid Call Control ID")
_OURS = re.compile(r"v3:[0-9a-f]{32}")


class TelnyxApi(VendorApi):
    """Commands on a call; Telnyx answers each with `{"data": {"result": "ok"}}`."""

    vendor = "telnyx"

    @property
    def routes(self) -> list[tuple[str, str, Handler]]:
        """Of API v2."""
        return [
            ("POST", ACTIONS + "hangup", self._hang_up),
            ("POST", ACTIONS + "transfer", self._transfer),
            ("POST", ACTIONS + "send_dtmf", self._send_digits),
            ("POST", ACTIONS + "streaming_stop", self._stop),
        ]

    def error(self, refused: VendorRefused, path: str) -> web.Response:
        """A list of one."""
        status, code, title = CODES[refused.wrong]
        if refused.wrong is Wrong.NOT_FOUND and not _OURS.search(path):
            status, code, title = UNKNOWN
        return answer({"errors": [{"code": code, "title": title, "detail": refused.detail}]}, status)

    async def _hang_up(self, asked: Asked) -> web.Response:
        await self.order(asked, self.find(asked, asked.path["call"]), HangUp("hangup"))
        return _done()

    async def _transfer(self, asked: Asked) -> web.Response:
        found = self.find(asked, asked.path["call"])
        to = asked.text("to")
        if not to:
            raise VendorRefused(Wrong.INVALID, "to is missing")
        listed = asked.values.get("custom_headers")
        headers = {
            each["name"]: each["value"]
            for each in (listed if isinstance(listed, list) else [])
            if isinstance(each, dict) and isinstance(each.get("name"), str) and isinstance(each.get("value"), str)
        }
        target = target_of(to, self._services.dial_context)
        await self.order(asked, found, Transfer(target, headers=headers))
        return _done()

    async def _send_digits(self, asked: Asked) -> web.Response:
        found = self.find(asked, asked.path["call"])
        digits = read_digits(asked.values.get("digits"))
        if digits is None:
            raise VendorRefused(Wrong.INVALID, "digits are 0-9, A-D, *, #, w or W, at most 64")
        await self.order(asked, found, SendDigits(digits))
        return _done()

    async def _stop(self, asked: Asked) -> web.Response:
        self.stop_stream(asked, self.find(asked, asked.path["call"]))
        return _done()


def _done() -> web.Response:
    return answer({"data": {"result": "ok"}})
