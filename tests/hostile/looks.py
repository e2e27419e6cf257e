"""Looks at the process under test, from inside: files, connections, bytes, turns, accounting."""

from __future__ import annotations

import asyncio
import logging
import os
from asyncio.sslproto import SSLProtocol
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, thread_time, time
from typing import Any, Final, NamedTuple

from relaybox_hooks import Attempt, DeadLetter, Hooks, Observer, Stats, TargetStats
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.transport.exchange import Exchange

_FDS: Final = Path("/proc/self/fd")
_STATM: Final = Path("/proc/self/statm")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Look:
    """What was found at one moment; all of it is JSON.

    Attributes:
        seconds: since the beginning.
        files: open file descriptors.
        connections: those that the budget counts.
        buffered: bytes in the write buffer of the plain connection that has most.
        buffered_tls: the same of a connection that speaks TLS, in all its layers.
        received: bytes read of the longest response on a plain connection.
        pending: events that are pending.
        pending_bytes: bytes of them.
        lane_bytes: bytes of the events that the fullest hostile lane has pending.
        resident: bytes of memory.
        turn: seconds of CPU time that the longest turn of the loop took since the last look.
        emitted: events so far.
        healthy: deliveries so far at the healthy endpoint.
        attempts: at hostile endpoints so far.
        failed, dropped: deliveries so far.
        oldest: seconds since the oldest event pending at a healthy webhook was emitted.
        unattempted: seconds for which the hostile webhook that waits longest has had events, and
            no attempt that has ended.
        waiting: id of that webhook.
        unbalanced: rows whose counts contradict each other.
        logged: messages that asyncio, or anything else, logged since the last look.
    """

    seconds: float
    files: int
    connections: int
    buffered: int
    buffered_tls: int
    received: int
    pending: int
    pending_bytes: int
    lane_bytes: int
    resident: int
    turn: float
    emitted: int
    healthy: int
    attempts: int
    failed: int
    dropped: int
    oldest: float
    unattempted: float
    waiting: str
    unbalanced: list[str]
    logged: list[str]


class Connection(NamedTuple):
    """Bytes that are held for one connection.

    Attributes:
        tls: whether it speaks TLS.
        buffered: in its write buffers.
        received: of the latest response.
    """

    tls: bool
    buffered: int
    received: int


class TimedLoop(asyncio.SelectorEventLoop):
    """An event loop that knows how long its turns are, in CPU time of its thread.

    Waiting for sockets, and for the processor, is no part of that.

    Attributes:
        longest: seconds of the longest turn since this was set to 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.longest: float = 0.0

    def _run_once(self) -> None:
        began = thread_time()
        super()._run_once()  # type: ignore[misc]  # the one place that every turn passes
        self.longest = max(self.longest, thread_time() - began)

    def connections(self) -> Iterator[Connection]:
        """Yield what is held for each connection, those of the host's clients included."""
        for transport in list(self._transports.values()):  # type: ignore[attr-defined]
            buffered = transport.get_write_buffer_size()
            protocol: Any = transport.get_protocol()
            tls = isinstance(protocol, SSLProtocol)
            if tls:
                buffered += protocol._get_write_buffer_size()
                protocol = protocol._app_protocol
            received = len(protocol.received) if isinstance(protocol, Exchange) else 0
            yield Connection(tls, buffered, received)


class Logged(logging.Handler):
    """Keeps what is logged at WARNING or above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._messages.append(f"{record.getMessage()}: {error!r}"[:500])

    def take(self) -> list[str]:
        """Return the first few messages since the last call."""
        messages, self._messages = self._messages, []
        return messages[:3]


class Counts(Observer):
    """Counts what observers see, by webhook.

    Attributes:
        attempts: number of attempts.
        dead: number of dead letters.
        deliveries: ids of the events that were delivered, one that was delivered twice twice.
        latest: moment of the latest attempt's end, monotonic.
        disconnected: number of attempts that failed because the endpoint had hung up.
        statuses: of all responses together; 0 where there was none.
    """

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()
        self.dead: Counter[str] = Counter()
        self.deliveries: defaultdict[str, list[str]] = defaultdict(list)
        self.latest: dict[str, float] = {}
        self.disconnected: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()

    def attempted(self, attempt: Attempt) -> None:
        webhook_id, outcome = attempt.webhook.id, attempt.outcome
        self.attempts[webhook_id] += 1
        self.latest[webhook_id] = monotonic()
        self.statuses[outcome.status or 0] += 1
        self.disconnected[webhook_id] += outcome.error == "ServerDisconnectedError"

    def delivered(self, attempt: Attempt) -> None:
        self.deliveries[attempt.webhook.id].append(attempt.event_id)

    def dead_lettered(self, letter: DeadLetter) -> None:
        self.dead[letter.webhook_id] += 1

    def unbalanced(self, stats: Stats) -> list[str]:
        """Return the rows of ``stats`` that contradict themselves or what was counted here."""
        rows = stats.targets
        found = [
            f"{webhook_id}: {row}, {self.dead[webhook_id]} dead letters"
            for webhook_id, row in rows.items()
            if row.accepted != row.delivered + row.failed + row.dropped + row.pending
            or row.delivered != len(self.deliveries[webhook_id])
            or row.failed + row.dropped != self.dead[webhook_id]
        ]
        for count in ("accepted", "delivered", "failed", "dropped", "pending", "retried"):
            total = sum(getattr(row, count) for row in rows.values())
            if getattr(stats, count) != total:
                found.append(f"{count}: {getattr(stats, count)} in total, {total} by target")
        return found


class Looks:
    """Takes looks at a process.

    Args:
        loop: its loop.
        hooks: its hooks.
        counts: an observer of them.
        logged: a handler of all that is logged.
        healthy: the healthy webhooks' ids.
    """

    def __init__(
        self,
        loop: TimedLoop,
        hooks: Hooks[Any],
        counts: Counts,
        logged: Logged,
        healthy: Collection[str],
    ) -> None:
        self._loop = loop
        self._hooks = hooks
        self._counts = counts
        self._logged = logged
        self._healthy = healthy
        self._began = monotonic()

    def look(self, emitted: int) -> Look:
        """Return what there is now; ``emitted`` events are what there was so far."""
        turn, self._loop.longest = self._loop.longest, 0.0
        counts, stats, parts = self._counts, self._hooks.stats(), parts_of(self._hooks)
        hostile = {
            webhook_id: row
            for webhook_id, row in stats.targets.items()
            if webhook_id not in self._healthy
        }
        unattempted, waiting = self._unattempted(hostile)
        lanes = {lane.target: lane.pending_bytes for lane in parts.registry.lanes()}
        held = list(self._loop.connections())
        assert parts.runtime.budget is not None
        return Look(
            seconds=monotonic() - self._began,
            files=len(os.listdir(_FDS)),
            connections=parts.runtime.budget.used,
            buffered=max((each.buffered for each in held if not each.tls), default=0),
            buffered_tls=max((each.buffered for each in held if each.tls), default=0),
            received=max((each.received for each in held if not each.tls), default=0),
            pending=stats.pending,
            pending_bytes=sum(lanes.values()),
            lane_bytes=max(lanes[webhook_id] for webhook_id in hostile),
            resident=int(_STATM.read_text().split()[1]) * _PAGE,
            turn=turn,
            emitted=emitted,
            healthy=sum(stats.targets[webhook_id].delivered for webhook_id in self._healthy),
            attempts=sum(counts.attempts[webhook_id] for webhook_id in hostile),
            failed=stats.failed,
            dropped=stats.dropped,
            oldest=self._oldest(stats),
            unattempted=unattempted,
            waiting=waiting,
            unbalanced=counts.unbalanced(stats),
            logged=self._logged.take(),
        )

    def _oldest(self, stats: Stats) -> float:
        emitted = (stats.targets[webhook_id].oldest for webhook_id in self._healthy)
        return max((time() - moment for moment in emitted if moment is not None), default=0.0)

    def _unattempted(self, hostile: dict[str, TargetStats]) -> tuple[float, str]:
        """Return for how long the one that waits longest has had events, and no attempt.

        An open breaker's waits for its time.
        """
        now, wall = monotonic(), time()
        return max(
            (
                (min(wall - row.oldest, now - self._counts.latest.get(webhook_id, 0)), webhook_id)
                for webhook_id, row in hostile.items()
                if row.oldest is not None and row.breaker in (None, "closed")
            ),
            default=(0.0, ""),
        )
