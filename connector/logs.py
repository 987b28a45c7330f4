"""Structured logs on standard error: JSON for machines, coloured lines for people.

What belongs to a call is bound once with `structlog.contextvars` (pbx, call_id, stream_id) and stands on every
line of its task. Secrets are redacted by type: a pydantic SecretStr prints as stars wherever it ends up.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog
from pydantic import SecretBytes, SecretStr
from structlog.typing import EventDict, Processor, WrappedLogger

from connector.config import LogSettings

REDACTED = "**********"


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Sends the logs of the product, and warnings of its libraries, to one stream in one form.

    Args:
        settings: Level and form.
        stream: Where to write; standard error if None.
    """
    stream = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    final: list[Processor]
    if settings.format == "json":
        # Without the values of local variables: a password or a caller's words would be among them.
        tracebacks = structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        )
        final = [tracebacks, structlog.processors.JSONRenderer(sort_keys=True)]
    else:
        final = [
            structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    structlog.configure(
        processors=[*shared, *final],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_foreign(final)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries tell of each retry and each closed socket at INFO; our own state changes say the same once.
    root.setLevel(logging.WARNING if level > logging.DEBUG else logging.INFO)
    # panoramisk logs whole actions, the login's secret among them, below WARNING and in one error path.
    logging.getLogger("panoramisk").setLevel(logging.CRITICAL)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor that hides secrets by their type, at any depth."""
    for key, value in event.items():
        event[key] = _redacted(value)
    return event


def _redacted(value: Any) -> Any:
    if isinstance(value, SecretStr | SecretBytes):
        return REDACTED
    if isinstance(value, dict):
        return {key: _redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item) for item in value]
    return value


def _foreign(final: list[Processor]) -> list[Processor]:
    return [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final]
