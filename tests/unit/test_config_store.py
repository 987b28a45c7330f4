"""Where state is kept when nobody says: where the system wants it, never where the program happens to be started."""

from __future__ import annotations

from pathlib import Path

import pytest

from connector.config import Settings
from connector.config_store import state_directory


@pytest.mark.parametrize(
    ("environ", "root", "expected"),
    [
        ({}, True, "/var/lib/asterisk-connector"),
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "XDG_STATE_HOME": "/x"}, True, "/var/lib/a"),
        ({"XDG_STATE_HOME": "/x"}, False, "/x/asterisk-connector"),
        ({"XDG_STATE_HOME": "relative"}, False, str(Path.home() / ".local/state/asterisk-connector")),
        ({}, False, str(Path.home() / ".local/state/asterisk-connector")),
    ],
)
def test_the_state_directory(environ: dict[str, str], root: bool, expected: str) -> None:
    assert state_directory(environ, root=root) == Path(expected)


def test_undelivered_webhooks_lie_beside_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/mine")
    pbx = {"main": {"ami": {"secret": "x"}, "ari": {"password": "x"}}}
    settings = Settings.model_validate({"pbx": pbx})
    assert settings.outbox == Path("/var/lib/mine/webhooks.sqlite")
    assert settings.store.database_url == "sqlite:////var/lib/mine/history.sqlite"
    assert Settings.model_validate({"pbx": pbx, "webhook_outbox": "/tmp/w"}).outbox == Path("/tmp/w")
