"""Host and port, as people write them and as libraries want them."""

import ipaddress
import socket


def split(address: str) -> tuple[str, int]:
    """Host, without the brackets of an IPv6 address, and port of "host:port".

    Raises:
        ValueError: not of this form.
    """
    host, colon, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    bracketed = host == f"[{bare}]"
    if not (colon and bare and port.isascii() and port.isdecimal() and (":" in bare) == bracketed):
        raise ValueError(
            f"give host:port, with an IPv6 address in brackets: [::1]:8500. Received: {address!r}"
        )
    return bare, int(port)


def join(host: str, port: int) -> str:
    """What `split` takes apart."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def family(host: str) -> socket.AddressFamily:
    """To listen with at a host's name or number."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def is_loopback(host: str) -> bool:
    """Whether a host's name or number stands for this very machine and nothing else."""
    if host.lower() == "localhost":
        return True
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(number, "ipv4_mapped", None) or number).is_loopback
