"""The socket: uvicorn, set up for a service that strangers talk to; and TLS."""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from redoubt.records import PolicyError
from redoubt.service.web.wire import BoundedHttp

_CONNECTIONS = 4096
_BACKLOG = 2048
_GRACE = 30


@dataclass(frozen=True)
class Tls:
    """Certificates, as PEM files.

    Attributes:
        certificate: the server's, with the chain behind it.
        key: its private key, not encrypted.
        clients: authority whose certificate every client has to show; None asks for none.
    """

    certificate: Path
    key: Path
    clients: Path | None = None

    def check(self) -> None:
        """Return if the files can be used together.

        Raises:
            PolicyError: one is missing or unsound, or key and certificate do not belong together.
        """
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
            if self.clients is not None:
                context.load_verify_locations(self.clients)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise PolicyError(
                f"TLS cannot be set up: {error}", remedy="give PEM files: a certificate, its own key, an authority"
            ) from error


def _no_password() -> str:
    """Instead of a question on the terminal."""
    raise ValueError("the key is encrypted")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address; port 0 takes a free one.

    Raises:
        PolicyError: the address is not this machine's, or the port is taken or not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise PolicyError(
            f"cannot listen on {host}:{port}: {error.strerror}", remedy="give another --host or --port; 0 is a free one"
        ) from error


def server(app: ASGIApp, host: str, port: int, tls: Tls | None = None) -> uvicorn.Server:
    """A server for the app; `run()` returns after a signal, when every accepted request is answered (30 s at most).

    Args:
        app: `create_app(…)`, or a `Doorstep` before it.
        host: address to listen at.
        port: 0 takes a free one.
        tls: checked here.

    Raises:
        PolicyError: see `Tls.check`.
    """
    if tls is not None:
        tls.check()
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host,
            port,
            http=BoundedHttp,
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_GRACE,
            ssl_certfile=tls.certificate if tls else None,
            ssl_keyfile=tls.key if tls else None,
            ssl_ca_certs=str(tls.clients) if tls and tls.clients else None,
            ssl_cert_reqs=ssl.CERT_REQUIRED if tls and tls.clients else ssl.CERT_NONE,
        )
    )
