"""A profile test from end to end: a media worker of its own, no PBX."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Mapping
from random import Random
from urllib.parse import urlsplit

from connector.config import ProfileSettings, Settings
from connector.lab.rtp import Source
from connector.media.engine import MediaEngine
from connector.net.credentials import Secrets
from connector.net.fetch import Fetcher
from connector.store.profiles import KeptProfiles
from connector.store.service import open_database
from connector.streams.book import ProfileBook
from connector.streams.dialling import Dialler
from connector.trial.caller import HOST, Patient, TrialCall, voice
from connector.trial.report import Report
from connector.trial.script import Script

PING_INTERVAL_S, PING_TIMEOUT_S = 1.0, 8.0
"""Shorter than in service, as a bot that does not read is to be found within the test; and much longer than the script
lets nothing be read, which is not the bot's fault."""


@contextlib.asynccontextmanager
async def media(settings: Settings, *, workers: int = 2) -> AsyncIterator[MediaEngine]:
    """Media workers on loopback, for as long as the test runs."""
    engine = MediaEngine(
        bind_host=HOST,
        bind_port=0,
        workers=workers,
        ping_interval_s=PING_INTERVAL_S,
        ping_timeout_s=PING_TIMEOUT_S,
        fast_path=settings.media.fast_path,
        log_level="error",  # the findings say it all
    )
    running = asyncio.create_task(engine.run())
    try:
        await engine.ready.wait()
        yield engine
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def try_profile(
    settings: Settings,
    engine: MediaEngine,
    name: str,
    profile: ProfileSettings,
    *,
    trusted: bool = True,
    quick: bool = False,
    say: Source = voice,
    patient: Patient | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Report:
    """Calls a profile's bot as the script says.

    Args:
        settings: For `media` and `outgoing`.
        engine: The media workers.
        name: Of the profile.
        profile: Its settings.
        trusted: It stands in the settings file.
        quick: One call, and nothing in its way.
        say: What the caller says.
        patient: How long is waited for what.
        environ: Where secrets may be.
    """
    parts = urlsplit(profile.url)
    report = Report(name, profile.dialect.name, f"{parts.scheme}://{parts.netloc}{parts.path}")
    dialled: list[str] = []
    dialler = Dialler(
        engine=engine,
        outgoing=settings.outgoing,
        secrets=Secrets(environ, settings.outgoing.secrets_directory),
        fetcher=Fetcher(max_answer_bytes=settings.outgoing.max_answer_bytes),
        clock=time.time,
        monotonic=time.monotonic,
        random=Random(),
        count=lambda _, outcome: dialled.append(outcome),
    )
    script = Script(
        profile=profile,
        engine=engine,
        new_call=lambda: TrialCall(
            name=name, profile=profile, media=settings.media, dialler=dialler, trusted=trusted, say=say
        ),
        dialled=dialled,
        patient=patient or Patient(),
        quick=quick,
        report=report,
    )
    await script.run()
    return report


async def find(settings: Settings, name: str) -> tuple[ProfileSettings, bool]:
    """A profile of the settings file, or one that is kept in the database; and whether it is of the file.

    Raises:
        KeyError: There is none of this name.
        SQLAlchemyError: It is not in the file, and the database cannot be read.
    """
    if name in settings.profile:
        return settings.profile[name], True
    database = open_database(settings)
    try:
        book = ProfileBook(settings.profile, KeptProfiles(database), clock=time.time)
        await book.load()
        return book.profiles[name], False
    finally:
        await database.close()
