"""A recording of what a server emits, for its tests to assert on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from relaybox_hooks.errors import PayloadError
from relaybox_hooks.events import Event
from relaybox_hooks.hooks import Hooks, parts_of
from relaybox_hooks.lanes.inline_lane import InlineLane
from relaybox_hooks.lanes.lane import Lane
from relaybox_hooks.lanes.subscriber_lane import SubscriberLane
from relaybox_hooks.session import NO_SESSION, Session, SessionLike
from relaybox_hooks.stats import NO_TARGETS, Receipt

#: Seconds that what a test waits for may take. Long, for it is a failing test that takes them.
_PATIENCE: Final = 10.0

#: Events listed in a message, the last ones, and characters shown of the data of each.
_SHOWN: Final = 20
_WIDTH: Final = 200


@dataclass(frozen=True, slots=True, eq=False)
class RecordedEvent:
    """One event that ``emit`` or one of its twins took.

    Attributes:
        name: the event's name.
        data: a deep copy of what it was then, whatever the server does to it later; the very
            object where that cannot be copied.
        session: who it happened to; without members where none was given.
        receipt: what ``emit`` returned; that of no match until it has returned.
    """

    name: str
    data: Any
    session: Session
    receipt: Receipt = NO_TARGETS

    def __str__(self) -> str:
        who = self.session.client_id
        return f"{self.name} {self.data!r:.{_WIDTH}}" + (f" ({who})" if who else "")


class Recording:
    """The events emitted, also those that no target matches, and the errors of subscribers.

    A wait raises a subscriber's error, several as an ``ExceptionGroup``; each is raised once. What
    inline subscribers raise is not among them: ``emit`` has raised it.

    Attributes:
        events: in the order in which they were emitted; a list of yours, to clear if you like.
        errors: of subscribers, not raised yet.
    """

    def __init__(self, hooks: Hooks[Any]) -> None:
        self._hooks = hooks
        self._parts = parts_of(hooks)
        self.events: list[RecordedEvent] = []
        self.errors: list[BaseException] = []
        self._news = asyncio.Event()

    @property
    def names(self) -> list[str]:
        """The names of the events."""
        return [event.name for event in self.events]

    def of(self, pattern: str) -> list[RecordedEvent]:
        """The events of a name, ``"room:*"`` or ``"*"``.

        Raises:
            UnknownEventError: a pattern that stands for no declared event.
        """
        names = self._parts.catalogue.matching(pattern)
        return [event for event in self.events if event.name in names]

    async def wait_for(
        self, pattern: str, count: int = 1, *, timeout: float = _PATIENCE
    ) -> list[RecordedEvent]:
        """Wait until ``count`` events of this name or pattern were recorded; return the first.

        Args:
            pattern: as :meth:`of` takes it.
            count: how many in all, those recorded before included.
            timeout: seconds it may take.

        Raises:
            UnknownEventError: a pattern that stands for no declared event.
            AssertionError: they did not come in time; it says what did.
            Exception: a subscriber's.
        """
        __tracebackhide__ = True  # pytest shows the line of the test instead
        await _patiently(self._until(lambda: len(self.of(pattern)) >= count), timeout)
        self._raise_errors()
        found = self.of(pattern)
        if len(found) < count:
            raise AssertionError(
                f"{len(found)} of {count} {pattern} in {timeout:g} s; {self._listing()}"
            )
        return found[:count]

    async def join(self, *, timeout: float = _PATIENCE) -> None:
        """``hooks.join()``, and then raise what subscribers raised.

        Args:
            timeout: seconds it may take.

        Raises:
            AssertionError: events are pending still; it says where.
            Exception: a subscriber's.
        """
        __tracebackhide__ = True
        await _patiently(self._hooks.join(), timeout)
        self._raise_errors()
        if self._parts.runtime.outstanding:
            raise AssertionError(f"events are pending after {timeout:g} s:\n{self._hooks.stats()}")

    async def __aenter__(self) -> Self:
        self._parts.runtime.notifier.subscriber_failed += (self._failed,)
        self._parts.emitter.add_recorder(self._recorded)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc is None:
                await self._wait_for_subscribers()
        except BaseException as error:  # pytest.fail() is none of Exception
            self._note_errors_on(error)
            raise
        finally:
            if exc is not None:
                self._note_errors_on(exc)
            self._parts.emitter.remove_recorder(self._recorded)
            notifier = self._parts.runtime.notifier
            notifier.subscriber_failed = tuple(
                listener for listener in notifier.subscriber_failed if listener != self._failed
            )

    def _note_errors_on(self, error: BaseException) -> None:
        for other in self.errors:
            error.add_note(f"a subscriber failed meanwhile: {other!r}")

    @contextmanager
    def _recorded(
        self, name: str, data: object, session: SessionLike | None
    ) -> Iterator[Callable[[Receipt], None]]:
        """Record an event before any target can react to it, and remove it if it is rejected."""
        error = None
        try:
            who = Session.of(session)
        except PayloadError as payload_error:  # emit checks it only if a target matches
            who, error = NO_SESSION, payload_error
        event = RecordedEvent(name, _copy(data), who)
        self.events.append(event)
        self._news.set()
        try:
            yield lambda receipt: object.__setattr__(event, "receipt", receipt)
        except Exception:
            if event in self.events:  # else the test has cleared them
                self.events.remove(event)
            raise
        if error is not None:
            self._note(error, f"{event}: emit would raise this if any target matched the event")

    def _failed(self, subscriber: str, event: Event, error: BaseException) -> None:
        self._note(error, f"in subscriber {subscriber!r}, handling {event.name}")

    def _note(self, error: BaseException, note: str) -> None:
        error.add_note(note)
        self.errors.append(error)
        self._news.set()

    def _raise_errors(self) -> None:
        __tracebackhide__ = True
        errors, self.errors = self.errors, []
        if len(errors) == 1 and isinstance(errors[0], Exception):
            raise errors[0]
        if errors:
            raise BaseExceptionGroup("subscribers failed", errors)

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition()`` holds, or a subscriber fails."""
        while not (self.errors or condition()):
            self._news.clear()
            await self._news.wait()

    async def _wait_for_subscribers(self) -> None:
        """Let the subscribers finish; not the webhooks, which may be down, as a test has it."""
        await _patiently(self._subscribers_done(), _PATIENCE)
        self._raise_errors()
        busy = [lane.target for lane in self._busy_subscribers()]
        if busy:
            raise AssertionError(
                f"subscribers have not finished in {_PATIENCE:g} s: {', '.join(busy)}; let them, "
                "or close the hooks before the recording ends"
            )

    async def _subscribers_done(self) -> None:
        await self._parts.emitter.inline_calls.wait_until_idle()
        parked_workers = self._parts.registry.parked_workers
        while workers := {task for lane in self._busy_subscribers() for task in lane.tasks()}:
            parked = asyncio.ensure_future(parked_workers.wait_for_next())
            try:
                await asyncio.wait({*workers, parked}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                parked.cancel()

    def _busy_subscribers(self) -> list[Lane[Any]]:
        return [
            lane
            for lane in self._parts.registry.lanes()
            if isinstance(lane, SubscriberLane | InlineLane) and lane.pending
        ]

    def _listing(self) -> str:
        if not self.events:
            return "nothing was recorded: are these the hooks that the server emits into?"
        lines = [f"\n  {event}" for event in self.events[-_SHOWN:]]
        more = len(self.events) - len(lines)
        return "recorded so far:" + (f"\n  {more} more, then" if more else "") + "".join(lines)


def record(hooks: Hooks[Any]) -> AbstractAsyncContextManager[Recording]:
    """Record what is emitted into ``hooks`` within ``async with``.

    The hooks behave as they do without: same receipts, same order, same counts.

    Leaving the block waits until the subscribers have handled what they were handed, and
    raises their errors, those that were not raised before. Where the block raises itself,
    they are noted on its error.

    Raises:
        AssertionError: a subscriber has not finished.
        Exception: a subscriber's.
    """
    return Recording(hooks)


def _copy(data: object) -> object:
    try:
        return deepcopy(data)
    except Exception:  # whatever a user class's __deepcopy__ raises
        return data


async def _patiently(wait: Coroutine[Any, Any, None], timeout: float) -> None:
    """Await it for so long; the caller looks at what came of it."""
    try:
        async with asyncio.timeout(timeout):
            await wait
    except TimeoutError:
        pass
