"""Orders that a real Asterisk gives once in a thousand calls: each ends in one cause and leaves nothing behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from connector.media.control import EndCause
from connector.media.engine import StreamFailed

CREATED = ("answer", "create_bridge", "external_media", "add_channel")


async def test_a_whole_call(scene: Any) -> None:
    scene.enters()
    await scene.until(lambda: "add_channel" in scene.ari.asked)
    (handle,) = scene.engine.handles
    assert handle.attached.port == 40_000
    assert handle.request.parameters == {"from": "100", "fromName": "Alice", "to": "4711"}
    scene.hangs_up()
    await scene.until_over()
    assert scene.ended("caller_hung_up") == 1
    assert handle.ended.result().cause is EndCause.CALLER_HUNG_UP
    assert "continue" not in scene.ari.asked


async def test_the_dialplan_may_say_who_was_called(scene: Any) -> None:
    scene.enters("1.1", "talk", "to=shop", "x=1=2", "nothing")
    await scene.until(lambda: scene.engine.handles)
    assert scene.engine.handles[0].request.parameters == {"from": "100", "fromName": "Alice", "to": "shop", "x": "1=2"}
    assert "get_variable" not in scene.ari.asked


async def test_where_nobody_dialled_the_extension_stands_for_the_number(scene: Any) -> None:
    scene.ari.fails = {"get_variable"}
    scene.enters()
    await scene.until(lambda: scene.engine.handles)
    assert scene.engine.handles[0].request.parameters["to"] == "s"


async def test_the_caller_goes_while_the_number_is_asked_for(scene: Any) -> None:
    scene.ari.hold("get_variable")
    scene.enters()
    await scene.ari.reach("get_variable")
    scene.hangs_up()
    await scene.until_over()
    assert scene.ended("caller_hung_up") == 1
    assert not scene.engine.dialling.is_set()


async def test_the_caller_goes_while_the_bot_is_dialled(scene: Any) -> None:
    scene.engine.answers.clear()
    scene.enters()
    await scene.engine.dialling.wait()
    scene.hangs_up()
    await scene.until_over()
    assert scene.ended("caller_hung_up") == 1
    assert scene.engine.given_up == 1, "the bot is still being dialled"
    assert not set(CREATED) & set(scene.ari.asked)


@pytest.mark.parametrize("step", CREATED)
async def test_the_caller_goes_while_a_request_is_under_way(scene: Any, step: str) -> None:
    go_on = scene.ari.hold(step)
    scene.enters()
    await scene.ari.reach(step)
    scene.hangs_up()
    for _ in range(20):
        await asyncio.sleep(0)
    assert scene.manager.calls, "what the request is about to make would never be cleared away"
    go_on.set()
    await scene.until_over()
    assert scene.ended("caller_hung_up") == 1
    assert "continue" not in scene.ari.asked


async def test_the_caller_goes_before_the_media_channel_has_started(scene: Any) -> None:
    scene.ari.on_media = lambda channel_id: None
    scene.enters()
    await scene.until(lambda: scene.engine.handles and scene.engine.handles[0].attached)
    scene.hangs_up()
    await scene.until_over()
    assert scene.ended("caller_hung_up") == 1
    assert "add_channel" not in scene.ari.asked


@pytest.mark.parametrize("step", CREATED)
async def test_a_step_that_asterisk_refuses_hands_the_caller_back(
    scene: Any, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.streams.voicebot.GONE_GRACE_S", 0.01)
    scene.ari.fails = {step}
    scene.enters()
    await scene.until_over()
    assert scene.ended("asterisk_error") == 1
    assert scene.ari.up == {"1.1": "dialplan"}
    assert scene.ari.results == {"1.1": "asterisk_error"}
    # The caller comes first, the clearing away after.
    assert scene.ari.asked.index("continue") < scene.ari.asked.index("delete_bridge")


@pytest.mark.parametrize("step", ["hangup", "delete_bridge"])
async def test_what_cannot_be_cleared_away_costs_neither_the_call_nor_the_rest(scene: Any, step: str) -> None:
    scene.enters()
    await scene.until(lambda: "add_channel" in scene.ari.asked)
    scene.ari.fails = {step}
    scene.engine.handles[0].end(EndCause.BOT_CLOSED)
    await scene.until(lambda: not scene.manager.calls)
    assert scene.ari.up["1.1"] == "dialplan"
    assert {"hangup", "delete_bridge"} <= set(scene.ari.asked)
    assert scene.ended("bot_closed") == 1


@pytest.mark.parametrize("step", ["set_variable", "continue"])
async def test_a_failed_hand_back_still_clears_away(scene: Any, step: str) -> None:
    scene.ari.fails = {step}
    scene.enters()
    await scene.until(lambda: "add_channel" in scene.ari.asked)
    scene.engine.handles[0].end(EndCause.BOT_CLOSED)
    await scene.until_over()
    assert scene.ended("bot_closed") == 1


async def test_an_error_that_the_callers_hang_up_made_is_none_of_asterisk(scene: Any) -> None:
    go_on = scene.ari.hold("answer")
    scene.enters()
    await scene.ari.reach("answer")
    del scene.ari.up["1.1"]  # answered with 404, and the event that says so comes after
    go_on.set()
    await scene.until(lambda: "external_media" in scene.ari.asked)
    for _ in range(20):
        await asyncio.sleep(0)
    scene.hangs_up()
    await scene.until_over()
    assert scene.ended("caller_hung_up") == 1
    assert scene.ended("asterisk_error") == 0


async def test_the_media_channel_never_starts(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.streams.voicebot.MEDIA_START_DEADLINE_S", 0.01)
    scene.ari.on_media = lambda channel_id: None
    scene.enters()
    await scene.until_over()
    assert scene.ended("asterisk_error") == 1
    assert scene.ari.results == {"1.1": "asterisk_error"}


async def test_asterisk_ends_the_media_channel(scene: Any) -> None:
    scene.enters()
    await scene.until(lambda: "add_channel" in scene.ari.asked)
    (media,) = [channel_id for channel_id in scene.ari.up if "-em-" in channel_id]
    scene.leaves(media)
    await scene.until_over()
    assert scene.ari.results == {"1.1": "asterisk_error"}


async def test_a_call_that_is_taken_elsewhere_is_not_handed_back(scene: Any) -> None:
    scene.enters()
    await scene.until(lambda: "add_channel" in scene.ari.asked)
    scene.leaves()
    await scene.until_over()
    assert scene.ended("call_moved") == 1
    assert "continue" not in scene.ari.asked


@pytest.mark.parametrize("cause", [EndCause.BOT_REFUSED, EndCause.BOT_REJECTED, EndCause.BOT_TIMEOUT])
async def test_a_bot_that_does_not_come_costs_asterisk_nothing(scene: Any, cause: EndCause) -> None:
    scene.engine.fails = StreamFailed(cause, "as the test says")
    scene.enters()
    await scene.until_over()
    assert scene.ari.results == {"1.1": cause.value}
    assert not set(CREATED) & set(scene.ari.asked)
    assert scene.ended(cause.value) == 1


async def test_the_bot_and_the_caller_go_in_the_same_moment(scene: Any) -> None:
    scene.enters()
    await scene.until(lambda: "add_channel" in scene.ari.asked)
    scene.engine.handles[0].end(EndCause.BOT_CLOSED)
    scene.hangs_up()
    await scene.until_over()
    assert scene.ended("caller_hung_up") + scene.ended("bot_closed") == 1


async def test_digits_before_there_is_a_stream_are_dropped_and_after_it_reach_the_bot(scene: Any) -> None:
    scene.engine.answers.clear()
    scene.enters()
    await scene.engine.dialling.wait()
    scene.presses("1")
    scene.engine.answers.set()
    await scene.until(lambda: "add_channel" in scene.ari.asked)
    scene.presses("2")
    assert scene.engine.handles[0].digits == "2"


async def test_a_defect_of_ours_costs_the_stream_and_not_the_caller(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(scene.ari, "add_channel", broken)
    scene.enters()
    await scene.until_over()
    assert scene.ari.results == {"1.1": "asterisk_error"}
