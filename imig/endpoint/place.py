"""Where an endpoint is and what lies between: URL, proxies of the environment, certificates."""

from __future__ import annotations

import os
import re
import urllib.request
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_NO_NAME: Final = re.compile(r"(?:localhost|\[|\d{1,3}(?:\.\d{1,3}){3}|[^/]*:\d)", re.IGNORECASE)
"""Hosts that have no certificate, as a rule."""
_REQUESTS: Final = re.compile(
    r"(?:/+(?:chat/completions|completions|chat|responses|models))*[/\s]*\Z", re.IGNORECASE
)
_PROXY_SCHEMES: Final = ("http", "https", "socks5", "socks5h")


def base_url(url: str) -> str:
    """The base URL that a pasted one means, which may have a request's path and lack its scheme.

    ``localhost:8000/v1/chat/completions`` -> ``http://localhost:8000/v1``
    """
    text = url.strip()
    bare = text.lstrip("/")
    if bare and not _SCHEME.match(text):
        text = f"{'http' if _NO_NAME.match(bare) else 'https'}://{bare}"
    base = _REQUESTS.sub("", text)
    return base if _SCHEME.match(base) else text


def likely_url(url: str) -> str | None:
    """The URL that was probably meant by one that ends in no version; None where it ends in one."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if not parts.netloc or re.search(r"/v\d\w*/?\Z", parts.path):
        return None
    path = re.sub(r"/api(?:/(?:chat|generate|tags))?\Z", "", parts.path.rstrip("/"))
    return f"{parts.scheme}://{parts.netloc}{path}/v1"


@dataclass(frozen=True)
class Proxy:
    """A proxy that the environment names for a URL."""

    variable: str
    url: str
    """Without user and password."""
    host: str
    """Of the server behind it."""

    @property
    def words(self) -> str:
        return f"through the proxy {self.url} of the environment variable {self.variable}"

    @property
    def cure(self) -> str:
        return f"if the server needs no proxy, export NO_PROXY={self.host}"


def proxy_for(url: str) -> Proxy | None:
    """The proxy through which requests to a URL go."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        named = urllib.request.getproxies_environment()
        bypassed = urllib.request.proxy_bypass_environment  # type: ignore[attr-defined]
        if not host or bypassed(host, named):
            return None
    except ValueError:  # no URL
        return None
    for kind in (parts.scheme, "all"):
        if named.get(kind):
            return Proxy(_variable(kind), _without_password(named[kind]), host)
    return None


def unusable_proxy() -> str | None:
    """What is wrong with a proxy of the environment, in words; None: nothing."""
    for kind in ("http", "https", "all"):
        url = urllib.request.getproxies_environment().get(kind, "")
        found = _SCHEME.match(url)
        scheme = found[0].removesuffix("://").lower() if found else "http"
        where = (
            f"the environment variable {_variable(kind)} names the proxy {_without_password(url)}"
        )
        if url and scheme not in _PROXY_SCHEMES:
            return f"{where}, and {scheme} is no kind of proxy that can be used"
        if scheme.startswith("socks") and not _can_socks():
            return f"{where}, and the package socksio, which SOCKS needs, is not installed"
    return None


def missing_certificates() -> str | None:
    """The variable that names certificates where there are none; None: all is well."""
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        path = os.environ.get(variable)
        if path and not os.path.exists(path):
            return f"the environment variable {variable} names {path}, which does not exist"
    return None


def tls_cure(reason: str, url: str) -> str | None:
    """What to do about a failed handshake; None: it was none."""
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return (
            "where its certificate is your own (self-signed, or by an own authority), export "
            "SSL_CERT_FILE=FILE.pem, which holds it; or take the server's right name"
        )
    if re.search(r"WRONG_VERSION_NUMBER|record layer failure|PACKET_LENGTH_TOO_LONG", reason):
        return f"the server speaks http: {re.sub('^https', 'http', url)}"
    return None


def _variable(kind: str) -> str:
    lower = f"{kind}_proxy"
    return lower if os.environ.get(lower) else lower.upper()


def _without_password(url: str) -> str:
    return re.sub(r"(\A|//)[^/]*@", r"\1", url)


def _can_socks() -> bool:
    from importlib.util import find_spec

    return find_spec("socksio") is not None
