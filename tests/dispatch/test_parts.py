"""Hooks are composed of parts, which know each other and not the whole."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
from support import KEY

from relaybox_hooks import ConfigError, Hooks, HooksClosedError, Webhook
from relaybox_hooks.dead_letters import MemoryDeadLetters
from relaybox_hooks.dispatch.options import Options
from relaybox_hooks.dispatch.parts import compose
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.observer import Notifier
from relaybox_hooks.testing import FaultReceiver, MemoryJournal
from relaybox_hooks.transport.runtime import Runtime

#: All that users find on an object.
PUBLIC = [
    "aclose",
    "add_subscriber",
    "add_webhook",
    "dead_letters",
    "deliveries",
    "disable_webhook",
    "emit",
    "emit_from_thread",
    "emit_nowait",
    "enable_webhook",
    "from_config",
    "join",
    "lifespan",
    "off",
    "on",
    "once",
    "remove_webhook",
    "replay",
    "rotate_signing_key",
    "setup",
    "start",
    "stats",
    "unregistered",
    "webhooks",
]


def test_the_public_names_are_these_and_no_others() -> None:
    assert [name for name in dir(Hooks()) if not name.startswith("_")] == PUBLIC


@pytest.mark.parametrize("durable", [False, True])
def test_no_part_holds_the_hooks(durable: bool) -> None:
    """They are freed at once, by their reference count, while all their parts are still there."""
    journal = MemoryJournal() if durable else None
    hooks: Hooks = Hooks([Webhook("http://127.0.0.1/", ["*"], KEY)], journal=journal)
    hooks.on("*")(print)
    parts, freed = parts_of(hooks), weakref.ref(hooks)
    del hooks
    assert freed() is None
    assert parts.registry.webhooks


@pytest.mark.parametrize("durable", [False, True])
async def test_no_part_holds_hooks_that_were_used(receiver: FaultReceiver, durable: bool) -> None:
    """Neither starting and delivering nor closing has made one of them known to a part."""
    journal = MemoryJournal() if durable else None
    hooks: Hooks = Hooks([Webhook(receiver.url, ["*"], KEY)], journal=journal)
    hooks.on("room:join")(lambda event: None)
    await hooks.start()
    await hooks.emit("room:join", {"roomId": "r"})
    await hooks.join()
    assert hooks.stats().delivered == 2
    await hooks.aclose()
    parts, freed = parts_of(hooks), weakref.ref(hooks)
    del hooks
    assert freed() is None
    assert parts.runtime.state == "closed"


def test_the_parts_share_one_runtime() -> None:
    runtime = Runtime(Notifier(()), lambda: 0.0)
    parts = compose(Options(), runtime, MemoryJournal())
    assert parts.runtime is runtime
    for part in (parts.accounting, parts.registry, parts.emitter, parts.replayer, parts.gateway):
        assert vars(part)["_runtime"] is runtime


def test_without_a_journal_there_is_no_gateway_and_dead_letters_stay_in_memory() -> None:
    parts = compose(Options(), Runtime(Notifier(()), lambda: 0.0), None)
    assert parts.gateway is None
    assert isinstance(parts.accounting.dead_letters, MemoryDeadLetters)


@pytest.mark.parametrize(
    "journal", ["hooks.db", Path("hooks.db"), object(), 0], ids=lambda value: type(value).__name__
)
def test_a_journal_that_is_none_is_an_error_by_name(journal: Any) -> None:
    with pytest.raises(ConfigError, match=r"give a journal: SQLiteJournal\(path\)") as caught:
        Hooks(journal=journal)
    assert (caught.value.option, caught.value.value) == ("journal", journal)


def test_bound_methods_are_found_through_the_class_too() -> None:
    """By mocks of the class, and by subclasses that override one and call it."""
    assert callable(create_autospec(Hooks).emit_nowait)

    class Counting(Hooks):
        emits = 0

        def emit_nowait(self, *arguments: Any) -> Any:  # type: ignore[override]
            self.emits += 1
            return super().emit_nowait(*arguments)

    hooks = Counting()
    with pytest.raises(HooksClosedError):
        hooks.emit_nowait("room:join", {"roomId": "r"})
    assert hooks.emits == 1
