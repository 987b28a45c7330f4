"""The laboratory's files: secrets of their own, and the customer's files first."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from connector.lab.conf import (
    SAMPLE_SECRET,
    LabConf,
    LabPorts,
    connector_files,
    new_secret,
    pbx_files,
    sample_conf_dir,
)

PORTS = LabPorts(ami=1, http=2, sip=3, phones=(4, 5), rtp=(10, 19), spare=())


def test_each_file_gets_a_secret_of_its_own() -> None:
    counter = itertools.count()
    files, secrets = connector_files(sample_conf_dir(), lambda: f"secret{next(counter)}")
    assert secrets.keys() == {"connector-manager.conf", "connector-ari.conf", "connector-pjsip.conf"}
    assert len(set(secrets.values())) == 3
    assert not any(SAMPLE_SECRET in text for text in files.values())
    assert all(secret in files[name] for name, secret in secrets.items())
    assert new_secret() != new_secret()


def test_a_directory_without_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        connector_files(tmp_path, new_secret)


def test_ours_is_included_at_the_end_and_the_tests_have_the_last_word() -> None:
    conf = LabConf(append={"manager.conf": "; last"}, files={"new.conf": "x"}, agents=1)
    files = pbx_files(conf, PORTS, "/tmp/lab", "/usr/share/asterisk")
    assert files["manager.conf"].index("#include connector-manager.conf") < files["manager.conf"].index("; last")
    assert files["new.conf"] == "x"
    assert "member => PJSIP/agent1," in files["queues.conf"]
    assert "member => PJSIP/agent2," not in files["queues.conf"]
    assert "contact = sip:agent2@127.0.0.1:5" in files["pjsip.conf"]
    assert "rtpstart = 10\nrtpend = 19" in files["rtp.conf"]


def test_a_pbx_without_us() -> None:
    files = pbx_files(LabConf(connector_conf=False), PORTS, "/tmp/lab", "/usr/share/asterisk")
    assert not any("connector" in files[f"{name}.conf"] for name in ("manager", "http", "ari", "queues"))
