"""What the REST interfaces of all vendors share: who asks, how often, what is done with the call, and the audit of it.

Each vendor's file has its paths and its shapes. A bot that asks by REST may do what it may in its own protocol: hand
over to what `handover.allow` of its profile has, and nothing else.
"""

from __future__ import annotations

import abc
import base64
import binascii
import enum
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
import structlog
from aiohttp import hdrs, web

from connector.access.rate import Rate
from connector.asterisk.ari import AriError
from connector.config_vendors import Accounts
from connector.dialects.commands import Command, HangUp, SendDigits, Transfer
from connector.media.control import EndCause
from connector.net.credentials import NoSecret, Secrets
from connector.net.fetch import Fetcher, FetchFailed
from connector.net.reach import Reach
from connector.streams.handover import BadHandover
from connector.web.audit import Audit
from connector.web.auth.identity import Who
from connector.web.auth.proxies import Proxies
from connector.web.vendors.callxml import BadXml, NotServed, Redirect, read
from connector.web.vendors.desk import Desk, Found

log = structlog.get_logger()

REDIRECTS_MAX = 3
FETCH_TIMEOUT_S = 5.0
WRONG_PER_S, WRONG_BURST = 0.2, 20
"""Wrong credentials that an address may send: after twenty in a row one in five seconds."""


class Wrong(enum.StrEnum):
    """What can be wrong with a request. A closed set: it is a metric label, and each vendor has its words for it."""

    UNAUTHORIZED = "unauthorized"
    LIMITED = "limited"
    NOT_FOUND = "not_found"
    """There is no such call with a bot of the account now."""
    INVALID = "invalid"
    NOT_SERVED = "not_served"
    NOT_ALLOWED = "not_allowed"
    """`handover.allow` of the profile does not have it, or the target is none."""
    FETCH = "fetch"
    """A document that was to be fetched could not be."""
    FAILED = "failed"
    """Asterisk did not do it."""
    CONFLICT = "conflict"
    """There is such a one already."""


class VendorRefused(Exception):
    """A request is answered with an error.

    Attributes:
        wrong: What kind.
        detail: One sentence for the bot's developer.
        wait_s: When to try again; 0 for not said.
    """

    def __init__(self, wrong: Wrong, detail: str, *, wait_s: float = 0.0) -> None:
        super().__init__(detail)
        self.wrong = wrong
        self.detail = detail
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the interfaces are built on.

    Attributes:
        desk: Finds calls.
        audit: Keeps what is done.
        secrets: Finds the accounts' secrets.
        proxies: Says where a request came from.
        fetcher: Asks for documents.
        reach: Where it may.
        rate: Of requests, by account.
        wrong: Of wrong credentials, by address.
        count: Counts a request by vendor and result.
        dial_context: Dialplan context of numbers; empty for the call's own.
    """

    desk: Desk
    audit: Audit
    secrets: Secrets
    proxies: Proxies
    fetcher: Fetcher
    reach: Reach
    rate: Rate
    wrong: Rate
    count: Callable[[str, str], None]
    dial_context: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of somebody known.

    Attributes:
        account: Of the vendor, whose credentials came.
        who: For the audit.
        path: Parameters in the path.
        values: Form fields or members of the JSON object.
        url: As the client wrote it, without query.
    """

    account: str
    who: Who
    path: Mapping[str, str]
    values: Mapping[str, Any]
    url: str

    def text(self, name: str) -> str:
        """A value as text; empty where there is none."""
        value = self.values.get(name, "")
        return value if isinstance(value, str) else ""


Handler = Callable[[Asked], Awaitable[web.Response]]


class VendorApi(abc.ABC):
    """One vendor's interface.

    Args:
        accounts: Who may use it.
        services: What it is built on.
    """

    vendor: ClassVar[str]

    def __init__(self, accounts: Accounts, services: Services) -> None:
        self._accounts = accounts
        self._services = services

    @property
    @abc.abstractmethod
    def routes(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each."""

    @abc.abstractmethod
    def error(self, refused: VendorRefused, path: str) -> web.Response:
        """An error in the vendor's shape."""

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Makes it reachable, if somebody may use it."""
        if self._accounts:
            for method, path, handler in self.routes:
                router.add_route(method, path, self._serve(handler))

    # -- a request --------------------------------------------------------------------------------------------------

    def _serve(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            result = "ok"
            try:
                response = await handler(await self._asked(request))
            except VendorRefused as refused:
                result = refused.wrong.value
                response = self.error(refused, request.path)
                if refused.wait_s:
                    response.headers[hdrs.RETRY_AFTER] = str(int(refused.wait_s) + 1)
            response.headers[hdrs.CACHE_CONTROL] = "no-store"
            self._services.count(self.vendor, result)
            return response

        return serve

    async def _asked(self, request: web.Request) -> Asked:
        came = self._services.proxies.came(request)
        account = self._account(request, came.remote)
        wait_s = self._services.rate.take(f"{self.vendor}:{account}")
        if wait_s:
            raise VendorRefused(Wrong.LIMITED, "too many requests of this account", wait_s=wait_s)
        return Asked(
            account=account,
            who=Who(f"{self.vendor}:{account}", came.remote, secure=came.secure),
            path=dict(request.match_info),
            values=await _values(request),
            url=f"{'https' if came.secure else 'http'}://{came.host}{request.path}",
        )

    def _account(self, request: web.Request, remote: str) -> str:
        """Whose credentials the request has; for a path with an account, that one's."""
        if hdrs.ORIGIN in request.headers:  # no web page has business here, whatever password its browser remembers
            raise VendorRefused(Wrong.UNAUTHORIZED, "not for web pages")
        wait_s = self._services.wrong.wait_s(remote)
        if wait_s:
            raise VendorRefused(Wrong.LIMITED, "too many wrong credentials from this address", wait_s=wait_s)
        login, secret = _credentials(request.headers.get(hdrs.AUTHORIZATION, ""))
        wanted = request.match_info.get("account")
        found = ""
        for name, account in self._accounts.items():
            try:
                right = self._services.secrets.find(account.secret.get_secret_value())
            except NoSecret as error:
                log.error("vendor_secret_missing", vendor=self.vendor, account=name, error=str(error))
                continue
            same = hmac.compare_digest(right.encode(), secret.encode())
            if same and right and _same(login, account.login or name) and _same(wanted, name):
                found = name
        if not found:
            self._services.wrong.take(remote)
            log.warning("vendor_request_refused", vendor=self.vendor, remote=remote)
            raise VendorRefused(Wrong.UNAUTHORIZED, "wrong credentials, or not those of the account in the path")
        return found

    # -- what can be done -------------------------------------------------------------------------------------------

    def find(self, asked: Asked, call_id: str) -> Found:
        """A call; raises `VendorRefused` where there is none."""
        found = self._services.desk.call(self.vendor, asked.account, call_id)
        if found is None:
            raise VendorRefused(Wrong.NOT_FOUND, f"no call {call_id[:64]} is with a bot of this account")
        return found

    async def order(self, asked: Asked, found: Found, command: Command) -> None:
        """Has a call do something, audited.

        Raises:
            VendorRefused: It cannot be done.
        """
        action, detail = _named(command)
        result = "interrupted"
        try:
            await found.bot.order(command, trusted=False)
            result = "ok"
        except BadHandover as error:
            result = Wrong.NOT_ALLOWED.value
            raise VendorRefused(Wrong.NOT_ALLOWED, str(error)) from None
        except AriError as error:
            result = Wrong.FAILED.value
            raise VendorRefused(Wrong.FAILED, str(error)) from None
        finally:
            self._write(asked, action, found, result, detail)

    def stop_stream(self, asked: Asked, found: Found) -> None:
        """Ends the bot's part: the call goes on in the dialplan."""
        found.bot.stop(EndCause.STOPPED)
        self._write(asked, "call.stop-stream", found, "ok", "")

    async def follow(self, asked: Asked, found: Found, redirect: Redirect) -> None:
        """Asks for a document and does what it says."""
        command: HangUp | Transfer | Redirect = redirect
        for _ in range(REDIRECTS_MAX):
            if not isinstance(command, Redirect):
                break
            command = self.read(await self._fetch(asked, found, command))
        if isinstance(command, Redirect):
            raise VendorRefused(Wrong.FETCH, f"more than {REDIRECTS_MAX} redirects")
        await self.order(asked, found, command)

    def read(self, xml: str) -> HangUp | Transfer | Redirect:
        """Reads a document of the vendor."""
        try:
            return read(xml, context=self._services.dial_context)
        except NotServed as error:
            raise VendorRefused(Wrong.NOT_SERVED, f"not served here: {error}") from None
        except BadXml as error:
            raise VendorRefused(Wrong.INVALID, f"the document cannot be read: {error}") from None

    def request_fields(self, asked: Asked, found: Found) -> dict[str, str]:
        """What the vendor tells of a call when it asks for a document."""
        return {}

    def request_headers(self, asked: Asked, url: str, form: Mapping[str, str]) -> dict[str, str]:
        """Headers by which the vendor proves itself."""
        return {}

    def secret(self, account: str) -> str:
        """Of an account."""
        return self._services.secrets.find(self._accounts[account].secret.get_secret_value())

    async def _fetch(self, asked: Asked, found: Found, redirect: Redirect) -> str:
        if redirect.method not in ("GET", "POST"):
            raise VendorRefused(Wrong.INVALID, f"method {redirect.method[:10]!r}: GET or POST")
        form = self.request_fields(asked, found)
        posts = redirect.method == "POST"
        try:
            answer = await self._services.fetcher.fetch(
                redirect.method,
                redirect.url,
                reach=self._services.reach,
                timeout_s=FETCH_TIMEOUT_S,
                form=form if posts else None,
                params=None if posts else form,
                headers=self.request_headers(asked, redirect.url, form if posts else {}),
            )
        except FetchFailed as error:
            raise VendorRefused(Wrong.FETCH, f"the document: {error.detail}") from None
        if answer.status != 200:
            raise VendorRefused(Wrong.FETCH, f"the document: HTTP {answer.status}")
        return answer.body.decode("utf-8", "replace")

    def _write(self, asked: Asked, action: str, found: Found, result: str, detail: str) -> None:
        self._services.audit.write(
            asked.who, action, found.bot.call.channel_id, result=result, detail=detail, pbx=found.pbx
        )


def answer(body: object, status: int = 200) -> web.Response:
    """JSON."""
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


def _named(command: Command) -> tuple[str, str]:
    match command:
        case HangUp(reason):
            return "call.hang-up", reason
        case Transfer(target):
            return "call.transfer", target
        case SendDigits():
            return "call.send-digits", ""  # may be a secret
    raise AssertionError(f"no vendor's interface orders {command}")


def _same(given: str | None, name: str) -> bool:
    """Whether an id is the one of the settings, where it is given at all. Environment variables have no lower case."""
    return given is None or given.casefold() == name.casefold()


def _credentials(header: str) -> tuple[str | None, str]:
    """Login, None for a bearer token, and secret (RFC 7617, RFC 6750); empty ones for anything else."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return None, value.strip()
    if scheme.lower() != "basic":
        return "", ""
    try:
        login, _, secret = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return login, secret


async def _values(request: web.Request) -> Mapping[str, Any]:
    """Fields of a form, or members of a JSON object; none where there is no body."""
    if not request.can_read_body:
        return {}
    if request.content_type == "application/json":
        body = await request.read()
        if not body.strip():
            return {}
        try:
            found = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise VendorRefused(Wrong.INVALID, "the body is no JSON") from None
        if not isinstance(found, dict):
            raise VendorRefused(Wrong.INVALID, "the body is no JSON object")
        return found
    try:
        form = await request.post()
    except (ValueError, LookupError):
        raise VendorRefused(Wrong.INVALID, "the body is no form") from None
    return {name: value for name, value in form.items() if isinstance(value, str)}
