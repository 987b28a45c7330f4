"""The vendors' interfaces as the settings say."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web

from connector.access.rate import Rate
from connector.acd.model import PbxState
from connector.config import Settings
from connector.net.credentials import Secrets
from connector.net.fetch import Fetcher
from connector.net.reach import Reach
from connector.streams.book import ProfileBook
from connector.streams.manager import StreamManager
from connector.telemetry.vendors import VendorCounters
from connector.web.audit import Audit
from connector.web.auth.proxies import Proxies
from connector.web.vendors.base import WRONG_BURST, WRONG_PER_S, Services, VendorApi
from connector.web.vendors.desk import Desk
from connector.web.vendors.exotel import ExotelApi
from connector.web.vendors.plivo import PlivoApi
from connector.web.vendors.ringcx import RingcxProducts
from connector.web.vendors.ringcx_control import RingcxControl
from connector.web.vendors.telnyx import TelnyxApi
from connector.web.vendors.twilio import TwilioApi


class VendorApis:
    """All of them.

    Args:
        settings: All settings.
        managers: Who has the calls, by PBX.
        book: The profiles.
        audit: Keeps what is done.
        secrets: Finds the accounts' secrets.
        fetcher: Asks for documents.
        counters: Count requests.
        states: The live state of each PBX.
        monotonic: Seconds that never go back.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        managers: Mapping[str, StreamManager],
        book: ProfileBook,
        audit: Audit,
        secrets: Secrets,
        fetcher: Fetcher,
        counters: VendorCounters,
        states: Callable[[], Mapping[str, PbxState]],
        monotonic: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        wanted, outgoing = settings.vendor_api, settings.outgoing
        services = Services(
            desk=Desk(managers),
            audit=audit,
            secrets=secrets,
            proxies=Proxies(settings.http.trusted_proxies),
            fetcher=fetcher,
            reach=Reach(hosts=outgoing.allowed_hosts, private=outgoing.allow_private),
            rate=Rate(wanted.requests_per_second, 2 * wanted.requests_per_second, monotonic),
            wrong=Rate(WRONG_PER_S, WRONG_BURST, monotonic),
            count=counters.asked,
            dial_context=wanted.dial_context,
        )
        self._apis: list[VendorApi] = [
            TwilioApi(wanted.twilio, services),
            TelnyxApi(wanted.telnyx, services),
            PlivoApi(wanted.plivo, services),
            RingcxProducts(wanted.ringcx, services, book=book, settings=wanted.ringcx_products, clock=clock),
            RingcxControl(
                wanted.ringcx if wanted.ringcx_products.media_control else {},
                services,
                listeners={name: manager.listeners for name, manager in managers.items()},
                taps={name: manager.taps for name, manager in managers.items()},
                states=states,
                any_url=wanted.ringcx_products.any_url,
                clock=clock,
            ),
            ExotelApi(wanted.exotel, services, most_streams=settings.media.max_streams),
        ]

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Makes those reachable that somebody may use."""
        for api in self._apis:
            api.add_to(router)
