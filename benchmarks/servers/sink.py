"""A receiver that answers 204 at once and notes when each request had come in whole.

Run as a child process, see :class:`benchmarks.children.Child`. It is no HTTP server, only what
a well-behaved client needs, and runs on uvloop, so that it is never what a benchmark measures. A
body with a member ``"at"`` (microseconds on the system-wide monotonic clock, see :func:`now`)
tells when it was sent; one without counts as sent at 0.

``--awake`` keeps it on the processor while it has nothing to do. One that sleeps is woken by each
request that finds it asleep, and the kernel has the sender pay for that: a tenth of a POST, more
or less of it as a client writes its requests one by one or many in a row. A receiver elsewhere,
as webhooks have, costs its sender nothing of the kind. It takes a core that nobody else needs.

``--tls FILE`` makes it speak TLS, with the key and the certificate in that file.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import ssl
import time
from array import array
from typing import Final, cast

import uvloop

from benchmarks.children import serve_parent
from benchmarks.machine import raise_file_limit

_ANSWER: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_SENT: Final = re.compile(rb'"at":(\d+)')
#: A fan-out to thousands of webhooks connects at once; a SYN too many costs it a second.
_BACKLOG: Final = 4096

#: By path: when its requests were sent and when they were received.
Records = dict[bytes, tuple["array[int]", "array[int]"]]


def now() -> int:
    """Microseconds on CLOCK_MONOTONIC, which all processes of a machine share."""
    return time.monotonic_ns() // 1000


class Sink(asyncio.Protocol):
    """One connection."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport, they only look like one.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        received = now()
        data = self._buffer + data
        while (end := data.find(b"\r\n\r\n") + 4) > 3:
            length = _LENGTH.search(data, 0, end)
            size = end + (int(length[1]) if length else 0)
            if len(data) < size:
                break
            sent = _SENT.search(data, end, size)
            path = data[: data.index(b"\r\n")].split(b" ")[1]
            record = self._records.get(path)
            if record is None:
                record = self._records[path] = (array("q"), array("q"))
            record[0].append(int(sent[1]) if sent else 0)
            record[1].append(received)
            self._transport.write(_ANSWER)
            data = data[size:]
        self._buffer = data


def _stay_awake(loop: asyncio.AbstractEventLoop) -> None:
    """Have something to do in every turn of the loop, so that it never sleeps."""
    loop.call_soon(_stay_awake, loop)


async def main() -> None:
    """Listen until the parent goes away."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--awake", action="store_true")
    parser.add_argument("--tls", metavar="FILE")
    options = parser.parse_args()
    tls = None
    if options.tls:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(options.tls)
    raise_file_limit()
    records: Records = {}

    def take() -> dict[str, dict[str, list[int]]]:
        taken = {
            path.decode(): {"sent": list(sent), "received": list(received)}
            for path, (sent, received) in records.items()
        }
        records.clear()
        return taken

    server = await asyncio.get_running_loop().create_server(
        lambda: Sink(records), "127.0.0.1", 0, backlog=_BACKLOG, ssl=tls
    )
    if options.awake:
        _stay_awake(asyncio.get_running_loop())
    await serve_parent(server.sockets[0].getsockname()[1], take)
    server.close()


if __name__ == "__main__":
    uvloop.run(main())
