"""Exotel's count of running streams, and the command that ends one, for calls with a bot of Exotel's dialect."""

from __future__ import annotations

import uuid
from typing import Any

from aiohttp import web

from connector.config_vendors import Accounts
from connector.web.vendors.base import Asked, Handler, Services, VendorApi, VendorRefused, Wrong, answer

STREAMS = "/v1/{accounts:[Aa]ccounts}/{account}/activestreams"
STOP = "/v2/{accounts:[Aa]ccounts}/{account}/legs/{call}/actions/stop_stream"

CODES = {
    Wrong.UNAUTHORIZED: (401, 1010, "Authorization failed"),
    Wrong.LIMITED: (429, 1014, "Too many requests"),
    Wrong.NOT_FOUND: (404, 1000, "Not found"),
    Wrong.INVALID: (400, 1002, "Invalid parameter"),
    Wrong.NOT_SERVED: (400, 1002, "Invalid parameter"),
    Wrong.NOT_ALLOWED: (403, 1010, "Authorization failed"),
    Wrong.FETCH: (400, 1002, "Invalid parameter"),
    Wrong.CONFLICT: (409, 1008, "Duplicate resource"),
    Wrong.FAILED: (500, 1003, "Internal error"),
}
"""HTTP status, Exotel's error code and its message."""


class ExotelApi(VendorApi):
    """Count the streams, stop one.

    Args:
        accounts: Who may use it.
        services: What it is built on.
        most_streams: That this connector takes.
    """

    vendor = "exotel"

    def __init__(self, accounts: Accounts, services: Services, *, most_streams: int) -> None:
        super().__init__(accounts, services)
        self._most = most_streams

    @property
    def routes(self) -> list[tuple[str, str, Handler]]:
        """Of APIs v1 and v2."""
        return [("GET", STREAMS, self._count), ("POST", STOP, self._stop)]

    def error(self, refused: VendorRefused, path: str) -> web.Response:
        """Exotel's envelope."""
        status, code, message = CODES[refused.wrong]
        data = {"code": code, "message": message, "description": refused.detail}
        return answer(
            _envelope(status, {"code": status, "error_data": data, "status": "failure", "data": None}), status
        )

    async def _count(self, asked: Asked) -> web.Response:
        running = [*self._services.desk.calls(self.vendor, asked.account)]
        listening = [*self._services.desk.taps(self.vendor, asked.account)]
        return answer(
            {
                "status": "success",
                "active_streams": len(running) + len(listening),
                "max_allowed_streams": self._most,
                "account_sid": asked.path["account"],
            }
        )

    async def _stop(self, asked: Asked) -> web.Response:
        found = self.find(asked, asked.path["call"])
        self.stop_stream(asked, found)
        data = {"leg_sid": found.ids.call, "stream_sid": found.ids.stream}
        return answer(_envelope(200, {"code": 200, "error_data": None, "status": "success", "data": data}))


def _envelope(status: int, response: dict[str, Any]) -> dict[str, Any]:
    return {"request_id": uuid.uuid4().hex, "method": "", "http_code": status, "response": response}
