"""RingCX's streaming profiles (`/media-distributor/product`), kept as profiles of ours with their versions.

One profile for each (sub-account, product type, product id). The token of a sub-account reaches its own alone.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from msgspec import Meta

from connector.config_profiles import ProfileSettings
from connector.config_vendors import Accounts, RingcxSettings
from connector.dialects.ringcx import RingcxOptions
from connector.store.profiles import Outdated
from connector.streams.book import HIDDEN, BadProfile, Fixed, ProfileBook
from connector.web.rest.history import available
from connector.web.rest.problems import Refused
from connector.web.vendors.base import Asked, Handler, Services, VendorApi, VendorRefused, Wrong, answer

PREFIXES = ("/media-distributor/product", "/platform/api/media/product")
"""As specified, and as RingCentral's public address has it."""
ONE = "/account/{account}/type/{type}/id/{id:[0-9]{1,10}}"
SECRET_HEADER = "X-RingCX-Secret"
"""Of the upgrade request: RingCX does not say where it sends a profile's secret."""
UNSET = "wss://unset.invalid"
"""In place of an empty streamingUrl, which turns streaming off."""

STATUS = {
    Wrong.UNAUTHORIZED: (401, "Unauthorized"),
    Wrong.LIMITED: (429, "Too Many Requests"),
    Wrong.NOT_FOUND: (404, "Not Found"),
    Wrong.INVALID: (400, "Bad Request"),
    Wrong.NOT_SERVED: (400, "Bad Request"),
    Wrong.NOT_ALLOWED: (403, "Forbidden"),
    Wrong.FETCH: (502, "Bad Gateway"),
    Wrong.CONFLICT: (409, "Conflict"),
    Wrong.FAILED: (503, "Service Unavailable"),
}

Text = Annotated[str, Meta(max_length=64)]
Type = Literal["QUEUE", "CAMPAIGN"]


class Product(msgspec.Struct, kw_only=True, rename="camel"):
    """A streaming profile of RingCX. Unknown members are passed over, as RingCX's own service does."""

    product_type: Type
    product_id: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    sub_account_id: Annotated[str, Meta(min_length=1, max_length=64)]
    main_account_id: Text = ""
    rc_account_id: Text = ""
    streaming_url: Annotated[str, Meta(max_length=512)]
    secret: Annotated[str, Meta(max_length=512)] = ""


class RingcxProducts(VendorApi):
    """Create, change, read and delete.

    Args:
        accounts: Tokens by sub-account.
        services: What it is built on.
        book: Keeps the profiles.
        settings: What products are in Asterisk, and which addresses are taken.
        clock: Seconds since the epoch.
    """

    vendor = "ringcx"

    def __init__(
        self,
        accounts: Accounts,
        services: Services,
        *,
        book: ProfileBook,
        settings: RingcxSettings,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(accounts, services)
        self._book = book
        self._settings = settings
        self._clock = clock

    @property
    def routes(self) -> list[tuple[str, str, Handler]]:
        """Below both prefixes."""
        served: list[tuple[str, str, Handler]] = []
        for prefix in PREFIXES:
            served += [
                ("POST", prefix, self._create),
                ("PUT", prefix, self._change),
                ("GET", prefix + ONE, self._read),
                ("DELETE", prefix + ONE, self._delete),
            ]
        return served

    def error(self, refused: VendorRefused, path: str) -> web.Response:
        """As RingCX's services put it."""
        return error(refused, path, self._clock())

    async def _create(self, asked: Asked) -> web.Response:
        return await self._put(asked, "profile.add", exists=None)

    async def _change(self, asked: Asked) -> web.Response:
        return await self._put(asked, "profile.replace", exists=True)

    async def _read(self, asked: Asked) -> web.Response:
        return answer(_shown(self._settings_of(asked)))

    async def _delete(self, asked: Asked) -> web.Response:
        self._settings_of(asked)
        name = profile_name(asked.account, asked.path["type"], int(asked.path["id"]))
        await self._kept(asked, "profile.remove", name, self._book.remove(name, by=asked.who.actor))
        return web.Response(text="Product deleted")

    def _settings_of(self, asked: Asked) -> ProfileSettings:
        name = profile_name(asked.account, asked.path["type"], int(asked.path["id"]))
        settings = self._book.profiles.get(name)
        if settings is None:
            raise VendorRefused(Wrong.NOT_FOUND, "there is no such product")
        return settings

    async def _put(self, asked: Asked, action: str, *, exists: bool | None) -> web.Response:
        try:
            product = msgspec.convert({**asked.values, **_as_text(asked.values)}, Product)
        except msgspec.ValidationError as error:
            raise VendorRefused(Wrong.INVALID, str(error)) from None
        if product.sub_account_id != asked.account:
            raise VendorRefused(Wrong.NOT_ALLOWED, "the token is one of another sub-account")
        check_url(product.streaming_url, any_url=self._settings.any_url)
        check_secret(product.secret)
        name = profile_name(product.sub_account_id, product.product_type, product.product_id)
        before = self._book.profiles.get(name)
        if exists and before is None:
            raise VendorRefused(Wrong.NOT_FOUND, "there is no such product; create it by POST")
        if exists and before is not None:
            _fill(product, before)
        await self._kept(asked, action, name, self._book.put(name, self._as_settings(product), by=asked.who.actor))
        return answer(_shown(self._book.profiles[name]))

    def _as_settings(self, product: Product) -> dict[str, Any]:
        queue = product.product_type == "QUEUE"
        names = self._settings.queues if queue else self._settings.campaigns
        in_asterisk = names.get(str(product.product_id), str(product.product_id))
        return {
            "url": product.streaming_url or UNSET,
            "enabled": bool(product.streaming_url),
            "mode": "assist" if queue else "campaign",
            "match": {"queues": [in_asterisk]} if queue else {"campaigns": [in_asterisk]},
            "headers": {SECRET_HEADER: product.secret} if product.secret else {},
            "dialect": {
                "name": "ringcx",
                "account_id": product.main_account_id,
                "subaccount_id": product.sub_account_id,
                "rc_account_id": product.rc_account_id,
                "product_type": product.product_type.capitalize(),
                "product_id": product.product_id,
            },
        }

    async def _kept(self, asked: Asked, action: str, name: str, change: Any) -> None:
        result = "interrupted"
        try:
            await available(change)
            result = "ok"
        except (BadProfile, Fixed, Outdated, KeyError) as error:
            result = "invalid"
            raise VendorRefused(Wrong.INVALID, str(error)) from None
        except Refused as refused:
            result = refused.kind
            raise VendorRefused(Wrong.FAILED, refused.problem.detail) from None
        finally:
            self._services.audit.write(asked.who, action, name, result=result)


def error(refused: VendorRefused, path: str, unix_s: float) -> web.Response:
    """An error in the shape of Spring, on which RingCX's services are built."""
    status, name = STATUS[refused.wrong]
    at = datetime.datetime.fromtimestamp(unix_s, datetime.UTC).isoformat(timespec="milliseconds")
    return answer({"timestamp": at, "status": status, "error": name, "message": refused.detail, "path": path}, status)


def check_url(url: str, *, any_url: bool) -> None:
    """Raises `VendorRefused` for an address that RingCX would not take, unless any is."""
    if not url or any_url:
        return
    try:
        parts = urlsplit(url)
        bare = parts.scheme == "wss" and bool(parts.hostname) and parts.path in ("", "/") and not parts.query
    except ValueError:
        bare = False
    if not bare:
        raise VendorRefused(Wrong.INVALID, "the address must be wss://host[:port] with no path and no query")


def check_secret(secret: str) -> None:
    """Raises `VendorRefused` for one that would be read as the place of a secret of ours."""
    if secret.startswith(("env:", "file:")):
        raise VendorRefused(Wrong.INVALID, "a secret may not begin with env: or file:")


def profile_name(sub_account_id: str, product_type: str, product_id: int) -> str:
    """Name of ours, at most 31 characters."""
    which = hashlib.sha256(sub_account_id.encode("utf-8", "surrogatepass")).hexdigest()[:7]
    return f"rcx_{product_type.lower()}_{product_id}_{which}"


def _as_text(values: Mapping[str, Any]) -> dict[str, str]:
    """The account ids as text: RingCX's own examples have them as numbers too."""
    names = ("subAccountId", "mainAccountId", "rcAccountId")
    return {name: str(values[name]) for name in names if isinstance(values.get(name), int)}


def _fill(product: Product, before: ProfileSettings) -> None:
    """A change may leave out account ids and secret."""
    if isinstance(before.dialect, RingcxOptions):
        product.main_account_id = product.main_account_id or before.dialect.account_id
        product.rc_account_id = product.rc_account_id or before.dialect.rc_account_id
    if not product.secret and SECRET_HEADER in before.headers:
        product.secret = HIDDEN


def _shown(settings: ProfileSettings) -> dict[str, Any]:
    """A product as it is answered, its secret hidden."""
    options = settings.dialect
    assert isinstance(options, RingcxOptions), "only such profiles bear such a name"
    return {
        "productType": options.product_type.upper(),
        "productId": options.product_id,
        "subAccountId": options.subaccount_id,
        "mainAccountId": options.account_id,
        "rcAccountId": options.rc_account_id,
        "streamingUrl": "" if settings.url == UNSET else settings.url,
        "secret": HIDDEN if SECRET_HEADER in settings.headers else "",
    }
