"""What is installed with the connector may be used by anybody for anything, and the document says what it is."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

PERMISSIVE = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "MIT", "MIT-0", "PSF-2.0", "Zlib"),
    "public domain",
    "MPL-2.0",  # of its own files alone
}


@pytest.fixture(scope="module")
def generator() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "licences.py"))


def test_the_document_is_current(generator: dict[str, Any]) -> None:
    assert (ROOT / "docs" / "licences.md").read_text("utf-8") == generator["page"](), "run: python docs/licences.py"


def test_every_licence_is_permissive() -> None:
    rows = re.findall(r"^\| (\S+) \| (.+?) \|$", (ROOT / "docs" / "licences.md").read_text("utf-8"), re.MULTILINE)
    named = {package: set(re.split(r" AND | OR ", licence)) for package, licence in rows if package != "package"}
    assert len(named) > 40
    assert {package: licences for package, licences in named.items() if not licences <= PERMISSIVE | {"---"}} == {}


def test_every_package_of_the_image_is_listed(generator: dict[str, Any]) -> None:
    lock = (ROOT / "deploy" / "requirements.lock").read_text("utf-8")
    locked = {
        name
        for name, marker in re.findall(r"^([a-z0-9-]+)==[^ ;\\]+(?: ; ([^\\\n]+))?", lock, re.MULTILINE)
        if "win32" not in marker and "PyPy" not in marker and "cygwin" not in marker
    }
    assert locked - set(generator["packages"]()) == set()
