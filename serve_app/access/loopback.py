"""Addresses that only programs on this machine reach. Imports the standard library only."""

import ipaddress


def is_loopback(host: str | None) -> bool:
    """Return whether only this machine reaches a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False  # no address, which stands for every interface, or a name
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
