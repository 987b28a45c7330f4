"""Settings of traces: where a call's life is sent as spans."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from connector.config_types import SecretHeaders, Section, checked_url


class TracingSettings(Section):
    """OpenTelemetry: each call becomes a trace. Needs the extra `tracing`."""

    url: str = ""
    """http:// or https:// address that takes OTLP over HTTP, for example http://127.0.0.1:4318/v1/traces; empty: no
    traces."""
    headers: SecretHeaders = Field(default={})
    """HTTP headers of each request, for example an Authorization."""
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the calls that are traced, chosen by the call's id: all of a call or nothing."""
    to_bots: bool = True
    """Bots get the header `traceparent` (W3C Trace Context) with the handshake, so that their spans join the call's."""

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        return checked_url(value, ("http", "https")) if value else value
