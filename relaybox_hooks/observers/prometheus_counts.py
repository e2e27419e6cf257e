"""Counts per webhook for a scrape: fed by the dispatcher, read from any thread."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final, NamedTuple

from relaybox_hooks.dead_letters import DeadLetter
from relaybox_hooks.observer import Attempt, Observer
from relaybox_hooks.stats import CloseReport, Receipt, Stats, TargetStats

#: Seconds that another thread waits for the event loop: Prometheus' own time-out of a scrape.
_PATIENCE: Final = 10.0


class Histogram:
    """Numbers of values in each bucket, the last of which has no bound; and their sum."""

    __slots__ = ("counts", "sum")

    def __init__(self, buckets: int) -> None:
        self.counts: list[int] = [0] * buckets
        self.sum: float = 0.0

    def observe(self, value: float, bounds: Sequence[float]) -> None:
        """Count ``value`` into the first bucket whose bound it does not exceed."""
        self.counts[bisect_left(bounds, value)] += 1
        self.sum += value


class Counts(NamedTuple):
    """Counts of the webhooks of one label.

    Attributes:
        attempts: by what they came to.
        letters: dead letters by reason.
        duration: of attempts, seconds.
        latency: from emit to delivery, seconds.
    """

    attempts: dict[str, int]
    letters: dict[str, int]
    duration: Histogram
    latency: Histogram


class Snapshot(NamedTuple):
    """All that is known of one ``Hooks`` at one moment.

    Attributes:
        events: emitted, by name.
        targets: as :class:`~relaybox_hooks.Stats` has them.
        labels: by webhook id.
        counts: by label. Copies of ten thousand would hold up the event loop, so they are the
            very ones that go on counting; a reader in another thread copies what it iterates.
    """

    events: Counter[str]
    targets: dict[str, TargetStats]
    labels: dict[str, str]
    counts: dict[str, Counts]


class Watch(Observer):
    """Counts what happens in one ``Hooks``, in its event loop's thread.

    Mutable state: the counts, which only ever grow until all webhooks of a label are gone. Those
    of :class:`~relaybox_hooks.Stats` would not do: a replayed dead letter is one failure less.

    Args:
        label: under which label a webhook is counted, given its id.
        buckets: upper bounds of the histograms', ascending, seconds.
    """

    def __init__(self, label: Callable[[str], str], buckets: Sequence[float]) -> None:
        self._label = label
        self._buckets = buckets
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stats: Callable[[], Stats] | None = None
        self._events: Counter[str] = Counter()
        self._counts: dict[str, Counts] = {}
        self.ended: bool = False

    def started(self, stats: Callable[[], Stats]) -> None:
        self._stats = stats
        self._loop = asyncio.get_running_loop()

    def emitted(self, name: str, receipt: Receipt) -> None:
        self._events[name] += 1

    def attempted(self, attempt: Attempt) -> None:
        counts, outcome = self._of(attempt.webhook.id), attempt.outcome
        result = f"{outcome.status // 100}xx" if outcome.status else str(outcome.error)
        counts.attempts[result] = counts.attempts.get(result, 0) + 1
        counts.duration.observe(attempt.elapsed, self._buckets)

    def delivered(self, attempt: Attempt) -> None:
        if not attempt.replayed:  # how long a dead letter lay about says nothing of the endpoint
            self._of(attempt.webhook.id).latency.observe(attempt.age, self._buckets)

    def dead_lettered(self, letter: DeadLetter) -> None:
        letters = self._of(letter.webhook_id).letters
        letters[letter.reason] = letters.get(letter.reason, 0) + 1

    def closed(self, report: CloseReport) -> None:
        self.ended = True

    def snapshot(self) -> Snapshot | None:
        """From any thread: how it stands; ``None`` before the start.

        Raises:
            TimeoutError: the event loop is too busy to say.
        """
        loop = self._loop
        if loop is None:
            return None
        if not loop.is_running() or loop is _running_loop():
            return self._take()
        answer: Future[Snapshot] = Future()
        try:
            loop.call_soon_threadsafe(self._answer, answer)
        except RuntimeError:  # closed in this moment
            return self._take()
        return answer.result(_PATIENCE)

    def _of(self, webhook_id: str) -> Counts:
        label = self._label(webhook_id)
        counts = self._counts.get(label)
        if counts is None:
            buckets = len(self._buckets) + 1
            counts = Counts({}, {}, Histogram(buckets), Histogram(buckets))
            self._counts[label] = counts
        return counts

    def _answer(self, answer: Future[Snapshot]) -> None:
        try:
            answer.set_result(self._take())
        except Exception as error:
            answer.set_exception(error)

    def _take(self) -> Snapshot:
        targets = self._stats().targets if self._stats else {}
        labels = {key: self._label(key) for key, row in targets.items() if row.kind == "webhook"}
        for gone in self._counts.keys() - labels.values():  # its last webhook was removed
            del self._counts[gone]
        return Snapshot(self._events.copy(), targets, labels, self._counts.copy())


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
