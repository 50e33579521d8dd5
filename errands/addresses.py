"""Which addresses are the internet's: neither this machine's nor those of a private network."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_public(address: str) -> bool:
    """Whether an IP address is public. Raises ValueError for what is no address."""
    ip = ip_address(address.partition("%")[0])
    return ip.is_global and not ip.is_multicast


def may_be_public(url: str) -> bool:
    """Whether a URL's host is a public address, or a name, which may lead anywhere."""
    host = urlsplit(url).hostname or ""
    try:
        return is_public(host)
    except ValueError:
        return host != "localhost"
