"""Dead letters of a journal sent again from the command line, as ``hooks.replay`` sends them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from relaybox_hooks.config import Configuration
from relaybox_hooks.dead_letters import DeadLetter
from relaybox_hooks.dispatch.options import Options
from relaybox_hooks.dispatch.parts import Host, make_runtime
from relaybox_hooks.dispatch.replay import ReplayReport, ReplayTarget, send_again
from relaybox_hooks.durable.journal_dead_letters import JournalDeadLetters
from relaybox_hooks.durable.stored import dead_letter_of
from relaybox_hooks.journal import PERMANENT, Change, Journal, StoredDelivery
from relaybox_hooks.observer import Notifier
from relaybox_hooks.outcome import ENDPOINT_GONE, Outcome
from relaybox_hooks.targets.settings import resolve
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.transport.endpoint import Endpoint


async def resend(
    journal: Journal,
    configuration: Configuration,
    rows: Iterable[StoredDelivery],
    on_outcome: Callable[[DeadLetter, Outcome | None], None],
    *,
    rate: float,
) -> ReplayReport:
    """Send dead letters in their order, signed with the webhooks' current keys.

    What is delivered is settled in the journal; what fails stays a dead letter, with its new
    outcome. A webhook that answers 410 is sent nothing more, which the journal remembers.

    Args:
        journal: open.
        configuration: the webhooks, and the options that hold for them.
        rows: the dead letters.
        on_outcome: called with each dead letter and its outcome; ``None`` where it was skipped,
            because its webhook is not there, is disabled in the file or by an earlier 410, or has
            a profile, which only code can hold.
        rate: attempts per second, at most.
    """
    states = {head.webhook_id: head.state for head in await journal.lanes(PERMANENT)}
    options = Options(**_values(configuration.options))
    targets = _targets(configuration, options, states)
    runtime = make_runtime(options, Notifier(()), random.random, Host())
    runtime.start()
    store = JournalDeadLetters(journal, lambda change: _commit(journal, change), runtime.clock.time)

    def settle(letter: DeadLetter, target: ReplayTarget | None, outcome: Outcome | None) -> None:
        if outcome is not None and outcome.verdict == ENDPOINT_GONE:
            webhook = targets.pop(letter.webhook_id).webhook
            breaker = _state_of(webhook, states).get("breaker")
            state = {"url": webhook.url, "disabled": True, "breaker": breaker}
            journal.save_state(webhook.id, state)  # the server sends nothing either
        on_outcome(letter, outcome)

    runtime.open_session(options.egress)
    try:
        letters = map(dead_letter_of, rows)
        return await send_again(letters, store, targets.get, runtime, rate=rate, on_outcome=settle)
    finally:
        runtime.deadlines.cancel()
        await runtime.close_session()


def _commit(journal: Journal, change: Change) -> None:
    journal.commit(PERMANENT, (change,))


def _values(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are plain values."""
    known = Options.__dataclass_fields__
    return {name: value for name, value in options.items() if name in known}


def _targets(
    configuration: Configuration,
    options: Options,
    states: Mapping[str, dict[str, Any] | None],
) -> dict[str, ReplayTarget]:
    """Return the enabled webhooks without a profile, with their endpoints, by id."""
    defaults = options.settings(durable=True)
    return {
        webhook.id: ReplayTarget(webhook, Endpoint(webhook, resolve(webhook, defaults)))
        for webhook in configuration.webhooks
        if webhook.enabled
        and webhook.profile is None
        and not _state_of(webhook, states).get("disabled")
    }


def _state_of(webhook: Webhook, states: Mapping[str, dict[str, Any] | None]) -> dict[str, Any]:
    """Return the saved state of a webhook; an empty one if it had another URL."""
    state = states.get(webhook.id)
    return state if state is not None and state.get("url") == webhook.url else {}
