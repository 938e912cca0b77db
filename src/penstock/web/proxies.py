"""Where a call comes from. What a proxy says of the caller is believed of those that the operator has named, and of nobody else.

The address is the rightmost of the chain that is no trusted proxy's own: what stands left of it, the caller may have written.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from penstock.web.streaming import Scope

Address = IPv4Address | IPv6Address
_LONGEST = 2_000
_SCHEMES = frozenset({"http", "https"})


class Proxies:
    """The networks whose word is taken."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ip_network(text, strict=False) for text in networks]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def seen_through(self, scope: Scope) -> Scope:
        """The request as it reached the proxy: `client` and `scheme` are the caller's."""
        client = scope.get("client")
        peer = _parsed(client[0]) if client else None
        if peer is None or not self._trusted(peer):
            return scope
        found: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            if name in (b"x-forwarded-for", b"forwarded", b"x-forwarded-proto"):
                found.setdefault(name, []).append(value.decode("latin-1")[-_LONGEST:])
        caller = self._caller(
            peer, ", ".join(found.get(b"x-forwarded-for", ())), ", ".join(found.get(b"forwarded", ()))
        )
        scheme = ", ".join(found.get(b"x-forwarded-proto", ())).rpartition(",")[2].strip().lower()
        return {**scope, "client": (str(caller), 0), "scheme": scheme if scheme in _SCHEMES else scope.get("scheme")}

    def _caller(self, peer: Address, x_forwarded_for: str, forwarded: str) -> Address:
        plain = self._rightmost(peer, x_forwarded_for.split(",")) if x_forwarded_for else None
        standard = self._rightmost(peer, _for(forwarded)) if forwarded else None
        if plain is not None and standard is not None and plain != standard:
            return peer  # a proxy writes one of them; the other is the caller's, and which cannot be known
        return plain or standard or peer

    def _rightmost(self, peer: Address, chain: Sequence[str]) -> Address:
        last = peer
        for text in reversed(chain):
            hop = _parsed(text)
            if hop is None:
                return last
            last = hop
            if not self._trusted(hop):
                return hop
        return last

    def _trusted(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._networks)


def _for(forwarded: str) -> list[str]:
    """What `for=` says in each element of a `Forwarded` header (RFC 7239); "" where an element says nothing."""
    found = []
    for element in forwarded.split(","):
        pairs = (pair.partition("=") for pair in element.split(";"))
        found.append(next((value for name, _, value in pairs if name.strip().lower() == "for"), ""))
    return found


def _parsed(text: str) -> Address | None:
    """An address as proxies write it: with a port or none, in quotes or brackets or not."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
