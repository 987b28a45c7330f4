"""The recipes of docs/recipes are true: what a page says is done in a copy of the package, and its tests are run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "docs/recipes").glob("*.md"))
BLOCK = re.compile(r'^```(python|diff) title="([\w/.-]+)"\n(.*?)^```', re.MULTILINE | re.DOTALL)


def follow(page: Path, copy: Path) -> list[str]:
    """Does what the blocks of a page say; returns the files that hold tests."""
    tests = []
    for kind, name, body in BLOCK.findall(page.read_text("utf-8")):
        path = copy / name
        if kind == "python":
            assert not path.exists(), f"{name} is there already"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(body, "utf-8")
            if name.startswith("tests/"):
                tests.append(name)
            continue
        lines = body.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if not line.startswith("+"))
        after = "".join(line[1:] for line in lines if not line.startswith("-"))
        text = path.read_text("utf-8")
        assert text.count(before) == 1, (
            f"{name} has {text.count(before)} times what {page.name} wants to change:\n{before}"
        )
        path.write_text(text.replace(before, after), "utf-8")
    return tests


@pytest.mark.parametrize("page", RECIPES, ids=lambda page: page.stem)
def test_a_recipe_works(page: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "connector", tmp_path / "connector", ignore=shutil.ignore_patterns("__pycache__", "static"))
    tests = follow(page, tmp_path)
    assert tests
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
