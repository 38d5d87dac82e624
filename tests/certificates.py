"""Certificates for tests of TLS, made with the openssl command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, PEM files."""

    certificate: Path
    key: Path


def authority(folder: Path, name: str) -> Pair:
    """Make a self-signed certificate authority."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    _openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "2", "-subj", f"/CN={name}",
        "-keyout", pair.key, "-out", pair.certificate,
    )  # fmt: skip
    return pair


def signed(folder: Path, name: str, by: Pair) -> Pair:
    """Make a certificate for 127.0.0.1, signed by an authority."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
    _openssl(
        "req", "-newkey", "rsa:2048", "-noenc", "-subj", f"/CN={name}",
        "-keyout", pair.key, "-out", request,
    )  # fmt: skip
    extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    _openssl(
        "x509", "-req", "-in", request, "-CA", by.certificate, "-CAkey", by.key, "-days", "2",
        "-CAcreateserial", "-extfile", extensions, "-out", pair.certificate,
    )  # fmt: skip
    return pair


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
