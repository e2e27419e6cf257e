"""Results of a lookup: addresses, or one of two errors."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any, NamedTuple


class Address(NamedTuple):
    """Numeric address of a host, with its scope if it has one: ``fe80::1%eth0``."""

    family: socket.AddressFamily
    host: str


class NoSuchNameError(socket.gaierror):
    """Raised when a name does not exist, or has no address of the family asked for.

    An answer, not a failure: what was known of the name before is no longer true.
    """

    def __init__(self, host: str) -> None:
        advice = "no such name, or no address of it; check the webhook's URL"
        super().__init__(socket.EAI_NONAME, f"{host!r} does not resolve: {advice}")


class NoDataError(NoSuchNameError):
    """Raised when a name exists but has no address of the family asked for."""


class LookupFailedError(socket.gaierror):
    """Raised when a lookup got no answer: nothing is known, and a later one may succeed."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(socket.EAI_AGAIN, f"lookup of {host!r} failed: {reason}")


def numeric_addresses(host: str, family: socket.AddressFamily) -> list[Address] | None:
    """Return the address that ``host`` itself is, in any form the system reads, or None.

    Nothing is looked up.

    Raises:
        NoSuchNameError: it is an address of another family, or can be no name either.
    """
    if "\0" in host:  # to C the name would end here
        raise NoSuchNameError(host)
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return None
    except UnicodeError:  # a label that no name has
        raise NoSuchNameError(host) from None
    addresses = [a for a in to_addresses(found) if family in (socket.AF_UNSPEC, a.family)]
    if not addresses:
        raise NoSuchNameError(host)
    return addresses


def to_addresses(found: Iterable[tuple[Any, ...]]) -> list[Address]:
    """Return the addresses of what ``socket.getaddrinfo`` found."""
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    # Of a scoped address only getnameinfo keeps the scope: fe80::1%eth0.
    return [Address(kind, socket.getnameinfo(a, numeric)[0]) for kind, _, _, _, a in found]
