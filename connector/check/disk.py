"""Where history and recordings go: whether this user may write there, and for how long there is room."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from connector.check.findings import Cause, Findings
from connector.config import Settings

RESERVE_BYTES = 512 * 1024 * 1024
"""Beside the spool at its largest."""


def check_disk(settings: Settings, findings: Findings) -> None:
    """Looks at `store.directory` and, where that is another place, at `recording.directory`.

    Args:
        settings: All settings.
        findings: Gets one for each place.
    """
    places = [("store", "store.directory", settings.store.directory)]
    if settings.recording.directory is not None:
        places.append(("recording", "recording.directory", settings.recording.directory))
    for subject, key, place in places:
        _check(subject, key, place, settings.store.spool_max_bytes + RESERVE_BYTES, findings)


def _check(subject: str, key: str, place: Path, wanted_bytes: int, findings: Findings) -> None:
    there = _nearest(place.absolute())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        findings.warning(
            subject,
            Cause.DISK,
            f"nothing can be written to {place} ({there} is no directory of this user's), so history and recordings "
            f"are lost: correct {key}, or give the directory to the user that the connector runs as",
        )
        return
    free = shutil.disk_usage(there).free
    if free < wanted_bytes:
        findings.warning(
            subject,
            Cause.DISK,
            f"{place} has {_mb(free)} MB free and {_mb(wanted_bytes)} MB are to be there for the spool and what comes "
            f"meanwhile: make room, set another {key}, or keep less (store.retention_days, recording.retention_days)",
        )
    else:
        findings.ok(subject, Cause.DISK, f"{place} can be written to and has {_mb(free)} MB free")


def _nearest(place: Path) -> Path:
    """The directory, or that above it which is there."""
    while not place.exists() and place != place.parent:
        place = place.parent
    return place


def _mb(size_bytes: int) -> int:
    return size_bytes // (1024 * 1024)
