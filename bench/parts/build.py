"""Builds the programs of bench/native on the spot."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from connector.media import fastpath_build

NATIVE = Path(__file__).parents[1] / "native"
WITH_TLS = ("-DWITH_TLS", "-lssl", "-lcrypto")


@dataclass(frozen=True)
class Native:
    """What was built.

    Attributes:
        load: The load generator.
        relay: The reference.
        certificate: For TLS towards the load generator's bot, valid for 127.0.0.1; None when there is no TLS.
        key: Of the certificate.
        no_tls: Why there is no TLS; empty when there is.
    """

    load: Path
    relay: Path
    certificate: Path | None
    key: Path | None
    no_tls: str


def build(into: Path) -> Native:
    """Compiles load generator and relay.

    Raises:
        SystemExit: There is no C compiler, or it fails; the message tells what to do.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise SystemExit(
            "failed: there is no C compiler, and the load generator is written in C\n"
            "way out: scripts/setup bench (as root), or install gcc and libc6-dev"
        )
    _must(fastpath_build.build())
    no_tls = _compile(compiler, "load", into, *WITH_TLS)
    if no_tls:
        no_tls = "the load generator could not be built with OpenSSL; install libssl-dev (scripts/setup bench)"
        _must(_compile(compiler, "load", into))
    _must(_compile(compiler, "relay", into))
    certificate = key = None
    if not no_tls:
        certificate, key = into / "certificate.pem", into / "key.pem"
        no_tls = _certificate(certificate, key)
    if no_tls:
        certificate = key = None
    return Native(into / "load", into / "relay", certificate, key, no_tls)


def _compile(compiler: str, name: str, into: Path, *more: str) -> str:
    """Compiles one program; gives the compiler's complaint, or nothing."""
    command: list[str | Path] = [compiler, "-O2", "-pthread", "-o", into / name, NATIVE / f"{name}.c", *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stderr or "failed" if done.returncode else ""


def _must(complaint: str) -> None:
    if complaint:
        raise SystemExit(f"failed: the programs of bench/native, or the fast path, do not compile\n{complaint}")


def _certificate(certificate: Path, key: Path) -> str:
    """Makes a certificate that is its own authority; gives why not, or nothing."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return "there is no openssl command to make a certificate with; install openssl (scripts/setup bench)"
    wanted = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=bench"]
    names: list[str | Path] = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    command = [openssl, "req", "-x509", *wanted, *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return f"openssl could not make a certificate: {done.stderr.strip()}" if done.returncode else ""
