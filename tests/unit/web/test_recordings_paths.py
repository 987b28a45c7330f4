"""No path, link or header of the recordings' routes leads to another file."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from yarl import URL

from connector.access.rights import Role
from connector.audio.tone import sine
from tests.unit.web.conftest import MakeSite
from tests.unit.web.site import Site
from tests.unit.web.test_recordings import ask, keep
from tests.unit.web.test_scope import house

SECRET = b"root:x:0:0"
PARTS = [
    "..", "%2e%2e", "%2E%2E", "%252e%252e", ".%2e", "..%2f..%2fsecret", "..%5c..%5csecret", "%2fetc%2fpasswd",
    "/etc/passwd", "....//", "%c0%ae%c0%ae", "%00", "secret%00.wav", "x%0a.wav", ".", ".wav", "", "*", "~root",
    "file:%2f%2f%2fetc%2fpasswd", "secret", "linked.wav", "x" * 300,
]  # fmt: skip


async def raw(site: Site, path: str, **headers: str) -> tuple[int, bytes]:
    """Asks for a path as it is, without the client putting it in order."""
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(URL(site.url + path, encoded=True), allow_redirects=False) as answer,
    ):
        return answer.status, await answer.read()


@pytest.fixture
async def site(make_site: MakeSite) -> Site:
    """A folder with a recording, beside it a secret, and links to that."""
    site = await make_site()
    kept = Path(keep(site, "1.1", "s1").path)
    folder = kept.parent.parent
    (folder.parent / "secret").write_bytes(SECRET)
    (folder / "secret").write_bytes(SECRET)
    (kept.parent / "secret").write_bytes(SECRET)
    for link in ("linked.wav", "linked2.wav"):
        (kept.parent / link).symlink_to(folder.parent / "secret")
        (kept.parent / f"{link}.json").write_bytes(Path(f"{kept}.json").read_bytes())
    (folder / "2000-01-01").symlink_to(kept.parent, target_is_directory=True)
    return site


@pytest.mark.parametrize("part", PARTS)
async def test_no_name_leads_out_of_the_folder(site: Site, part: str) -> None:
    _, page = await ask(site, "GET", "/recordings?limit=1")
    day = page["recordings"][0]["day"]
    for path in (f"{day}/{part}", f"{part}/secret", f"{part}/{part}", f"{day}%2f{part}", f"{day}/{part}/{part}"):
        for end in ("", "/audio", "/peaks"):
            status, content = await raw(site, f"/api/v1/recordings/{path}{end}")
            assert status in (400, 401, 404), f"{path}{end}: {status}"
            assert SECRET not in content, f"{path}{end}"


async def test_a_link_is_no_recording(site: Site) -> None:
    _, page = await ask(site, "GET", "/recordings?limit=1")
    day, file = page["recordings"][0]["day"], "linked.wav"
    assert (await raw(site, f"/api/v1/recordings/{day}/{file}/audio"))[0] == 404
    real = next(path.name for path in (site.recordings.folder / day).glob("main-*.wav"))
    assert (await raw(site, f"/api/v1/recordings/{day}/{real}/audio"))[0] == 200
    assert (await raw(site, f"/api/v1/recordings/2000-01-01/{real}/audio"))[0] == 404, "the day is a link"


@pytest.mark.parametrize(
    ("sent", "status"),
    [("bytes=0-9", 206), ("bytes=-10", 206), ("bytes=1000-", 206), ("bytes=5000-", 416), ("bytes=9-1", 416),
     ("bytes=a-b", 416), ("lines=1-2", 416), ("bytes=0-1,5-6", 416), ("bytes=" + "9" * 400 + "-", 416)],
)  # fmt: skip
async def test_ranges_that_are_none_are_refused_and_nothing_breaks(site: Site, sent: str, status: int) -> None:
    _, page = await ask(site, "GET", "/recordings")
    audio = next(each["audio"] for each in page["recordings"] if each["file"].startswith("main-"))
    assert (await raw(site, audio, Range=sent))[0] == status


async def test_the_outline_is_for_those_who_may_hear_it(make_site: MakeSite) -> None:
    site = await make_site(house(), anonymous="")
    to = Path(keep(site, "1.alpha", "s1").path)
    with wave.open(str(to), "wb") as file:
        file.setparams((2, 2, 8_000, 0, "NONE", ""))
        file.writeframes(np.repeat(sine(1000, 8_000, rate_hz=8_000, dbfs=-6), 2).tobytes())
    path = f"/recordings/{to.parent.name}/{to.name}/peaks"
    for queue, status in (("alpha", 200), ("beta", 404)):
        headers = await site.token(Role.SUPERVISOR, queues=(queue,))
        found, outline = await ask(site, "GET", path, headers)
        assert found == status
        if status == 200:
            assert outline["duration_ms"] == 1000
            assert max(outline["left"]) == pytest.approx(128, abs=3)
    assert (await ask(site, "GET", path))[0] == 401
    assert (await ask(site, "GET", path, await site.token(Role.VIEWER)))[0] == 403


async def test_what_is_no_sound_has_no_outline(site: Site) -> None:
    _, page = await ask(site, "GET", "/recordings")
    one = next(each for each in page["recordings"] if each["file"].startswith("main-"))
    status, problem = await ask(site, "GET", f"/recordings/{one['day']}/{one['file']}/peaks")
    assert (status, problem["type"]) == (409, "urn:connector:problem:unreadable")
    os.unlink(site.recordings.folder / one["day"] / one["file"])
    assert (await ask(site, "GET", f"/recordings/{one['day']}/{one['file']}/peaks"))[0] == 409
    assert (await ask(site, "GET", one["audio"].removeprefix("/api/v1")))[0] == 404
