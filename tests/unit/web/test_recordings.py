"""Recordings over REST: whose they are, page by page, their content by ranges, and those of calls that go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from connector.access.rights import Role, TokenScope
from connector.media.recorder import RecordTo
from connector.streams.recordings import Note
from tests.unit.web.conftest import MakeSite
from tests.unit.web.site import Site
from tests.unit.web.test_scope import house

CONTENT = bytes(range(256)) * 4


def keep(site: Site, linkedid: str, stream: str) -> RecordTo:
    """A recording that is closed."""
    to = site.recordings.begin(
        pbx="main", channel_id=linkedid, stream_id=f"x-{stream}", profile="talk", linkedid=linkedid
    )
    Path(to.path).write_bytes(CONTENT)
    beside = Path(to.path + ".json")
    note = msgspec.json.decode(beside.read_bytes(), type=Note)
    note.sha256, note.size_bytes, note.duration_ms = "ab" * 32, len(CONTENT), 1000
    beside.write_bytes(msgspec.json.encode(note))
    site.now += 1.0
    return to


async def ask(
    site: Site, method: str, path: str, headers: dict[str, str] | None = None, body: Any = None
) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{site.url}/api/v1{path}", headers=headers, json=body) as answer,
    ):
        return answer.status, await answer.json() if "json" in answer.content_type else await answer.read()


async def test_pages_the_latest_first(make_site: MakeSite) -> None:
    site = await make_site()
    for number in range(5):
        keep(site, f"{number}.1", f"s{number}")
    found, after = [], ""
    while True:
        status, page = await ask(site, "GET", f"/recordings?limit=2&until={site.now + 1}&after={after}")
        assert status == 200
        found += [each["linkedid"] for each in page["recordings"]]
        after = page["next"]
        if not after:
            break
    assert found == ["4.1", "3.1", "2.1", "1.1", "0.1"]
    status, page = await ask(site, "GET", "/recordings?call=3.1")
    assert [each["linkedid"] for each in page["recordings"]] == ["3.1"]
    only = page["recordings"][0]
    assert (only["state"], only["duration_ms"], only["right"]) == ("closed", 1000, "bot")
    assert (await ask(site, "GET", f"/recordings/{only['day']}/{only['file']}"))[1] == only


async def test_content_whole_and_by_ranges_and_each_hearing_in_the_audit(make_site: MakeSite) -> None:
    site = await make_site()
    keep(site, "1.1", "s1")
    _, page = await ask(site, "GET", "/recordings")
    audio = page["recordings"][0]["audio"].removeprefix("/api/v1")
    assert await ask(site, "GET", audio) == (200, CONTENT)
    assert await ask(site, "GET", audio, {"Range": "bytes=100-199"}) == (206, CONTENT[100:200])
    assert (await ask(site, "GET", audio.replace(".wav", ".wav.json")))[0] == 404
    deeds = [(deed.action, deed.result) for deed in site.deeds]
    assert deeds == [("recording.play", "ok"), ("recording.play", "not-found")], "a range of the same is not another"


async def test_of_another_queue_nothing_is_heard_nor_seen(make_site: MakeSite) -> None:
    site = await make_site(house(), anonymous="")
    keep(site, "1.alpha", "s1")
    foreign = keep(site, "2.beta", "s2")
    keep(site, "", "s3")  # of no call that is known
    alpha = await site.token(Role.SUPERVISOR, queues=("alpha",))
    _, page = await ask(site, "GET", "/recordings", alpha)
    assert [each["linkedid"] for each in page["recordings"]] == ["1.alpha"]
    path = Path(foreign.path)
    for end in ("", "/audio"):
        assert (await ask(site, "GET", f"/recordings/{path.parent.name}/{path.name}{end}", alpha))[0] == 404
    for method, body in (("GET", None), ("POST", None), ("PUT", {"paused": True}), ("DELETE", None)):
        assert (await ask(site, method, "/calls/main/2.beta/recording", alpha, body))[0] == 404
    assert (await ask(site, "POST", "/calls/main/1.alpha/recording", alpha))[0] == 201


async def test_who_only_sees_neither_plays_nor_records(make_site: MakeSite) -> None:
    site = await make_site(house(), anonymous="")
    to = Path(keep(site, "1.alpha", "s1").path)
    viewer = await site.token(Role.VIEWER)
    acts = await site.token(Role.SUPERVISOR, TokenScope.READ, TokenScope.ACT)
    for headers in (viewer, acts):
        assert (await ask(site, "GET", "/recordings", headers))[0] == 403
        assert (await ask(site, "GET", f"/recordings/{to.parent.name}/{to.name}/audio", headers))[0] == 403
        assert (await ask(site, "POST", "/calls/main/1.alpha/recording", headers))[0] == 403
    assert (await ask(site, "GET", f"/recordings/{to.parent.name}/{to.name}/audio"))[0] == 401


async def test_a_recording_of_a_call_from_its_beginning_to_its_end(make_site: MakeSite) -> None:
    site = await make_site(house())
    path = "/calls/main/1.alpha/recording"
    assert (await ask(site, "GET", path))[0] == 404
    status, live = await ask(site, "POST", path)
    assert (status, live["linkedid"], live["paused"]) == (201, "1.alpha", False)
    assert (await ask(site, "POST", path))[0] == 409
    assert (await ask(site, "PUT", path, body={"paused": True}))[1]["paused"] is True
    assert (await ask(site, "PUT", path, body={"paused": 1}))[0] == 400
    assert (await ask(site, "GET", path))[1]["paused"] is True
    assert (await ask(site, "DELETE", path))[0] == 200
    assert (await ask(site, "DELETE", path))[0] == 404
    assert [(deed.action, deed.target, deed.detail, deed.result) for deed in site.deeds] == [
        ("recording.start", "1.alpha", "", "ok"),
        ("recording.start", "1.alpha", "", "already-recorded"),
        ("recording.pause", "1.alpha", "paused true", "ok"),
        ("recording.stop", "1.alpha", "", "ok"),
        ("recording.stop", "1.alpha", "", "not-found"),
    ]
