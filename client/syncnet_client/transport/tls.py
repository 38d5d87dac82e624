"""Why a connection fails: one side speaks TLS and the other does not, or a certificate is wrong.

gRPC tells no more than that a socket was closed. So the handshake is tried once more, by hand.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path

__all__ = ["explain"]

_TIMEOUT_S = 2.0


def explain(
    url: str,
    *,
    tls: bool,
    ca: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
) -> str | None:
    """Say in a sentence what is wrong with the encryption, if something is.

    Args:
        url: HOST:PORT, with or without ``dns:///`` before it.
        tls: whether the connection that failed was encrypted.
        ca: PEM file with the certificates that are trusted.
        cert: PEM file with the client's certificate chain.
        key: PEM file with its key.

    Returns:
        None if it is something else, such as that nobody listens there.
    """
    host, _, port = url.removeprefix("dns:///").rpartition(":")
    host = host.strip("[]")
    try:
        context = _context(ca, cert, key)
    except ssl.SSLError as error:
        if ca is not None and cert is None:
            return f"{ca} holds no certificates"
        return f"{ca or cert}, {cert} and {key} are not what they should be: {error.reason}"
    if not tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((host, int(port)), _TIMEOUT_S) as connection:
            return _handshake(context, connection, host, tls=tls, cert=cert)
    except OSError:
        return None


def _context(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["h2"])
    if cert is not None:
        context.load_cert_chain(cert, key)
    return context


def _handshake(
    context: ssl.SSLContext, connection: socket.socket, host: str, *, tls: bool, cert: Path | None
) -> str | None:
    try:
        with context.wrap_socket(connection, server_hostname=host) as encrypted:
            if not tls:
                return "the server speaks TLS: pass --tls, or --ca with its certificate authority"
            # With TLS 1.3 a server looks at the client's certificate after the handshake; else it
            # speaks first.
            with contextlib.suppress(TimeoutError):
                if not encrypted.recv(1):
                    return _refused(cert)
            return None
    except ssl.SSLCertVerificationError as error:
        return (
            f"the server's certificate is not trusted ({error.verify_message}): pass --ca with "
            "the authority that has signed it"
        )
    except (ssl.SSLError, ConnectionError, TimeoutError) as error:
        if "CERTIFICATE" in (getattr(error, "reason", None) or ""):
            return _refused(cert)
        if not tls:
            return None
        return "the server does not speak TLS: leave out --tls, --ca, --cert and --key"


def _refused(cert: Path | None) -> str:
    if cert is None:
        return "the server asks for a client certificate: pass --cert and --key"
    return f"the server does not accept the certificate {cert}"
