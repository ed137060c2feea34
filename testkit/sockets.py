"""The sockets on which processes listen."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True, order=True)
class Listener:
    """A TCP socket that accepts connections."""

    process: str
    """The name of the process, or the title that it has set."""
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches the socket."""
        address = ipaddress.ip_address(self.host)
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (mapped or address).is_loopback

    @property
    def reachable_host(self) -> str:
        """The IPv4 address at which a caller on this machine reaches the socket."""
        address = ipaddress.ip_address(self.host)
        if address.is_unspecified:
            return "127.0.0.1"
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return str(mapped or address)

    @property
    def url(self) -> str:
        """The URL of the socket for a caller on this machine, if it speaks HTTP."""
        return f"http://{self.reachable_host}:{self.port}"


def listeners(processes: Iterable[psutil.Process]) -> list[Listener]:
    """Return every socket on which one of the processes listens, in the order of their names."""
    found = set()
    for process in processes:
        try:
            name = process.name()
            title = " ".join(process.cmdline()) if name.startswith("ray::") else name
            found |= {
                Listener(title.strip(), connection.laddr.ip, connection.laddr.port)
                for connection in process.net_connections(kind="tcp")
                if connection.status == psutil.CONN_LISTEN
            }
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it has just ended
    return sorted(found)
