"""The parts of a ``Hooks``, and how they are composed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MethodType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiohttp import BaseConnector, ClientSession

from relaybox_hooks.clock import Clock
from relaybox_hooks.dispatch.accounting import Accounting
from relaybox_hooks.dispatch.emitter import Emitter
from relaybox_hooks.dispatch.options import Options
from relaybox_hooks.dispatch.registry import Registry
from relaybox_hooks.dispatch.replay import Replayer
from relaybox_hooks.errors import ConfigError, HooksClosedError
from relaybox_hooks.events import Catalogue
from relaybox_hooks.observer import Notifier
from relaybox_hooks.targets.policies import RetentionPolicy
from relaybox_hooks.targets.profile import Profile
from relaybox_hooks.transport.profiles import Profiles
from relaybox_hooks.transport.runtime import Runtime
from relaybox_hooks.validation import check_kind, to_seconds

if TYPE_CHECKING:
    from relaybox_hooks.durable.delivery_log import DeliveryLog
    from relaybox_hooks.durable.journal_gateway import JournalGateway
    from relaybox_hooks.journal.protocol import Journal


class Parts(NamedTuple):
    """The parts of a ``Hooks``; none of them knows the ``Hooks``."""

    runtime: Runtime
    catalogue: Catalogue
    accounting: Accounting
    registry: Registry
    emitter: Emitter
    replayer: Replayer
    gateway: JournalGateway | None

    def delivery_log(self) -> DeliveryLog:
        """Return the log of deliveries.

        Raises:
            ConfigError: there is no journal.
            HooksClosedError: it is not open yet.
        """
        if self.gateway is None:
            raise ConfigError("journal", None, "the log of deliveries is kept in a journal")
        if not self.gateway.opened:
            raise HooksClosedError(self.runtime.state)
        return self.gateway.log


class PartMethod:
    """A method of a part, as an attribute of the class that has the parts in ``_parts``.

    An instance that has bound it looks no further. So a mock of the class knows it, a subclass can
    override it, and ``super()`` reaches it.
    """

    __slots__ = ("_function", "_part")

    def __init__(self, part: str, function: Callable[..., Any]) -> None:
        self._part = part
        self._function = function

    def __get__(self, instance: Any, owner: type | None = None) -> Callable[..., Any]:
        if instance is None:
            return self._function
        part = getattr(vars(instance)["_parts"], self._part)
        return MethodType(self._function, part)


#: What a ``Hooks`` binds once, by name.
BOUND: Final = {
    "emit": PartMethod("emitter", Emitter.emit),
    "emit_nowait": PartMethod("emitter", Emitter.emit_nowait),
    "emit_from_thread": PartMethod("emitter", Emitter.emit_from_thread),
    "on": PartMethod("registry", Registry.on),
    "once": PartMethod("registry", Registry.once),
}


def bind(hooks: object, base: type) -> None:
    """Bind the parts' methods to ``hooks`` once, but for those that its class overrides.

    An emit is then one look-up and one call.

    Args:
        hooks: an instance of ``base``, which has its parts.
        base: the class that has the methods as :class:`PartMethod`.
    """
    for name in BOUND:
        if getattr(type(hooks), name) is getattr(base, name):
            setattr(hooks, name, getattr(hooks, name))


class Host(NamedTuple):
    """Objects of the host's own that a ``Hooks`` is given.

    Attributes:
        clock: time and timers; ``None`` for the event loop's.
        connector: dials; ``None`` for one of the hooks' own.
        http_session: makes the requests in its own way, or ``None``.
        profiles: TLS and headers that webhooks share, by name.
    """

    clock: Clock | None = None
    connector: BaseConnector | None = None
    http_session: ClientSession | None = None
    profiles: Mapping[str, Profile] | None = None


def make_runtime(
    options: Options, notifier: Notifier, random: Callable[[], float], host: Host
) -> Runtime:
    """Make the runtime of a ``Hooks``.

    Raises:
        ConfigError: a session, connector or profile that is none, or both of the first two.
    """
    clock, connector, http_session, profiles = host
    check_kind("http_session", http_session, ClientSession)
    check_kind("connector", connector, BaseConnector)
    if http_session is not None and connector is not None:
        raise ConfigError("connector", connector, "the http_session has one of its own; give one")
    return Runtime(
        notifier,
        random,
        clock=clock,
        session=http_session,
        connector=connector,
        max_connections=options.max_connections,
        keepalive=to_seconds("keepalive", options.keepalive, zero=True),
        profiles=Profiles(profiles),
    )


def compose(options: Options, runtime: Runtime, journal: Journal | None) -> Parts:
    """Make the parts of a ``Hooks``, from the ground up."""
    catalogue = Catalogue(options.custom_events)
    accounting = Accounting(runtime, options.dead_letter_limit, options.dead_letter_bytes)
    gateway = None
    if journal is not None:
        if not hasattr(journal, "append_nowait"):
            raise ConfigError("journal", journal, "give a journal: SQLiteJournal(path)")
        # Where there is a journal: the others need not wait for the import.
        from relaybox_hooks.durable.journal_gateway import JournalGateway  # noqa: PLC0415

        gateway = JournalGateway(
            runtime,
            journal,
            options.retention or RetentionPolicy(),
            keep_dead_letter=accounting.keep,
            count_unregistered=accounting.totals.add_unregistered,
        )
    settings = options.settings(durable=gateway is not None)
    registry = Registry(runtime, catalogue, settings, accounting, gateway)
    emitter = Emitter(
        runtime,
        catalogue,
        registry.routes,
        gateway,
        max_body=options.max_body,
        emit_timeout=to_seconds("emit_timeout", options.emit_timeout, zero=True, none=True),
    )
    replayer = Replayer(runtime, accounting, registry.find_lane, registry.endpoint_gone)
    return Parts(runtime, catalogue, accounting, registry, emitter, replayer, gateway)
