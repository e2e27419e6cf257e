"""Replay protection: a bounded memory of the requests that a verifier has accepted."""

from __future__ import annotations

import logging
from collections import OrderedDict
from threading import Lock
from typing import Final, NamedTuple

from relaybox_hooks.errors import ConfigError, ReplayedRequestError

_log = logging.getLogger(__name__)

#: Requests stored per event. More than the longest documented retry schedule sends (10), and
#: bounded, so that a single event cannot exhaust the memory.
_REQUESTS_PER_EVENT: Final = 16


class AcceptedRequest(NamedTuple):
    """Identity of an accepted request.

    Attributes:
        signature: signature, or digest of the signed content, that identifies the request.
        webhook_id: id of the webhook it came through.
        time: time of the signing, seconds since the Unix epoch.
    """

    signature: str
    webhook_id: str
    time: float


class AcceptedRequests:
    """Bounded memory of the accepted requests of the last ``size`` events; thread-safe.

    The signature identifies a request, because it is the only part that proves its origin:
    headers are not signed, and many texts of a body have the same value. If a request may have
    several signatures, a digest of the signed content is used instead.

    Args:
        size: number of event ids to store.
        window: seconds after the signing in which a request passes the time check.

    Attributes:
        forgotten: requests evicted while a replay would still have passed the time check.

    Raises:
        ConfigError: ``size`` is less than 1.
    """

    __slots__ = ("_lock", "_seen", "_size", "_window", "forgotten")

    def __init__(self, size: int, window: float) -> None:
        if size < 1:
            raise ConfigError("memory", size, "give a whole number of at least 1")
        self._size = size
        self._window = window
        # Requests by event id, the most recently accepted event last.
        self._seen: OrderedDict[str, tuple[AcceptedRequest, ...]] = OrderedDict()
        self._lock = Lock()
        self.forgotten: int = 0

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, event_id: str, request: AcceptedRequest, now: float) -> bool:
        """Store a request that passed all other checks.

        Returns:
            True if an earlier request for the same event and webhook is stored.

        Raises:
            ReplayedRequestError: the same request is stored already.
        """
        with self._lock:
            before = self._seen.get(event_id, ())
            if any(seen.signature == request.signature for seen in before):
                raise ReplayedRequestError(event_id)
            self._seen[event_id] = (*before, request)[-_REQUESTS_PER_EVENT:]
            self._seen.move_to_end(event_id)
            evicted = before[:1] if len(before) == _REQUESTS_PER_EVENT else ()
            if len(self._seen) > self._size:
                evicted += self._seen.popitem(last=False)[1]
            if evicted:
                self._count_replayable(evicted, now)
        return any(seen.webhook_id == request.webhook_id for seen in before)

    def _count_replayable(self, evicted: tuple[AcceptedRequest, ...], now: float) -> None:
        replayable = sum(request.time + self._window >= now for request in evicted)
        if replayable and not self.forgotten:
            _log.warning(
                "memory=%d is too small to detect every replay: a request was forgotten that "
                "would still pass the time check; raise memory",
                self._size,
            )
        self.forgotten += replayable
