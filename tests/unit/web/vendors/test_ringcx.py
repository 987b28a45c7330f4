"""RingCX's streaming profiles: kept as ours, in RingCX's shapes, by the token of their sub-account."""

from __future__ import annotations

from typing import Any

import pytest

from connector.config_profiles import ProfileSettings
from connector.store.profiles import KeptProfile
from connector.streams.book import HIDDEN, ProfileBook
from connector.web.vendors.ringcx import PREFIXES, SECRET_HEADER, UNSET, profile_name
from tests.unit.web.vendors.conftest import SECRET, MakeVendors, Vendors

PRODUCT = {
    "productType": "QUEUE",
    "productId": 1234,
    "subAccountId": "99990001",
    "mainAccountId": "99999999",
    "rcAccountId": "37439510",
    "streamingUrl": "wss://stream.example.com:8443",
    "secret": "shared",
}
ONE = "/account/99990001/type/QUEUE/id/1234"
NAME = profile_name("99990001", "QUEUE", 1234)


class Kept:
    """Keeps profiles in memory."""

    def __init__(self) -> None:
        self.all: list[KeptProfile] = []

    async def current(self) -> list[KeptProfile]:
        return []

    async def versions(self, name: str) -> list[KeptProfile]:
        return [each for each in reversed(self.all) if each.name == name]

    async def put(self, profile: KeptProfile) -> None:
        self.all.append(profile)


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
async def vendors(make_vendors: MakeVendors, kept: Kept) -> Vendors:
    accounts = {"ringcx": {"99990001": {"secret": SECRET}, "2": {"secret": "another-long-secret"}}}
    settings = {**accounts, "ringcx_products": {"queues": {"1234": "support"}}}
    return await make_vendors(settings, book=ProfileBook({}, kept, clock=lambda: 5.0))


def profile(vendors: Vendors, name: str = NAME) -> ProfileSettings:
    settings: ProfileSettings = vendors.book.profiles[name]
    return settings


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_a_product_from_its_beginning_to_its_end(vendors: Vendors, kept: Kept, prefix: str) -> None:
    status, made = await vendors.ask("POST", prefix, bearer=SECRET, json=PRODUCT)
    assert (status, made) == (200, {**PRODUCT, "secret": HIDDEN})
    found = profile(vendors)
    assert (found.mode.value, found.match.queues, found.enabled) == ("assist", ("support",), True)
    assert found.headers[SECRET_HEADER].get_secret_value() == "shared"
    assert await vendors.ask("GET", prefix + ONE, bearer=SECRET) == (200, made)
    change = {key: PRODUCT[key] for key in ("productType", "productId", "subAccountId")}
    change["streamingUrl"] = "wss://other.example.com"
    status, changed = await vendors.ask("PUT", prefix, bearer=SECRET, json=change)
    assert (status, changed) == (200, {**made, "streamingUrl": "wss://other.example.com"})
    assert profile(vendors).headers[SECRET_HEADER].get_secret_value() == "shared", "what is left out stays"
    assert (await vendors.ask("DELETE", prefix + ONE, bearer=SECRET))[0] == 200
    assert (await vendors.ask("GET", prefix + ONE, bearer=SECRET))[0] == 404
    assert [(each.version, each.by, each.settings is None) for each in kept.all] == [
        (1, "ringcx:99990001", False),
        (2, "ringcx:99990001", False),
        (3, "ringcx:99990001", True),
    ]
    assert [(deed.action, deed.target, deed.result) for deed in vendors.deeds] == [
        ("profile.add", NAME, "ok"),
        ("profile.replace", NAME, "ok"),
        ("profile.remove", NAME, "ok"),
    ]


async def test_an_empty_address_turns_streaming_off_and_a_campaign_is_one(vendors: Vendors) -> None:
    body = {**PRODUCT, "productType": "CAMPAIGN", "productId": 7, "streamingUrl": "", "subAccountId": 99990001}
    status, made = await vendors.ask("POST", PREFIXES[0], bearer=SECRET, json=body)
    assert (status, made["streamingUrl"], made["subAccountId"]) == (200, "", "99990001")
    found = profile(vendors, profile_name("99990001", "CAMPAIGN", 7))
    assert (found.enabled, found.url, found.match.campaigns, found.mode.value) == (False, UNSET, ("7",), "campaign")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"streamingUrl": "wss://stream.example.com/path"}, 400),
        ({"streamingUrl": "wss://stream.example.com?x=1"}, 400),
        ({"streamingUrl": "ws://stream.example.com"}, 400),
        ({"streamingUrl": "wss://user:pass@stream.example.com"}, 400),
        ({"productType": "IVR"}, 400),
        ({"productId": "x"}, 400),
        ({"productId": 2**31}, 400),
        ({"subAccountId": "2"}, 403),
        ({"subAccountId": None}, 400),
    ],
)
async def test_what_does_not_fit_is_refused(vendors: Vendors, kept: Kept, change: dict[str, Any], status: int) -> None:
    found, error = await vendors.ask("POST", PREFIXES[0], bearer=SECRET, json={**PRODUCT, **change})
    assert (found, error["status"]) == (status, status)
    assert error["message"]
    assert kept.all == []


async def test_what_is_not_there_or_not_ones_own(vendors: Vendors) -> None:
    assert (await vendors.ask("PUT", PREFIXES[0], bearer=SECRET, json=PRODUCT))[0] == 404
    assert (await vendors.ask("DELETE", PREFIXES[0] + ONE, bearer=SECRET))[0] == 404
    await vendors.ask("POST", PREFIXES[0], bearer=SECRET, json=PRODUCT)
    for token in ("another-long-secret", "wrong", ""):
        assert (await vendors.ask("GET", PREFIXES[0] + ONE, bearer=token))[0] == 401


async def test_other_addresses_are_taken_where_the_settings_say_so(make_vendors: MakeVendors, kept: Kept) -> None:
    settings = {"ringcx": {"99990001": {"secret": SECRET}}, "ringcx_products": {"any_url": True}}
    vendors = await make_vendors(settings, book=ProfileBook({}, kept, clock=lambda: 5.0))
    body = {**PRODUCT, "streamingUrl": "ws://127.0.0.1:3333/audio?x=1"}
    assert (await vendors.ask("POST", PREFIXES[0], bearer=SECRET, json=body))[0] == 200


def test_names_fit_and_differ() -> None:
    longest = profile_name("9" * 64, "CAMPAIGN", 2**31 - 1)
    assert len(longest) == 31
    assert profile_name("1", "QUEUE", 1) != profile_name("2", "QUEUE", 1)


@pytest.mark.parametrize("secret", ["env:PLIVO", "file:token"])
async def test_a_secret_does_not_name_one_of_ours(vendors: Vendors, kept: Kept, secret: str) -> None:
    status, _ = await vendors.ask("POST", PREFIXES[0], bearer=SECRET, json={**PRODUCT, "secret": secret})
    assert (status, kept.all) == (400, [])


async def test_media_control_is_off_unless_the_settings_have_it(vendors: Vendors) -> None:
    path = "/voice/api/cx/integration/v1/accounts/1/sub-accounts/99990001/dialogs/1.1/streams"
    assert (await vendors.ask("POST", path, bearer=SECRET, json={}))[0] == 404
