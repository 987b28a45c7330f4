"""Where a call goes when its bot is done."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from connector.config_profiles import HandoverSettings
from connector.config_targets import Target, TargetKind, is_allowed, parse_target
from connector.dialects.commands import HangUp, SendDigits, Transfer, Transferred
from connector.media.control import EndCause
from connector.streams.handover import (
    HEADERS_MAX_BYTES,
    SUMMARY_HEADER_MAX_BYTES,
    BadHandover,
    Handover,
    Place,
    asked_handover,
    checked_headers,
    handover_after,
    variables,
)

# -- targets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["dialplan", "hangup", "queue:support", "queue:Sales EU", "extension:100", "extension:100@from-internal",
     "sip:bob@example.com", "profile:other", "announce:sorry"],
)  # fmt: skip
def test_targets(text: str) -> None:
    assert str(parse_target(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "queue", "queue:", "hangup:x", "tel:1", "extension:1@a@b", "sip:bob", "queue:a,b", "queue:${SHELL(x)}",
     "extension:100&PJSIP/9", "announce:a&b", "sip:a@b;maddr=x", "extension:1|2", "queue:" + "x" * 201, "queue:a\nb"],
)  # fmt: skip
def test_what_the_dialplan_would_read_otherwise_is_no_target(text: str) -> None:
    with pytest.raises(ValueError, match=r"target|must|needs"):
        parse_target(text)


@given(st.text())
def test_a_target_is_read_or_refused_and_never_means_two_things(text: str) -> None:
    try:
        target = parse_target(text)
    except ValueError:
        return
    assert parse_target(str(target)) == target
    assert not set(target.value) & set(",&()|;\"'\\${}\n\r")


def test_patterns() -> None:
    patterns = ("dialplan", "queue:*", "extension:1??@internal")
    assert is_allowed(parse_target("queue:sales"), patterns)
    assert is_allowed(parse_target("extension:100@internal"), patterns)
    assert not is_allowed(parse_target("extension:0900123@internal"), patterns)
    assert not is_allowed(parse_target("hangup"), patterns)


# -- what is asked for --------------------------------------------------------------------------------------------


def ask(target: str = "queue:support", trusted: bool = False, **given_: Any) -> Handover:
    settings = HandoverSettings.model_validate(given_.pop("settings", {}))
    return asked_handover(settings, Transfer(target, **given_), trusted=trusted)


def test_a_bot_may_go_where_the_profile_lets_it_and_a_user_anywhere() -> None:
    assert ask().target == Target(TargetKind.QUEUE, "support")
    assert ask("", settings={"on_close": "extension:1"}).target == Target(TargetKind.EXTENSION, "1")
    with pytest.raises(BadHandover, match=r"handover\.allow"):
        ask("extension:0900")
    assert ask("extension:0900", trusted=True).target.value == "0900"
    with pytest.raises(BadHandover, match="sip_endpoint"):
        ask("sip:bob@example.com", trusted=True)
    assert ask("sip:bob@example.com", trusted=True, settings={"sip_endpoint": "carrier"})


def test_headers_within_the_limits() -> None:
    assert checked_headers({"Ticket": "7", "x-Mood": "calm\r\nVia: x"}) == (
        ("X-Ticket", "7"),
        ("X-Mood", "calm Via: x"),
    )
    for bad in (
        {"a": "1", "b": "2", "c": "3", "d": "4"},
        {"long": "x" * HEADERS_MAX_BYTES},
        {"X-Exotel-Id": "1"},
        {"veeno": "1"},
        {"Connector-Summary": "1"},
        {"no space": "1"},
        {"": "1"},
        {"a:b": "1"},
    ):
        with pytest.raises(BadHandover):
            checked_headers(bad)


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=60), max_size=5))
def test_no_header_can_end_its_line(headers: dict[str, str]) -> None:
    try:
        checked = checked_headers(headers)
    except BadHandover:
        return
    text = "".join(name + value for name, value in checked)
    assert not set(text) & set("\r\n\0")
    assert len(checked) <= 3


def test_what_the_dialplan_gets() -> None:
    settings = HandoverSettings(announce="one-moment", announce_agent="from-bot")
    place = Place(context="bots", extension="s", priority=1, queue="support", position=2)
    handover = ask(summary="wants a refund\nfor 7", headers={"Ticket": "7"})
    found = variables(handover, settings, place, result="handed_over", app="connector", profile="p")
    assert found == {
        "CONNECTOR_RESULT": "handed_over",
        "__CONNECTOR_PROFILE": "p",
        "__CONNECTOR_SUMMARY": "wants a refund for 7",
        "__CONNECTOR_SUMMARY_HEADER": "wants a refund for 7",
        "__CONNECTOR_REASON": "",
        "__CONNECTOR_HEADER1_NAME": "X-Ticket",
        "__CONNECTOR_HEADER1": "7",
        "CONNECTOR_TARGET": "support",
        "CONNECTOR_TARGET_CONTEXT": "bots",
        "CONNECTOR_ENDPOINT": "",
        "CONNECTOR_ANNOUNCE": "one-moment",
        "CONNECTOR_ANNOUNCE_AGENT": "from-bot",
        "CONNECTOR_APP": "connector",
        "CONNECTOR_RETURN": "bots,s,2",
        "CONNECTOR_POSITION": "2",
    }
    other = variables(ask("queue:sales"), settings, place, result="x", app="a", profile="p")
    assert other["CONNECTOR_POSITION"] == "", "a position in another queue means nothing"
    assert variables(Handover(), settings, place, result="bot_closed", app="a", profile="p") == {
        "CONNECTOR_RESULT": "bot_closed"
    }


@given(st.text())
def test_a_long_summary_is_cut_between_characters(summary: str) -> None:
    found = variables(
        Handover(target=parse_target("queue:q"), summary=summary * 40 + "x"),
        HandoverSettings(), Place(), result="x", app="a", profile="p",
    )  # fmt: skip
    assert len(found["__CONNECTOR_SUMMARY_HEADER"].encode(errors="ignore")) <= SUMMARY_HEADER_MAX_BYTES


def test_what_follows_from_the_end_itself() -> None:
    settings = HandoverSettings(on_close="queue:done", on_failure="announce:sorry")
    assert str(handover_after(EndCause.BOT_CLOSED, settings).target) == "queue:done"
    assert str(handover_after(EndCause.BOT_UNAVAILABLE, settings).target) == "announce:sorry"
    assert str(handover_after(EndCause.BOT_LOST, settings).target) == "announce:sorry"
    assert str(handover_after(EndCause.BOT_HUNG_UP, settings).target) == "hangup"
    assert str(handover_after(EndCause.SHUTDOWN, settings).target) == "dialplan"
    assert str(handover_after(EndCause.CALLER_HUNG_UP, settings).target) == "dialplan"


# -- in a call ----------------------------------------------------------------------------------------------------


async def begun(scene: Any) -> Any:
    scene.enters()
    await scene.until(lambda: "add_channel" in scene.ari.asked)
    return scene.engine.handles[-1]


async def test_a_bot_hands_its_caller_over_to_a_queue(scene: Any) -> None:
    scene.view.left = ("support", 3)
    handle = await begun(scene)
    handle.commands.put_nowait(Transfer("queue:support", "asked for it", "wants a refund", {"Ticket": "7"}))
    await scene.until_over()
    assert scene.ari.up["1.1"] == "connector-handover,queue,1"
    set_ = scene.ari.variables["1.1"]
    assert (set_["CONNECTOR_RESULT"], set_["__CONNECTOR_SUMMARY"]) == ("handed_over", "wants a refund")
    assert set_["CONNECTOR_POSITION"] == "3"
    assert scene.ended("handed_over") == 1
    told = [each for each in scene.published if type(each).__name__ == "CallHandedOver"]
    assert [(each.target, each.summary, each.number) for each in told] == [("queue:support", "wants a refund", "100")]


async def test_a_bot_that_closes_right_after_it_asked_is_obeyed(scene: Any) -> None:
    handle = await begun(scene)
    handle.commands.put_nowait(Transfer("queue:support"))
    handle.end(EndCause.BOT_CLOSED)
    await scene.until_over()
    assert scene.ended("handed_over") == 1


async def test_a_target_that_is_not_allowed_is_told_to_the_bot_and_the_call_goes_on(scene: Any) -> None:
    handle = await begun(scene)
    handle.commands.put_nowait(Transfer("extension:0900@outside"))
    await scene.until(lambda: handle.notices)
    (notice,) = handle.notices
    assert isinstance(notice, Transferred)
    assert (notice.state.value, "handover.allow" in notice.reason) == ("failed", True)
    assert len(scene.manager.calls) == 1
    scene.hangs_up()
    await scene.until_over()


async def test_a_dialplan_without_the_context_goes_on_after_stasis(scene: Any) -> None:
    scene.ari.dialplan_has = "0"
    handle = await begun(scene)
    handle.commands.put_nowait(Transfer("queue:support"))
    await scene.until_over()
    assert scene.ari.up["1.1"] == "dialplan"


async def test_a_bot_hangs_up_and_presses_keys(scene: Any) -> None:
    handle = await begun(scene)
    handle.commands.put_nowait(SendDigits("12#"))
    await scene.until(lambda: scene.ari.digits == "12#")
    handle.commands.put_nowait(HangUp())
    await scene.until_over()
    assert "1.1" not in scene.ari.up
    assert scene.ended("bot_hung_up") == 1


async def test_the_dialplan_may_send_a_call_in_again_at_once(scene: Any) -> None:
    handle = await begun(scene)
    hold = scene.ari.hold("hangup")
    handle.end(EndCause.BOT_CLOSED)
    await scene.ari.reach("hangup")
    scene.leaves()
    scene.enters("1.1", "talk", "stage=two")
    await scene.until(lambda: len(scene.engine.handles) == 2)
    hold.set()
    await scene.until(lambda: len(scene.manager.calls) == 1)
    scene.hangs_up()
    await scene.until_over()
    assert scene.engine.handles[1].request.parameters["stage"] == "two"
