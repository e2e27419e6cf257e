"""Connections as the kernel has them, those included that no process has open any more."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

#: States in which a socket holds bytes (include/net/tcp_states.h): ESTABLISHED, SYN_SENT,
#: FIN_WAIT1, CLOSE_WAIT, LAST_ACK, CLOSING. One that waits for its peer's FIN, or for time to
#: pass, holds none.
_HOLDING: Final = frozenset({"01", "02", "04", "08", "09", "0B"})
_TABLE: Final = Path("/proc/net/tcp")
#: How often the table is read at most.
_READS: Final = 5


class Connections(NamedTuple):
    """Connections to some ports.

    Attributes:
        number: how many there are.
        unsent: bytes written to them that their peers have not acknowledged.
    """

    number: int
    unsent: int


def connections_to(ports: frozenset[int], most: int = 0) -> Connections:
    """Return the connections of this machine's clients to ``ports`` over IPv4.

    The table is read in parts. On a busy machine it holds connections that were not there at the
    same time; so where there seem to be more than ``most``, it is read a few times.
    """
    found = _read(ports)
    for _ in range(_READS - 1):
        if found.number > most:
            found = min(found, _read(ports))
    return found


def _read(ports: frozenset[int]) -> Connections:
    found = unsent = 0
    for line in _TABLE.read_text().splitlines()[1:]:
        _, _, remote, state, queues, *_ = line.split()
        if state in _HOLDING and int(remote.rpartition(":")[2], 16) in ports:
            found += 1
            unsent += int(queues.partition(":")[0], 16)
    return Connections(found, unsent)
