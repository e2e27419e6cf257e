"""Egress policy: the addresses that a webhook's connection may be made to.

The check sits in the connector's socket factory: after resolution, for every address that is
about to be dialled, IP literals included, once per new connection. What was checked is what is
connected to, so a name that resolves differently a moment later (DNS rebinding) gains nothing.

A socket factory sees addresses only. The connector of a policy therefore notes the host of the
request in a context variable around ``connect()``, the documented entry of an aiohttp connector;
happy-eyeballs tasks inherit it. A socket opened with no host noted belongs to no exempt host.

Behind a proxy the proxy's address is all there is to check, and no host is exempt.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

from aiohttp import (
    ClientConnectorError,
    ClientRequest,
    ClientTimeout,
    TCPConnector,
)
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from relaybox_hooks.errors import EGRESS_ERRNO, ConfigError, EgressError
from relaybox_hooks.transport.opened_sockets import note
from relaybox_hooks.transport.resolver import NameResolver

Network = IPv4Network | IPv6Network


class _Range(NamedTuple):
    """Addresses as integers, both ends included, and the rule that refuses them, if one does."""

    first: int
    last: int
    rule: str | None


def _range(network: str, rule: str | None) -> _Range:
    parsed = ip_network(network)
    return _Range(int(parsed.network_address), int(parsed.broadcast_address), rule)


def _refused(*rules: str) -> tuple[_Range, ...]:
    return tuple(_range(rule.partition(" ")[0], rule) for rule in rules)


def _admitted(*networks: str) -> tuple[_Range, ...]:
    return tuple(_range(network, None) for network in networks)


# The tables are our own because the verdicts of `ipaddress.is_global` and `is_private` differ
# between Python releases. In each the first range that holds the address decides.

# Refused by every policy. The metadata addresses are the ones that the providers document; those
# of AWS ECS and EKS, Scaleway, Tencent and OpenStack over IPv4 are link-local.
_ALWAYS_4: Final = _refused(
    "169.254.169.254/32 cloud metadata",
    "169.254.0.0/16 link-local",
    "100.100.100.200/32 cloud metadata (Alibaba)",
    "100.96.0.96/32 cloud metadata (Volcengine)",
    "168.63.129.16/32 cloud metadata (Azure WireServer)",
    "192.0.0.192/32 cloud metadata (Oracle)",
)
_ALWAYS_6: Final = _refused(
    "fe80::/10 link-local",
    "fd00:ec2::/32 cloud metadata (AWS)",  # IMDS ::254, EKS pod identity ::23, and whatever follows
    "fd20:ce::254/128 cloud metadata (Google)",
    "fd00:c1::a9fe:a9fe/128 cloud metadata (Oracle)",
    "fd00:100::100:200/128 cloud metadata (Alibaba)",
    "fd00:42::42/128 cloud metadata (Scaleway)",
    "fd00:a9fe:a9fe::1/128 cloud metadata (Akamai)",
)

# The IANA IPv4 Special-Purpose Address Registry where "Globally Reachable" is not true, plus
# multicast. The few reachable anycast addresses inside 192.0.0.0/24 serve PCP and TURN.
_PUBLIC_4: Final = _ALWAYS_4 + _refused(
    "0.0.0.0/8 this network",
    "10.0.0.0/8 private-use",
    "100.64.0.0/10 shared address space (carrier-grade NAT)",
    "127.0.0.0/8 loopback",
    "172.16.0.0/12 private-use",
    "192.0.0.0/24 IETF protocol assignments",
    "192.0.2.0/24 documentation",
    "192.88.99.0/24 6to4 relay anycast",
    "192.168.0.0/16 private-use",
    "198.18.0.0/15 benchmarking",
    "198.51.100.0/24 documentation",
    "203.0.113.0/24 documentation",
    "224.0.0.0/4 multicast",
    "255.255.255.255/32 limited broadcast",
    "240.0.0.0/4 reserved",
)

# The IANA IPv6 Special-Purpose Address Registry likewise; anything not refused by name has to lie
# in 2000::/3, all that IANA allocates global unicast from. Three prefixes are admitted ahead of
# their surroundings: about them the IPv4 address inside decides.
_PUBLIC_6: Final = (
    _ALWAYS_6
    + _admitted("64:ff9b::/96", "2001::/32", "2002::/16")
    + _refused(
        "::/128 unspecified",
        "::1/128 loopback",
        "::/96 IPv4-compatible (deprecated)",
        "64:ff9b:1::/48 local-use IPv4/IPv6 translation",
        "100::/64 discard-only",
        "100:0:0:1::/64 dummy prefix",
        "2001:2::/48 benchmarking",
        "2001:db8::/32 documentation",
        "2001::/23 IETF protocol assignments",
        "3fff::/20 documentation",
        "5f00::/16 segment routing (SRv6) SIDs",
        "fc00::/7 unique-local",
        "fec0::/10 site-local (deprecated)",
        "ff00::/8 multicast",
    )
    + _admitted("2000::/3")
    + _refused("::/0 not global unicast")
)


def _first_rule(number: int, table: tuple[_Range, ...]) -> str | None:
    for first, last, rule in table:
        if first <= number <= last:
            return rule
    return None


def _inside(number: int) -> Iterator[tuple[int, str]]:
    """Yield the IPv4 addresses that an IPv6 address would have a translator or tunnel talk to.

    Prefixes that an operator picks freely (network-specific NAT64, 6rd) cannot be told from any
    other global unicast address.
    """
    low = number & 0xFFFF_FFFF
    high = number >> 32
    if high == 0:
        yield low, "IPv4-compatible"
    elif high == 0xFFFF_0000:
        yield low, "IPv4-translated"
    elif high == 0x0064_FF9B << 64:
        yield low, "NAT64"
    elif number >> 80 == 0x0064_FF9B_0001:
        # RFC 6052 §2.2: where the IPv4 address sits depends on the prefix the site chose within
        # RFC 8215's /48 (/48, /56, /64 or /96); octet 8 is always skipped.
        octets = number.to_bytes(16, "big")
        for packed in (octets[6:8] + octets[9:11], octets[7:8] + octets[9:12], octets[9:13]):
            yield int.from_bytes(packed, "big"), "local-use NAT64"
        yield low, "local-use NAT64"
    elif number >> 112 == 0x2002:
        yield number >> 80 & 0xFFFF_FFFF, "6to4"
    elif number >> 96 == 0x2001_0000:
        yield number >> 64 & 0xFFFF_FFFF, "Teredo server"
        yield low ^ 0xFFFF_FFFF, "Teredo client"  # RFC 4380 §4: sent with every bit inverted
    if high & 0xFDFF_FFFF == 0x5EFE:  # RFC 5214 §6.1, the u bit either way
        yield low, "ISATAP"


def _network(value: object) -> Network:
    if not isinstance(value, str | IPv4Network | IPv6Network):
        raise ConfigError("allow_networks", value, "give networks as text, such as '10.0.0.0/8'")
    text = str(value)
    if "%" in text:
        raise ConfigError("allow_networks", value, "a network has no scope: drop the '%...'")
    try:
        network = ip_network(text)
    except ValueError:
        try:
            advice = f"has bits set beyond its prefix: write '{ip_network(text, strict=False)}'"
        except ValueError:
            advice = "is not an IP network: write an address or a network such as '10.0.0.0/8'"
        raise ConfigError("allow_networks", value, advice) from None
    first = int(network.network_address)
    if network.version == 6 and network.prefixlen >= 96 and first >> 32 == 0xFFFF:
        return IPv4Network((first & 0xFFFF_FFFF, network.prefixlen - 96))
    return network


def _host(value: object) -> str:
    """Return the host as aiohttp will have it: yarl's normal form, which is what requests carry."""
    if isinstance(value, str):
        try:
            built = URL.build(scheme="http", host=value.removeprefix("[").removesuffix("]"))
        except ValueError:
            built = URL()
        host = (built.raw_host or "").rstrip(".")
        if ":" in host or re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", host):
            return host
    advice = "give the host alone, as the webhook's URL has it: no scheme, port, path or wildcard"
    raise ConfigError("allow_hosts", value, advice)


def _entries(option: str, values: Iterable[Any]) -> Iterable[Any]:
    # Each of these iterates, but into characters or single addresses.
    if isinstance(values, str | bytes | IPv4Network | IPv6Network):
        raise ConfigError(option, values, "give a list of them, if only of one")
    return values


#: An address as ``getaddrinfo`` returns it: family, kind, protocol, canonical name, address.
AddressInfo: TypeAlias = tuple[int, int, int, str, tuple[Any, ...]]


class _Dial:
    """The connecting of one request, and whether any address was admitted yet.

    One is made for each request, though most find a connection that is open: it works nothing
    out before it is asked.
    """

    __slots__ = ("_request", "admitted")

    def __init__(self, request: ClientRequest) -> None:
        self._request = request
        self.admitted = False

    @property
    def host(self) -> str:
        """Host of the request; empty if it is unknown or behind a proxy."""
        request = self._request
        return "" if request.proxy else (request.url.raw_host or "").rstrip(".")


_dial: ContextVar[_Dial | None] = ContextVar("relaybox_hooks_dial", default=None)


class _EgressConnector(TCPConnector):
    """A ``TCPConnector`` whose socket factory can know which host it opens a socket for."""

    def __init__(self, **options: Any) -> None:
        # aiohttp leaves a resolver that it is given to its giver. This one has its own cache:
        # in aiohttp's a stale answer would outlast its hour.
        self._names = None if "resolver" in options else NameResolver()
        if self._names:
            options = {"resolver": self._names, "use_dns_cache": False} | options
        super().__init__(**options)

    async def close(self, *, abort_ssl: bool = False) -> None:
        if self._names:
            await self._names.close()
        await super().close(abort_ssl=abort_ssl)

    async def connect(
        self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout
    ) -> Connection:
        token = _dial.set(_Dial(req))
        try:
            return await super().connect(req, traces, timeout)
        finally:
            _dial.reset(token)


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class EgressPolicy:
    """Policy of the addresses that may be connected to, checked as each connection is made.

    Every policy refuses link-local and cloud-metadata addresses. An IPv6 address that carries an
    IPv4 address (NAT64, 6to4, Teredo, ISATAP, IPv4-compatible, IPv4-translated) is refused where
    that one would be; an IPv4-mapped one *is* the IPv4 address.

    Args:
        public_only: admit global unicast alone: no loopback, private, reserved, documentation or
            multicast address. For URLs that come from users other than the server's author.
        allow_networks: networks admitted all the same. An entry admits everything in it, a
            metadata address too, so keep it narrow. An IPv4 entry covers the IPv4-mapped form,
            the same destination to the operating system, and no other: ``10.0.0.0/8`` vouches
            for the hosts this machine reaches there, not for those which a relay or translator
            elsewhere reaches under 2002:a00::/24. To admit such a network, list it as IPv6.
        allow_hosts: hosts, as the webhook's URL has them, whose addresses are not checked.
            The owner of the DNS name decides where deliveries go.

    Raises:
        ConfigError: an entry that is no network or no host.
    """

    DEFAULT: ClassVar[EgressPolicy]
    PUBLIC_ONLY: ClassVar[EgressPolicy]

    public_only: bool
    allow_networks: tuple[Network, ...]
    allow_hosts: frozenset[str]

    def __init__(
        self,
        *,
        public_only: bool = False,
        allow_networks: Iterable[str | Network] = (),
        allow_hosts: Iterable[str] = (),
    ) -> None:
        networks = tuple(map(_network, _entries("allow_networks", allow_networks)))
        hosts = frozenset(map(_host, _entries("allow_hosts", allow_hosts)))
        object.__setattr__(self, "public_only", public_only)
        object.__setattr__(self, "allow_networks", networks)
        object.__setattr__(self, "allow_hosts", hosts)

    def blocking_rule(self, address: str) -> str | None:
        """Return the rule that blocks an IP address, such as ``169.254.0.0/16 link-local``, if any.

        What is not an address in its usual form is refused: the operating system would read
        ``0177.1`` or ``2130706433`` as one.
        """
        try:
            parsed = ip_address(address)
        except ValueError:
            return "not an IP address in its usual form"
        number = int(parsed)
        if parsed.version == 6 and number >> 32 == 0xFFFF:
            parsed = IPv4Address(number & 0xFFFF_FFFF)
            number = int(parsed)
        if any(parsed in network for network in self.allow_networks):
            return None
        rules_4, rules_6 = (_PUBLIC_4, _PUBLIC_6) if self.public_only else (_ALWAYS_4, _ALWAYS_6)
        if parsed.version == 4:
            return _first_rule(number, rules_4)
        if rule := _first_rule(number, rules_6):
            return rule
        for inner, form in _inside(number):
            if rule := _first_rule(inner, rules_4):
                return f"{rule}, {form} {IPv4Address(inner)}"
        return None

    def open_socket(self, addr_info: AddressInfo) -> socket.socket:
        """Open an unconnected socket for an address: the socket factory of :func:`make_connector`.

        Raises:
            EgressError: the policy refuses the address, and no other address of the host was
                tried before it.
            OSError: refused, but another address was tried. aiohttp reports the last address's
                error for all of them, and a host that is merely down has not been refused.
        """
        family, kind, proto, _, sockaddr = addr_info
        address = str(sockaddr[0])
        dial = _dial.get()
        exempt = bool(dial and dial.host in self.allow_hosts)
        if not exempt and (rule := self.blocking_rule(address)):
            refused = EgressError(address, rule)
            if dial and dial.admitted:
                raise OSError(errno.EACCES, f"{refused}; the host's other addresses failed")
            raise refused
        if dial:
            dial.admitted = True
        return note(socket.socket(family, kind, proto))


EgressPolicy.DEFAULT = EgressPolicy()
EgressPolicy.PUBLIC_ONLY = EgressPolicy(public_only=True)


def make_connector(policy: EgressPolicy, **options: Any) -> TCPConnector:
    """Return a connector that dials only what ``policy`` admits. Call it inside a running loop.

    Args:
        policy: what may be connected to.
        options: further arguments of ``aiohttp.TCPConnector``. Connections are unlimited unless
            they say otherwise: lanes bound them, and a shared limit would let one slow endpoint
            hold up the others.
    """
    limits = {"limit": 0, "limit_per_host": 0}
    return _EgressConnector(socket_factory=policy.open_socket, **(limits | options))


def blocked_by(exc: BaseException) -> str | None:
    """Addresses and rules in words, if a request failed because each address was refused.

    None for anything else, in particular where some addresses were refused and another could
    not be reached: that is a connection error, and a later attempt may fare better.
    """
    error = exc.os_error if isinstance(exc, ClientConnectorError) else exc
    if isinstance(error, OSError) and error.errno == EGRESS_ERRNO:
        return str(error.strerror)
    return None
