"""Access control of a dashboard: small WSGI layers around the application."""

import base64
import binascii
import hmac
import ipaddress
import json
import math
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from drft.errors import UsageError

Environment = dict[str, Any]
Application = Callable[[Environment, Callable[..., Any]], Iterable[bytes]]

_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")
"""The value of a header ``Host`` (RFC 9110): a name or an address, and a port; no user, path or blank."""

_ORIGIN = re.compile(r"https?://(?P<host>[^/]*)", re.IGNORECASE)
"""The value of a header ``Origin`` (RFC 6454), other than ``null``."""

_FREE = 10
"""Wrong passwords of an address that cost it no time: people mistype, and browsers ask for several files at once."""

_LONGEST_WAIT = 300.0
_ADDRESSES = 1000
"""Addresses that are remembered."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})

READ_ONLY = "this dashboard is read-only: start it without --read-only to change anything"
_REFUSED = (
    (r"/api/studies(/\d+/rename)?/?", "only `drft-study run` makes and names studies"),
    (r"/api/artifacts/.*", "the dashboard shows the files in the folder of a study: it adds and deletes none"),
)
"""Paths of changes that would separate a study from its folder, with reasons. The dashboard has buttons for them."""


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only: ``localhost``, 127.0.0.0/8 or ``::1``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def read_password(path: Path) -> bytes:
    """Return the content of a password file, without the line break at its end.

    Raises:
        UsageError: when the file cannot be read, is empty, or can be read by everybody on this machine.
    """
    try:
        password = path.read_bytes().strip(b"\r\n")
        mode = path.stat().st_mode
    except OSError as error:
        raise UsageError(f"password file {path} cannot be read ({error.strerror}): name another one") from None
    if os.name == "posix" and mode & stat.S_IROTH:
        raise UsageError(f"password file {path} can be read by everybody here: run `chmod 600 {path}`")
    if not password:
        raise UsageError(f"password file {path} is empty: write a password into it")
    return password


def only_from_here(application: Application) -> Application:
    """Refuse requests whose ``Host`` or ``Origin`` is another machine (DNS rebinding, cross-site requests)."""

    def guarded(environ: Environment, start_response: Callable[..., Any]) -> Iterable[bytes]:
        host = _HOST.fullmatch(environ.get("HTTP_HOST", ""))
        if host and is_loopback(host["ipv6"] or host["name"]) and _of_same_origin(environ):
            return application(environ, start_response)
        return _refuse(start_response, "this dashboard answers only requests from its own machine")

    return guarded


def well_formed(application: Application) -> Application:
    """Answer 400 to requests whose ``Host`` or ``Origin`` is not what browsers send."""

    def checked(environ: Environment, start_response: Callable[..., Any]) -> Iterable[bytes]:
        host, origin = environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN", "null")
        if not _is_host(host):
            return _refuse(start_response, "the header Host must be HOST or HOST:PORT", "400 Bad Request")
        parsed = _ORIGIN.fullmatch(origin)
        if origin != "null" and not (parsed and _is_host(parsed["host"])):
            return _refuse(start_response, "the header Origin must be http://HOST:PORT", "400 Bad Request")
        return application(environ, start_response)

    return checked


def _is_host(value: str) -> bool:
    host = _HOST.fullmatch(value)
    if not host or int(host["port"] or 0) > 65535:
        return False
    try:
        return not host["ipv6"] or bool(ipaddress.IPv6Address(host["ipv6"]))
    except ValueError:
        return False


class WrongPasswords:
    """Makes an address wait after wrong passwords: twice as long after each one beyond the first ``_FREE``.

    No thread waits: the address is refused until its time is over, whatever it sends.

    Args:
        clock: returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._wrong: dict[str, tuple[int, float]] = {}
        """Wrong passwords of an address, and the time until which it has to wait."""

    def seconds_left(self, address: str) -> int:
        """Return how long an address has to wait, in whole seconds; 0 if it may try a password."""
        with self._lock:
            _, until = self._wrong.get(address, (0, 0.0))
        return max(0, math.ceil(until - self._clock()))

    def add(self, address: str) -> None:
        """Count a wrong password."""
        with self._lock:
            count = self._wrong.pop(address, (0, 0.0))[0] + 1
            wait = min(_LONGEST_WAIT, 2.0 ** min(count - _FREE, 10)) if count >= _FREE else 0.0
            self._wrong[address] = count, self._clock() + wait
            if len(self._wrong) > _ADDRESSES:
                del self._wrong[next(iter(self._wrong))]  # the one that tried least recently

    def forget(self, address: str) -> None:
        """Forget an address, which knows the password."""
        with self._lock:
            self._wrong.pop(address, None)


def with_password(application: Application, password: bytes) -> Application:
    """Require a password (HTTP Basic, RFC 7617, with any user name), and refuse changes from other sites.

    Browsers also send the password with requests that pages of other sites make. A change must therefore come from a
    page of the dashboard. An address that sends wrong passwords has to wait.
    """
    wrong = WrongPasswords()

    def guarded(environ: Environment, start_response: Callable[..., Any]) -> Iterable[bytes]:
        address, tries = environ.get("REMOTE_ADDR", ""), "HTTP_AUTHORIZATION" in environ
        if tries and (seconds := wrong.seconds_left(address)):
            reason = f"too many wrong passwords from {address}: wait {seconds} seconds"
            return _refuse(start_response, reason, "429 Too Many Requests", ("Retry-After", str(seconds)))
        right = hmac.compare_digest(_given_password(environ), password)
        if tries:
            (wrong.forget if right else wrong.add)(address)
        if not right:
            challenge = ("WWW-Authenticate", 'Basic realm="drft-study dashboard", charset="UTF-8"')
            return _refuse(start_response, "this dashboard needs its password", "401 Unauthorized", challenge)
        if environ["REQUEST_METHOD"] not in _READING and not _of_same_origin(environ):
            return _refuse(start_response, "changes must come from a page of this dashboard")
        return application(environ, start_response)

    return guarded


def with_limits(application: Application, *, read_only: bool) -> Application:
    """Refuse changes that would separate a study from its folder, or every change; the pages show the reason."""

    def limited(environ: Environment, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in _READING:
            return application(environ, start_response)
        if read_only:
            return _refuse(start_response, READ_ONLY)
        for pattern, reason in _REFUSED:
            if re.fullmatch(pattern, environ.get("PATH_INFO", "")):
                return _refuse(start_response, reason)
        return application(environ, start_response)

    return limited


def _of_same_origin(environ: Environment) -> bool:
    origin = environ.get("HTTP_ORIGIN")
    parsed = _ORIGIN.fullmatch(origin or "")
    return origin is None or bool(parsed and parsed["host"].lower() == environ["HTTP_HOST"].lower())


def _given_password(environ: Environment) -> bytes:
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(token, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def _refuse(
    start_response: Callable[..., Any], reason: str, status: str = "403 Forbidden", *headers: tuple[str, str]
) -> Iterable[bytes]:
    """Answer with a reason, in the form of Optuna's dashboard."""
    start_response(status, [("Content-Type", "application/json"), *headers])
    return [json.dumps({"reason": reason}).encode() + b"\n"]
