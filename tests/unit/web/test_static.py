"""The built page is that of its sources, and its parts do what they say."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "wallboard"
STATIC = ROOT / "connector" / "web" / "static"
BUILT = ("wallboard.js", "listen.js", "wallboard.css", "licences.txt")


def npm(*command: str, **environment: str) -> None:
    if not (SOURCE / "node_modules/esbuild").is_dir():
        pytest.fail("wallboard/node_modules is not there: run scripts/setup unit, or npm ci in wallboard")
    done = subprocess.run(
        command, cwd=SOURCE, env={**os.environ, **environment}, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_served_is_built_from_the_sources(tmp_path: Path) -> None:
    npm("node", "build.mjs", WALLBOARD_OUT=str(tmp_path))
    differ = [name for name in BUILT if (tmp_path / name).read_bytes() != (STATIC / name).read_bytes()]
    assert not differ, "cd wallboard && npm run build, and commit connector/web/static"


def test_types_and_parts_of_the_page(tmp_path: Path) -> None:
    npm("npx", "--offline", "tsc", "--noEmit")
    npm("npm", "test")


def test_nothing_is_loaded_from_elsewhere() -> None:
    for name in ("index.html", "wallboard.css"):
        assert not re.search(r"https?:|//[a-z]", (STATIC / name).read_text()), name
    addresses = set(re.findall(r"https?://[^\"'`\s)]+", (STATIC / "wallboard.js").read_text()))
    assert all(each.startswith("http://www.w3.org/") for each in addresses), addresses


def test_the_page_is_small() -> None:
    assert sum(path.stat().st_size for path in STATIC.iterdir()) < 150_000
