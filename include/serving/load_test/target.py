"""Where load goes, and requests as the bytes that go there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from include.errors import ChurnflowError


class TargetError(ChurnflowError):
    """An address is not one that load can be sent to."""


@dataclass(frozen=True)
class Target:
    """An HTTP server.

    Attributes:
        host: Its name or address.
        port: Its port.
        tls: Whether it speaks HTTPS.
        path: What stands before every path, without a slash at its end.
    """

    host: str
    port: int
    tls: bool = False
    path: str = ""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Return the server at ``url``.

        Raises:
            TargetError: It is not an address of the form http://host:port/path or https://host/path.

        Examples:
            >>> Target.parse("https://churn.example.com/models/")
            Target(host='churn.example.com', port=443, tls=True, path='/models')
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise TargetError(
                "This is not the address of an endpoint.",
                where=url.rpartition("@")[2],
                remedy="Write it as http://host:port or https://host/path; keys go into CHURN_SERVING__API_KEY.",
            )
        tls = parts.scheme == "https"
        return cls(parts.hostname, port or (443 if tls else 80), tls, parts.path.rstrip("/"))

    @property
    def url(self) -> str:
        """The address, with its port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.path}"

    def post(self, path: str, body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> bytes:
        """Return a whole POST request of ``body`` to ``path``, as HTTP/1.1 bytes."""
        fields = {
            "Host": self.url.split("/")[2],
            "Content-Type": content_type,
            "Content-Length": str(len(body)),
            **(headers or {}),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"POST {self.path}{path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body
