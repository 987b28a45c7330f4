"""Twilio's own package says whether our signature is one."""

from __future__ import annotations

import subprocess

import pytest

from connector.net.credentials import twilio_signature
from tests.conformance.conftest import python

CHECK = """
import sys
from twilio.request_validator import RequestValidator
token, url, signature = sys.argv[1:]
sys.exit(0 if RequestValidator(token).validate(url, {}, signature) else 1)
"""


@pytest.mark.parametrize(
    "url", ["wss://bot.example/media", "wss://bot.example:8443/media?call=1&x=%20y", "ws://127.0.0.1:8765/"]
)
def test_the_signature_is_twilios(url: str) -> None:
    def accepted(token: str, signed_url: str) -> bool:
        command = [python(), "-c", CHECK, token, url, twilio_signature("secret", signed_url)]
        return subprocess.run(command, timeout=60, check=False).returncode == 0

    assert accepted("secret", url)
    assert not accepted("another", url)
    assert not accepted("secret", url + "x")
