"""What is deployed fits together: versions, mounted files, provisioning, the service unit."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from dashboards.build import pages

ROOT = Path(__file__).parents[3]


def _versions(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", lock.read_text("utf-8"), re.MULTILINE))


def _compose() -> Any:
    return yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))


def test_the_image_has_the_versions_that_were_tested() -> None:
    image, tested = _versions(ROOT / "deploy" / "requirements.lock"), _versions(ROOT / "requirements.lock")
    assert len(image) > 20
    assert {name: tested.get(name) for name in image} == image
    assert "pytest" not in image


def test_the_image_has_every_package_that_the_project_needs() -> None:
    needed = re.search(
        r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert needed is not None
    names = {name.lower() for name in re.findall(r'"([A-Za-z0-9-]+)', needed[1])}
    assert names <= set(_versions(ROOT / "deploy" / "requirements.lock"))


def test_every_file_that_is_mounted_is_there() -> None:
    for name, service in _compose()["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), f"{name}: {source}"


def test_no_container_has_more_rights_than_it_needs() -> None:
    for name, service in _compose()["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    published = [port for service in _compose()["services"].values() for port in service.get("ports", [])]
    assert [port for port in published if not port.startswith("127.0.0.1:")] == ["32000:32000/udp"]


def test_every_server_says_whether_it_is_well() -> None:
    """Our own image has its check in it; the demo's bot and callers serve nobody else, and the writer of files ends."""
    of_image = re.search(r"^HEALTHCHECK ", (ROOT / "deploy" / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert of_image is not None
    for name, service in _compose()["services"].items():
        if service["image"] != "asterisk-connector":
            assert "test" in service.get("healthcheck", {}), name
        assert service.get("mem_limit") or service.get("restart") == "no", name


def test_grafana_finds_the_dashboards_and_their_data_source() -> None:
    provider = yaml.safe_load((ROOT / "deploy/grafana/dashboards/connector.yaml").read_text("utf-8"))["providers"][0]
    mounts = dict(
        reversed(volume.removesuffix(":ro").split(":")) for volume in _compose()["services"]["grafana"]["volumes"]
    )
    assert mounts[provider["options"]["path"]] == "./dashboards/grafana"
    assert len(list((ROOT / "dashboards" / "grafana").glob("*.json"))) == len(pages())
    source = yaml.safe_load((ROOT / "deploy/grafana/datasources/prometheus.yaml").read_text("utf-8"))["datasources"][0]
    assert source["type"] == "prometheus"
    assert source["url"] == "http://prometheus:9090"


def test_prometheus_takes_its_file() -> None:
    promtool = shutil.which("promtool")
    assert promtool is not None, "run scripts/setup unit"
    config = ROOT / "dashboards" / "prometheus" / "prometheus.yml"
    checked = subprocess.run([promtool, "check", "config", str(config)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_service_waits_for_running_calls() -> None:
    unit = (ROOT / "deploy" / "asterisk-connector.service").read_text("utf-8")
    stop = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert stop is not None
    assert int(stop[1]) > 30 + 15, "node.drain_s and what comes after"
    assert "RestartPreventExitStatus=78" in unit
