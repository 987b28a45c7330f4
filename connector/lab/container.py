"""The demo PBX in a container: writes its whole `/etc/asterisk`, with the secrets that the connector has too.

The same files as of the laboratory's PBX, `asterisk-conf/` among them; only it listens on all addresses of its network,
and its agents are dialplan.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from connector.lab.conf import LabConf, LabPorts, connector_files, pbx_files, sample_conf_dir

SECRETS = {"connector-manager.conf": "ami", "connector-ari.conf": "ari"}
"""Which secret each file wants, as Compose names them."""

HOME = "/srv/asterisk"
"""Of what the PBX writes."""

AGENTS = """
[support](+)
member => Local/answer@agents/n,0,Ada
member => Local/answer-too@agents/n,0,Grace
"""
DIALPLAN = """
[agents](+)
exten => answer-too,1,Wait(2)
 same => n,Answer()
 same => n,Wait(20)
 same => n,Hangup()
"""


def files(secrets: Path) -> dict[str, str]:
    """All of them, by name.

    Args:
        secrets: Directory with a file for each secret.
    """
    ports = LabPorts(ami=5038, http=8088, sip=5060, phones=(), rtp=(10000, 10199), spare=())
    conf = LabConf(extensions=DIALPLAN, append={"queues.conf": AGENTS})
    written = pbx_files(conf, ports, HOME, "/usr/share/asterisk")
    written["asterisk.conf"] = written["asterisk.conf"].replace(f"{HOME}/etc", "/etc/asterisk")
    parts, _ = connector_files(sample_conf_dir(), lambda: "")
    for name, secret in SECRETS.items():
        value = (secrets / secret).read_text("utf-8").strip()
        parts[name] = re.sub(r"^(secret|password) = .*$", rf"\1 = {value}", parts[name], flags=re.MULTILINE)
    written |= parts
    # The network of the containers is the demo's own; nothing of it is published.
    return {name: _opened(text) for name, text in written.items()}


def _opened(text: str) -> str:
    text = re.sub(r"^(bind|bindaddr) = 127\.0\.0\.1", r"\1 = 0.0.0.0", text, flags=re.MULTILINE)
    text = re.sub(r"^match = 127\.0\.0\.1$", "match = 0.0.0.0/0", text, flags=re.MULTILINE)
    return re.sub(r"^permit = 127\.0\.0\.1/.*$", "permit = 0.0.0.0/0.0.0.0", text, flags=re.MULTILINE)


def main() -> None:
    """Writes them."""
    parser = argparse.ArgumentParser(description="Writes the configuration of the demo PBX.")
    parser.add_argument("folder", type=Path, help="/etc/asterisk")
    parser.add_argument("--secrets", type=Path, default=Path("/run/secrets"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, text in files(options.secrets).items():
        (options.folder / name).write_text(text, "utf-8")
    print(f"wrote the PBX's configuration to {options.folder}")


if __name__ == "__main__":
    main()
