"""Packets as a real network has them: ``python -m support.network_namespace COMMAND``.

The loopback device takes 65,536 bytes in a packet, and the kernel joins packets to more. So the
buffers at both ends are filled by other amounts than on a real network, and what waits in them
shows at other moments. In a network namespace of its own the device can be like Ethernet's.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import struct
import sys
from typing import Final

#: Bytes that a packet has at most.
MTU: Final = 1500

_DEVICE: Final = b"lo"
# linux/sockios.h, linux/if.h, linux/ethtool.h
_SIOCSIFFLAGS, _SIOCGIFMTU, _SIOCSIFMTU, _SIOCETHTOOL = 0x8914, 0x8921, 0x8922, 0x8946
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_ETHTOOL_STSO, _ETHTOOL_SGSO, _ETHTOOL_SGRO = 0x1F, 0x24, 0x2C


def command(*arguments: str) -> list[str] | None:
    """Return what runs ``arguments`` in a new namespace with such a device; ``None`` if it cannot.

    Who is not root needs a user namespace too, which some systems refuse.
    """
    program = shutil.which("unshare")
    if program is None or sys.platform != "linux":
        return None
    namespaces = ["--net"] if os.geteuid() == 0 else ["--net", "--map-root-user"]
    return [program, *namespaces, sys.executable, "-m", "support.network_namespace", *arguments]


def bring_up() -> int:
    """Bring up the loopback device with packets of ``MTU`` bytes; return what it has in the end."""
    from fcntl import ioctl  # noqa: PLC0415 - there is none on Windows

    with socket.socket() as control:
        ioctl(control, _SIOCSIFMTU, struct.pack("16si12x", _DEVICE, MTU))
        for option in (_ETHTOOL_STSO, _ETHTOOL_SGSO, _ETHTOOL_SGRO):
            value = ctypes.create_string_buffer(struct.pack("II", option, 0))
            address = ctypes.addressof(value)
            ioctl(control, _SIOCETHTOOL, struct.pack("16sP16x", _DEVICE, address))
        ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", _DEVICE, _IFF_UP | _IFF_RUNNING))
        answer = ioctl(control, _SIOCGIFMTU, struct.pack("16si12x", _DEVICE, 0))
    return int(struct.unpack("16si12x", answer)[1])


def main(arguments: list[str]) -> None:
    """Bring up the device, say what it is like, and become the command."""
    print(f"packets of {bring_up()} bytes", flush=True)
    os.execv(arguments[0], arguments)  # noqa: S606 - a test's own command


if __name__ == "__main__":
    main(sys.argv[1:])
