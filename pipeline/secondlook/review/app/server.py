"""Server: where is the desk served, and until when? One process, until Ctrl-C."""

from __future__ import annotations

import errno
import ipaddress
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from secondlook.config import ReviewConfig
from secondlook.errors import DeskError
from secondlook.review import accounts
from secondlook.review.app import create_app
from secondlook.review.app.security import LOOPBACK, Access, Door
from secondlook.review.database import Desk

PORT = 8350
STOPS_WITHIN = 2
"""Seconds that requests have to end after Ctrl-C."""

KEEPS_OPEN = 75
"""Seconds that a browser's connection is kept while its reader thinks: a new one takes time, with TLS above all."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a desk is to be served.

    Attributes:
        host: the address to listen on.
        port: likewise; 0 takes any that is free.
        certificate: of TLS, as PEM; with ``key``.
        key: the certificate's private key, as PEM.
        proxy: the address of the proxy that speaks TLS instead; only what comes from there is believed about where a
            request came from.
        names: further names under which browsers reach the desk.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    certificate: Path | None = None
    key: Path | None = None
    proxy: str | None = None
    names: tuple[str, ...] = ()

    @property
    def is_secure(self) -> bool:
        """Whether browsers speak TLS, with the desk or with the proxy."""
        return self.certificate is not None or self.proxy is not None

    @property
    def is_local(self) -> bool:
        """Whether nobody but this machine reaches it."""
        return self.host in LOOPBACK and self.proxy is None

    @property
    def known_as(self) -> frozenset[str]:
        """The names that a request may be for."""
        listening = LOOPBACK if self.is_local else frozenset() if self.host in ("0.0.0.0", "::") else {self.host}  # noqa: S104
        return frozenset(name.lower() for name in {*listening, *self.names})


def check_place(place: Place) -> None:
    """See that a place to serve at makes sense, before anything else is done.

    Raises:
        DeskError: says which option is missing, or does not fit.
    """
    if (place.certificate is None) != (place.key is None):
        raise DeskError("TLS takes both --certificate and --key")
    if place.certificate is not None and place.proxy is not None:
        raise DeskError("give --certificate and --key, or --behind-proxy; not both")
    if not place.is_local and not place.is_secure:
        raise DeskError(
            f"--host {place.host}: what others can reach is served over TLS only; give --certificate and --key, "
            "or --behind-proxy with the address of a proxy that has a certificate"
        )
    if place.proxy is not None:
        _check_address(place.proxy)
    if not place.known_as or (place.proxy is not None and not place.names):
        raise DeskError("--name is missing: the name by which browsers reach the desk, such as desk.office.example")
    if place.certificate is not None and place.key is not None:
        _check_certificate(place.certificate, place.key)


def access_of(desk: Desk, place: Place, tell: Callable[[str], None]) -> Access:
    """How people come in: by a one-time link where nobody has an account and nobody else can reach it.

    Args:
        desk: whose accounts count.
        place: where it is to be served.
        tell: takes the path of the one-time link.

    Raises:
        DeskError: others can reach it, and nobody has an account.
    """
    with desk.reading() as session:
        alone = not accounts.has_accounts(session)
    if alone and not place.is_local:
        raise DeskError("what others can reach needs accounts: make one with 'secondlook review user add NAME'")
    if not alone:
        accounts.leave(desk)
    return Access(place.known_as, place.is_secure, Door(tell) if alone else None)


def serve(desk: Desk, config: ReviewConfig, place: Place, order: str, tell: Callable[[str], None]) -> None:
    """Serve a desk until Ctrl-C, or the signal that asks a process to end.

    Args:
        desk: what is served.
        config: choices.
        place: where.
        order: what the next case is chosen by; one of :class:`secondlook.review.queue.Order`.
        tell: takes a line for whoever started it.

    Raises:
        DeskError: that place cannot be served at.
    """
    check_place(place)
    with _listening(place) as listener:
        port = listener.getsockname()[1]
        url = _url(place, port)
        access = access_of(desk, place, lambda path: tell(f"Open this link; it works once: {url}{path}"))
        app = create_app(desk, config, access, order)
        if access.door is not None:
            access.door.announce()
        else:
            tell(f"Sign in at {url}")
        if place.proxy is not None:
            tell(f"The proxy at {place.proxy} is to pass requests on to {place.host}, port {port}")
        tell("Ctrl-C stops; whatever was decided until then is safe.")
        _Server(_settings(app, place)).run(sockets=[listener])


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As usual, but a signal that stopped it is not raised again afterwards: to stop is no failure."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _settings(app: FastAPI, place: Place) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        access_log=False,  # paths say who looks at which case
        log_level="warning",
        lifespan="off",
        ws="none",
        server_header=False,
        proxy_headers=place.proxy is not None,
        forwarded_allow_ips=place.proxy or "",
        ssl_certfile=place.certificate,
        ssl_keyfile=place.key,
        timeout_keep_alive=KEEPS_OPEN,
        timeout_graceful_shutdown=STOPS_WITHIN,
    )


@contextmanager
def _listening(place: Place) -> Iterator[socket.socket]:
    where = f"--host {place.host} --port {place.port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family)
    except OSError as cause:
        if cause.errno == errno.EADDRINUSE:
            raise DeskError(f"port {place.port} is in use: give --port another, or stop what runs there") from None
        raise DeskError(f"{where}: cannot be listened on ({cause.strerror}); give another") from None
    with listener:
        # Every connection inherits it; without it, a page's second packet may wait 40 ms for a word about the first.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


def _url(place: Place, port: int) -> str:
    if place.proxy is not None:
        return f"https://{place.names[0]}"
    host = place.names[0] if place.names else place.host
    return f"{'https' if place.is_secure else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _check_address(proxy: str) -> None:
    try:
        ipaddress.ip_address(proxy)
    except ValueError:
        raise DeskError(f"--behind-proxy {proxy}: not an address such as 10.0.0.5; give the proxy's own") from None


def _check_certificate(certificate: Path, key: Path) -> None:
    for option, path in (("--certificate", certificate), ("--key", key)):
        try:
            path.open("rb").close()
        except OSError as cause:
            raise DeskError(f"{option} {path}: cannot be read ({cause.strerror})") from None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, ValueError):
        raise DeskError(
            f"--certificate {certificate} --key {key}: not a certificate with its key as PEM; a key that is itself "
            "under a password cannot be used"
        ) from None
