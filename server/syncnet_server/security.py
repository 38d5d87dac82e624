"""Who may talk to the server, and about what: TLS for gRPC, a key for administration.

Triton encrypts gRPC but not HTTP, and guards groups of calls ("restricted protocols") by a key
that the client sends as a header.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path

from syncnet_server.errors import ServingError

__all__ = ["ADMIN_HEADER_GRPC", "ADMIN_HEADER_HTTP", "Tls", "restrictions"]

ADMIN_HEADER_HTTP = "admin-key"
# Triton puts this prefix before the header of gRPC requests.
ADMIN_HEADER_GRPC = f"triton-grpc-protocol-{ADMIN_HEADER_HTTP}"

# Calls that change the server or read memory and settings; scoring needs none of them.
# Clients read configs over gRPC: what the weights are stands there.
_ADMINISTRATION = ("model-repository", "shared-memory", "trace", "logging")
_KEY = re.compile(r"[A-Za-z0-9._~+/-]{16,}")


@dataclass(frozen=True)
class Tls:
    """PEM files for TLS on gRPC.

    Attributes:
        certificate: the server's certificate, with any intermediate ones after it.
        key: its private key, not encrypted.
        client_ca: certificates that clients' certificates must be signed by (mutual TLS); clients
            need none if not given.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def arguments(self) -> list[str]:
        """Return tritonserver's options.

        Raises:
            ServingError: a file cannot be read, or key and certificate do not belong together.
        """
        # Triton's own complaint about bad files comes late and names none of them.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except (OSError, ValueError) as error:
            raise ServingError(
                f"TLS certificate {self.certificate} with key {self.key}: {error}"
            ) from error
        arguments = [
            "--grpc-use-ssl=true",
            f"--grpc-server-cert={self.certificate}",
            f"--grpc-server-key={self.key}",
        ]
        if self.client_ca is not None:
            try:
                context.load_verify_locations(self.client_ca)
            except OSError as error:
                raise ServingError(f"TLS client CA {self.client_ca}: {error}") from error
            arguments += ["--grpc-use-ssl-mutual=true", f"--grpc-root-cert={self.client_ca}"]
        return arguments


def _no_password() -> str:
    raise ValueError("the key is encrypted, which Triton cannot read")


def restrictions(
    host: str, *, tls: bool, admin_key: str | None, http_inference: bool = False
) -> list[str]:
    """Return tritonserver's options that close calls to those who lack the key.

    HTTP is left with health and metadata: Triton 24.10 dies of deeply nested JSON, and of bodies
    in many pieces, and reads both only where a call is open. With TLS it is left with health
    alone, because HTTP is not encrypted. Over gRPC, administration needs `admin_key`; without one
    it is open on a loopback address, and on any other closed to everybody.

    Args:
        host: IPv4 address that the server listens on.
        tls: whether gRPC is encrypted.
        admin_key: what administration needs; None: there is no key.
        http_inference: leave inference over HTTP open.

    Raises:
        ServingError: the key is too short or has characters that Triton's option cannot hold.
    """
    if admin_key is not None and not _KEY.fullmatch(admin_key):
        raise ServingError(
            "the admin key must have at least 16 characters, of letters, digits and . _ ~ + / -"
        )
    key = admin_key or secrets.token_urlsafe(32)  # a key that nobody knows closes the calls
    http = [*_ADMINISTRATION, "model-config", "statistics"]
    if not http_inference:
        http.append("inference")
    if tls:
        http.append("metadata")
    options = [f"--http-restricted-api={','.join(http)}:{ADMIN_HEADER_HTTP}={key}"]
    if admin_key is not None or tls or not ipaddress.ip_address(host).is_loopback:
        grpc = ",".join(_ADMINISTRATION)
        options.append(f"--grpc-restricted-protocol={grpc}:{ADMIN_HEADER_HTTP}={key}")
    return options
