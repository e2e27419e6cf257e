"""The dispatcher: what users construct, start, and close."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from contextvars import copy_context
from datetime import timedelta
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from warnings import warn

from aiohttp import ClientSession

from relaybox_hooks.clock import Clock, LoopClock
from relaybox_hooks.dispatch import shutdown as closing
from relaybox_hooks.dispatch.records import Records
from relaybox_hooks.dispatch.typed_calls import CustomT_contra
from relaybox_hooks.errors import ConfigError, HooksClosedError, RelayboxHooksError
from relaybox_hooks.events import Catalogue
from relaybox_hooks.lanes.lane import Lane, current_lane
from relaybox_hooks.lifespan import Hosted
from relaybox_hooks.observer import Notifier, Observer
from relaybox_hooks.observers.logging import LoggingObserver
from relaybox_hooks.stats import CloseReport
from relaybox_hooks.targets.policies import (
    DURABLE_RETRY,
    BreakerPolicy,
    RetentionPolicy,
    RetryPolicy,
    Timeouts,
)
from relaybox_hooks.targets.routing import Router
from relaybox_hooks.targets.settings import Settings
from relaybox_hooks.targets.webhook import OrderBy, Webhook
from relaybox_hooks.transport.egress import EgressPolicy
from relaybox_hooks.transport.endpoint import open_session
from relaybox_hooks.validation import Overflow, check_int, check_kind, to_seconds

if TYPE_CHECKING:
    from relaybox_hooks.journal.protocol import Journal


class Hooks(Records[CustomT_contra], Hosted):
    """An event bus inside a realtime server: local subscribers and signed webhooks.

    Use it as ``async with hooks:``, or ``await hooks.start()`` and ``await hooks.aclose()``.
    Targets may be registered before and after. All methods but ``emit_from_thread`` belong to
    the event loop's thread.

    Args:
        webhooks: to begin with.
        queue_size: each lane's bound, in events.
        overflow: what a full lane does: ``"wait"``, ``"drop_oldest"``, ``"drop_newest"`` or
            ``"raise"``.
        emit_timeout: seconds ``emit`` waits for room before it drops; ``None``: no end.
        concurrency: requests at most in flight per webhook.
        order_by: deliveries of the same ``"connection"``, ``"room"`` or key of a function
            leave in order, one at a time; ``"none"`` for no order.
        retry: when failed attempts are made again; by default 5 attempts within seconds or, with
            a journal, 10 within three days.
        timeouts: how long an attempt may take.
        breaker: when a failing endpoint is left alone; ``None`` for never.
        max_age: seconds after which an undelivered event is given up on; ``None`` for never.
        max_body: bytes a request's body may have.
        max_response: bytes read of a response's body, so that its connection can be reused.
        egress: which addresses may be connected to.
        http_session: the host's own session, neither configured nor closed here; ``egress``
            and the limits on response headers do not reach it.
        custom_events: names the server declares beside :data:`~relaybox_hooks.EVENTS`.
        observers: told of everything that happens.
        logging: whether losses, breakers and failing subscribers are logged.
        dead_letter_limit: how many dead letters are kept in memory, without a journal.
        journal: where deliveries are kept, so that a crash loses none; opened by ``start`` and
            closed by ``aclose``. With it nothing of a webhook is dropped or waits because its
            lane is full: ``queue_size`` is what it has in memory, the journal bounds the rest.
        retention: how long the journal keeps what is settled.
        close_timeout: seconds that leaving ``async with`` waits for the lanes to drain.
        clock: time and timers, for tests.
        random: draws from [0, 1) for jitter, for tests.
    """

    def __init__(
        self,
        webhooks: Iterable[Webhook] = (),
        *,
        queue_size: int = 1000,
        overflow: Overflow = "wait",
        emit_timeout: float | timedelta | None = None,
        concurrency: int = 16,
        order_by: OrderBy = "connection",
        retry: RetryPolicy | None = None,
        timeouts: Timeouts | None = None,
        breaker: BreakerPolicy | None = BreakerPolicy(),  # noqa: B008 - frozen
        max_age: float | timedelta | None = None,
        max_body: int = 1_048_576,
        max_response: int = 65_536,
        egress: EgressPolicy = EgressPolicy.DEFAULT,
        http_session: ClientSession | None = None,
        custom_events: Iterable[str] = (),
        observers: Iterable[Observer] = (),
        logging: bool = True,
        dead_letter_limit: int = 10_000,
        journal: Journal | None = None,
        retention: RetentionPolicy | None = None,
        close_timeout: float | timedelta = 10.0,
        clock: Clock | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(
            Notifier((*((LoggingObserver(),) if logging else ()), *observers)),
            check_int("dead_letter_limit", dead_letter_limit, least=0),
        )
        durable = journal is not None
        self._settings = Settings(
            queue_size=queue_size,
            overflow=overflow,
            concurrency=concurrency,
            order_by=order_by,
            retry=retry or (DURABLE_RETRY if durable else RetryPolicy()),
            timeouts=Timeouts() if timeouts is None else timeouts,
            breaker=breaker,
            max_age=max_age,
            max_response=max_response,
        )
        if not isinstance(egress, EgressPolicy):
            raise ConfigError("egress", egress, "give an EgressPolicy")
        check_kind("http_session", http_session, ClientSession)
        self._emit_timeout = to_seconds("emit_timeout", emit_timeout, zero=True, none=True)
        self._close_timeout = to_seconds("close_timeout", close_timeout, zero=True)
        self._max_body = check_int("max_body", max_body)
        self._egress = egress
        self.keeper = None
        self._archive = None
        check_kind("retention", retention, RetentionPolicy)
        if journal is not None:
            if not hasattr(journal, "append_nowait"):
                raise ConfigError("journal", journal, "give a journal: SQLiteJournal(path)")
            # Where there is a journal: the others need not wait for the import.
            from relaybox_hooks.durable.journal_gateway import JournalGateway  # noqa: PLC0415

            self.keeper = JournalGateway(self, journal, retention or RetentionPolicy())
        self._catalogue = Catalogue(custom_events)
        self._router = Router(self._catalogue.names)
        self._routes = {}
        self._webhooks = {}
        self._subscribers = {}
        self._state = "new"
        self._starting = asyncio.Lock()
        self._closing: asyncio.Task[CloseReport] | None = None
        self._own_session = http_session is None
        self._own_clock = clock is None
        self.random = random
        if http_session is not None:
            self.session = http_session
        if clock is not None:
            self.clock = clock
        for webhook in webhooks:
            self.add_webhook(webhook)

    @classmethod
    def from_config(cls, path: str | PathLike[str], **options: Any) -> Self:
        """What a TOML file says: options at the top, a table ``[webhooks.NAME]`` for each webhook.

        Its keys are the arguments of ``Hooks`` and :class:`Webhook`, a policy is a table, and
        secrets may be ``{ env = "NAME" }``. A webhook's id is its table's name.

        Args:
            path: the file; it is read once, now.
            options: further arguments of ``Hooks``; they hold instead of the file's.

        Raises:
            ConfigError: names the file, the table and the key.
        """
        from relaybox_hooks.config import read  # noqa: PLC0415 - few processes have a file

        said = read(path, options)
        return cls(said.webhooks, **said.options)

    def __repr__(self) -> str:
        return (
            f"<Hooks {self._state}: {len(self._webhooks)} webhooks, "
            f"{len(self._subscribers)} subscribers, {self.outstanding} pending>"
        )

    # Lifecycle

    async def start(self) -> None:
        """Open the HTTP session and begin to accept events; harmless where that is done.

        Raises:
            HooksClosedError: they were closed. Make new ones.
            RelayboxHooksError: they are open in another event loop.
            JournalError: the journal cannot be opened. Make new ones, with a new journal.
        """
        async with self._starting:
            await self._start()

    async def _start(self) -> None:
        self._refuse_when_closed()
        if self._state == "open":
            if self.loop is not asyncio.get_running_loop():
                raise RelayboxHooksError(f"{self!r} are open in another event loop; make new ones")
            return
        self.loop = asyncio.get_running_loop()
        if self._own_clock:
            self.clock = LoopClock(self.loop)
        self.context = copy_context()
        self.context.run(current_lane.set, None)
        if self.keeper is not None:
            self.letters = self._archive = await self.keeper.open()
            if self._state != "new":  # closed meanwhile
                await self.keeper.aclose()
                raise HooksClosedError(self._state)
        if self._own_session:
            self.session = open_session(self._egress)
        if self.keeper is not None:
            for webhook_id in tuple(self._webhooks):
                self._take_over(webhook_id)
            self.keeper.begin()
        self._routes = self._router.routes
        self._state = "open"
        if self.notifier.started:
            self.notifier.tell(self.notifier.started, self.stats)

    async def aclose(self, timeout: float | timedelta | None = None) -> CloseReport:
        """Accept no more events, deliver what is pending, then cancel what is left.

        Called again, or from another task meanwhile, it waits for the one closing and returns
        the same report. A cancellation of the call that began it ends the drain at once; the
        rest is still accounted for and everything released before the cancellation goes on.

        Args:
            timeout: seconds for the drain; ``close_timeout`` by default.

        Returns:
            What was delivered and what was left. What was left for webhooks stays in the journal
            or, where there is none, is dead-lettered (``shutdown``) and logged.
        """
        self._refuse_inside("aclose")
        limit = self._close_timeout
        if timeout is not None:
            limit = to_seconds("timeout", timeout, zero=True)
        if self._closing is not None:
            return await asyncio.shield(self._closing)
        if self._state != "open":  # never started
            self._state = "closed"
            return CloseReport(0, 0, 0, {}, "drained")
        self._state, self._routes = "closing", {}
        drain = closing.Drain(self.loop)
        lanes = list(self._lanes())
        before = sum(lane.delivered for lane in lanes), sum(lane.failed for lane in lanes)
        task = self.loop.create_task(self._close(lanes, before, drain, limit))
        self._closing = task
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            drain.end("cancelled")
            import anyio  # noqa: PLC0415 - rarely cancelled, and importing it takes time

            with anyio.CancelScope(shield=True):
                await asyncio.wait([task])
            raise

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def join(self) -> None:
        """Wait until every accepted event was handled, delivered, or given up on."""
        self._refuse_inside("join")
        while self.outstanding:
            await self.at_rest()

    def __del__(self) -> None:
        if getattr(self, "_state", "new") == "open":
            warn(
                f"unclosed {self!r}; use `async with hooks:`",
                ResourceWarning,
                stacklevel=1,
                source=self,
            )

    async def _close(
        self,
        lanes: list[Lane[Any]],
        before: tuple[int, int],
        drain: closing.Drain,
        timeout: float,
    ) -> CloseReport:
        for lane in lanes:
            lane.dismiss_waiters("shutdown")
        rest: asyncio.Future[None] = self.at_rest()
        if self.keeper is not None:
            self.keeper.dismiss_waiters()
            rest = self.loop.create_task(closing.quiet(lanes))
        ending = await drain.wait(self.clock, timeout, rest)
        rest.cancel()
        await closing.cancel_workers(lanes)
        if self.keeper is not None:
            await self.keeper.flush()
        report = closing.account(lanes, before, ending)
        for lane in lanes:
            lane.stop()
        if self.keeper is not None:
            await self.keeper.aclose()
        if self._own_session:
            await self.session.close()
        self._state = "closed"
        self.notifier.tell(self.notifier.closed, report)
        return report

    def _refuse_inside(self, method: str) -> None:
        lane = current_lane.get()
        if lane is not None and lane.hub is self and asyncio.current_task() in lane.workers:
            raise RelayboxHooksError(
                f"{method}() inside subscriber {lane.target!r} would wait for that subscriber; "
                "call it from a task of its own, or from outside"
            )

    def _lanes(self) -> Iterable[Lane[Any]]:
        yield from self._webhooks.values()
        for lane, _ in self._subscribers.values():
            yield lane
        yield from self._retired
