"""The parent of a run: starts the endpoints and the server, and is the clients of the host."""

from __future__ import annotations

from typing import Any

from hostile import child, servers
from hostile.accounts import compare
from hostile.clients import Clients
from hostile.process import process
from hostile.watch import Report, Watch
from support.certificates import Certificate
from yarl import URL


async def run(
    certificate: Certificate,
    *,
    seconds: float,
    seed: int,
    verbose: bool = False,
    hooks: dict[str, Any] | None = None,
) -> Report:
    """Let a server with 50 hostile and 50 healthy webhooks run; return what came of it.

    Args:
        certificate: of the endpoints that speak TLS.
        seconds: for which events are emitted.
        seed: of the random choices.
        verbose: print each look.
        hooks: further arguments of its ``Hooks``.
    """
    watch = Watch(seconds, verbose=verbose)
    cert, key = str(certificate.cert), str(certificate.key)
    async with (
        process("servers", servers.Setup(True, cert, key)) as hostile,
        process("servers", servers.Setup(False, cert, key)) as healthy,
    ):
        urls, well = await hostile.record(), (await healthy.record())[servers.HEALTHY]
        ports = frozenset(int(URL(url).port or 0) for url in (*urls.values(), well))
        setup = child.Setup(urls, well, cert, seed, hooks or {})
        async with process("child", setup) as server:
            opened = await server.record()
            clients = Clients(f"http://127.0.0.1:{opened['port']}/", seed)
            async with clients.running():
                await watch.watch(server, clients, ports, opened["max_connections"])
                accounts = await watch.close(server)
            await watch.end(server, ports)
        watch.report.faults += clients.errors
        for each in (hostile, healthy):
            each.tell()
        received = await hostile.record() | await healthy.record()
        watch.report.accounts, faults = compare(accounts, received)
        watch.report.faults += faults
        await hostile.finish()
        await healthy.finish()
    return watch.report
