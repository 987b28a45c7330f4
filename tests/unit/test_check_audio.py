"""Which ways audio can go, by version and modules."""

from __future__ import annotations

from typing import Any

import pytest

from connector.audio.wire import WIRES
from connector.check.audio import CODEC_MODULES, TRANSPORT_MODULES, check_wires, lacking
from connector.check.findings import Findings, Level
from connector.config import Settings

ALL = {module for modules in (*TRANSPORT_MODULES.values(), *CODEC_MODULES.values()) for module in modules}


def possible(version: str, running: set[str]) -> list[str]:
    return [name for name in WIRES if not lacking(name, version, running)]


def test_asterisk_22_has_them_all() -> None:
    assert possible("22.10.1~dfsg+~cs6.16.60671435-1", ALL) == list(WIRES)


def test_asterisk_16_has_rtp() -> None:
    assert possible("16.28.0~dfsg-0+deb11u7", ALL) == [name for name in WIRES if name.startswith("rtp/")]


@pytest.mark.parametrize(
    ("version", "audiosocket_16", "websocket"),
    [
        ("18.26.4", False, False),
        ("20.15.0", False, False),
        ("20.16.0", False, True),
        ("20.17.0", True, True),
        ("22.6.0", False, True),
        ("23.0.0", False, True),
        ("24.0.0", True, True),
        ("GIT-master-1234", True, True),  # no version to judge by: the modules say it
    ],
)
def test_releases(version: str, audiosocket_16: bool, websocket: bool) -> None:
    names = possible(version, ALL)
    assert ("audiosocket/slin16" in names) is audiosocket_16
    assert ("websocket/ulaw" in names) is websocket


def test_a_module_that_is_not_loaded_is_named() -> None:
    assert possible("22.10.1", ALL - {"codec_g722.so"}) == [
        name for name in WIRES if name not in ("rtp/g722", "rtp/slin16", "rtp/slin48", "websocket/g722")
    ]
    assert "needs chan_websocket.so" in lacking("websocket/ulaw", "22.10.1", ALL - {"chan_websocket.so"})


def settings(**profile: Any) -> Settings:
    return Settings.model_validate(
        {
            "pbx": {"main": {"ami": {"secret": "x"}, "ari": {"password": "x"}, "audio": "rtp/g722"}},
            "profile": {"bot": {"url": "ws://bot/", **profile}},
        }
    )


def errors(found: Findings) -> list[str]:
    return [finding.text for finding in found if finding.level is Level.ERROR]


def test_what_is_set_and_cannot_be_is_an_error() -> None:
    found = Findings()
    check_wires("pbx.main.ari", "main", settings(audio="websocket/slin16"), "16.28.0", ALL, found)
    (text,) = errors(found)
    assert text.startswith("profile.bot.audio = 'websocket/slin16' needs Asterisk 20.16 or newer of its branch")


def test_a_profile_of_another_pbx_is_not_asked_about() -> None:
    found = Findings()
    elsewhere = settings(audio="websocket/slin16", match={"pbxs": ["other"]})
    check_wires("pbx.main.ari", "main", elsewhere, "16.28.0", ALL, found)
    assert errors(found) == []


def test_the_pbxs_own_choice_is_asked_about() -> None:
    found = Findings()
    check_wires("pbx.main.ari", "main", settings(), "22.10.1", ALL - {"codec_g722.so"}, found)
    (text,) = errors(found)
    assert text.startswith("pbx.main.audio = 'rtp/g722' needs codec_g722.so: take noload out")


def test_without_chan_rtp_the_missing_module_is_told_once() -> None:
    found = Findings()
    check_wires("pbx.main.ari", "main", settings(), "22.10.1", ALL - {"chan_rtp.so"}, found)
    assert errors(found) == []
    assert "rtp/" not in found[0].text
