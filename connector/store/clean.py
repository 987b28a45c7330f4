"""Text from the telephone network as databases and files take it."""

from __future__ import annotations

from typing import Any

import msgspec

from connector.records import Record


def clean_text(text: str) -> str:
    """Without what PostgreSQL refuses, NUL, and what has no UTF-8 at all, lone surrogates."""
    if "\0" in text:
        text = text.replace("\0", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def clean_record(record: Record) -> Record:
    """The record with every text in it cleaned. Slow: for the one in a million that needs it."""
    return msgspec.convert(_cleaned(msgspec.to_builtins(record)), type(record))


def _cleaned(value: Any) -> Any:
    match value:
        case str():
            return clean_text(value)
        case dict():
            return {key: _cleaned(item) for key, item in value.items()}
        case list() | tuple():
            return [_cleaned(item) for item in value]
        case _:
            return value
