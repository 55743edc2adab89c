"""A server over HTTP: JSON in, JSON out, bounded in time and memory, every fault one typed line, and the key in none of them."""

from __future__ import annotations

import json
import math
import os
import re
import socket
import time
import weakref
from contextlib import suppress
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx

from ..core.errors import ServerError, UsageError

CONNECT = 10.0
"""Seconds to wait for a connection."""

MOST_BYTES = 2**25
"""Of an answer."""

ATTEMPTS = 4
AGAIN = (429, 503)
LONGEST_PAUSE = 30.0
CODES = re.compile(r"^\[[^]]*\] | \(_\w+\.c:\d+\)$")
"""What the system writes around its words."""

PROXIES = "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY"
TOLD = 200
"""Characters of the server's own words in an error."""


class Server:
    """The server at a URL.

    url      `http://host:port/v1`; no query, and no password in it
    key      sent as a bearer token if there is one; it stands in no error
    timeout  seconds until an answer must be complete

    `get` and `post` return the JSON object that came. A time-out, 429 and 503 are tried again, four times in all, after pauses
    that double from half a second, with jitter, or as long as the server says, 30 s at most; nothing else is. Redirects are not followed.
    Raises `ServerError`.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout: float = 120.0):
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            raise UsageError("this is no URL", fix="http://host:port/v1") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise UsageError("a server is http:// or https:// and a host", fix="http://host:port/v1")
        if parsed.userinfo or parsed.query or parsed.fragment:
            raise UsageError("a server's URL has no password, no query and no fragment", fix=f"{bare(parsed)}, and the key in ULAM_API_KEY")
        if key is not None and (not key.isascii() or not key.isprintable() or not key or " " in key):
            raise UsageError("the key is no word of printable ASCII, so it cannot be sent", fix="the key as it was given to you, in ULAM_API_KEY")
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < math.inf:
            raise UsageError(f"timeout={timeout!r} is not a number of seconds above 0", fix="timeout=120")
        self.url, self.key, self.timeout = bare(parsed), key, float(timeout)
        self.root = self.url.removesuffix("/v1")
        self.interrupted = False
        self.stream: Any = None
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", **({"Authorization": f"Bearer {key}"} if key else {})}
        limit = httpx.Timeout(self.timeout, connect=min(CONNECT, self.timeout))
        try:
            self.client = httpx.Client(headers=headers, timeout=limit, follow_redirects=False)
        except (ValueError, ImportError, httpx.InvalidURL):  # its message may hold the proxy's password
            raise UsageError("the environment names a proxy that cannot be used", fix=f"{PROXIES}: http://host:port; or NO_PROXY={parsed.host}") from None
        weakref.finalize(self, self.client.close)

    def get(self, path: str) -> dict[str, Any]:
        return self.ask("GET", self.url + path, None)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self.ask("POST", self.url + path, body)

    def post_beside(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """To what stands beside `/v1`: what an engine has of its own."""
        return self.ask("POST", self.root + path, body)

    def interrupt(self) -> None:
        """Give up the request under way; it fails. May be called from a signal handler or from another thread."""
        self.interrupted = True
        held = self.stream.get_extra_info("socket") if self.stream is not None else None
        if held is not None:
            with suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)

    def ask(self, method: str, url: str, body: dict[str, Any] | None) -> dict[str, Any]:
        for attempt in range(1, ATTEMPTS + 1):
            wait = 0.5 * 2 ** (attempt - 1) * (0.5 + os.urandom(1)[0] / 256)
            try:
                status, headers, raw = self.once(method, url, body)
            except httpx.TimeoutException as fault:
                what = f"cannot be reached within {CONNECT:g} s" if isinstance(fault, httpx.ConnectTimeout) else f"gave no answer within {self.timeout:g} s"
                error = self.error(f"{what} ({tries(attempt)})", fix="timeout=, or a server that is less busy")
            except httpx.RemoteProtocolError:
                raise self.error("ended its answer half way, or does not speak HTTP") from None
            except (httpx.HTTPError, OSError) as fault:
                raise self.unreached(fault) from None
            else:
                if 200 <= status < 300:
                    return self.object(raw)
                error = self.refusal(status, headers, raw, httpx.URL(url).path, attempt)
                if status not in AGAIN:
                    raise error
                with suppress(ValueError):
                    wait = max(wait, float(headers.get("retry-after", "")))
            if attempt == ATTEMPTS or self.interrupted:
                raise error
            self.sleep(min(wait, LONGEST_PAUSE) if wait == wait else LONGEST_PAUSE)
        raise AssertionError  # the last attempt returns or raises

    def once(self, method: str, url: str, body: dict[str, Any] | None) -> tuple[int, httpx.Headers, bytes]:
        """One request: status, headers, and the bytes of the answer as they came."""
        if self.interrupted:
            raise self.error("was interrupted")
        deadline, parts, size = time.monotonic() + self.timeout, list[bytes](), 0
        with self.client.stream(method, url, json=body, extensions={"trace": self.remember}) as answer:
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise self.error("answers compressed, which nobody asked for")
            for part in answer.iter_raw():
                size += len(part)
                if size > MOST_BYTES:
                    raise self.error(f"answers more than {MOST_BYTES >> 20} MiB")
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("slow")
                parts.append(part)
            return answer.status_code, answer.headers, b"".join(parts)

    def remember(self, event: str, info: dict[str, Any]) -> None:
        """Hold the connection, so that it can be shut."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self.stream = info["return_value"]

    def object(self, raw: bytes) -> dict[str, Any]:
        """The JSON object of an answer."""
        try:
            found = json.loads(raw.decode("utf-8"), parse_constant=no_number)
        except (ValueError, RecursionError):
            kind = "HTML" if raw.lstrip()[:1] == b"<" else "no JSON"
            raise self.error(f"answers {kind}, not what an OpenAI-compatible server answers", fix="the URL of the API, which mostly ends in /v1") from None
        if not isinstance(found, dict):
            raise self.error("answers JSON that is no object, not what an OpenAI-compatible server answers")
        return found

    def unreached(self, fault: Exception) -> ServerError:
        what = CODES.sub("", self.scrub(str(fault))) or type(fault).__name__
        url = httpx.URL(self.url)
        proxies = getproxies()
        if (url.scheme in proxies or "all" in proxies) and not proxy_bypass(url.host):
            return self.error(f"cannot be reached through the proxy of the environment: {what}", fix=f"{PROXIES}; NO_PROXY={url.host} goes past it")
        if "wrong version number" in what.lower():
            return self.error("does not speak TLS", fix=f"http{self.url.removeprefix('https')}, where nobody else listens")
        return self.error(f"cannot be reached: {what}", fix="is it running, and is this its address?")

    def refusal(self, status: int, headers: httpx.Headers, raw: bytes, path: str, attempt: int) -> ServerError:
        said = self.scrub(message(raw))
        told = f": {said}" if said else ""
        if 300 <= status < 400:
            host = httpx.URL(headers["location"]).host if valid(headers.get("location", "")) else ""
            error = self.error(
                f"answers {status}, a redirect{f' to {host}' if host else ''}; ulam follows none", fix="the address that it redirects to, if you trust it"
            )
        elif status in (401, 403):
            error = self.error(f"refuses the {'key' if self.key else 'request without a key'} ({status})", fix="the key of this server in ULAM_API_KEY")
        elif status == 404:
            error = self.error(f"has no {path} ({status}){told}", fix="the URL of the API, which mostly ends in /v1")
        elif status in AGAIN:
            error = self.error(f"is busy ({status}, {tries(attempt)}){told}", fix="again later")
        else:
            error = self.error(f"{'failed' if status >= 500 else 'refuses'} ({status}){told}")
        error.status = status
        return error

    def error(self, what: str, fix: str | None = None) -> ServerError:
        return ServerError(f"{self.url} {what}", fix=fix)

    def scrub(self, text: str) -> str:
        """A server's words on one line, without the key."""
        if self.key:
            text = text.replace(self.key, "[key]")
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:TOLD]

    def sleep(self, seconds: float) -> None:
        """In slices, so that an interruption is heard."""
        end = time.monotonic() + seconds
        while not self.interrupted and (left := end - time.monotonic()) > 0:
            time.sleep(min(0.1, left))


def bare(url: httpx.URL) -> str:
    """Scheme, host, port and path."""
    return str(url.copy_with(username=None, password=None, query=None, fragment=None)).rstrip("/")


def valid(location: str) -> bool:
    try:
        return bool(httpx.URL(location).host)
    except httpx.InvalidURL:
        return False


def tries(count: int) -> str:
    return "1 try" if count == 1 else f"{count} tries"


def no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def message(raw: bytes) -> str:
    """What an error body says, in any of the usual shapes."""
    try:
        found = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return ""
    for _ in range(3):
        if isinstance(found, str):
            return found
        if not isinstance(found, dict):
            break
        found = next((found[name] for name in ("error", "message", "detail") if name in found), None)
    return ""
