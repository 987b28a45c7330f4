"""Profiles that change at run time, over a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from connector.config_profiles import ProfileSettings
from connector.store.database import Database
from connector.store.profiles import KeptProfile, KeptProfiles, Outdated
from connector.streams.book import HIDDEN, PROFILES_MAX, BadProfile, Fixed, ProfileBook

URL = {"url": "wss://bot.example.com/"}
SECRET = {"auth": {"kind": "bearer", "secret": "quite-secret"}, "headers": {"X-Key": "also-secret"}}


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(f"sqlite:///{tmp_path}/kept.sqlite")
    await made.migrate()
    yield made
    await made.close()


def book_on(database: Database) -> ProfileBook:
    fixed = {"fixed": ProfileSettings.model_validate(URL)}
    return ProfileBook(fixed, KeptProfiles(database), clock=lambda: 1_800_000_000.0)


async def test_a_profile_takes_effect_at_once_and_is_there_after_a_restart(database: Database) -> None:
    book = book_on(database)
    before = book.profiles
    made = await book.put("sales", {**URL, "match": {"queues": ["sales"]}}, by="alice")
    assert (made.version, made.source, made.changed_by, made.changed_at) == (1, "api", "alice", 1_800_000_000.0)
    assert set(book.profiles) == {"fixed", "sales"}
    assert set(before) == {"fixed"}, "who holds the earlier profiles keeps them"
    assert (await book.put("sales", URL, by="bob")).version == 2
    again = book_on(database)
    await again.load()
    assert again.view("sales").version == 2
    assert again.profiles["sales"] == book.profiles["sales"]
    await again.remove("sales", by="carol")
    assert set(again.profiles) == {"fixed"}
    assert [(each.version, each.changed_by) for each in await again.versions("sales")] == [
        (3, "carol"),
        (2, "bob"),
        (1, "alice"),
    ]
    assert (await again.put("sales", URL, by="dave")).version == 4


async def test_a_settings_file_read_anew_goes_over_kept_ones_and_gives_them_back(database: Database) -> None:
    book = book_on(database)
    await book.put("sales", URL, by="alice")
    other = ProfileSettings.model_validate({"url": "wss://other.example.com/"})
    await book.replace_fixed({"sales": other})
    assert set(book.profiles) == {"sales"}
    assert book.view("sales").source == "config"
    with pytest.raises(Fixed):
        await book.put("sales", URL, by="bob")
    await book.replace_fixed({})
    assert book.view("sales").source == "api"
    assert book.profiles["sales"].url == URL["url"]


async def test_two_who_change_the_same_do_not_overwrite_each_other(database: Database) -> None:
    book = book_on(database)
    await book.put("sales", URL, by="alice", version=0)
    with pytest.raises(Outdated, match="version 1 now"):
        await book.put("sales", URL, by="bob", version=0)
    with pytest.raises(Outdated):
        await book.remove("sales", by="bob", version=7)
    kept = KeptProfiles(database)
    twice = KeptProfile(name="sales", version=1, at=0.0, by="other", settings=URL)
    with pytest.raises(Outdated):
        await kept.put(twice)


async def test_those_of_the_settings_file_are_changed_there(database: Database) -> None:
    book = book_on(database)
    assert book.is_trusted("fixed")
    with pytest.raises(Fixed, match=r"profile\.fixed"):
        await book.put("fixed", URL, by="alice")
    with pytest.raises(Fixed):
        await book.remove("fixed", by="alice")
    await KeptProfiles(database).put(KeptProfile(name="fixed", version=1, at=0.0, by="x", settings={"url": "ws://x/"}))
    await book.load()
    assert book.profiles["fixed"].url == URL["url"]


async def test_every_mistake_is_told_and_nothing_is_kept(database: Database) -> None:
    book = book_on(database)
    with pytest.raises(BadProfile) as refused:
        await book.put("sales", {"url": "ftp://x", "colour": "blue", "match": {"percent": 200}}, by="alice")
    assert len(refused.value.problems) == 3
    assert "colour: unknown key" in refused.value.problems
    with pytest.raises(BadProfile, match="not a name"):
        await book.put("Sales!", URL, by="alice")
    assert set(book.profiles) == {"fixed"}
    assert await book.versions("sales") == []
    with pytest.raises(KeyError):
        await book.remove("sales", by="alice")


async def test_secrets_are_kept_and_never_shown(database: Database) -> None:
    book = book_on(database)
    view = await book.put("sales", {**URL, **SECRET}, by="alice")
    versions = await book.versions("sales")
    assert "secret" not in f"{view.settings['auth']['secret']}{view.settings['headers']}".lower()
    assert "-secret" not in str(versions)
    assert view.settings["auth"]["secret"] == HIDDEN
    changed = {**view.settings, "priority": 5}
    await book.put("sales", changed, by="bob")
    assert book.profiles["sales"].auth.secret.get_secret_value() == "quite-secret"
    assert book.profiles["sales"].headers["X-Key"].get_secret_value() == "also-secret"
    with pytest.raises(BadProfile, match="no secret yet"):
        await book.put("other", {**URL, "headers": {"X-Key": HIDDEN}}, by="bob")


async def test_one_that_this_version_cannot_use_does_not_take_the_others_with_it(database: Database) -> None:
    kept = KeptProfiles(database)
    await kept.put(KeptProfile(name="old", version=1, at=0.0, by="x", settings={**URL, "gone_key": 1}))
    await kept.put(KeptProfile(name="sales", version=1, at=0.0, by="x", settings=URL))
    book = book_on(database)
    await book.load()
    assert set(book.profiles) == {"fixed", "sales"}


async def test_there_is_a_bound(database: Database) -> None:
    book = book_on(database)
    for number in range(PROFILES_MAX - 1):
        await book._kept.put(KeptProfile(name=f"p{number}", version=1, at=0.0, by="x", settings=URL))
    await book.load()
    with pytest.raises(BadProfile, match="already"):
        await book.put("one_more", URL, by="alice")
    await book.put("p0", URL, by="alice")
