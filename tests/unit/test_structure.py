"""The house stands as drawn: a room imports only from rooms below it, and no file grows a second subject."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "connector"

FLOORS = [
    ["__main__"],
    ["cli"],
    ["cli_accounts", "cli_profiles"],
    ["demo", "trial"],
    ["check", "serve"],
    ["app"],
    ["outgoing"],
    ["botside", "live", "pbx_clients", "keeping"],
    ["lab"],
    ["top"],
    ["messaging"],
    ["web"],
    ["calls"],
    ["streams"],
    ["telemetry"],
    ["asterisk"],
    ["media"],
    ["acd"],
    ["store"],
    ["bus"],
    ["net"],
    ["records"],
    ["access"],
    ["events"],
    ["telephony"],
    ["logs", "systemd"],
    ["config"],
    ["config_web", "config_people", "config_store", "config_profiles", "config_recording", "config_tracing"],
    ["config_vendors", "config_nats"],
    ["dialects", "config_steps"],
    ["config_targets", "config_types"],
    ["audio"],
]
"""Top to bottom."""

HEIGHT = {room: -floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("connector."):
            rooms.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "connector":
            rooms |= {alias.name for alias in node.names} & HEIGHT.keys()
        elif isinstance(node, ast.Import):
            rooms |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("connector.")}
    return rooms


def test_nothing_imports_upward() -> None:
    upward = [
        f"{path.relative_to(PACKAGE)} imports {room}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != PACKAGE / "__init__.py"
        for room in sorted(imported_rooms(path))
        if room != room_of(path) and HEIGHT[room] >= HEIGHT[room_of(path)]
    ]
    assert not upward


def test_no_file_grew_a_second_subject() -> None:
    long = {
        str(path.relative_to(PACKAGE)): lines
        for path in PACKAGE.rglob("*.py")
        if (lines := path.read_text().count("\n")) > 450
    }
    assert not long
