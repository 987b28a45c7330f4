"""Twilio's Calls and Streams resources (API 2010-04-01), for calls that are with a bot of Twilio's dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from connector.dialects.commands import HangUp
from connector.media.control import EndCause
from connector.net.credentials import TWILIO_HEADER, twilio_signature
from connector.web.vendors.base import Asked, Handler, VendorApi, VendorRefused, Wrong, answer
from connector.web.vendors.callxml import Redirect
from connector.web.vendors.desk import Found

CALL = "/2010-04-01/Accounts/{account}/Calls/{call:[^/.]+}.json"
STREAM = "/2010-04-01/Accounts/{account}/Calls/{call}/Streams/{stream:[^/.]+}.json"

CODES = {
    Wrong.UNAUTHORIZED: (401, 20003, "Authenticate"),
    Wrong.LIMITED: (429, 20429, "Too Many Requests"),
    Wrong.NOT_FOUND: (404, 20404, "The requested resource {path} was not found"),
    Wrong.INVALID: (400, 20001, "{detail}"),
    Wrong.NOT_SERVED: (400, 12200, "{detail}"),
    Wrong.NOT_ALLOWED: (400, 13224, "{detail}"),
    Wrong.FETCH: (400, 11200, "{detail}"),
    Wrong.CONFLICT: (409, 20409, "{detail}"),
    Wrong.FAILED: (500, 20500, "{detail}"),
}
"""HTTP status, Twilio's error code and its message: https://www.twilio.com/docs/api/errors."""


class TwilioApi(VendorApi):
    """Update and read a call, stop a stream."""

    vendor = "twilio"

    @property
    def routes(self) -> list[tuple[str, str, Handler]]:
        """Of API 2010-04-01."""
        return [("GET", CALL, self._read_call), ("POST", CALL, self._update), ("POST", STREAM, self._update_stream)]

    def error(self, refused: VendorRefused, path: str) -> web.Response:
        """Code, message, more_info and status."""
        status, code, message = CODES[refused.wrong]
        return answer(
            {
                "code": code,
                "message": message.format(path=path, detail=refused.detail),
                "more_info": f"https://www.twilio.com/docs/errors/{code}",
                "status": status,
            },
            status,
        )

    async def _read_call(self, asked: Asked) -> web.Response:
        return answer(_call(self.find(asked, asked.path["call"]), "in-progress"))

    async def _update(self, asked: Asked) -> web.Response:
        found = self.find(asked, asked.path["call"])
        status, xml, url = asked.text("Status"), asked.text("Twiml"), asked.text("Url")
        if status in ("completed", "canceled"):
            await self.order(asked, found, HangUp(f"Status={status}"))
        elif status:
            raise VendorRefused(Wrong.INVALID, f"Status {status[:20]!r}: completed or canceled")
        elif xml:
            command = self.read(xml)
            if isinstance(command, Redirect):
                await self.follow(asked, found, command)
            else:
                await self.order(asked, found, command)
        elif url:
            await self.follow(asked, found, Redirect(url, (asked.text("Method") or "POST").upper()))
        else:
            raise VendorRefused(Wrong.INVALID, "nothing to update: Status, Twiml or Url")
        return answer(_call(found, "completed" if status else "in-progress"))

    async def _update_stream(self, asked: Asked) -> web.Response:
        wanted = asked.path["stream"]
        if asked.text("Status") != "stopped":
            raise VendorRefused(Wrong.INVALID, "Status has to be stopped")
        for ids, tap in self._services.desk.taps(self.vendor, asked.account):
            if wanted == ids.stream and asked.path["call"] == ids.call:
                tap.stop(EndCause.STOPPED)
                return answer(_stream(ids.account, ids.call, ids.stream))
        found = self.find(asked, asked.path["call"])
        if found.ids.stream != wanted:
            raise VendorRefused(Wrong.NOT_FOUND, "the call has no such stream")
        self.stop_stream(asked, found)
        return answer(_stream(*found.ids))

    def request_fields(self, asked: Asked, found: Found) -> dict[str, str]:
        """Twilio's parameters of a request for TwiML."""
        return {
            "AccountSid": found.ids.account,
            "ApiVersion": "2010-04-01",
            "CallSid": found.ids.call,
            "CallStatus": "in-progress",
            "Direction": "inbound",
            "From": found.caller,
            "To": found.dialled,
        }

    def request_headers(self, asked: Asked, url: str, form: Mapping[str, str]) -> dict[str, str]:
        """X-Twilio-Signature."""
        return {TWILIO_HEADER: twilio_signature(self.secret(asked.account), url, form)}


def _call(found: Found, status: str) -> dict[str, Any]:
    uri = f"/2010-04-01/Accounts/{found.ids.account}/Calls/{found.ids.call}"
    return {
        "sid": found.ids.call,
        "account_sid": found.ids.account,
        "api_version": "2010-04-01",
        "status": status,
        "direction": "inbound",
        "from": found.caller,
        "to": found.dialled,
        "caller_name": found.bot.call.caller.get("fromName", ""),
        "uri": f"{uri}.json",
        "subresource_uris": {"streams": f"{uri}/Streams.json"},
    }


def _stream(account: str, call: str, stream: str) -> dict[str, Any]:
    return {
        "sid": stream,
        "account_sid": account,
        "call_sid": call,
        "status": "stopped",
        "uri": f"/2010-04-01/Accounts/{account}/Calls/{call}/Streams/{stream}.json",
    }
