"""Scripts: what chooses the fault that each request meets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from itertools import accumulate, chain, repeat
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
)
from relaybox_hooks.testing.request import ReceivedRequest

_AnyFault = TypeVar("_AnyFault", bound=Fault)  # a Mapping's keys are invariant


class FaultScript(ABC):
    """Chooses the fault that each request meets. One instance serves one receiver."""

    def begin(self, connection: int, turn: int) -> Fault | None:
        """Asked at a request's first bytes: a fault that strikes unread, usually none.

        Args:
            connection: the number of the connection, from 1.
            turn: which request of the connection begins, from 1.
        """
        return None

    @abstractmethod
    def choose(self, request: ReceivedRequest) -> Fault:
        """Asked once a request that ``begin`` spared was read whole."""

    @staticmethod
    def of(script: Script | None) -> FaultScript:
        """The script that a receiver's ``script`` argument stands for.

        Args:
            script: a fault for every request; faults in the order requests arrive, and 200
                after the last; a function of the request; a script per path, and 200 for
                other paths; ``None`` for 200 always.
        """
        if isinstance(script, FaultScript):
            return script
        if isinstance(script, Fault):
            return _InTurn(repeat(script))
        if isinstance(script, Mapping):
            return _ByPath({path: FaultScript.of(part) for path, part in script.items()})
        if callable(script):
            return _Calling(script)
        return _InTurn(script or ())

    @staticmethod
    def random(seed: int | str, weights: Mapping[_AnyFault, float] | None = None) -> FaultScript:
        """A reproducible mix of faults, whatever the order in which requests interleave.

        The n-th request read for the same path, webhook id and event id meets the same fault
        under the same seed and weights. :class:`ResetBeforeRead` strikes before any of that
        is known: it depends on the connection's number and the request's turn on it.

        Args:
            weights: how often each fault is met, relative to the others, in a fixed order.
                The default holds only what a client retries, and nothing that takes time:
                add :class:`Hang` and its like where the client has short time-outs.
        """
        return _Seeded(seed, _WEIGHTS.items() if weights is None else weights.items())


#: What stands for a script: see :meth:`FaultScript.of`.
Script: TypeAlias = (
    Fault
    | FaultScript
    | Callable[[ReceivedRequest], Fault]
    | Iterable[Fault]
    | Mapping[str, "Script"]
)


class _Calling(FaultScript):
    def __init__(self, function: Callable[[ReceivedRequest], Fault]) -> None:
        self._function = function

    def choose(self, request: ReceivedRequest) -> Fault:
        return self._function(request)


class _InTurn(FaultScript):
    def __init__(self, faults: Iterable[Fault]) -> None:
        self._faults = chain(faults, repeat(Answer()))
        self._next: Fault | None = None

    def begin(self, connection: int, turn: int) -> Fault | None:
        if self._next is None:
            self._next = next(self._faults)
        if not isinstance(self._next, ResetBeforeRead):
            return None
        struck, self._next = self._next, None
        return struck

    def choose(self, request: ReceivedRequest) -> Fault:
        fault, self._next = self._next, None
        return next(self._faults) if fault is None else fault


class _ByPath(FaultScript):
    def __init__(self, scripts: Mapping[str, FaultScript]) -> None:
        self._scripts = scripts
        self._otherwise = Answer()

    def choose(self, request: ReceivedRequest) -> Fault:
        script = self._scripts.get(request.path)
        if script is None:
            return self._otherwise
        return script.begin(request.connection, request.turn) or script.choose(request)


class _Seeded(FaultScript):
    def __init__(self, seed: int | str, weights: Iterable[tuple[Fault, float]]) -> None:
        early = sum(weight for fault, weight in weights if isinstance(fault, ResetBeforeRead))
        other = [pair for pair in weights if not isinstance(pair[0], ResetBeforeRead)]
        total = early + sum(weight for _, weight in other)
        if not total > 0 or any(weight < 0 for _, weight in weights):
            raise ConfigError("weights", dict(weights), "use 0 or more, and at least one above 0")
        self._seed = seed
        self._early_share = early / total
        self._faults = [fault for fault, _ in other]
        self._bounds = list(accumulate(weight for _, weight in other))
        self._seen: Counter[tuple[str, str | None, str | None]] = Counter()

    def begin(self, connection: int, turn: int) -> Fault | None:
        struck = self._share_of("begin", connection, turn) < self._early_share
        return ResetBeforeRead() if struck else None

    def choose(self, request: ReceivedRequest) -> Fault:
        identity = (request.path, request.webhook_id, request.event_id)
        self._seen[identity] += 1
        share = self._share_of("choose", *identity, self._seen[identity])
        return self._faults[bisect(self._bounds, share * self._bounds[-1])]

    def _share_of(self, *identity: str | int | None) -> float:
        """A number in [0, 1) that depends on nothing but the seed and the identity."""
        digest = blake2b(repr((self._seed, identity)).encode(), digest_size=8).digest()
        return (int.from_bytes(digest) >> 11) / 2**53  # as many bits as a double holds


# What is cut short is a 502, never a 200: a client that judges by the status line and one that
# judges by the body then agree that it was no success, so that accounts can be compared.
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
