"""Hooks: what users construct, start, emit into, and close."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, Generic, Self, Unpack, cast
from warnings import warn

from aiohttp import BaseConnector, ClientSession
from aiohttp.helpers import AppKey  # aiohttp.web has it too, and is not for clients to import

from relaybox_hooks import lifespan
from relaybox_hooks.clock import Clock
from relaybox_hooks.dead_letters import Criteria, DeadLetter
from relaybox_hooks.dispatch.lifecycle import Lifecycle
from relaybox_hooks.dispatch.options import Options
from relaybox_hooks.dispatch.parts import BOUND, Host, Parts, bind, compose, make_runtime
from relaybox_hooks.dispatch.replay import ReplayReport
from relaybox_hooks.dispatch.typed_calls import CustomT_contra, EmitCall, OnCall
from relaybox_hooks.events import EventName, EventPattern
from relaybox_hooks.observer import Notifier, Observer
from relaybox_hooks.observers.logging import LoggingObserver
from relaybox_hooks.stats import CloseReport, Receipt, Stats
from relaybox_hooks.targets.policies import BreakerPolicy, RetentionPolicy, RetryPolicy, Timeouts
from relaybox_hooks.targets.profile import Profile
from relaybox_hooks.targets.settings import MAX_PENDING_BYTES
from relaybox_hooks.targets.subscriber import Handler, Subscriber, SubscriberOptions
from relaybox_hooks.targets.webhook import OrderBy, Webhook
from relaybox_hooks.transport.budget import KEEPALIVE
from relaybox_hooks.transport.egress import EgressPolicy
from relaybox_hooks.validation import Overflow

if TYPE_CHECKING:
    from aiohttp import web

    from relaybox_hooks.durable.delivery_log import LogCriteria, LoggedDelivery
    from relaybox_hooks.journal.protocol import Journal

#: Where ``hooks.setup(app)`` puts them; for a sub-application, in ``request.config_dict``.
HOOKS_KEY: Final = AppKey["Hooks"]("HOOKS_KEY")


class Hooks(Generic[CustomT_contra]):
    """An event bus inside a realtime server: local subscribers and signed webhooks.

    Use it as ``async with hooks:``, or ``await hooks.start()`` and ``await hooks.aclose()``.
    Targets may be registered before and after. All methods but ``emit_from_thread`` belong to
    the event loop's thread.

    Args:
        webhooks: to begin with.
        queue_size: each lane's bound, in events.
        max_pending_bytes: each webhook lane's bound in bytes, but for one event.
        overflow: of a full lane: ``"wait"``, ``"drop_oldest"``, ``"drop_newest"`` or ``"raise"``.
        emit_timeout: seconds ``emit`` waits for room before it drops; ``None``: without end.
        concurrency: how many requests are in flight per webhook, at most.
        order_by: what leaves in order, one at a time: deliveries of the same ``"connection"``,
            ``"room"`` or key of a function; ``"none"`` for no order.
        retry: when failed attempts are made again; by default 5 attempts within seconds or, with
            a journal, 10 within three days.
        timeouts: how long an attempt may take.
        breaker: when a failing endpoint is sent nothing for a while; ``None`` for never.
        max_age: seconds after which an undelivered event is given up; ``None`` for never.
        max_body: bytes a request's body may have.
        max_response: raw bytes read of a response: head, framing and body. 1,024 at least.
        max_connections: idle ones included; by default half the limit on open files, up to 512.
        keepalive: seconds for which an idle connection is kept; 0 keeps none.
        egress: which addresses may be connected to.
        connector: the host's own, which dials; not closed here. ``egress`` does not reach it.
        http_session: the host's own, which makes requests its own way, without the bounds above.
        profiles: TLS and headers by name, for webhooks that have ``profile``.
        custom_events: names the server declares beside :data:`~relaybox_hooks.EVENTS`.
        observers: called for everything that happens.
        logging: whether losses, breakers and failing subscribers are logged.
        dead_letter_limit: how many dead letters are kept in memory, without a journal.
        dead_letter_bytes: bytes of their events, the newest one's in any case.
        journal: keeps deliveries, so that a crash loses none; opened by ``start``, closed by
            ``aclose``. No event for a webhook is then dropped or waits because its lane is full:
            ``queue_size`` and ``max_pending_bytes`` bound what of it is in memory.
        retention: how long the journal keeps what is settled.
        close_timeout: seconds that leaving ``async with`` waits for the lanes to drain.
        clock: time and timers, for tests.
        random: draws from [0, 1) for jitter, for tests.
    """

    emit: EmitCall[Coroutine[Any, Any, Receipt], CustomT_contra]
    """Hand an event to every target that matches; handlers and HTTP run later.

    See :class:`~relaybox_hooks.dispatch.typed_calls.EmitCall` for its arguments and errors.
    """

    emit_nowait: EmitCall[Receipt, CustomT_contra]
    """``emit`` without waiting: LaneFullError or JournalWaitError where ``emit`` would wait."""

    emit_from_thread: EmitCall[Receipt, CustomT_contra]
    """``emit`` for any thread but the event loop's own; blocks until it has returned."""

    on: OnCall[CustomT_contra]
    """Return a decorator that registers a function for events, and returns it as it is.

    See :class:`~relaybox_hooks.dispatch.typed_calls.OnCall` for its arguments and errors.
    """

    once: OnCall[CustomT_contra]
    """Like ``on``, for the first such event only."""

    if not TYPE_CHECKING:
        emit, emit_nowait, emit_from_thread, on, once = BOUND.values()

    def __init__(
        self,
        webhooks: Iterable[Webhook] = (),
        *,
        queue_size: int = 1000,
        max_pending_bytes: int = MAX_PENDING_BYTES,
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
        max_connections: int | None = None,
        keepalive: float | timedelta = KEEPALIVE,
        egress: EgressPolicy = EgressPolicy.DEFAULT,
        connector: BaseConnector | None = None,
        http_session: ClientSession | None = None,
        profiles: Mapping[str, Profile] | None = None,
        custom_events: Iterable[str] = (),
        observers: Iterable[Observer] = (),
        logging: bool = True,
        dead_letter_limit: int = 10_000,
        dead_letter_bytes: int = 64 * 2**20,
        journal: Journal | None = None,
        retention: RetentionPolicy | None = None,
        close_timeout: float | timedelta = 10.0,
        clock: Clock | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        options = Options(
            queue_size=queue_size,
            max_pending_bytes=max_pending_bytes,
            overflow=overflow,
            emit_timeout=emit_timeout,
            concurrency=concurrency,
            order_by=order_by,
            retry=retry,
            timeouts=timeouts,
            breaker=breaker,
            max_age=max_age,
            max_body=max_body,
            max_response=max_response,
            max_connections=max_connections,
            keepalive=keepalive,
            egress=egress,
            custom_events=custom_events,
            logging=logging,
            dead_letter_limit=dead_letter_limit,
            dead_letter_bytes=dead_letter_bytes,
            retention=retention,
            close_timeout=close_timeout,
        )
        notifier = Notifier(observers, LoggingObserver() if logging else None)
        host = Host(clock, connector, http_session, profiles)
        self._parts = compose(options, make_runtime(options, notifier, random, host), journal)
        self._lifecycle = Lifecycle(self._parts, options)
        bind(self, Hooks)
        for webhook in webhooks:
            self.add_webhook(webhook)

    @classmethod
    def from_config(cls, path: str | PathLike[str], **options: Any) -> Self:
        """Build from a TOML file: options at the top, a table ``[webhooks.NAME]`` per webhook.

        Its keys are the arguments of ``Hooks`` and :class:`Webhook`, a policy is a table, and
        secrets may be ``{ env = "NAME" }``. A webhook's id is its table's name.

        Args:
            path: the file; it is read once, now.
            options: further arguments of ``Hooks``; they hold instead of the file's.

        Raises:
            ConfigError: names the file, the table and the key.
        """
        from relaybox_hooks.config import read  # noqa: PLC0415 - few processes have a file

        configuration = read(path, options)
        return cls(configuration.webhooks, **configuration.options)

    def __repr__(self) -> str:
        runtime, registry = self._parts.runtime, self._parts.registry
        return (
            f"<Hooks {runtime.state}: {len(registry.webhooks)} webhooks, "
            f"{sum(1 for _ in registry.subscriber_lanes())} subscribers, "
            f"{runtime.outstanding} pending>"
        )

    # Targets

    def add_subscriber(
        self,
        pattern: EventName | EventPattern | CustomT_contra,
        function: Handler,
        **options: Unpack[SubscriberOptions],
    ) -> None:
        """Register ``function`` as ``on`` does, without a decorator."""
        subscriber = Subscriber(function=function, **options)
        self._parts.registry.add_subscriber((pattern,), subscriber)

    def off(self, function: Handler, *patterns: EventName | EventPattern | CustomT_contra) -> None:
        """Hand ``function`` no more of these events, or of any where no pattern is given.

        Raises:
            UnknownTargetError: it is not registered.
        """
        self._parts.registry.remove_subscriber(function, patterns)

    @property
    def webhooks(self) -> tuple[Webhook, ...]:
        """The registered webhooks, as they are now, in the order of registration."""
        return self._parts.registry.webhooks

    def add_webhook(self, webhook: Webhook) -> None:
        """Register ``webhook``.

        Raises:
            UnknownEventError: it names an event that is not declared.
            ConfigError: another webhook has its id.
            HooksClosedError: closing has begun.
        """
        self._parts.registry.add_webhook(webhook)

    def remove_webhook(self, webhook_id: str) -> Webhook:
        """Remove a webhook. Its pending deliveries become dead letters (``removed``).

        Raises:
            UnknownTargetError: no webhook has this id.
        """
        return self._parts.registry.remove_webhook(webhook_id)

    def enable_webhook(self, webhook_id: str) -> None:
        """Send a webhook events again; harmless where it is enabled.

        Raises:
            UnknownTargetError: no webhook has this id.
        """
        self._parts.registry.enable_webhook(webhook_id)

    def disable_webhook(self, webhook_id: str, reason: str = "disabled by the server") -> None:
        """Send a webhook nothing more. Its pending deliveries become dead letters (``disabled``).

        Raises:
            UnknownTargetError: no webhook has this id.
        """
        self._parts.registry.disable_webhook(webhook_id, reason)

    def rotate_signing_key(
        self, webhook_id: str, new_key: str, *, at: datetime | None = None
    ) -> None:
        """Sign a webhook's requests with ``new_key`` from a moment on, retries and replays too.

        Let its receiver accept both keys first. A rotation that is still to come is replaced. It
        lasts as long as this object: see ``Webhook.rotate_at`` for one that outlives a restart.

        Args:
            webhook_id: its id.
            new_key: the key.
            at: the moment (aware); now by default. Until then the key now in use signs.

        Raises:
            UnknownTargetError: no webhook has this id.
            ConfigError: a key that cannot be used, or a moment without a time zone.
        """
        self._parts.registry.rotate_signing_key(webhook_id, new_key, at)

    # Looking

    def stats(self) -> Stats:
        """Return the counts as they are now, for the whole and per target."""
        return self._parts.registry.stats()

    @property
    def unregistered(self) -> dict[str, int]:
        """Number of deliveries that the journal keeps for each unregistered webhook, by its id."""
        gateway = self._parts.gateway
        return {} if gateway is None else dict(gateway.unregistered.pending)

    async def dead_letters(self, **criteria: Unpack[Criteria]) -> list[DeadLetter]:
        """Return dead letters that fit the criteria, oldest first.

        Args:
            criteria: see :class:`~relaybox_hooks.dead_letters.Criteria`.

        Raises:
            ConfigError: a moment without a time zone.
            JournalError: there is a journal and it cannot be read.
        """
        return await self._parts.accounting.dead_letters.select(**criteria)

    async def deliveries(self, **criteria: Unpack[LogCriteria]) -> list[LoggedDelivery]:
        """Return deliveries in the journal that fit the criteria, newest first.

        Args:
            criteria: see :class:`~relaybox_hooks.durable.delivery_log.LogCriteria`.

        Raises:
            ConfigError: there is no journal, or a moment without a time zone.
            HooksClosedError: before ``start()``.
            JournalError: it cannot be read.
        """
        return await self._parts.delivery_log().select(**criteria)

    async def replay(self, *, rate: float = 50.0, **criteria: Unpack[Criteria]) -> ReplayReport:
        """Send dead letters again, chosen as in :meth:`dead_letters`: one attempt each.

        The event's id stays, the signature is made with the webhook's current key. The lane and
        its breaker do not change. What is delivered is no dead letter any more: ``replayed``.

        Args:
            rate: attempts per second, at most.
            criteria: which ones; all by default.

        Raises:
            ConfigError: a rate of 0 or less.
            HooksClosedError: before ``start()`` or after ``aclose()``.
            JournalError: there is a journal and it cannot be read.
        """
        return await self._parts.replayer.replay(rate, **criteria)

    # Lifecycle

    async def start(self) -> None:
        """Open the HTTP session and begin to accept events; harmless where that is done.

        Raises:
            HooksClosedError: they were closed; create new ones.
            RelayboxHooksError: they are open in another event loop.
            JournalError: the journal cannot be opened; create new ones, with a new journal.
        """
        await self._lifecycle.start(self, self.stats)

    async def aclose(self, timeout: float | timedelta | None = None) -> CloseReport:
        """Accept no more events, deliver what is pending, then cancel what is left.

        Called again it waits for the one closing and returns the same report. A cancellation of
        the call that began it ends the drain at once; the rest is still accounted for.

        Args:
            timeout: seconds for the drain; ``close_timeout`` by default.

        Returns:
            How much was delivered, and left: for webhooks it stays in the journal or, where there
            is none, is dead-lettered (``shutdown``) and logged.
        """
        return await self._lifecycle.aclose(timeout)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def join(self) -> None:
        """Wait until every accepted event was handled, delivered, or given up."""
        await self._lifecycle.join()

    def setup(self, app: web.Application) -> None:
        """Start with an aiohttp application and close when it cleans up.

        They are open when ``on_startup`` is sent, and until the last handler has ended: what
        handlers emit as ``on_shutdown`` closes their websockets is delivered; ``on_cleanup``
        comes too late.

        Raises:
            ConfigError: ``app`` is not aiohttp's, runs already, or has hooks.
        """
        lifespan.add_to_aiohttp(app, cast("Hooks", self), HOOKS_KEY)

    def lifespan(self, app: object) -> AbstractAsyncContextManager[None]:
        """``async with hooks:`` in the shape that ``Starlette(lifespan=...)`` and FastAPI take."""
        return lifespan.asgi_lifespan(self)

    def __del__(self) -> None:
        parts = getattr(self, "_parts", None)
        if parts is not None and parts.runtime.state == "open":
            text = f"unclosed {self!r}; use `async with hooks:`"
            warn(text, ResourceWarning, stacklevel=1, source=self)


def parts_of(hooks: Hooks[Any]) -> Parts:
    """Return the parts of ``hooks``: for ``relaybox_hooks.testing``, not for users."""
    return hooks._parts  # noqa: SLF001 - the one way in
