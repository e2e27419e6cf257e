"""Scripts: choose the fault of each request."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from itertools import chain, repeat
from typing import Final, TypeAlias, TypeVar

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.testing.faults import (
    Answer,
    CloseMidResponse,
    Drip,
    Fault,
    Garbage,
    ResetAfterRead,
    ResetBeforeRead,
    Stage,
)
from relaybox_hooks.testing.request import ReceivedRequest

#: Stages at which a fault plays before anything of a connection is read.
_UNREAD: Final[tuple[Stage, ...]] = ("accepted", "connected")

_AnyFault = TypeVar("_AnyFault", bound=Fault)  # a Mapping's keys are invariant


class FaultScript(ABC):
    """Base class of scripts, which choose the fault of each request. One per receiver."""

    @abstractmethod
    def accept(self, connection: int) -> Fault | None:
        """Return a fault to play before anything of a connection is read, usually ``None``.

        Args:
            connection: number of the connection, from 1.

        Returns:
            a fault whose stage is ``"accepted"`` or ``"connected"``, or ``None``.
        """

    @abstractmethod
    def begin(self, connection: int, position: int) -> Fault | None:
        """Return a fault to play at the first bytes of a request, usually ``None``.

        Args:
            connection: number of the connection, from 1.
            position: position of the request on the connection, from 1.
        """

    @abstractmethod
    def choose(self, request: ReceivedRequest) -> Fault:
        """Return the fault of a completely read request for which ``begin`` returned ``None``."""

    @staticmethod
    def of(script: Script | None) -> FaultScript:
        """Convert the ``script`` argument of a receiver.

        Args:
            script: a fault for every request; an iterable of faults in order of the requests,
                then 200; a function of the request; a mapping from paths to scripts, with 200
                for other paths; ``None`` for 200 always.
        """
        if isinstance(script, FaultScript):
            return script
        if isinstance(script, Fault):
            return _SequenceScript(repeat(script))
        if isinstance(script, Mapping):
            return _PathScript({path: FaultScript.of(part) for path, part in script.items()})
        if callable(script):
            return _FunctionScript(script)
        return _SequenceScript(script or ())

    @staticmethod
    def random(seed: int | str, weights: Mapping[_AnyFault, float] | None = None) -> FaultScript:
        """Return a random mix of faults that is reproducible under any interleaving.

        With the same seed and weights, the n-th request for the same path, webhook id and event
        id gets the same fault. :class:`ResetBeforeRead` is played before these are known: it
        depends on the connection number and the request's position on the connection. Faults that
        play before anything is read (:class:`relaybox_hooks.testing.NeverRead`) depend on the
        connection number, and their weights are relative to the number of connections.

        Args:
            seed: seed of the random choice.
            weights: relative frequency of each fault; the order matters. The default contains
                only failures that clients retry, and none that takes time: add :class:`Hang`
                and the like if the client has short timeouts.

        Raises:
            ConfigError: a weight is negative, or none is positive.
        """
        return _RandomScript(seed, _WEIGHTS.items() if weights is None else weights.items())


#: Types that are accepted as a script: see :meth:`FaultScript.of`.
Script: TypeAlias = (
    Fault
    | FaultScript
    | Callable[[ReceivedRequest], Fault]
    | Iterable[Fault]
    | Mapping[str, "Script"]
)


class _FunctionScript(FaultScript):
    """Script that calls a function of the request."""

    def __init__(self, function: Callable[[ReceivedRequest], Fault]) -> None:
        self._function = function

    def accept(self, connection: int) -> Fault | None:
        return None

    def begin(self, connection: int, position: int) -> Fault | None:
        return None

    def choose(self, request: ReceivedRequest) -> Fault:
        return self._function(request)


class _SequenceScript(FaultScript):
    """Script that plays faults in order, then responds with 200."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._faults = chain(faults, repeat(Answer()))
        self._next: Fault | None = None

    def accept(self, connection: int) -> Fault | None:
        return self._take(_UNREAD)

    def begin(self, connection: int, position: int) -> Fault | None:
        return self._take((*_UNREAD, "started"))

    def _take(self, stages: tuple[Stage, ...]) -> Fault | None:
        """Return the next fault if it plays at one of the stages."""
        if self._next is None:
            self._next = next(self._faults)
        if self._next.stage not in stages:
            return None
        chosen, self._next = self._next, None
        return chosen

    def choose(self, request: ReceivedRequest) -> Fault:
        fault, self._next = self._next, None
        return next(self._faults) if fault is None else fault


class _PathScript(FaultScript):
    """Script that selects a script by path; responds with 200 to other paths."""

    def __init__(self, scripts: Mapping[str, FaultScript]) -> None:
        self._scripts = scripts
        self._otherwise = Answer()

    def accept(self, connection: int) -> Fault | None:
        return None

    def begin(self, connection: int, position: int) -> Fault | None:
        return None  # the path is not known yet

    def choose(self, request: ReceivedRequest) -> Fault:
        script = self._scripts.get(request.path)
        if script is None:
            return self._otherwise
        return (
            script.accept(request.connection)
            or script.begin(request.connection, request.position)
            or script.choose(request)
        )


class _Weighted:
    """Faults with their relative frequencies.

    Attributes:
        total: sum of the weights.
    """

    def __init__(self, pairs: Iterable[tuple[Fault, float]]) -> None:
        self._faults: list[Fault] = []
        self._bounds: list[float] = []
        self.total: float = 0
        for fault, weight in pairs:
            self.total += weight
            self._faults.append(fault)
            self._bounds.append(self.total)

    def at(self, share: float) -> Fault:
        """Return the fault at ``share`` of the sum of the weights, in [0, 1)."""
        return self._faults[bisect(self._bounds, share * self.total)]


class _RandomScript(FaultScript):
    """Script that chooses by hashes of a seed and the request's identity."""

    def __init__(self, seed: int | str, weights: Iterable[tuple[Fault, float]]) -> None:
        total = sum(weight for _, weight in weights)
        if not total > 0 or any(weight < 0 for _, weight in weights):
            raise ConfigError("weights", dict(weights), "use 0 or more, and at least one above 0")
        self._seed = seed
        unread = _Weighted(pair for pair in weights if pair[0].stage in _UNREAD)
        started = _Weighted(pair for pair in weights if pair[0].stage == "started")
        self._unread, self._unread_share = unread, unread.total / total
        self._started = started
        self._started_share = started.total / ((total - unread.total) or 1)
        self._read = _Weighted(pair for pair in weights if pair[0].stage == "read")
        self._seen: Counter[tuple[str, str | None, str | None]] = Counter()

    def accept(self, connection: int) -> Fault | None:
        share = self._share_of("accept", connection)
        return self._unread.at(share / self._unread_share) if share < self._unread_share else None

    def begin(self, connection: int, position: int) -> Fault | None:
        share = self._share_of("begin", connection, position)
        if share < self._started_share:
            return self._started.at(share / self._started_share)
        return None

    def choose(self, request: ReceivedRequest) -> Fault:
        identity = (request.path, request.webhook_id, request.event_id)
        self._seen[identity] += 1
        return self._read.at(self._share_of("choose", *identity, self._seen[identity]))

    def _share_of(self, *identity: str | int | None) -> float:
        """Return a number in [0, 1) that depends only on the seed and the identity."""
        digest = blake2b(repr((self._seed, identity)).encode(), digest_size=8).digest()
        return (int.from_bytes(digest) >> 11) / 2**53  # a double has 53 bits of precision


# Truncated responses are 502, never 200, so that clients that judge by the status line and clients
# that judge by the body agree that the request failed.
_WEIGHTS: Final[Mapping[Fault, float]] = {
    Answer(): 12,
    Answer(500): 1,
    Answer(503): 1,
    Answer(429, {"Retry-After": "0"}): 1,
    ResetBeforeRead(): 1,
    ResetAfterRead(): 1,
    CloseMidResponse(Answer(502, body=b"cut short"), after_bytes=3): 1,
    Garbage(): 1,
    Drip(Answer(), interval=0.0): 1,
}
