"""Counts and the delivery log as users ask for them."""

from __future__ import annotations

import pytest
from support import (
    KEY,
    dispatcher,
    emit_times,
)

from relaybox_hooks import (
    ConfigError,
    Hooks,
    Webhook,
)


async def test_subscribers_of_the_same_name_are_counted_apart() -> None:
    async with Hooks([Webhook("http://127.0.0.1/", ["*"], KEY, id="same", enabled=False)]) as hooks:
        for _ in range(2):
            hooks.on("*", name="same")(lambda event: None)
        await emit_times(hooks)
        await hooks.join()
        targets = hooks.stats().targets
    assert {key: (row.kind, row.delivered) for key, row in targets.items()} == {
        "same": ("webhook", 0),
        "same#2": ("subscriber", 1),
        "same#3": ("subscriber", 1),
    }
    assert {row.name for row in targets.values()} == {"same"}


async def test_without_a_journal_there_is_no_log() -> None:
    async with dispatcher() as hooks:
        with pytest.raises(ConfigError, match="the log of deliveries is kept in a journal"):
            await hooks.deliveries()
        assert hooks.unregistered == {}
