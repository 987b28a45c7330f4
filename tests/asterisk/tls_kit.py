"""An Asterisk whose AMI, ARI and SIP WebSocket speak TLS, set up word by word as docs/asterisk-conf.md says."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connector.lab.asterisk import LabAsterisk
from connector.lab.conf import sample_conf_dir
from connector.lab.useragent import HOST

PAGE = Path(__file__).parents[2] / "docs/asterisk-conf.md"


def page_commands() -> str:
    """The shell sample of the page."""
    found = re.search(r"^```sh\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def make_certificates(folder: Path, *, address: str = HOST, days: int = 825) -> Path:
    """Runs the commands of the page, in another folder and for another address; returns the CA's certificate."""
    script = page_commands().replace("/etc/asterisk/keys", str(folder)).replace("192.0.2.5", address)
    script = script.replace("-days 825", f"-days {days}")
    subprocess.run(["bash", "-euc", script], check=True, capture_output=True)
    return folder / "ca.crt"


@dataclass(frozen=True)
class Tls:
    """Where it speaks TLS.

    Attributes:
        ca: Certificate of its CA.
        ami_port: TCP.
        https_port: TCP, of ARI and of the SIP WebSocket.
    """

    ca: Path
    ami_port: int
    https_port: int

    @property
    def ari_url(self) -> str:
        """As for the setting of that name."""
        return f"https://{HOST}:{self.https_port}/ari"

    def settings(self, pbx: LabAsterisk, ca: Path | None = None) -> dict[str, Any]:
        """A `[pbx.NAME]` that goes by TLS alone.

        Args:
            pbx: Whose secrets.
            ca: Another CA than its own.
        """
        ca_file = str(ca or self.ca)
        return {
            "ami": {"port": self.ami_port, "secret": pbx.ami_secret, "tls": True, "tls_ca_file": ca_file},
            "ari": {"url": self.ari_url, "password": pbx.ari_password, "tls_ca_file": ca_file},
        }


def include_tls(pbx: LabAsterisk, ami_port: int, https_port: int) -> Tls:
    """Writes both files, with ports of the laboratory, and their includes; Asterisk reads them at its next start."""
    etc = pbx.folder / "etc"
    ca = make_certificates(etc / "keys")
    for name, sample, port in (("manager", "0.0.0.0:5039", ami_port), ("http", "0.0.0.0:8089", https_port)):
        text = (sample_conf_dir() / f"connector-{name}-tls.conf").read_text("utf-8")
        assert sample in text
        text = text.replace(sample, f"{HOST}:{port}").replace("/etc/asterisk/keys", pbx.inside(etc / "keys"))
        (etc / f"connector-{name}-tls.conf").write_text(text, "utf-8")
        with (etc / f"{name}.conf").open("a") as conf:
            conf.write(f"#include connector-{name}-tls.conf\n")
    return Tls(ca, ami_port, https_port)
