"""Where a server listens, and how many connections it takes there."""

import resource
import socket

from handrail.core.errors import UsageError
from handrail.http.client_address import Proxies
from handrail.http.connections import ConnectionLimits, Door
from handrail.settings import Settings

SPARE_CONNECTIONS = 256
SILENT_SECONDS = 60.0


def listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _end_dead_connections(listener)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UsageError(f"can't listen on {host}:{port}: {error.strerror}; choose another --port") from error
    listener.listen(2048)
    return listener


def _end_dead_connections(listener: socket.socket) -> None:
    """What it accepts inherits this: a client that is gone, or reads nothing of what it asked for, is let go of."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if user_timeout := getattr(socket, "TCP_USER_TIMEOUT", None):
        listener.setsockopt(socket.IPPROTO_TCP, user_timeout, round(SILENT_SECONDS * 1000))


def address_of(settings: Settings, listener: socket.socket) -> str:
    scheme = "https" if settings.tls.is_on else "http"
    return f"{scheme}://{'[::1]' if settings.host == '::1' else settings.host}:{listener.getsockname()[1]}"


def door(settings: Settings) -> Door:
    http = settings.http
    return Door(
        ConnectionLimits(
            # What watches the server comes in beyond the requests that are answered.
            most=min(
                settings.admission.connections + SPARE_CONNECTIONS, max(64, _allow_open_files() - SPARE_CONNECTIONS)
            ),
            per_address=http.connections_per_address,
            head_seconds=http.head_seconds,
            body_seconds=http.body_seconds,
        ),
        Proxies(http.proxies),
    )


def _allow_open_files() -> int:
    """As many as the system lets this process have: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1_048_576
