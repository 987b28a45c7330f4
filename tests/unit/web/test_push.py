"""The live connection: whoever listens has what the connector has, however the connection behaves."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from connector.events import CallerJoined, LinkChanged, LinkState, MemberChanged, MemberRemoved
from connector.web.happenings import KINDS, Happenings
from connector.web.push import hub as hub_module
from connector.web.push.filters import Filter
from connector.web.push.hub import Feed, Hub
from connector.web.push.messages import AgentItem, CallerItem, Delta, LinkItem, MemberItem, Snapshot
from connector.web.push.viewer import Copy, Lost
from connector.web.schemas import published
from tests.unit.web.conftest import MakeSite
from tests.unit.web.site import Pbxs, recorded, until

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"
EVERYTHING = Filter(events=frozenset(KINDS))


@cache
def schema(name: str) -> Any:
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / name).read_text()))


def hub_of(pbxs: Pbxs, **options: Any) -> Hub:
    made = Hub(pbxs, clock=lambda: 1.0, run_id="run", **options)
    pbxs.listeners.append(made.on_item)
    return made


def drain(feed: Feed, copy: Copy) -> None:
    """Has a viewer take all that waits; everything is held against the published schema."""
    while (message := feed.take()) is not None:
        schema("push-to-viewer.json").validate(json.loads(message))
        copy.feed(message)


def fresh(hub: Hub, wanted: Filter) -> dict[tuple[str, str], Any]:
    copy = Copy()
    feed = hub.attach(wanted, None)
    drain(feed, copy)
    hub.detach(feed)
    return copy.items


# -- the property -----------------------------------------------------------------------------------------------

FILTERS = [
    EVERYTHING,
    Filter(queues=frozenset({"support"})),
    Filter(queues=frozenset({"keyed", "empty"})),
    Filter(agents=frozenset({"PJSIP/agent2"})),
    Filter(pbx=frozenset({"main"}), queues=frozenset({"support"}), agents=frozenset({"PJSIP/agent1"})),
    Filter(pbx=frozenset({"elsewhere"})),
]


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 60), min_size=1, max_size=30),
    wanted=st.sampled_from(FILTERS),
    ring_items=st.sampled_from([0, 5, 100_000]),
    feed_bytes=st.sampled_from([1, 4_000, 4_194_304]),
    seed=st.integers(0, 2**32),
)
def test_a_viewer_ends_with_what_a_new_one_gets(
    cuts: list[int], wanted: Filter, ring_items: int, feed_bytes: int, seed: int
) -> None:
    """However events fall into ticks, whenever it reads, and however often its connection breaks."""
    chance = random.Random(seed)
    pbxs = Pbxs()
    hub = hub_of(pbxs, ring_items=ring_items, feed_bytes=feed_bytes)
    copy = Copy()
    feed = hub.attach(wanted, None)
    stream = list(recorded("16-shift" if seed % 2 else "22-shift"))
    while stream:
        size = cuts[len(stream) % len(cuts)]
        pbxs.play(*stream[:size])
        del stream[:size]
        hub.flush()
        if chance.random() < 0.5:
            drain(feed, copy)
        if chance.random() < 0.3:
            hub.detach(feed)
            feed = hub.attach(wanted, copy.resume)
    drain(feed, copy)
    assert copy.items == fresh(hub, wanted)
    assert hub.viewers == 1
    for state in pbxs.states().values():
        if wanted is EVERYTHING:
            shown = {key for key in copy.items if key[0] in ("queue", "member", "caller", "agent")}
            assert len(shown) == len(state.agents) + len(state.queues) + sum(
                len(queue.members) + len(queue.waiting) for queue in state.queues.values()
            )


def test_nothing_changed_says_nothing() -> None:
    pbxs = Pbxs()
    hub = hub_of(pbxs)
    pbxs.play(*recorded())
    hub.flush()
    feed = hub.attach(EVERYTHING, None)
    drain(feed, Copy())
    before = hub.sequence
    hub.changed_elsewhere()
    hub.flush()
    assert (hub.sequence, feed.take()) == (before, None)


def test_who_sees_the_same_shares_one_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    pbxs = Pbxs()
    hub = hub_of(pbxs)
    encoded = 0

    def counting(message: Any) -> bytes:
        nonlocal encoded
        encoded += 1
        return msgspec.json.encode(message)

    feeds = [hub.attach(Filter(), None) for _ in range(50)]
    monkeypatch.setattr(hub_module, "encode", counting)
    for feed in feeds:
        feed.take()
    assert encoded == 1, "the snapshot"
    pbxs.play(*recorded())
    hub.flush()
    messages = {id(feed.take()) for feed in feeds}
    assert (encoded, len(messages)) == (2, 1)


def test_a_slow_viewer_gets_a_snapshot_and_the_others_lose_nothing() -> None:
    pbxs = Pbxs()
    hub = hub_of(pbxs, feed_bytes=20_000)
    slow, quick = hub.attach(EVERYTHING, None), hub.attach(EVERYTHING, None)
    slow_copy, quick_copy = Copy(), Copy()
    drain(slow, slow_copy)
    kinds: list[type] = []
    drain(quick, quick_copy)
    for event in recorded():
        pbxs.play(event)
        hub.flush()
        while (message := quick.take()) is not None:
            kinds.append(type(quick_copy.feed(message)))
    assert hub.snapshots_forced > 0
    assert Snapshot not in kinds
    first = slow.take()
    assert first is not None
    assert isinstance(slow_copy.feed(first), Snapshot)
    drain(slow, slow_copy)
    assert slow_copy.items == quick_copy.items


def test_what_happens_in_a_tick_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "EVENTS_MAX", 2)
    pbxs = Pbxs()
    hub = hub_of(pbxs)
    site_told: list[Any] = []
    happenings = Happenings(states=pbxs.states, tell=site_told.append)
    pbxs.listeners.append(happenings.on_item)
    pbxs.play(*recorded())
    for each in site_told:
        hub.on_happening(each)
    assert hub.events_dropped == len(site_told) - 2


def test_the_ring_is_bounded() -> None:
    pbxs = Pbxs()
    hub = hub_of(pbxs, ring_items=10)
    for event in recorded():
        pbxs.play(event)
        hub.flush()
    assert sum(batch.size for batch in hub._ring) <= 10


# -- filters ------------------------------------------------------------------------------------------------------


def member_event(queue: str, interface: str) -> MemberChanged:
    listed = next(event for event in recorded() if isinstance(event, MemberChanged))
    member = msgspec.structs.replace(listed.member, interface=interface, state_interface=interface, name=interface)
    return MemberChanged(pbx="main", at=listed.at, queue=queue, member=member, kind="added")


def test_an_item_that_leaves_the_filter_is_removed() -> None:
    """An agent who is a member of another queue only is no more of the viewer's concern."""
    pbxs = Pbxs()
    hub = hub_of(pbxs)
    wanted = Filter(queues=frozenset({"a"}))
    feed, copy = hub.attach(wanted, None), Copy()
    pbxs.play(member_event("a", "PJSIP/x"), member_event("b", "PJSIP/x"))
    hub.flush()
    drain(feed, copy)
    assert {key for key in copy.items if key[0] == "agent"} == {("agent", "main/PJSIP/x")}
    assert {item.queue for item in copy.items.values() if isinstance(item, MemberItem)} == {"a"}
    pbxs.play(MemberRemoved(pbx="main", at=2.0, queue="a", interface="PJSIP/x"))
    hub.flush()
    drain(feed, copy)
    assert not {key for key in copy.items if key[0] in ("agent", "member")}


def test_an_agent_filter_shows_the_person_and_their_memberships() -> None:
    pbxs = Pbxs()
    hub = hub_of(pbxs)
    pbxs.play(member_event("a", "PJSIP/x"), member_event("a", "PJSIP/y"))
    hub.flush()
    items = fresh(hub, Filter(agents=frozenset({"PJSIP/x"})))
    assert {item.agent for item in items.values() if isinstance(item, AgentItem | MemberItem)} == {"PJSIP/x"}


def test_events_are_told_to_those_who_asked_for_them() -> None:
    pbxs = Pbxs()
    hub = hub_of(pbxs)
    happenings = Happenings(states=pbxs.states, tell=hub.on_happening)
    pbxs.listeners.append(happenings.on_item)
    wanted = [
        Filter(events=frozenset({"caller-joined"})),
        Filter(),
        Filter(events=frozenset({"caller-joined"}), queues=frozenset({"keyed"})),
        Filter(events=frozenset({"agent-called"}), agents=frozenset({"PJSIP/agent2"})),
    ]
    feeds = [(hub.attach(each, None), Copy()) for each in wanted]
    for feed, copy in feeds:
        drain(feed, copy)
    pbxs.play(*recorded())
    hub.flush()
    for feed, copy in feeds:
        drain(feed, copy)
    joined, none, keyed, called = (copy.take_events() for _, copy in feeds)
    assert len(joined) == sum(isinstance(event, CallerJoined) for event in recorded())
    assert none == []
    assert keyed == [each for each in joined if each.queue == "keyed"]
    assert called
    assert {to.agent for each in called for to in each.recipients} == {"PJSIP/agent2"}


def test_a_lost_link_is_shown_and_all_queues_are_stale() -> None:
    pbxs = Pbxs()
    hub = hub_of(pbxs)
    pbxs.play(*recorded())
    hub.flush()
    feed, copy = hub.attach(Filter(), None), Copy()
    drain(feed, copy)
    assert all(item.current for item in copy.items.values() if hasattr(item, "current"))
    pbxs.play(LinkChanged(pbx="main", at=3.0, link="ami", state=LinkState.DOWN, detail="it broke"))
    hub.flush()
    drain(feed, copy)
    link = copy.items["link", "main/ami"]
    assert isinstance(link, LinkItem)
    assert (link.state, link.detail) == (LinkState.DOWN, "it broke")
    assert not any(item.current for item in copy.items.values() if hasattr(item, "current"))


# -- resuming -----------------------------------------------------------------------------------------------------


def test_a_resumed_viewer_gets_only_what_it_missed() -> None:
    pbxs = Pbxs()
    hub = hub_of(pbxs)
    stream = recorded()
    pbxs.play(*stream[: len(stream) // 2])
    hub.flush()
    feed, copy = hub.attach(Filter(), None), Copy()
    drain(feed, copy)
    hub.detach(feed)
    for event in stream[len(stream) // 2 :]:
        pbxs.play(event)
        hub.flush()
    feed = hub.attach(Filter(), copy.resume)
    message = feed.take()
    assert message is not None
    assert isinstance(copy.feed(message), Delta)
    assert feed.take() is None
    assert copy.items == fresh(hub, Filter())
    hub.detach(feed)
    again = hub.attach(Filter(), copy.resume)
    message = again.take()
    assert message is not None
    read = copy.feed(message)
    assert isinstance(read, Delta)
    assert (read.changed, read.removed) == ((), ()), "nothing was missed"


@pytest.mark.parametrize("case", ["another filter", "another run", "the future", "too long ago"])
def test_where_it_cannot_be_told_what_was_missed_a_snapshot_comes(case: str) -> None:
    pbxs = Pbxs()
    hub = hub_of(pbxs, ring_items=5 if case == "too long ago" else 1000)
    feed, copy = hub.attach(Filter(), None), Copy()
    drain(feed, copy)
    hub.detach(feed)
    resume = copy.resume
    assert resume is not None
    for event in recorded():
        pbxs.play(event)
        hub.flush()
    wanted = Filter()
    match case:
        case "another filter":
            wanted = Filter(queues=frozenset({"support"}))
        case "another run":
            resume = msgspec.structs.replace(resume, epoch="run2" + resume.epoch[3:])
        case "the future":
            resume = msgspec.structs.replace(resume, sequence=hub.sequence + 1)
    message = hub.attach(wanted, resume).take()
    assert message is not None
    assert isinstance(copy.feed(message), Snapshot)


def test_a_copy_notices_what_is_missing() -> None:
    copy = Copy()
    copy.feed(b'{"type":"snapshot","epoch":"e","sequence":4,"at":1,"items":[]}')
    delta = {
        "type": "delta",
        "epoch": "e",
        "after": 4,
        "sequence": 6,
        "at": 1,
        "changed": [],
        "removed": [],
        "events": [],
    }
    copy.feed(json.dumps(delta))
    with pytest.raises(Lost, match="after 7"):
        copy.feed(json.dumps({**delta, "after": 7, "sequence": 8}))
    with pytest.raises(Lost):
        copy.feed(json.dumps({**delta, "epoch": "f"}))
    with pytest.raises(Lost):
        copy.feed(b'{"type":"heartbeat","epoch":"e","sequence":7,"at":1}')
    assert copy.resume is not None
    assert copy.resume.sequence == 6


# -- over the wire ------------------------------------------------------------------------------------------------


async def receive(socket: aiohttp.ClientWebSocketResponse) -> Any:
    message = json.loads(await socket.receive_str(timeout=5))
    schema("push-to-viewer.json").validate(message)
    return message


def subscribe(**fields: Any) -> dict[str, Any]:
    message = {"type": "subscribe", **fields}
    schema("push-from-viewer.json").validate(message)
    return message


async def test_a_viewer_over_a_websocket_follows_the_shift(make_site: MakeSite) -> None:
    pbxs = Pbxs()
    site = await make_site(pbxs)
    stream = recorded()
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{site.url}/api/v1/live") as socket:
        copy = Copy()
        await socket.send_json(subscribe(events=list(KINDS)))
        assert (await receive(socket))["type"] == "snapshot"
        for start in range(0, len(stream), 40):
            pbxs.play(*stream[start : start + 40])
        await until(lambda: site.hub.sequence > 0)
        copy.feed(json.dumps({"type": "snapshot", "epoch": "", "sequence": 0, "at": 0, "items": []}))
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{site.url}/api/v1/live") as socket:
        await socket.send_json(subscribe(queues=["support"]))
        copy.feed(json.dumps(await receive(socket)))
        assert copy.items == fresh(site.hub, Filter(queues=frozenset({"support"})))
        assert {item.queue for item in copy.items.values() if isinstance(item, CallerItem)} == {"support"}
        assert (await receive(socket))["type"] == "heartbeat"
        await socket.send_json(subscribe(queues=["empty"]))
        while (message := await receive(socket))["type"] == "heartbeat":
            pass
        assert {item.get("queue", "empty") for item in message["items"]} == {"empty"}
    await until(lambda: site.hub.viewers == 0)


async def test_a_delta_comes_by_itself(make_site: MakeSite) -> None:
    pbxs = Pbxs()
    site = await make_site(pbxs)
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{site.url}/api/v1/live") as socket:
        await socket.send_json(subscribe())
        assert (await receive(socket))["items"] == []
        pbxs.play(member_event("a", "PJSIP/x"))
        while (message := await receive(socket))["type"] == "heartbeat":
            pass
        assert message["type"] == "delta"
        assert {item["id"] for item in message["changed"]} >= {"main/a", "main/a/PJSIP/x", "main/PJSIP/x"}


@pytest.mark.parametrize(
    "text", ["", "[]", '{"type":"subscribe","queue":"a"}', '{"type":"subscribe","queues":[1]}', "\x00"]
)
async def test_what_is_no_subscription_ends_the_connection(make_site: MakeSite, text: str) -> None:
    site = await make_site()
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{site.url}/api/v1/live") as socket:
        await socket.send_str(text)
        fault = await receive(socket)
        assert fault["type"] == "fault"
        assert "docs/push.md" in fault["remedy"]
        assert (await socket.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION
    assert site.hub.viewers == 0


async def test_who_says_nothing_is_sent_away(make_site: MakeSite) -> None:
    site = await make_site()
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{site.url}/api/v1/live") as socket:
        assert (await receive(socket))["detail"] == "No message came within 0.2 s."


async def test_a_foreign_page_cannot_listen(make_site: MakeSite) -> None:
    site = await make_site(allowed_origins=("https://wall.example",))
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{site.url}/api/v1/live", origin="https://evil.example")
        assert refused.value.status == 403
        for origin in ("https://wall.example", site.url):
            async with session.ws_connect(f"{site.url}/api/v1/live", origin=origin) as socket:
                await socket.send_json(subscribe())
                assert (await receive(socket))["type"] == "snapshot"


async def test_viewers_are_limited_and_others_are_told_what_this_is(make_site: MakeSite) -> None:
    site = await make_site()
    site.socket._max_viewers = 1
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{site.url}/api/v1/live"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{site.url}/api/v1/live")
        assert refused.value.status == 503
        async with session.get(f"{site.url}/api/v1/live") as answer:
            assert answer.status == 426


def test_the_published_schemas_are_those_of_the_types() -> None:
    for name, made in published().items():
        assert json.loads((SCHEMAS / name).read_text()) == json.loads(json.dumps(made)), (
            f"{name}: write it anew: python -m connector.web.schemas docs/schemas"
        )
