"""The clients of a PBX as the settings say: AMI, ARI, and both as one link."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from random import Random

from connector.asterisk.ami import Ami
from connector.asterisk.ari import Ari
from connector.asterisk.link import PbxLink
from connector.bus import Bus
from connector.config import AmiSettings, PbxSettings
from connector.records import Published


class StartFailed(Exception):
    """The connector cannot run with these settings on this machine; the message says why and what to do."""


def new_ami(name: str, settings: AmiSettings, random: Random) -> Ami:
    """The manager client of a PBX as the settings say.

    Raises:
        StartFailed: The CA file cannot be used.
    """
    tls = _trusting(settings.tls_ca_file, f"pbx.{name}.ami.tls_ca_file") if settings.tls else None
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
    """The ARI client of a PBX as the settings say; `app` replaces the application's name.

    Raises:
        StartFailed: The CA file cannot be used.
    """
    return Ari(
        pbx=name,
        url=pbx.ari.url,
        username=pbx.ari.username,
        password=pbx.ari.password,
        app=app or pbx.ari.app,
        clock=time.time,
        monotonic=time.monotonic,
        random=random,
        tls=_trusting(pbx.ari.tls_ca_file, f"pbx.{name}.ari.tls_ca_file"),
    )


def new_link(name: str, pbx: PbxSettings, bus: Bus[Published], random: Random) -> PbxLink:
    """Both clients of a PBX, and what they keep of it.

    Raises:
        StartFailed: The CA file cannot be used.
    """
    return PbxLink(
        pbx=name,
        ami=new_ami(name, pbx.ami, random),
        ari=new_ari(name, pbx, random),
        bus=bus,
        clock=time.time,
        reconcile_s=pbx.resync_interval_s,
    )


def _trusting(ca_file: Path | None, key: str) -> ssl.SSLContext:
    """Checks a PBX's certificate against this CA alone, or where there is none against the system's."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise StartFailed(f"{key}: {ca_file} cannot be used: {error}") from None
