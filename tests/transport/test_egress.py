"""Which addresses a policy lets through, and that a real aiohttp session obeys it.

Nothing leaves loopback: public addresses meet the pure function only, and a refused one is
refused before there is a socket.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_network
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import RawTestServer
from hypothesis import given
from hypothesis import strategies as st

from relaybox_hooks.errors import EGRESS_ERRNO, ConfigError, EgressError
from relaybox_hooks.transport.egress import EgressPolicy, blocked_by, make_connector

#: A line: the verdicts of DEFAULT and of PUBLIC_ONLY, "-" or the first word of the rule that
#: refuses, and addresses that meet them, the first and last of a range and their neighbours too.
VERDICTS = """
- - 8.8.8.8 1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
- - 168.63.129.15 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0
- - 192.0.3.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 ::ffff:8.8.8.8
- - 64:ff9b::8.8.8.8 2002:808:808::1 2001:0:808:808:8000:1:f7f7:f7f7 2a00:1450::5efe:8.8.8.8
- - 2001:200::1 2001:db9::1 2606:4700:4700::1111 2620:4f:8000::1 3fff:1000::1 3ffe:ffff::1
- 0.0.0.0/8 0.0.0.0 0.255.255.255
- 10.0.0.0/8 10.0.0.0 10.255.255.255 ::ffff:10.0.0.1 64:ff9b::10.1.2.3 2002:a00:1::1
- 10.0.0.0/8 2001:0:a00:1::f7f7:f7f7 2001:0:808:808:8000:1:f5ff:fffe
- 100.64.0.0/10 100.64.0.0 100.127.255.255 100.100.100.199
100.100.100.200/32 100.100.100.200/32 100.100.100.200
100.96.0.96/32 100.96.0.96/32 100.96.0.96
- 127.0.0.0/8 127.0.0.0 127.0.0.1 127.255.255.255 ::FFFF:7F00:1
168.63.129.16/32 168.63.129.16/32 168.63.129.16
169.254.0.0/16 169.254.0.0/16 169.254.0.0 169.254.170.2 169.254.255.255 ::ffff:169.254.1.1%1
169.254.169.254/32 169.254.169.254/32 169.254.169.254 0:0:0:0:0:ffff:a9fe:a9fe
169.254.169.254/32 169.254.169.254/32 64:ff9b::169.254.169.254 2002:a9fe:a9fe::1
169.254.169.254/32 169.254.169.254/32 2001:0:808:808:0:0:5601:5601 2001:0:a9fe:a9fe:0:0:f7f7:f7f7
169.254.169.254/32 169.254.169.254/32 2a00:1450::5efe:169.254.169.254
- 172.16.0.0/12 172.16.0.0 172.31.255.255
- 192.0.0.0/24 192.0.0.0 192.0.0.9
192.0.0.192/32 192.0.0.192/32 192.0.0.192
- 192.0.2.0/24 192.0.2.1
- 192.88.99.0/24 192.88.99.1
- 192.168.0.0/16 192.168.0.0 192.168.255.255 2002:c0a8:101:: 2a00:1450::5efe:192.168.1.1
- 192.168.0.0/16 2a00:1450::200:5efe:192.168.1.1
- 198.18.0.0/15 198.18.0.0 198.19.255.255
- 198.51.100.0/24 198.51.100.255
- 203.0.113.0/24 203.0.113.0
- 224.0.0.0/4 224.0.0.0 239.255.255.255
- 240.0.0.0/4 240.0.0.0 255.255.255.254
- 255.255.255.255/32 255.255.255.255
- ::/128 ::
- ::1/128 ::1
- ::/96 ::7f00:1 ::8.8.8.8
169.254.169.254/32 ::/96 ::169.254.169.254
- ::/0 ::ffff:0:8.8.8.8 64:ff9b::1:8.8.8.8 fe7f:ffff::1 fbff:ffff::1 1fff:ffff::1 4000::1
169.254.169.254/32 ::/0 ::ffff:0:169.254.169.254
- 64:ff9b:1::/48 64:ff9b:1::8.8.8.8
169.254.169.254/32 64:ff9b:1::/48 64:ff9b:1::169.254.169.254 64:ff9b:1:a9fe:a9:fe00::
169.254.169.254/32 64:ff9b:1::/48 64:ff9b:1:a9:fe:a9fe:: 64:ff9b:1:77:a9:fea9:fe00:0
169.254.169.254/32 fc00::/7 fd00::200:5efe:169.254.169.254
fe80::/10 fe80::/10 fe80:: fe80::1%eth0 fe80::a9fe:a9fe febf:ffff::1
- fec0::/10 fec0::1 feff:ffff::1
- fc00::/7 fc00:: fdff:ffff::1 fd00:ec3::254
fd00:ec2::/32 fd00:ec2::/32 fd00:ec2::254 fd00:ec2::23
fd20:ce::254/128 fd20:ce::254/128 fd20:ce::254
fd00:c1::a9fe:a9fe/128 fd00:c1::a9fe:a9fe/128 fd00:c1::a9fe:a9fe
fd00:42::42/128 fd00:42::42/128 fd00:42::42
fd00:100::100:200/128 fd00:100::100:200/128 fd00:100::100:200
fd00:a9fe:a9fe::1/128 fd00:a9fe:a9fe::1/128 fd00:a9fe:a9fe::1
- ff00::/8 ff02::1 ff0e::1
- 100::/64 100::1
- 100:0:0:1::/64 100:0:0:1::1
- 2001::/23 2001:1::1 2001:2:1::1 2001:20::1 2001:1ff:ffff::1
- 2001:2::/48 2001:2::1
- 2001:db8::/32 2001:db8::1
- 3fff::/20 3fff:fff:ffff::1
- 5f00::/16 5f00::1
not not 2130706433 0x7f000001 0177.0.0.1 127.1 hooks.example
"""
CASES = [
    (address, default, public)
    for default, public, *addresses in map(str.split, VERDICTS.strip().splitlines())
    for address in addresses
]


@pytest.mark.parametrize(("address", "default", "public"), CASES)
def test_verdict_on_an_address(address: str, default: str, public: str) -> None:
    rules = (
        EgressPolicy.DEFAULT.blocking_rule(address),
        EgressPolicy.PUBLIC_ONLY.blocking_rule(address),
    )
    assert [rule.split()[0] if rule else "-" for rule in rules] == [default, public]


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_judged_like_the_address_itself(address: IPv4Address) -> None:
    public, default = EgressPolicy.PUBLIC_ONLY, EgressPolicy.DEFAULT
    ipv4, number = str(address), int(address)
    six_to_four = str(IPv6Address((0x2002 << 112) | (number << 80)))
    for policy in (public, default):
        rule = policy.blocking_rule(ipv4)
        assert policy.blocking_rule(f"::ffff:{ipv4}") == rule
        for form in (f"64:ff9b::{ipv4}", six_to_four):
            assert (policy.blocking_rule(form) is None) is (rule is None)
            assert (policy.blocking_rule(form) or "").startswith(rule or "")


def test_a_rule_reads_as_network_name_and_what_it_was_found_in() -> None:
    assert EgressPolicy.DEFAULT.blocking_rule("169.254.1.1") == "169.254.0.0/16 link-local"
    rule = EgressPolicy.PUBLIC_ONLY.blocking_rule("64:ff9b::a00:1")
    assert rule == "10.0.0.0/8 private-use, NAT64 10.0.0.1"


@pytest.mark.parametrize(
    ("network", "address", "admitted"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "192.168.0.1", False),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("10.0.0.0/8", "64:ff9b::10.1.2.3", False),
        ("10.0.0.0/8", "2002:a00:1::1", False),
        ("10.0.0.0/8", "::10.1.2.3", False),
        ("2002:a00::/24", "2002:a00:1::1", True),
        ("::ffff:10.0.0.0/104", "10.1.2.3", True),
        ("::ffff:10.0.0.0/104", "::ffff:10.1.2.3", True),
        ("::/0", "::ffff:10.1.2.3", False),
        ("fd00:1::/32", "fd00:1::5", True),
        ("fe80::/10", "fe80::1%eth0", True),
        ("169.254.169.254", "169.254.169.254", True),
        (IPv4Network("127.0.0.0/8"), "127.0.0.1", True),
        (ip_network("::1"), "::1", True),
    ],
)
def test_allow_networks_vouch_for_their_addresses_and_no_tunnel_to_them(
    network: Any, address: str, admitted: bool
) -> None:
    policy = EgressPolicy(public_only=True, allow_networks=[network])
    assert (policy.blocking_rule(address) is None) is admitted


@pytest.mark.parametrize(
    ("option", "value", "named", "advice"),
    [
        ("allow_networks", ["10.0.0.1/8"], "'10.0.0.1/8'", "write '10.0.0.0/8'"),
        ("allow_networks", ["intranet"], "'intranet'", "is not an IP network"),
        ("allow_networks", ["fe80::1%eth0"], "'fe80::1%eth0'", "drop the"),
        ("allow_networks", [5], "5", "as text"),
        ("allow_networks", "10.0.0.0/8", "'10.0.0.0/8'", "a list"),
        ("allow_networks", IPv4Network("10.0.0.0/8"), "IPv4Network('10.0.0.0/8')", "a list"),
        ("allow_hosts", "hooks.internal", "'hooks.internal'", "a list"),
        ("allow_hosts", ["http://hooks.internal"], "'http://hooks.internal'", "no scheme"),
        ("allow_hosts", ["hooks.internal:80"], "'hooks.internal:80'", "port"),
        ("allow_hosts", ["*.internal"], "'*.internal'", "wildcard"),
        ("allow_hosts", ["."], "'.'", "host alone"),
        ("allow_hosts", [None], "None", "host alone"),
    ],
)
def test_a_bad_entry_is_named_with_advice(option: str, value: Any, named: str, advice: str) -> None:
    with pytest.raises(ConfigError) as caught:
        EgressPolicy(**{option: value})
    assert str(caught.value).startswith(f"{option}={named}: ")
    assert advice in str(caught.value)


def test_policies_are_values() -> None:
    """Equal by content, hashable, normalised, and readable when printed."""
    policy = EgressPolicy(allow_networks=iter(["10.0.0.0/8"]), allow_hosts=["Bücher.De.", "[::1]"])
    assert policy.allow_hosts == {"xn--bcher-kva.de", "::1"}
    assert policy.allow_networks == (IPv4Network("10.0.0.0/8"),)
    assert {EgressPolicy(public_only=True)} == {EgressPolicy.PUBLIC_ONLY}
    assert EgressPolicy() == EgressPolicy.DEFAULT != EgressPolicy.PUBLIC_ONLY
    assert "allow_networks=(IPv4Network('10.0.0.0/8'),)" in repr(policy)


# From here on: real sessions, real sockets on loopback.


class Answers(AbstractResolver):
    """Resolves any name to the next of the given lists of addresses; the last one repeats."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(hostname=host, host=a, port=port, family=family, proto=0, flags=0)
            for a in answer
        ]

    async def close(self) -> None:
        pass


class Endpoint(NamedTuple):
    """A loopback server that answers 'delivered', and the connections it was asked over."""

    port: int
    connections: set[object]


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    connections: set[object] = set()

    async def handle(request: web.BaseRequest) -> web.Response:
        connections.add(request.protocol)
        return web.Response(text="delivered")

    async with RawTestServer(handle, host="127.0.0.1") as server:
        yield Endpoint(server.port or 0, connections)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port nobody listens on, held so that nobody else gets it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


async def post(session: aiohttp.ClientSession, url: str, **options: Any) -> str:
    try:
        async with session.post(url, **options) as response:
            return await response.text()
    except aiohttp.InvalidURL:
        return "not an IP address, says aiohttp"
    except aiohttp.ClientConnectorError as exc:
        return blocked_by(exc) or "unreachable"


async def post_once(policy: EgressPolicy, url: str, **options: Any) -> str:
    async with aiohttp.ClientSession(connector=make_connector(policy, **options)) as session:
        return await post(session, url)


@pytest.mark.parametrize(
    ("host", "default", "public"),
    [
        ("127.0.0.1", "delivered", "127.0.0.0/8 loopback"),
        ("LOCALHOST", "delivered", "loopback"),
        ("0.0.0.0", "delivered", "0.0.0.0/8 this network"),  # noqa: S104
        ("0x7f000001", "delivered", "127.0.0.0/8 loopback"),
        ("0x7f.1", "delivered", "127.0.0.0/8 loopback"),
        ("１２７.0.0.1", "delivered", "127.0.0.0/8 loopback"),  # noqa: RUF001
        ("①②⑦.⓪.⓪.①", "delivered", "127.0.0.0/8 loopback"),
        ("[::ffff:7f00:1]", "delivered", "127.0.0.0/8 loopback"),
        ("2130706433", "not an IP address", "not an IP address"),
        ("0177.0.0.1", "not an IP address", "not an IP address"),
        ("127.1", "not an IP address", "not an IP address"),
        ("0xa9fea9fe", "169.254.169.254/32 cloud", "169.254.169.254/32 cloud"),
        ("0xa9.254.0251.0xfe", "169.254.169.254/32 cloud", "169.254.169.254/32 cloud"),
        ("[fe80::1%25lo]", "fe80::/10 link-local", "fe80::/10 link-local"),
        ("[64:ff9b::a9fe:a9fe]", "NAT64 169.254.169.254", "NAT64 169.254.169.254"),
    ],
)
async def test_a_url_is_judged_by_the_address_it_dials(
    endpoint: Endpoint, host: str, default: str, public: str
) -> None:
    """However the host is written. Later aiohttp turns the all-digit forms away by itself."""
    url = f"http://{host}:{endpoint.port}/"
    options = {"resolver": aiohttp.ThreadedResolver()}  # getaddrinfo, which reads hex and octal
    assert public in await post_once(EgressPolicy.PUBLIC_ONLY, url, **options)
    assert not endpoint.connections
    assert default in await post_once(EgressPolicy.DEFAULT, url, **options)


async def test_a_name_that_rebinds_is_refused_on_its_next_connection(endpoint: Endpoint) -> None:
    policy = EgressPolicy(public_only=True, allow_networks=["127.0.0.1"])
    resolver = Answers(["127.0.0.1"], ["127.0.0.2"])
    connector = make_connector(policy, resolver=resolver, use_dns_cache=False, force_close=True)
    url = f"http://rebind.example:{endpoint.port}/"
    async with aiohttp.ClientSession(connector=connector) as session:
        assert await post(session, url) == "delivered"
        assert "127.0.0.2 refused" in await post(session, url)
    assert len(endpoint.connections) == 1


async def test_the_check_runs_once_a_connection_not_once_a_request(endpoint: Endpoint) -> None:
    policy = EgressPolicy(public_only=True, allow_networks=["127.0.0.1"])
    connector = make_connector(policy, resolver=Answers(["127.0.0.1"], ["127.0.0.2"]))
    async with aiohttp.ClientSession(connector=connector) as session:
        for _ in range(3):
            assert await post(session, f"http://kept.example:{endpoint.port}/") == "delivered"
    assert len(endpoint.connections) == 1


@pytest.mark.parametrize("answer", [["127.0.0.2", "127.0.0.1"], ["::1", "127.0.0.2", "127.0.0.1"]])
async def test_of_several_addresses_only_the_admitted_is_dialled(
    endpoint: Endpoint, answer: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled = []
    connect = asyncio.get_running_loop().sock_connect

    async def sock_connect(sock: socket.socket, address: Any) -> None:
        dialled.append(address[0])
        await connect(sock, address)

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", sock_connect)
    policy = EgressPolicy(public_only=True, allow_networks=["127.0.0.1"])
    url = f"http://both.example:{endpoint.port}/"
    assert await post_once(policy, url, resolver=Answers(answer)) == "delivered"
    assert dialled == ["127.0.0.1"]


@pytest.mark.parametrize(
    "host",
    ["hooks.internal", "HOOKS.Internal.", "BÜCHER.example", "xn--bcher-kva.example", "[::1]"],
)
async def test_an_allowed_host_is_exempt_by_name(endpoint: Endpoint, host: str) -> None:
    """In the tasks that happy eyeballs starts too: nobody listens at the first address."""
    names = ["Hooks.internal.", "bücher.example", "::1"]
    policy = EgressPolicy(public_only=True, allow_hosts=names)
    url = f"http://{host}:{endpoint.port}/"
    result = await post_once(policy, url, resolver=Answers(["::1", "127.0.0.1"]))
    assert result == ("unreachable" if host == "[::1]" else "delivered")
    with pytest.raises(EgressError):  # the exemption ended with the request
        policy.open_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)))


async def test_an_exemption_reaches_no_other_host(endpoint: Endpoint) -> None:
    """Side by side over one connector, with the same answer for every name."""
    policy = EgressPolicy(public_only=True, allow_hosts=["hooks.internal"])
    connector = make_connector(policy, resolver=Answers(["127.0.0.1"]))
    hosts = ["hooks.internal", "other.internal", "hooks.internal.evil.example", "127.0.0.1"] * 3
    async with aiohttp.ClientSession(connector=connector) as session:
        urls = [f"http://{host}:{endpoint.port}/" for host in hosts]
        results = await asyncio.gather(*(post(session, url) for url in urls))
    assert [result == "delivered" for result in results] == [True, False, False, False] * 3


async def test_behind_a_proxy_no_host_is_exempt(endpoint: Endpoint) -> None:
    policy = EgressPolicy(public_only=True, allow_hosts=["hooks.internal"])
    async with aiohttp.ClientSession(connector=make_connector(policy)) as session:
        proxy = f"http://127.0.0.1:{endpoint.port}"
        assert "loopback" in await post(session, "http://hooks.internal/", proxy=proxy)
    assert not endpoint.connections


def test_a_socket_for_an_unknown_host_is_checked() -> None:
    policy = EgressPolicy(public_only=True, allow_hosts=["127.0.0.1"], allow_networks=["127.0.0.2"])
    with pytest.raises(EgressError) as caught:
        policy.open_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)))
    assert caught.value.errno == EGRESS_ERRNO
    assert (caught.value.address, caught.value.rule) == ("127.0.0.1", "127.0.0.0/8 loopback")
    with policy.open_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", 80))) as sock:
        assert (sock.family, sock.type) == (socket.AF_INET, socket.SOCK_STREAM)


async def test_connections_are_unlimited_unless_asked_otherwise() -> None:
    for options, limits in (({}, (0, 0)), ({"limit": 7, "limit_per_host": 2}, (7, 2))):
        connector = make_connector(EgressPolicy.DEFAULT, **options)
        assert (connector.limit, connector.limit_per_host) == limits
        await connector.close()


@pytest.mark.parametrize("delay", [0.25, None], ids=["happy eyeballs", "one by one"])
@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (["127.0.0.2"], ["127.0.0.2"]),
        (["127.0.0.2", "::1"], ["127.0.0.2", "::1"]),
        (["127.0.0.2", "127.0.0.3", "10.0.0.1"], ["10.0.0.1"]),  # aiohttp reports its last round
        (["127.0.0.1", "127.0.0.2"], []),
        (["127.0.0.2", "127.0.0.1"], []),
        (["127.0.0.2", "127.0.0.1", "::1", "10.0.0.1"], []),
    ],
)
async def test_a_request_is_refused_only_if_every_address_is(
    closed_port: int, answer: list[str], named: list[str], delay: float | None
) -> None:
    """127.0.0.1 is admitted but nobody listens: that is unreachable, in whatever company."""
    policy = EgressPolicy(public_only=True, allow_networks=["127.0.0.1"])
    url = f"http://several.example:{closed_port}/"
    result = await post_once(policy, url, resolver=Answers(answer), happy_eyeballs_delay=delay)
    assert (result != "unreachable") is bool(named)
    assert all(f"egress to {address} refused by rule: " in result for address in named)


def test_refusal_of_reads_plain_errors_too() -> None:
    assert blocked_by(EgressError("10.0.0.1", "10.0.0.0/8 private-use")) == (
        "egress to 10.0.0.1 refused by rule: 10.0.0.0/8 private-use"
    )
    assert blocked_by(OSError(EGRESS_ERRNO, "two of them")) == "two of them"
    unreachable = OSError(errno.ECONNREFUSED, "no")
    for other in (OSError("merged"), unreachable, TimeoutError(), ValueError()):
        assert blocked_by(other) is None
