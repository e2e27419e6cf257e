"""Contenders measured side by side: in one process, in short turns, each beside the others.

A machine slows down and speeds up by more than contenders differ. So every round gives each of
them one turn of a few milliseconds, forwards and then backwards, and what counts is the median
of the ratios within a round, not two averages that were taken minutes apart. And turns that only
compute count CPU time: what other programs did to the core meanwhile is not theirs.

One process favours one contender and the next another, by where its objects happen to lie and
what its strings hash to. So the rounds are spread over a few fresh ones in turn, as pyperf does.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median
from time import process_time
from typing import Final, TypeAlias

from benchmarks.estimates import quartiles
from benchmarks.processes import in_fresh_process
from benchmarks.result import Table, text_of_pair
from benchmarks.target import Target

#: Fresh processes that the rounds of a microbenchmark are spread over.
_PROCESSES: Final = 5

#: Does something so many times; returns the seconds that it took.
Turn: TypeAlias = Callable[[int], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Turns:
    """Seconds per operation of each contender, round by round.

    Attributes:
        seconds: by contender.
        runs: how many rounds there were in each process, in order.
    """

    seconds: dict[str, list[float]]
    runs: Sequence[int] = ()

    def microseconds(self, name: str) -> float:
        """The median."""
        return median(self.seconds[name]) * 1e6

    def ratios(self, one: str, other: str) -> list[float]:
        """How many times as long ``one`` took as ``other``, in each round."""
        return [a / b for a, b in zip(self.seconds[one], self.seconds[other], strict=True)]

    def target(
        self, one: str, other: str, at_most: float, when: str = "", *, asked: str | None = None
    ) -> Target:
        """That ``one`` takes ``at_most`` so many times as long as ``other``, by the median.

        Args:
            when: what the two are to be told by from others with their names.
            asked: the question of a target that is in the page's first table.
        """
        what = asked or f"{one} / {other}" + (f", {when}" if when else "")
        contender = None if asked is None else other
        return Target.of_ratios(what, self.ratios(one, other), at_most, contender=contender)

    def samples(self, asked: str) -> dict[str, list[list[float]]]:
        """Return each contender's seconds by process.

        Args:
            asked: goes before the contenders' names.
        """
        ends = list(accumulate(self.runs))
        return {
            f"{asked}: {name}": [
                values[end - rounds : end] for rounds, end in zip(self.runs, ends, strict=True)
            ]
            for name, values in self.seconds.items()
        }

    def table(self, title: str, ours: Sequence[str], theirs: Sequence[str]) -> Table:
        """All of them, and how long each of ``ours`` takes compared with each of ``theirs``."""
        rounds = len(next(iter(self.seconds.values())))
        columns = ["", "µs"]
        columns += [text for other in theirs for text in (f"/ {other}", "quartiles")]
        rows: list[list[str | float]] = []
        for name in self.seconds:
            row: list[str | float] = [name, self.microseconds(name)]
            for other in theirs:
                found = self.ratios(name, other) if name in ours else []
                row += [median(found), text_of_pair(quartiles(found))] if found else ["", ""]
            rows.append(row)
        return Table(f"{title}, medians of {rounds} rounds", columns, rows)


def spread(measure: Callable[[int, int], Turns], rounds: int, size: int) -> Turns:
    """Let ``measure(rounds, size)`` have its share of the rounds in each of some processes; few
    are for one process alone."""
    processes = _PROCESSES if rounds >= 2 * _PROCESSES else 1
    share = rounds // processes
    parts = [in_fresh_process(measure, share, size) for _ in range(processes)]
    seconds = {
        name: [value for part in parts for value in part.seconds[name]] for name in parts[0].seconds
    }
    return Turns(seconds, [share] * processes)


async def take_turns(contenders: Mapping[str, Turn], *, rounds: int, size: int) -> Turns:
    """Let each do its ``size`` operations, round after round; a first round is thrown away."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    gc.collect()
    gc.freeze()  # what the contenders made is collected, not what was imported and registered
    for number in range(-1, rounds):
        for name in order:
            gc.collect()
            took = await contenders[name](size) / size
            if number >= 0:
                seconds[name].append(took)
        order.reverse()
    gc.unfreeze()
    return Turns(seconds, [rounds])


def plain(function: Callable[[], object]) -> Turn:
    """A turn that calls ``function`` in a loop."""

    async def turn(size: int) -> float:
        began = process_time()
        for _ in range(size):
            function()
        return process_time() - began

    return turn
