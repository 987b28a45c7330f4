"""The clients of a PBX as the settings say: AMI and ARI."""

from __future__ import annotations

import ssl
import time
from random import Random

from connector.asterisk.ami import Ami
from connector.asterisk.ari import Ari
from connector.config import AmiSettings, PbxSettings


class StartFailed(Exception):
    """The connector cannot run with these settings on this machine; the message says why and what to do."""


def new_ami(name: str, settings: AmiSettings, random: Random) -> Ami:
    """The manager client of a PBX as the settings say.

    Raises:
        StartFailed: The CA file cannot be used.
    """
    tls: ssl.SSLContext | None = None
    if settings.tls:
        try:
            tls = ssl.create_default_context(cafile=settings.tls_ca_file)
        except OSError as error:
            raise StartFailed(f"pbx.{name}.ami.tls_ca_file: {settings.tls_ca_file} cannot be used: {error}") from None
    return Ami(
        pbx=name,
        host=settings.host,
        port=settings.port,
        username=settings.username,
        secret=settings.secret,
        tls=tls,
        clock=time.time,
        monotonic=time.monotonic,
        random=random,
    )


def new_ari(name: str, pbx: PbxSettings, random: Random, *, app: str | None = None) -> Ari:
    """The ARI client of a PBX as the settings say; `app` replaces the application's name."""
    return Ari(
        pbx=name,
        url=pbx.ari.url,
        username=pbx.ari.username,
        password=pbx.ari.password,
        app=app or pbx.ari.app,
        clock=time.time,
        monotonic=time.monotonic,
        random=random,
    )
