"""Writes docs/licences.md anew from what is installed: `python docs/licences.py`. A test holds that it is current."""

from __future__ import annotations

import json
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PLATFORM = {
    "sys_platform": "linux",
    "platform_system": "Linux",
    "python_version": "3.11",
    "python_full_version": "3.11.0",
}

HEAD = """# Licences of what is used

The connector itself is under Apache-2.0. It is installed with these packages, each under a licence that lets anybody
use, change and pass it on, also in a product; none asks that other code be opened (MPL-2.0 asks it of its own files
alone). A test holds the list against the lock file.

Two optional packages bring shared libraries of others in their wheels: `soundfile` libsndfile (LGPL-2.1), `av` FFmpeg
(LGPL-2.1 or later, see the package's own page for its parts). They are loaded, not linked into anything of ours, and
the connector runs without them.

This page is generated: `python docs/licences.py`.
"""

CLASSIFIED = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "Public Domain": "public domain",
}
"""Old classifiers of PyPI as SPDX names them. BSD alone does not say which; ours all have three clauses."""

WRITTEN = {
    "The MIT License": "MIT",
    "MIT License": "MIT",
    "Apache License": "Apache-2.0",
    "BSD 3-Clause License": "BSD-3-Clause",
}
"""First lines of licence files, for packages whose metadata names none."""


def licence_of(name: str) -> str:
    """The licence of an installed package as an SPDX expression.

    Raises:
        LookupError: It says none, or one that is not understood.
    """
    installed = metadata.distribution(name)
    said = installed.metadata
    if expression := said.get("License-Expression"):
        return expression
    classified = [
        CLASSIFIED[text.rpartition(" :: ")[2]]
        for text in said.get_all("Classifier", [])
        if text.startswith("License :: ") and text.rpartition(" :: ")[2] in CLASSIFIED
    ]
    if classified:
        return " AND ".join(classified)
    short = (said.get("License") or "").strip()
    if short and "\n" not in short and len(short) < 40:
        return {
            "Apache 2": "Apache-2.0",
            "Apache License 2.0": "Apache-2.0",
            "Public-Domain": "public domain",
            "3-Clause BSD License": "BSD-3-Clause",
        }.get(short, short)
    for file in installed.files or ():
        if file.name.startswith("LICENSE"):
            first = file.read_text().strip().splitlines()[0].strip()
            if first in WRITTEN:
                return WRITTEN[first]
    raise LookupError(
        f"{name} {installed.version} names no licence that is understood: look, add it to docs/licences.py"
    )


def packages() -> list[str]:
    """What `pip install asterisk-connector` with all extras brings on Linux with Python 3.11."""
    optional = [line for extra, lines in PROJECT["optional-dependencies"].items() if extra != "dev" for line in lines]
    waiting: list[tuple[list[str], set[str]]] = [([*PROJECT["dependencies"], *optional], {""})]
    seen: set[str] = set()
    while waiting:
        lines, extras = waiting.pop()
        for line in lines:
            needed = Requirement(line)
            holds = needed.marker is None or any(
                needed.marker.evaluate(PLATFORM | {"extra": extra}) for extra in extras
            )
            key = canonicalize_name(needed.name)
            if holds and key not in seen:
                seen.add(key)
                waiting.append((metadata.requires(key) or [], {""} | needed.extras))
    return sorted(seen)


def page() -> str:
    """docs/licences.md."""
    lines = [HEAD, "| package | licence |", "|---|---|"]
    lines += [f"| {name} | {licence_of(name)} |" for name in packages()]
    lines += ["", "In the page, `wallboard.js` (their texts: `connector/web/static/licences.txt`):", ""]
    lines += ["| package | licence |", "|---|---|"]
    lock = json.loads((ROOT / "wallboard" / "package-lock.json").read_text("utf-8"))["packages"]
    lines += [
        f"| {path.removeprefix('node_modules/')} | {entry['license']} |"
        for path, entry in sorted(lock.items())
        if path and not entry.get("dev")
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (DOCS / "licences.md").write_text(page(), "utf-8")
