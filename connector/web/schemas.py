"""The published schemas; `python -m connector.web.schemas DIR` writes them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from connector.dialects import raw_messages
from connector.web.happenings import AnyHappening
from connector.web.push.messages import FromViewer, ToViewer
from connector.web.rest.api import Api
from connector.web.rest.listeners import ListenersApi
from connector.web.rest.phones import PhonesApi
from connector.web.rest.recordings import RecordingsApi
from connector.web.rest.state import State

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def published() -> dict[str, dict[str, Any]]:
    """Schemas by file name in docs/schemas."""
    nobody: Any = None  # nothing is asked while the document is made
    api = Api(
        live=nobody,
        streams=nobody,
        bot=nobody,
        figures={},
        history=nobody,
        directory=nobody,
        probes=nobody,
        webhooks=nobody,
        state=nobody,
        audit=nobody,
        profiles=nobody,
        accounts=nobody,
        phones=PhonesApi(nobody, {}, {}),
        acts={},
        listeners=ListenersApi({}, nobody),
        recordings=RecordingsApi({}, nobody, nobody, nobody, lambda: 0.0),
        clock=lambda: 0.0,
    )
    return {
        "openapi.json": api.document,
        "push-to-viewer.json": _schema(ToViewer, "Messages of /api/v1/live to a viewer"),
        "push-from-viewer.json": _schema(FromViewer, "Messages of a viewer to /api/v1/live"),
        "state.json": _schema(State, "Answer of /api/v1/state"),
        "raw-v1.json": raw_messages.schema(),
        "webhook.json": _schema(AnyHappening, "Body of a webhook"),
    }


def write(folder: Path) -> list[Path]:
    """Writes them into a folder; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, schema in published().items():
        file = folder / name
        file.write_text(json.dumps(schema, indent=2) + "\n")
        files.append(file)
    return files


def _schema(shape: Any, title: str) -> dict[str, Any]:
    return {"$schema": DIALECT, "title": title, **msgspec.json.schema(shape)}


if __name__ == "__main__":
    write(Path(sys.argv[1]))
