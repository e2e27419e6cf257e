"""What the system resolves resolves as before, judged by ``getaddrinfo`` beside it.

In a network and mount namespace of its own: a child process with its own name server on port 53,
``resolv.conf``, ``nsswitch.conf`` and hosts file. Making those takes root.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

HOSTS: Final = "127.0.0.1 localhost\n192.0.2.10 intranet wiki.intranet\n2001:db8::10 six\n"
RESOLV_CONF: Final = "nameserver 127.0.0.53\nsearch a.test b.test\noptions ndots:2\n"
NSSWITCH: Final = "hosts: files dns\n"

CHILD: Final = """
import asyncio, socket, sys
from support.name_server import NameServer
from relaybox_hooks.transport.resolver import NameResolver

NAMES = [
    "localhost", "intranet", "wiki.intranet", "six", "WIKI.intranet", "db", "only-b", "db.x",
    "db.x.", "deep.db.x", "none", "none.example", "www.example", "www.example.",
]

def by_system(name, family):
    try:
        found = socket.getaddrinfo(name, 80, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
    except socket.gaierror:
        return "none"
    return sorted({info[4][0] for info in found})

async def ours(names, name, family):
    try:
        found = await names.resolve(name, 80, family)
    except socket.gaierror:
        return "none"
    return sorted({result["host"] for result in found})

async def main():
    server = NameServer()
    await server.start("127.0.0.53", 53)
    server.addresses = {
        "db.a.test": ["192.0.2.1"], "db.b.test": ["192.0.2.2"], "only-b.b.test": ["192.0.2.3"],
        "db.x": ["192.0.2.4"], "db.x.a.test": ["192.0.2.5"], "deep.db.x": ["192.0.2.6"],
        "www.example": ["192.0.2.7", "2001:db8::7"],
    }
    names = NameResolver()
    for family in (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6):
        for name in NAMES:
            judge = await asyncio.to_thread(by_system, name, family)
            found = await ours(names, name, family)
            if found != judge:
                print(name, family.name, "is", found, "but", judge, "by the system")
    await names.close()
    server.close()

asyncio.run(main())
"""


@pytest.fixture
def namespaces() -> list[str]:
    """The command that runs another in namespaces of its own."""
    unshare = shutil.which("unshare")
    command = [unshare or "", "--mount", "--net"]
    made = unshare and subprocess.run([*command, "true"], capture_output=True, check=False)  # noqa: S603 - ours
    if not made or made.returncode or not shutil.which("ip"):
        pytest.skip("namespaces cannot be made here: that takes Linux, root, unshare and ip")
    return command


def test_names_resolve_as_the_system_has_them(namespaces: list[str], tmp_path: Path) -> None:
    files = {"hosts": HOSTS, "resolv.conf": RESOLV_CONF, "nsswitch.conf": NSSWITCH}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "child.py").write_text(CHILD)
    mounts = "".join(f"mount --bind {tmp_path / name} /etc/{name} && " for name in files)
    # AI_ADDRCONFIG takes a family into account if there is an address of it beside loopback's.
    network = "ip link set lo up && ip addr add 198.51.100.1/32 dev lo && "
    network += "ip addr add 2001:db8:1::1/128 dev lo"
    script = f"{mounts} {network} && exec {sys.executable} {tmp_path / 'child.py'}"
    tests = str(Path(__file__).parents[1])
    root = str(Path(__file__).parents[2])
    ran = subprocess.run(  # noqa: S603 - ours
        [*namespaces, "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": f"{root}:{tests}", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        check=False,
    )
    assert (ran.returncode, ran.stdout.splitlines()) == (0, []), ran.stderr
