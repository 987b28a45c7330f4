"""Secrets and signatures."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest

from connector.config_profiles import AuthSettings
from connector.net.credentials import NoSecret, Secrets, auth_headers, twilio_signature

SECRETS = Secrets({"CONNECTOR_SECRET_bot": "from-env", "HOME": "/root"}, None)
URL = "wss://bot.example.com/media?x=1"


def auth(**settings: Any) -> AuthSettings:
    return AuthSettings.model_validate(settings)


def headers(**settings: Any) -> dict[str, str]:
    return auth_headers(auth(**settings), SECRETS, url=URL, unix_s=1_800_000_000.9)


def test_each_way_to_prove_who_we_are() -> None:
    assert headers() == {}
    # RFC 7617, section 2
    basic = headers(kind="basic", username="Aladdin", secret="open sesame")
    assert basic == {"Authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}
    assert headers(kind="bearer", secret="env:bot") == {"Authorization": "Bearer from-env"}
    expected = hmac.new(b"k", b"1800000000." + URL.encode(), hashlib.sha256).hexdigest()
    assert headers(kind="hmac", secret="k") == {"X-Connector-Signature": f"t=1800000000,v1={expected}"}
    assert headers(kind="twilio", secret="k") == {"X-Twilio-Signature": twilio_signature("k", URL)}


def test_twilios_own_example() -> None:
    """Of the page "Security - Validating requests"; twilio's RequestValidator has the same in its tests."""
    fields = {
        "CallSid": "CA1234567890ABCDE",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
        "Caller": "+14158675309",
    }
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert twilio_signature("12345", url, fields) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


@pytest.mark.parametrize("text", ["env:HOME", "env:nothing", "env:../x", "file:bot", "file:../etc/passwd", "file:.x"])
def test_a_secret_that_is_not_there_is_named_and_nothing_else_is_read(text: str) -> None:
    with pytest.raises(NoSecret) as missing:
        SECRETS.find(text)
    assert "/root" not in str(missing.value)


def test_files_are_read_each_time(tmp_path: Path) -> None:
    secrets = Secrets({}, tmp_path)
    (tmp_path / "bot").write_text("first\n")
    assert secrets.find("file:bot") == "first"
    (tmp_path / "bot").write_text("second")
    assert secrets.find("file:bot") == "second"
    with pytest.raises(NoSecret):
        secrets.find("file:other")
    assert secrets.find("plain:text") == "plain:text"


def test_settings_that_cannot_work_are_refused() -> None:
    for bad in (
        {"kind": "bearer"},
        {"kind": "basic", "secret": "x"},
        {"kind": "basic", "secret": "x", "username": "a:b"},
    ):
        with pytest.raises(ValueError, match="needs"):
            auth(**bad)
