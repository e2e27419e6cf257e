"""The parts of a ``Hooks``, and how they are composed."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from relaybox_hooks.dispatch.accounting import Accounting
from relaybox_hooks.dispatch.emitter import Emitter
from relaybox_hooks.dispatch.options import Options
from relaybox_hooks.dispatch.registry import Registry
from relaybox_hooks.dispatch.replay import Replayer
from relaybox_hooks.errors import ConfigError
from relaybox_hooks.events import Catalogue
from relaybox_hooks.targets.policies import RetentionPolicy
from relaybox_hooks.transport.runtime import Runtime
from relaybox_hooks.validation import to_seconds

if TYPE_CHECKING:
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


def compose(options: Options, runtime: Runtime, journal: Journal | None) -> Parts:
    """Make the parts of a ``Hooks``, from the ground up."""
    catalogue = Catalogue(options.custom_events)
    accounting = Accounting(runtime, options.dead_letter_limit)
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
