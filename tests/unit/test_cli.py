"""The command as its user meets it: exit codes, and what is said when the settings are wrong."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from connector import config
from connector.dialects.registry import DIALECTS

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "CONNECTOR__PBX__MAIN__AMI__SECRET": "manager-secret",
    "CONNECTOR__PBX__MAIN__ARI__PASSWORD": "ari-secret",
    "CONNECTOR__STORE__DIRECTORY": tempfile.mkdtemp(),
}


def connector(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "connector", *arguments],
        env={**ENVIRONMENT, **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_config_prints_what_is_in_effect_without_secrets() -> None:
    done = connector("config", CONNECTOR__HTTP__PORT="9001")
    shown = json.loads(done.stdout)
    assert done.returncode == 0
    assert shown["http"]["port"] == 9001
    assert "secret" in shown["pbx"]["main"]["ami"]
    assert "manager-secret" not in done.stdout
    assert "ari-secret" not in done.stdout


def test_config_prints_the_schema() -> None:
    assert json.loads(connector("config", "--schema").stdout) == config.schema()


@pytest.mark.parametrize("command", ["run", "check", "config"])
def test_wrong_settings_are_named_line_by_line(command: str, tmp_path: Path) -> None:
    path = tmp_path / "connector.toml"
    path.write_text("[media]\nbind_port = 0\n[htpp]\n")
    done = connector(command, "--config", str(path))
    assert done.returncode == 78
    assert done.stderr.splitlines() == [
        f"{path}: media.bind_port: input should be greater than or equal to 1",
        f"{path}: htpp: unknown key; allowed in the top level: " + ", ".join(config.Settings.model_fields),
    ]


def test_the_settings_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "connector.toml"
    path.write_text('[node]\nname = "left"\n')
    assert json.loads(connector("config", CONNECTOR_CONFIG=str(path)).stdout)["node"]["name"] == "left"


def test_a_taken_rtp_port_ends_the_start_with_the_key_to_change() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        done = connector("run", CONNECTOR__MEDIA__BIND_PORT=str(port))
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "media.bind_port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_http_port_ends_the_start_with_the_key_to_change() -> None:
    with socket.socket() as holder, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        free.bind(("127.0.0.1", 0))
        rtp_port, http_port = free.getsockname()[1], holder.getsockname()[1]
        free.close()
        done = connector("run", CONNECTOR__MEDIA__BIND_PORT=str(rtp_port), CONNECTOR__HTTP__PORT=str(http_port))
    assert done.returncode == 1
    assert "http.port" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_settings_know_every_dialect() -> None:
    by_name, table = config.schema()["$defs"]["ProfileSettings"]["properties"]["dialect"]["anyOf"]
    assert set(by_name["enum"]) == set(table["discriminator"]["mapping"]) == set(DIALECTS)
