"""What is published works by itself: built, installed where nothing else is, and started from there."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0
SETTINGS = """
[pbx.main]
ami = {{host = "127.0.0.1", port = {nobody}, secret = "not-used"}}
ari = {{url = "http://127.0.0.1:{nobody}/ari", password = "not-used"}}
[http]
port = {http}
metrics = "open"
[media]
bind_port = {rtp}
advertise_host = "127.0.0.1"
[store]
directory = "{folder}"
"""

pytestmark = pytest.mark.timeout(300)


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def unpacked(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return next(folder.iterdir())


def built(source: Path, kind: str, folder: Path) -> Path:
    run(sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", folder, cwd=source)
    return next(folder.glob("*.whl" if kind == "wheel" else "*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made from the source archive, so that something forgotten there is missing here."""
    archive = built(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))
    source = unpacked(archive, tmp_path_factory.mktemp("source"))
    return built(source, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that has the wheel and what it needs, at the locked versions."""
    environment = tmp_path_factory.mktemp("clean") / "environment"
    run(sys.executable, "-m", "venv", environment, cwd=ROOT)
    pip = (environment / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check")
    run(*pip, "--require-hashes", "-r", ROOT / "deploy" / "requirements.lock", cwd=ROOT)
    run(*pip, "--no-deps", wheel, cwd=ROOT)
    run(environment / "bin" / "python", "-m", "pip", "check", cwd=ROOT)
    return environment / "bin"


def test_a_wheel_made_from_the_source_archive_is_as_good_as_one_of_the_repository(wheel: Path, tmp_path: Path) -> None:
    of_repository = built(ROOT, "wheel", tmp_path)
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(of_repository) as second:
        assert sorted(first.namelist()) == sorted(second.namelist())


def test_the_wheel_has_what_it_needs_and_nothing_of_the_workshop(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for needed in ("connector/web/static/wallboard.js", "connector/web/static/index.html", "connector/py.typed"):
        assert needed in names
    assert any(name.startswith("connector/store/migrations/") for name in names)
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"connector", "asterisk_connector"}


def free_port() -> int:
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        port: int = each.getsockname()[1]
        return port


@pytest.fixture
def started(installed: Path, tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`connector run` from the clean environment, with a PBX that nobody answers for."""
    http = free_port()
    settings = tmp_path / "connector.toml"
    settings.write_text(SETTINGS.format(nobody=free_port(), http=http, rtp=free_port(), folder=tmp_path / "state"))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [installed / "connector", "run", "--config", settings],
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        )
    yield f"http://127.0.0.1:{http}", process
    if process.poll() is None:
        process.kill()
    process.wait()
    print((tmp_path / "log").read_text()[-4000:])  # noqa: T201 pytest shows it where the test failed


def fetched(url: str, process: subprocess.Popen[bytes]) -> bytes:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError:
            raise
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{url}: {error}; exit code {process.poll()}")
            time.sleep(0.1)


def test_it_starts_where_nothing_else_is_installed(started: tuple[str, subprocess.Popen[bytes]]) -> None:
    url, process = started
    fetched(f"{url}/healthz", process)
    assert b"connector_link_up" in fetched(f"{url}/metrics", process)
    assert b"wallboard.js" in fetched(f"{url}/", process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=DEADLINE_S) == 0


def test_it_says_its_version_and_what_is_wrong_with_settings(installed: Path, wheel: Path, tmp_path: Path) -> None:
    version = run(installed / "connector", "--version", cwd=tmp_path).split()[-1]
    assert f"-{version}-" in wheel.name
    (tmp_path / "wrong.toml").write_text("[http]\nprot = 1\n")
    wrong = subprocess.run(
        [installed / "connector", "run", "--config", tmp_path / "wrong.toml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode == 78
    assert "prot" in wrong.stderr
    assert "Traceback" not in wrong.stderr
