"""The documents are true where a machine can tell: links lead somewhere, samples are what they say they are."""

from __future__ import annotations

import re
import runpy
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from connector import config
from connector.check import Cause
from connector.media.diagnosis import Fault

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^([ ]*)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
SECRETS = {"CONNECTOR__PBX__MAIN__AMI__SECRET": "a", "CONNECTOR__PBX__MAIN__ARI__PASSWORD": "b"}


def _text(page: Path) -> str:
    return page.read_text("utf-8")


def _anchors(page: Path) -> set[str]:
    """Of headings, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ +(.+?)\s*$", FENCE.sub("", _text(page)), re.MULTILINE)
    slugs = (re.sub(r"[^\w\- ]", "", heading.lower()).strip() for heading in headings)
    return {re.sub(r"[ -]+", "-", slug) for slug in slugs}


def _samples(language: str) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for number, (indent, name, body) in enumerate(FENCE.findall(_text(page))):
            if name == language:
                text = "".join(line.removeprefix(indent) + "\n" for line in body.splitlines())
                yield f"{page.relative_to(ROOT)}-{number}", text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for target in LINK.findall(CODE.sub("", FENCE.sub("", _text(page)))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        if not there.exists() or (anchor and there.suffix == ".md" and anchor not in _anchors(there)):
            dead.append(target)
    assert not dead


@pytest.mark.parametrize(
    ("where", "text"), list(_samples("toml")), ids=lambda value: value if "-" in value[-4:] else ""
)
def test_samples_of_settings_are_settings(where: str, text: str, tmp_path: Path) -> None:
    tomllib.loads(text)
    path = tmp_path / "connector.toml"
    path.write_text(text)
    environ = dict(SECRETS)
    config.load(path, environ)


@pytest.mark.parametrize(
    ("where", "text"), list(_samples("yaml")), ids=lambda value: value if "-" in value[-4:] else ""
)
def test_samples_of_yaml_are_yaml(where: str, text: str) -> None:
    assert yaml.safe_load(text)


@pytest.mark.parametrize(
    "script", [*sorted((ROOT / "scripts").iterdir()), ROOT / ".ci" / "run"], ids=lambda path: path.name
)
def test_scripts_are_understood(script: Path) -> None:
    checked = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_every_page_has_its_place_in_the_site() -> None:
    nav = runpy.run_path(str(ROOT / "docs/nav.py"))
    placed = [page for names in nav["pages"]().values() for page in names]
    assert sorted(placed) == sorted(str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md"))
    named = [page for names in nav["SECTIONS"].values() for page in names]
    assert [page for page in named if page not in placed] == []


def test_what_goes_wrong_has_a_word_in_the_pages_for_it() -> None:
    troubleshooting, check = (_text(ROOT / "docs" / f"{name}.md") for name in ("troubleshooting", "check"))
    assert [fault for fault in Fault if f"`{fault}`" not in troubleshooting] == []
    assert [cause for cause in Cause if f"`{cause}`" not in check] == []
    metrics = _text(ROOT / "docs/metrics.md")
    named = set(re.findall(r"`(connector_\w+)", troubleshooting))
    assert [name for name in named if f"`{name}" not in metrics] == []


def test_the_reference_of_rest_is_current() -> None:
    reference = runpy.run_path(str(ROOT / "docs" / "reference.py"))["page"]()
    assert (ROOT / "docs" / "rest-reference.md").read_text("utf-8") == reference, "run: python docs/reference.py"
