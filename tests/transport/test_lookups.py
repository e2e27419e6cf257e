"""Hosts that are addresses themselves, and the two ways in which a lookup fails."""

from __future__ import annotations

import socket
from socket import AF_INET, AF_INET6, AF_UNSPEC

import pytest

from relaybox_hooks.transport.lookups import (
    LookupFailedError,
    NoDataError,
    NoSuchNameError,
    numeric_addresses,
)


@pytest.mark.parametrize(
    ("host", "family", "numeric"),
    [
        ("127.0.0.1", AF_UNSPEC, "127.0.0.1"),
        ("127.0.0.1", AF_INET, "127.0.0.1"),
        ("0x7f.1", AF_INET, "127.0.0.1"),
        ("2130706433", AF_INET, "127.0.0.1"),
        ("::1", AF_UNSPEC, "::1"),
        ("::ffff:127.0.0.1", AF_INET6, "::ffff:127.0.0.1"),
        ("fe80::1%lo", AF_INET6, "fe80::1%lo"),
    ],
)
def test_a_numeric_host_is_its_own_address(
    host: str, family: socket.AddressFamily, numeric: str
) -> None:
    addresses = numeric_addresses(host, family)
    assert addresses is not None
    assert [address.host for address in addresses] == [numeric]
    assert family in (AF_UNSPEC, addresses[0].family)


@pytest.mark.parametrize("host", ["hooks.example", "localhost", "1.2.3.4.5", "_srv.example", "a."])
def test_a_name_is_no_address(host: str) -> None:
    assert numeric_addresses(host, AF_UNSPEC) is None


@pytest.mark.parametrize(
    ("host", "family"),
    [
        ("127.0.0.1", AF_INET6),
        ("::1", AF_INET),
        ("ok.example\0.evil.example", AF_UNSPEC),
        ("a" * 64 + ".example", AF_UNSPEC),
    ],
)
def test_what_can_be_no_name_is_not_looked_up(host: str, family: socket.AddressFamily) -> None:
    with pytest.raises(NoSuchNameError) as caught:
        numeric_addresses(host, family)
    assert repr(host) in str(caught.value)


def test_errors_are_those_of_the_system() -> None:
    """aiohttp and users' handlers know them as ``socket.gaierror``, with the usual numbers."""
    none, failed = NoDataError("a.example"), LookupFailedError("a.example", "timed out")
    assert (none.errno, failed.errno) == (socket.EAI_NONAME, socket.EAI_AGAIN)
    assert isinstance(none, NoSuchNameError)
    assert not isinstance(failed, NoSuchNameError)
    assert "'a.example' does not resolve: no such name" in str(none)
    assert failed.strerror == "lookup of 'a.example' failed: timed out"
