"""Where a service listens, read from a scoring URI or from an address and a port."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import Final
from urllib.parse import urlsplit

from accelform_runtime.errors import AddressInvalid

_SCHEMES: Final = {"http": False, "grpc": False, "https": True, "grpcs": True}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Address:
    """Host, port, and whether the connection is encrypted."""

    host: str
    port: int
    use_ssl: bool

    @classmethod
    def parse(cls, text: str, *, port: int | None = None, use_ssl: bool = False) -> Address:
        """`text` is a scoring URI (`http://HOST:PORT` is plain gRPC, `https://` is TLS), `HOST:PORT` or `HOST`.

        Without a port it is 443 with TLS and 80 without. Raises AddressInvalid.
        """
        scheme, separator, _ = text.partition("://")
        if separator and scheme not in _SCHEMES:
            raise AddressInvalid(f"address {text!r} has an unknown scheme; use one of {', '.join(_SCHEMES)} or none")
        secure = _SCHEMES[scheme] if separator else use_ssl
        try:
            parts = urlsplit(text if separator else f"//{text}")
            own_port = parts.port
        except ValueError as error:
            raise AddressInvalid(f"address {text!r} is not understood: {error}; use HOST:PORT") from error
        if not parts.hostname:
            raise AddressInvalid(f"address {text!r} names no host; use HOST:PORT or a scoring URI")
        if parts.path.strip("/") or parts.query or parts.fragment or parts.username:
            raise AddressInvalid(f"address {text!r} holds more than a host and a port; gRPC needs no path")
        if own_port is not None and port is not None and own_port != port:
            raise AddressInvalid(f"address {text!r} has port {own_port}, and port {port} is given beside it; drop one")
        chosen = own_port if own_port is not None else port
        return cls(host=parts.hostname, port=chosen or (443 if secure else 80), use_ssl=secure)

    @property
    def target(self) -> str:
        """`HOST:PORT`, with an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether the service is on this machine, where no proxy belongs in between."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
