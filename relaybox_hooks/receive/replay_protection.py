"""Which requests were accepted before: a bounded memory that counts what it had to forget."""

from __future__ import annotations

import logging
from collections import OrderedDict
from threading import Lock
from typing import Final, NamedTuple

from relaybox_hooks.errors import ConfigError, ReplayedRequestError

_log = logging.getLogger(__name__)

#: Attempts remembered of one event: more than any documented retry schedule makes (10), and a
#: bound, so that no event can outgrow the memory.
_ATTEMPTS: Final = 16


class Attempt(NamedTuple):
    """What is remembered of an accepted request; ``time`` is when it was signed."""

    signature: str
    webhook_id: str
    time: float


class ReplayMemory:
    """Remembers the accepted attempts of the last ``size`` events, from any thread.

    A request is told by its signature, the one thing in it that is proven to be the sender's:
    headers are not signed, and a body can be written in many ways that mean the same. Where one
    request may have several signatures, a digest of what they sign takes the place of each.

    Args:
        size: event ids to remember.
        window: seconds after its signing in which a request still passes the time check.

    Raises:
        ConfigError: ``size`` is less than 1.
    """

    __slots__ = ("_lock", "_seen", "_size", "_window", "forgotten")

    def __init__(self, size: int, window: float) -> None:
        if size < 1:
            raise ConfigError("memory", size, "remember one event at least")
        self._size = size
        self._window = window
        # Event id to its attempts; the id that was accepted last comes last.
        self._seen: OrderedDict[str, tuple[Attempt, ...]] = OrderedDict()
        self._lock = Lock()
        #: Attempts forgotten while a replay of them would still have passed the time check.
        self.forgotten: int = 0

    def __len__(self) -> int:
        return len(self._seen)

    def remember(self, event_id: str, attempt: Attempt, now: float) -> bool:
        """Note an attempt that is otherwise acceptable.

        Returns:
            whether an earlier attempt for the same event and webhook is remembered.

        Raises:
            ReplayedRequestError: this very attempt is remembered.
        """
        with self._lock:
            before = self._seen.get(event_id, ())
            if any(seen.signature == attempt.signature for seen in before):
                raise ReplayedRequestError(event_id)
            self._seen[event_id] = (*before, attempt)[-_ATTEMPTS:]
            self._seen.move_to_end(event_id)
            lost = before[:1] if len(before) == _ATTEMPTS else ()
            if len(self._seen) > self._size:
                lost += self._seen.popitem(last=False)[1]
            if lost:
                self._forget(lost, now)
        return any(seen.webhook_id == attempt.webhook_id for seen in before)

    def _forget(self, lost: tuple[Attempt, ...], now: float) -> None:
        replayable = sum(attempt.time + self._window >= now for attempt in lost)
        if replayable and not self.forgotten:
            _log.warning(
                "memory=%d is too small to notice every replay: a request was forgotten that "
                "would still pass the time check; raise memory",
                self._size,
            )
        self.forgotten += replayable
