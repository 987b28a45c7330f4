"""Settings of recordings: where files go, what they are, how long they stay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from connector.config_types import SecretHeaders, Section, checked_url


class RecordingSettings(Section):
    """Recordings of calls, for profiles with `record` and on demand: stereo, caller left, bot or agent right."""

    directory: Path | None = None
    """Where the files go, in a folder a day. Left out: recordings in `store.directory`."""
    container: Literal["wav", "flac", "ogg", "mp3"] = "wav"
    """Kind of the files; all but wav need the extra `recording`."""
    beep_every_s: Annotated[int, Field(ge=0, le=3_600)] = 0
    """A beep of 200 ms at 1400 Hz that caller and agent hear so often, as some laws ask for; 0 for none."""
    retention_days: Annotated[int, Field(ge=0, le=36_500)] = 30
    """After so many days a recording is deleted; 0 keeps it for ever."""
    upload_url: str = ""
    """http:// or https:// address of a folder that each file is put into (HTTP PUT) under its own name; empty: none."""
    upload_headers: SecretHeaders = Field(default={})
    """HTTP headers of the PUT, for example an Authorization."""

    @field_validator("upload_url")
    @classmethod
    def _url(cls, value: str) -> str:
        return checked_url(value, ("http", "https")).rstrip("/") if value else value
