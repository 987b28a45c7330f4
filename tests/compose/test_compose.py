"""compose.yaml on a real Docker engine: build, up, a call through it, each container started anew, down."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connector.audio.tone import dominant_tone
from connector.lab.phone import Phone
from connector.lab.rtp import RATE_HZ, tone_source

ROOT = Path(__file__).parents[2]
PROJECT = "connector-test"
TONE_HZ = 1000
DEADLINE_S = 60.0
URL = "http://127.0.0.1:8089"

pytestmark = pytest.mark.timeout(600)


def compose(*arguments: str) -> str:
    done = subprocess.run(
        ["docker-compose", "-p", PROJECT, "--env-file", "deploy/demo.env", "--profile", "demo", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"docker-compose {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def container(service: str) -> str:
    return compose("ps", "-q", service).strip()


def until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            if holds():
                return
        except OSError:
            pass  # it does not listen yet
        time.sleep(0.1)
    pytest.fail(f"not within {DEADLINE_S:g} s: {what}\n{compose('logs', '--tail=20')}")


def answers(path: str) -> str:
    with urllib.request.urlopen(f"{URL}{path}", timeout=2) as answer:
        return str(answer.read(), "utf-8")


def ready() -> bool:
    return bool(json.loads(answers("/readyz"))["status"] == "ready")


@pytest.fixture(scope="module")
def containers() -> Iterator[None]:
    """The demo, from a built image; secrets are made where there are none."""
    os.environ.setdefault("PYTHON_IMAGE", "python-base")
    os.environ.setdefault("BUILD_IMAGE", "python-build")
    os.environ.setdefault("ASTERISK_IMAGE", "asterisk-22")
    for name in ("ami", "ari", "grafana", "postgres", "nats"):
        path = ROOT / "deploy" / "secrets" / name
        if not path.exists():
            path.write_text(secrets.token_hex(16) + "\n")
    compose("build", "connector")
    try:
        compose("up", "-d", "asterisk-conf", "asterisk", "echo-bot", "connector", "callers")
        until("ready", ready)
        yield
    finally:
        compose("down", "--volumes", "--timeout", "5")


async def _call() -> float:
    """Calls the bot from outside; gives the tone that comes back."""
    address = docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container("asterisk"))
    async with Phone(0, "4711", (address, 5060), source=tone_source(TONE_HZ)) as phone:
        call = await phone.call("bot")
        await call.wait_answered(timeout_s=DEADLINE_S)
        await call.rtp.wait_for(
            lambda rtp: dominant_tone(rtp.audio(last_ms=500), RATE_HZ).share > 0.9, timeout_s=DEADLINE_S
        )
        heard = dominant_tone(call.rtp.audio(last_ms=500), RATE_HZ)
        await call.hang_up()
        return heard.hz


def call_hears_its_tone_again() -> None:
    assert asyncio.run(_call()) == pytest.approx(TONE_HZ, abs=5)


def test_a_call_reaches_the_bot_and_comes_back(containers: None) -> None:
    call_hears_its_tone_again()


def test_it_runs_without_rights(containers: None) -> None:
    here = container("connector")
    assert docker("exec", here, "id", "-u") == "10001"
    refused = subprocess.run(["docker", "exec", here, "touch", "/opt/x"], capture_output=True, text=True, check=False)
    assert "Read-only file system" in refused.stderr
    settings = json.loads(docker("inspect", here))[0]["HostConfig"]
    assert settings["CapDrop"] == ["ALL"]
    assert settings["Memory"] > 0
    assert settings["NanoCpus"] > 0
    secret = (ROOT / "deploy" / "secrets" / "ami").read_text().strip()
    assert secret not in docker("inspect", here), "secrets are files, not environment"
    assert secret not in docker("logs", here)


def test_metrics_and_the_demos_own_callers(containers: None) -> None:
    active = re.compile(r'^connector_streams_active\{.*pbx="main",profile="echo"\} [1-9]', re.MULTILINE)
    until("callers reach the bot", lambda: active.search(answers("/metrics")) is not None)
    assert 'connector_link_up{link="ami",pbx="main"} 1.0' in answers("/metrics")
    assert 'connector_media_fast_path{worker="0"} 1.0' in answers("/metrics")


@pytest.mark.parametrize("service", ["connector", "asterisk", "echo-bot"])
def test_a_container_may_be_started_anew(containers: None, service: str) -> None:
    docker("restart", "--time", "5", container(service))
    until("ready again", ready)
    call_hears_its_tone_again()


def test_it_stops_in_order(containers: None) -> None:
    here = container("connector")
    compose("stop", "callers")
    compose("stop", "--timeout", "50", "connector")
    assert json.loads(docker("inspect", here))[0]["State"]["ExitCode"] == 0
    compose("start", "connector")
    until("ready again", ready)
