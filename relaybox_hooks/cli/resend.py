"""Dead letters of a journal sent again, one attempt each, as ``hooks.replay`` sends them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiohttp import ClientSession

from relaybox_hooks.config import Configuration
from relaybox_hooks.dispatch.replay import ReplayReport
from relaybox_hooks.journal import Journal, KnownWebhook, StoredDelivery
from relaybox_hooks.outcome import Outcome, Verdict
from relaybox_hooks.targets.settings import Settings, resolve
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.transport.egress import EgressPolicy
from relaybox_hooks.transport.endpoint import TIMED_OUT, Endpoint, open_session
from relaybox_hooks.wire.envelope import Envelope


async def send_again(
    journal: Journal,
    said: Configuration,
    letters: Iterable[StoredDelivery],
    on_progress: Callable[[StoredDelivery, Outcome | None], None],
    *,
    rate: float,
) -> ReplayReport:
    """Send ``letters`` in their order, signed with the webhooks' current keys.

    What is delivered is settled in the journal; what fails stays a dead letter, with its new
    outcome. A webhook that answers 410 is sent nothing more, which the journal remembers.

    Args:
        said: the webhooks, and the options that hold for them.
        on_progress: told of each letter and its outcome, ``None`` where it was skipped, because
            its webhook is not there, or is disabled in the file or by an earlier 410.
        rate: attempts per second at the most.
    """
    known = await journal.load_states()
    endpoints = _endpoints(said, known)
    delivered = failed = skipped = 0
    async with open_session(said.options.get("egress", EgressPolicy.DEFAULT)) as session:
        for letter in letters:
            endpoint = endpoints.get(letter.webhook_id)
            if endpoint is None:
                skipped += 1
                on_progress(letter, None)
                continue
            if delivered or failed:
                await asyncio.sleep(1 / rate)
            outcome = await _attempt(endpoint, session, letter.envelope)
            attempts, now = letter.attempts + 1, time.time()
            if outcome.verdict is Verdict.DELIVERED:
                delivered += 1
                journal.settle(letter.seq, attempts=attempts, outcome=outcome, at=now)
            else:
                failed += 1
                journal.bury(
                    letter.seq, str(letter.reason), attempts=attempts, outcome=outcome, at=now
                )
            if outcome.verdict is Verdict.GONE:
                del endpoints[letter.webhook_id]
                _disable(journal, said, letter.webhook_id, known)
            on_progress(letter, outcome)
    return ReplayReport(delivered, failed, skipped)


def _endpoints(said: Configuration, known: Mapping[str, KnownWebhook]) -> dict[str, Endpoint]:
    """What the enabled webhooks are sent with, by their ids."""
    names = Settings.__dataclass_fields__.keys() & said.options.keys()
    defaults = Settings(**{name: said.options[name] for name in names})
    endpoints = {}
    for webhook in said.webhooks:
        if webhook.enabled and not _state_of(webhook, known).get("disabled"):
            own = resolve(webhook, defaults)
            endpoints[webhook.id] = Endpoint(webhook, own.retry, own.timeouts, own.max_response)
    return endpoints


def _state_of(webhook: Webhook, known: Mapping[str, KnownWebhook]) -> dict[str, Any]:
    """What the journal remembers of a webhook; nothing of one that had another URL."""
    state = known[webhook.id].state if webhook.id in known else None
    return state if state is not None and state.get("url") == webhook.url else {}


def _disable(
    journal: Journal, said: Configuration, webhook_id: str, known: Mapping[str, KnownWebhook]
) -> None:
    """Let the server, too, send a webhook nothing when it starts again."""
    (webhook,) = (webhook for webhook in said.webhooks if webhook.id == webhook_id)
    state = _state_of(webhook, known)
    remembered = {"url": webhook.url, "disabled": True, "breaker": state.get("breaker")}
    journal.save_state(webhook_id, remembered)


async def _attempt(endpoint: Endpoint, session: ClientSession, envelope: Envelope) -> Outcome:
    outcome = TIMED_OUT
    try:
        async with asyncio.timeout(endpoint.deadline):
            outcome, response = await endpoint.send(session, envelope, time.time)
            if response is not None:
                await endpoint.drain(response)
    except TimeoutError:  # of the response's rest, too, which changes nothing
        pass
    return outcome
