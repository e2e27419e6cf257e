"""The looks of a run, held to bounds; and a report of it."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final, NamedTuple

from hostile import child
from hostile.clients import Clients
from hostile.kernel import Connections, connections_to
from hostile.looks import Look
from hostile.process import Process

from relaybox_hooks.transport.exchange import PIECE, READ_SIZE

#: Files that are left for the host.
_MARGIN: Final = 64
#: Bytes in the write buffer of a plain connection: a piece is written as long as no more waits than
#: asyncio's high-water mark of 64 KiB.
_BUFFERED: Final = 2**16 + PIECE
#: Bytes in those of one that speaks TLS: asyncio's mark is 512 KiB, more than a whole request.
_BUFFERED_TLS: Final = child.LARGEST + 2**16
#: Bytes read of a response: 64 KiB and what one read takes more.
_RECEIVED: Final = 2**16 + READ_SIZE
#: Bytes that the kernel holds of a connection: its send buffer, counted with its own overhead.
_UNSENT: Final = 4 * child.SEND_BUFFER
#: Connections that are closed, and that the kernel has not heard of yet.
_CLOSING: Final = 32
#: Bytes of memory: of a process that has started, 80 MB; of what is pending, 50 times 0.7 MB; of
#: requests being written; of dead letters.
_RESIDENT: Final = 256 * 2**20
#: Seconds of one turn of the loop, in CPU time.
_TURN: Final = 1.0
#: Seconds between two looks, between an event's emit and its healthy delivery, and between two
#: attempts at a hostile endpoint: a second or so, and some more on a busy machine.
_PATIENCE: Final = 5.0
#: Seconds that ``aclose`` may take beyond its time-out, and some more on a busy machine.
_GRACE, _SLACK = 1.0, 1.0

_MIB: Final = 2**20


class Seen(NamedTuple):
    """A look, from inside and from outside.

    Attributes:
        look: of the process.
        kernel: its connections to the endpoints, as the kernel has them.
        served: clients of the host so far.
        longest: seconds that the slowest of them took since the last look.
    """

    look: Look
    kernel: Connections
    served: int
    longest: float

    def __str__(self) -> str:
        look = self.look
        return (
            f"{look.seconds:6.1f} s  files {look.files:3}  connections {look.connections:3}  "
            f"kernel {self.kernel.number:3} {self.kernel.unsent / _MIB:4.1f} MiB  "
            f"buffer {look.buffered // 1024:3}/{look.buffered_tls // 1024:3} KiB  "
            f"pending {look.pending:5} {look.pending_bytes / _MIB:5.1f} MiB  "
            f"rss {look.resident // _MIB:3} MiB  turn {look.turn * 1e3:5.1f} ms  "
            f"oldest {look.oldest:4.1f} s  "
            f"unattempted {look.unattempted:4.1f} s {look.waiting:20}  "
            f"host {self.served:5} {self.longest:4.2f} s  "
            f"emitted {look.emitted:6}  healthy {look.healthy:6}  attempts {look.attempts:6}"
        )


@dataclass(slots=True)
class Report:
    """What came of a run.

    Attributes:
        seen: its looks.
        faults: everything that was out of bounds, or did not add up.
        accounts: a line that sums up the deliveries.
        closing: seconds that ``aclose`` took.
        left: deliveries that it left.
    """

    seen: list[Seen] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    accounts: str = ""
    closing: float = 0.0
    left: int = 0

    def __str__(self) -> str:
        looks = [seen.look for seen in self.seen]
        kernel = [seen.kernel for seen in self.seen]
        if not looks:
            return "no look was taken"
        files = max(look.files for look in looks)
        connections = max(look.connections for look in looks)
        in_kernel = max(each.number for each in kernel)
        unsent = max(each.unsent for each in kernel) / _MIB
        buffered = max(look.buffered for look in looks) // 1024
        buffered_tls = max(look.buffered_tls for look in looks) // 1024
        received = max(look.received for look in looks) // 1024
        pending = max(look.pending_bytes for look in looks) / _MIB
        resident = max(look.resident for look in looks) // _MIB
        turn = max(look.turn for look in looks) * 1e3
        longest = max(seen.longest for seen in self.seen)
        oldest = max(look.oldest for look in looks)
        unattempted = max(look.unattempted for look in looks)
        return f"""\
{len(looks)} looks in {looks[-1].seconds:.0f} s. At most:
  {files} files of {child.FILES}, {connections} connections; \
{in_kernel} in the kernel, with {unsent:.1f} MiB unsent
  {buffered} KiB in a write buffer, {buffered_tls} KiB with TLS; {received} KiB of a response; \
{pending:.0f} MiB pending, {resident} MiB resident; {turn:.0f} ms of CPU in a turn
  {longest:.2f} s for a client of the host, of {self.seen[-1].served}
  {oldest:.2f} s for a healthy event, {unattempted:.2f} s between a hostile webhook's attempts
{self.accounts}
aclose({child.CLOSING}) took {self.closing:.2f} s, and left {self.left} deliveries
{len(self.faults)} faults
{"".join(f"FAULT {fault}{os.linesep}" for fault in self.faults)}"""


class Watch:
    """Takes the looks of a run, and notes what is out of bounds.

    Args:
        seconds: of the run.
        verbose: print each look.
    """

    def __init__(self, seconds: float, *, verbose: bool) -> None:
        self._seconds = seconds
        self._verbose = verbose
        self.report = Report()

    def _expect(self, name: str, value: float, most: float) -> None:
        if value > most:
            self._note(f"{name}: {value:,.6g}, at most {most:,.6g}")

    def _note(self, fault: str) -> None:
        seen = self.report.seen
        when = f"at {seen[-1].look.seconds:.1f} s" if seen else "at the beginning"
        self.report.faults.append(f"{when}: {fault}")

    async def watch(
        self, server: Process, clients: Clients, ports: frozenset[int], most: int
    ) -> None:
        """Look as long as the run lasts.

        Args:
            server: the process under test.
            clients: of the host.
            ports: of the endpoints.
            most: connections that it may have.
        """
        until = monotonic() + self._seconds
        while monotonic() < until:
            look = Look(**await server.record())
            longest, clients.longest = clients.longest, 0.0
            seen = Seen(look, connections_to(ports, most), clients.served, longest)
            before = self.report.seen[-1] if self.report.seen else None
            self.report.seen.append(seen)
            if self._verbose:
                print(seen, flush=True)
            self._check(seen, most)
            if before is not None:
                self._compare(before, seen)

    def _check(self, seen: Seen, most: int) -> None:
        look, kernel = seen.look, seen.kernel
        self._expect("open files", look.files, child.FILES - _MARGIN)
        self._expect("connections", look.connections, most)
        self._expect("connections in the kernel", kernel.number, most + _CLOSING)
        self._expect("bytes unsent", kernel.unsent, (most + _CLOSING) * _UNSENT)
        self._expect("bytes in a write buffer", look.buffered, _BUFFERED)
        self._expect("bytes in a write buffer, TLS", look.buffered_tls, _BUFFERED_TLS)
        self._expect("bytes of a response", look.received, _RECEIVED)
        self._expect("bytes in a lane", look.lane_bytes, child.LANE_BYTES + 2 * child.LARGEST)
        self._expect("bytes resident", look.resident, _RESIDENT)
        self._expect("seconds of a turn", look.turn, _TURN)
        self._expect("seconds of the oldest healthy event", look.oldest, _PATIENCE)
        self._expect(f"seconds without an attempt at {look.waiting}", look.unattempted, _PATIENCE)
        for row in (*look.unbalanced, *look.logged):
            self._note(row)

    def _compare(self, before: Seen, seen: Seen) -> None:
        self._expect("seconds between looks", seen.look.seconds - before.look.seconds, _PATIENCE)
        for name, then, now in (
            ("events", before.look.emitted, seen.look.emitted),
            ("healthy deliveries", before.look.healthy, seen.look.healthy),
            ("attempts", before.look.attempts, seen.look.attempts),
        ):
            if now <= then:
                self._note(f"no {name} since the last look: {then}")

    async def close(self, server: Process) -> dict[str, Any]:
        """Let the process close its hooks; return its accounts."""
        server.tell()
        while "took" not in (record := await server.record()):
            pass
        self.report.closing, self.report.left = record["took"], record["left"]
        self._expect("seconds of aclose", record["took"], child.CLOSING + _GRACE + _SLACK)
        for row in record["unbalanced"]:
            self._note(row)
        for name in ("pending", "unsettled"):
            if record[name]:
                self._note(f"{name} in the end: {record[name]}")
        return record

    async def end(self, server: Process, ports: frozenset[int]) -> None:
        """Let the process end; it leaves no socket and no task, in the kernel either."""
        server.end_input()
        while "sockets" not in (record := await server.record()):
            pass
        await server.finish()
        left = connections_to(ports)
        in_vain = monotonic() + _PATIENCE
        while left.number and monotonic() < in_vain:
            await asyncio.sleep(child.EVERY)
            left = connections_to(ports)
        for name, value in (*record.items(), ("connections in the kernel", left.number)):
            if value:
                self._note(f"{name} left: {value}")
