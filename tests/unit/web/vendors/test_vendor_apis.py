"""The vendors' REST interfaces: their shapes, who gets in, what is done and what is kept of it."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from connector.dialects import exotel, plivo, telnyx, twilio
from connector.dialects.commands import HangUp, SendDigits, Transfer
from connector.media.control import EndCause
from connector.net.credentials import twilio_signature
from tests.unit.web.vendors.conftest import SECRET, Bot, MakeVendors, Vendors

AC = "AC" + "1" * 32
ACCOUNTS = {
    "twilio": {AC: {"secret": SECRET}},
    "telnyx": {"user-1": {"secret": SECRET}},
    "plivo": {"MA1": {"secret": "env:PLIVO"}},
    "exotel": {"exo1": {"secret": SECRET, "login": "key1"}},
}


@pytest.fixture
async def vendors(make_vendors: MakeVendors) -> Vendors:
    return await make_vendors(ACCOUNTS)


def twilio_path(bot: Bot, account: str = AC) -> str:
    ids = twilio.vendor_ids(bot.profile.dialect, bot.call.call_id, bot.call.stream_id)  # type: ignore[arg-type]
    return f"/2010-04-01/Accounts/{account}/Calls/{ids.call}.json"


def telnyx_path(bot: Bot, action: str) -> str:
    ids = telnyx.vendor_ids(bot.profile.dialect, bot.call.call_id, bot.call.stream_id)  # type: ignore[arg-type]
    return f"/v2/calls/{ids.call}/actions/{action}"


def plivo_path(bot: Bot) -> str:
    ids = plivo.vendor_ids(bot.profile.dialect, bot.call.call_id, bot.call.stream_id)  # type: ignore[arg-type]
    return f"/v1/Account/MA1/Call/{ids.call}/"


# -- Twilio ------------------------------------------------------------------------------------------------------------


async def test_twilio_hangs_up_and_tells_of_the_call(vendors: Vendors) -> None:
    bot = vendors.add("twilio", account_sid=AC)
    path = twilio_path(bot)
    status, call = await vendors.ask("GET", path, login=AC)
    assert (status, call["status"], call["from"], call["to"]) == (200, "in-progress", "+491", "100")
    status, call = await vendors.ask("POST", path, login=AC, data={"Status": "completed"})
    assert (status, call["status"], call["account_sid"]) == (200, "completed", AC)
    assert path.endswith(f"{call['sid']}.json")
    assert bot.orders == [HangUp("Status=completed")]
    [deed] = vendors.deeds
    assert (deed.actor, deed.action, deed.target, deed.result) == (f"twilio:{AC}", "call.hang-up", "1.1", "ok")


async def test_twilio_updates_a_call_by_twiml(vendors: Vendors) -> None:
    bot = vendors.add("twilio", account_sid=AC)
    xml = "<Response><Enqueue>support</Enqueue></Response>"
    status, call = await vendors.ask("POST", twilio_path(bot), login=AC, data={"Twiml": xml})
    assert (status, call["status"]) == (200, "in-progress")
    assert bot.orders == [Transfer("queue:support")]


async def test_twilio_fetches_twiml_signed_and_follows_it(vendors: Vendors) -> None:
    bot = vendors.add("twilio", account_sid=AC)
    asked: list[tuple[str, dict[str, str], str]] = []

    async def twiml(request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        asked.append((str(request.url), form, request.headers["X-Twilio-Signature"]))
        next_ = "<Hangup/>" if request.path == "/2" else "<Redirect>http://127.0.0.1:{}/2</Redirect>"
        return web.Response(text=f"<Response>{next_.format(server.port)}</Response>", content_type="text/xml")

    application = web.Application()
    application.router.add_post("/{n}", twiml)
    async with TestServer(application, host="127.0.0.1") as server:
        url = f"http://127.0.0.1:{server.port}/1"
        status, _ = await vendors.ask("POST", twilio_path(bot), login=AC, data={"Url": url})
    assert status == 200
    assert [each[0] for each in asked] == [url, url[:-1] + "2"]
    assert all(signature == twilio_signature(SECRET, at, form) for at, form, signature in asked)
    assert asked[0][1]["CallSid"].startswith("CA")
    assert bot.orders == [HangUp()]


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ({}, 400, 20001),
        ({"Status": "busy"}, 400, 20001),
        ({"Twiml": "<Response><Say>no</Say></Response>"}, 400, 12200),
        ({"Twiml": "<Response>"}, 400, 20001),
        ({"Twiml": "<Response><Dial>+49900</Dial></Response>"}, 400, 13224),
        ({"Url": "http://169.254.169.254/latest"}, 400, 11200),
        ({"Url": "file:///etc/passwd"}, 400, 11200),
        ({"Url": "http://127.0.0.1/", "Method": "DELETE"}, 400, 20001),
    ],
)
async def test_twilio_says_what_is_wrong(vendors: Vendors, form: dict[str, str], status: int, code: int) -> None:
    bot = vendors.add("twilio", account_sid=AC)
    found, error = await vendors.ask("POST", twilio_path(bot), login=AC, data=form)
    assert (found, error["code"], error["status"]) == (status, code, status)
    assert error["more_info"] == f"https://www.twilio.com/docs/errors/{code}"
    assert error["message"]
    assert bot.orders == []


async def test_twilio_stops_a_stream(vendors: Vendors) -> None:
    bot = vendors.add("twilio", account_sid=AC)
    ids = twilio.vendor_ids(bot.profile.dialect, bot.call.call_id, bot.call.stream_id)  # type: ignore[arg-type]
    path = f"/2010-04-01/Accounts/{AC}/Calls/{ids.call}/Streams/"
    assert (await vendors.ask("POST", f"{path}MZ0.json", login=AC, data={"Status": "stopped"}))[0] == 404
    status, stream = await vendors.ask("POST", f"{path}{ids.stream}.json", login=AC, data={"Status": "stopped"})
    assert (status, stream["status"]) == (200, "stopped")
    assert bot.stopped == [EndCause.STOPPED]


# -- Telnyx ------------------------------------------------------------------------------------------------------------


async def test_telnyx_hangs_up_transfers_presses_keys_and_stops(vendors: Vendors) -> None:
    bot = vendors.add("telnyx", user_id="user-1")
    headers = [{"name": "X-Ticket", "value": "7"}]
    for action, body in (
        ("hangup", None),
        ("transfer", {"to": "queue:support", "custom_headers": headers}),
        ("send_dtmf", {"digits": "12#"}),
        ("streaming_stop", {}),
    ):
        status, answer = await vendors.ask("POST", telnyx_path(bot, action), bearer=SECRET, json=body)
        assert (status, answer) == (200, {"data": {"result": "ok"}}), action
    assert bot.orders == [HangUp("hangup"), Transfer("queue:support", headers={"X-Ticket": "7"}), SendDigits("12#")]
    assert bot.stopped == [EndCause.STOPPED]
    assert [deed.action for deed in vendors.deeds] == [
        "call.hang-up",
        "call.transfer",
        "call.send-digits",
        "call.stop-stream",
    ]
    assert "12#" not in repr(vendors.deeds), "keys may be a secret"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v2/calls/v3:" + "0" * 32 + "/actions/hangup", None, 422, "90018"),
        ("/v2/calls/nonsense/actions/hangup", None, 422, "90015"),
        ("transfer", {}, 422, "10015"),
        ("transfer", {"to": "+49900"}, 403, "10010"),
        ("transfer", {"to": "queue:a,b"}, 403, "10010"),
        ("send_dtmf", {"digits": "hello"}, 422, "10015"),
        ("hangup", [1], 422, "10015"),
    ],
)
async def test_telnyx_says_what_is_wrong(vendors: Vendors, path: str, body: Any, status: int, code: str) -> None:
    bot = vendors.add("telnyx", user_id="user-1")
    whole = path if path.startswith("/") else telnyx_path(bot, path)
    found, error = await vendors.ask("POST", whole, bearer=SECRET, json=body)
    assert (found, error["errors"][0]["code"]) == (status, code)
    assert bot.orders == []


# -- Plivo -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["/", ""])
async def test_plivo_hangs_up(vendors: Vendors, slash: str) -> None:
    bot = vendors.add("plivo", account_id="MA1")
    assert await vendors.ask("DELETE", plivo_path(bot).rstrip("/") + slash, login="MA1") == (204, None)
    assert bot.orders == [HangUp("hangup")]


async def test_plivo_transfers_by_its_xml_presses_keys_and_stops(vendors: Vendors) -> None:
    bot = vendors.add("plivo", account_id="MA1")
    bot.profile = bot.profile.model_copy(
        update={"handover": bot.profile.handover.model_copy(update={"allow": ("extension:2*",)})}
    )

    async def xml(_request: web.Request) -> web.Response:
        return web.Response(text="<Response><Dial><Number>200</Number></Dial></Response>", content_type="text/xml")

    application = web.Application()
    application.router.add_post("/xml", xml)
    async with TestServer(application, host="127.0.0.1") as server:
        body = {"legs": "aleg", "aleg_url": f"http://127.0.0.1:{server.port}/xml"}
        status, answer = await vendors.ask("POST", plivo_path(bot), login="MA1", json=body)
    assert (status, answer["message"]) == (202, "call transferred")
    assert (await vendors.ask("POST", plivo_path(bot) + "DTMF/", login="MA1", json={"digits": "5"}))[0] == 202
    assert (await vendors.ask("DELETE", plivo_path(bot) + "Stream/", login="MA1"))[0] == 204
    assert bot.orders == [Transfer("extension:200"), SendDigits("5")]
    assert bot.stopped == [EndCause.STOPPED]


async def test_plivo_says_what_is_wrong(vendors: Vendors) -> None:
    bot = vendors.add("plivo", account_id="MA1")
    assert (await vendors.ask("DELETE", "/v1/Account/MA1/Call/none/", login="MA1"))[0] == 404
    status, answer = await vendors.ask("POST", plivo_path(bot), login="MA1", json={"legs": "both"})
    assert (status, "aleg" in answer["error"], "api_id" in answer) == (400, True, True)


# -- Exotel ------------------------------------------------------------------------------------------------------------


async def test_exotel_counts_streams_and_stops_one(vendors: Vendors) -> None:
    bot = vendors.add("exotel", account_sid="exo1")
    vendors.add("exotel", "2.2", account_sid="another")
    status, answer = await vendors.ask("GET", "/v1/accounts/exo1/activestreams", login="key1")
    assert (status, answer["active_streams"], answer["account_sid"]) == (200, 1, "exo1")
    assert answer["max_allowed_streams"] > 1
    ids = exotel.vendor_ids(bot.profile.dialect, bot.call.call_id, bot.call.stream_id)  # type: ignore[arg-type]
    path = f"/v2/accounts/exo1/legs/{ids.call}/actions/stop_stream"
    status, answer = await vendors.ask("POST", path, login="key1")
    assert (status, answer["response"]["status"]) == (200, "success")
    assert bot.stopped == [EndCause.STOPPED]
    status, answer = await vendors.ask("POST", path.replace(ids.call, "none"), login="key1")
    assert (status, answer["response"]["error_data"]["code"]) == (404, 1000)


# -- who gets in -------------------------------------------------------------------------------------------------------


async def test_an_interface_without_an_account_is_not_there(make_vendors: MakeVendors) -> None:
    vendors = await make_vendors({"telnyx": ACCOUNTS["telnyx"]})
    bot = vendors.add("twilio", account_sid=AC)
    assert await vendors.ask("POST", twilio_path(bot), login=AC) == (404, None)


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"login": AC, "secret": "wrong"},
        {"login": AC, "secret": ""},
        {"login": "AC2"},
        {"headers": {"Authorization": "Basic %%%"}},
        {"headers": {"Authorization": "Basic " + "gA=="}},
        {"login": AC, "headers": {"Origin": "https://evil.example"}},
    ],
)
async def test_wrong_credentials_do_nothing(vendors: Vendors, credentials: dict[str, Any]) -> None:
    bot = vendors.add("twilio", account_sid=AC)
    status, error = await vendors.ask("POST", twilio_path(bot), data={"Status": "completed"}, **credentials)
    assert (status, error["code"]) == (401, 20003)
    assert (bot.orders, vendors.deeds) == ([], [])


async def test_an_account_reaches_its_own_calls_alone(make_vendors: MakeVendors) -> None:
    other = "AC" + "2" * 32
    vendors = await make_vendors({"twilio": {AC: {"secret": SECRET}, other: {"secret": "another-long-secret"}}})
    bot = vendors.add("twilio", account_sid=AC)
    form = {"Status": "completed"}
    form_of: dict[str, Any] = {"login": other, "secret": "another-long-secret", "data": form}
    assert (await vendors.ask("POST", twilio_path(bot, other), **form_of))[0] == 404
    assert (await vendors.ask("POST", twilio_path(bot, AC), **form_of))[0] == 401
    telnyx_bot = vendors.add("telnyx", "2.2")
    assert (await vendors.ask("POST", twilio_path(bot).replace(".json", "x.json"), login=AC, data=form))[0] == 404
    assert (bot.orders, telnyx_bot.orders) == ([], [])


async def test_the_sid_of_an_api_key_is_a_login(make_vendors: MakeVendors) -> None:
    vendors = await make_vendors({"twilio": {AC: {"secret": SECRET, "login": "SK1"}}})
    bot = vendors.add("twilio", account_sid=AC)
    assert (await vendors.ask("GET", twilio_path(bot), login="SK1"))[0] == 200
    assert (await vendors.ask("GET", twilio_path(bot), login=AC))[0] == 401


async def test_who_guesses_is_slowed_down_and_who_asks_too_often_too(make_vendors: MakeVendors) -> None:
    vendors = await make_vendors({**ACCOUNTS, "requests_per_second": 1})
    bot = vendors.add("twilio", account_sid=AC)
    path = twilio_path(bot)
    statuses = [(await vendors.ask("GET", path, login=AC))[0] for _ in range(3)]
    assert statuses == [200, 200, 429]
    vendors.now_s += 1.0
    assert (await vendors.ask("GET", path, login=AC))[0] == 200
    statuses = [(await vendors.ask("GET", path, login=AC, secret="wrong"))[0] for _ in range(21)]
    assert statuses == [401] * 20 + [429]
    vendors.now_s += 1.0
    assert (await vendors.ask("GET", path, login=AC))[0] == 429, "the right secret is not looked at either"
    vendors.now_s += 4.0
    assert (await vendors.ask("GET", path, login=AC))[0] == 200
    counted = vendors.registry.get_sample_value(
        "connector_vendor_requests_total", {"vendor": "twilio", "result": "limited"}
    )
    assert counted == 3
