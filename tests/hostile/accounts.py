"""Both sides' accounts in the end: what was accepted, delivered, read and answered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from hostile.child import SEND_BUFFER
from hostile.endpoints import ENDPOINTS, SMALL, UNASKED
from hostile.servers import HEALTHY

from relaybox_hooks.testing import AnswerUnread, CloseOnReuse

#: Bytes of a request that the kernels of both sides hold for an endpoint that reads none: what an
#: endpoint answers unread is taken to be delivered if all of it has left the process.
_HELD: Final = 4 * (SEND_BUFFER + SMALL)


def compare(sent: dict[str, Any], received: dict[str, Any]) -> tuple[str, list[str]]:
    """Return two lines that sum up, and everything that does not add up.

    Args:
        sent: the accounts of the process under test.
        received: the reports of the endpoints, by name.
    """
    took = {(webhook_id, event_id) for webhook_id, event_id in received[HEALTHY]["accepted"]}
    accepted = {
        (webhook_id, event_id) for webhook_id, ids in sent["accepted"].items() for event_id in ids
    }
    stats = sent["stats"]
    received_twice = len(received[HEALTHY]["accepted"]) - len(took)
    summary = f"""\
{len(accepted)} healthy events accepted, {len(accepted - took)} lost, {received_twice} duplicates
{stats["accepted"]} accepted in all = {stats["delivered"]} delivered + {stats["failed"]} failed + \
{stats["dropped"]} dropped + {stats["pending"]} pending; {stats["retried"]} retried"""
    faults = [f"lost: {fate}" for fate in sorted(accepted - took)[:20]]
    return summary, [*faults, *_healthy(sent), *_hostile(sent, received)]


def _healthy(sent: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the healthy webhooks: each receipt is one delivery."""
    for webhook_id, ids in sent["accepted"].items():
        row = sent["rows"][webhook_id]
        if not row["accepted"] == row["delivered"] == len(ids):
            yield f"{webhook_id}: {len(ids)} receipts, {row}"
        if sorted(sent["deliveries"][webhook_id]) != sorted(ids):
            yield f"{webhook_id}: other events were delivered than accepted"


def _hostile(sent: dict[str, Any], received: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the hostile ones: nothing is delivered that was not answered."""
    if str(UNASKED) in sent["statuses"]:
        yield f"{sent['statuses'][str(UNASKED)]} responses were taken for another request's"
    for endpoint in ENDPOINTS:
        name, report = endpoint.name, received[endpoint.name]
        delivered = sent["deliveries"].get(name, [])
        if not sent["attempts"].get(name) or not report["connections"]:
            yield f"{name}: no attempt reached it"
        if endpoint.delivers is not None and bool(delivered) != endpoint.delivers:
            yield f"{name}: {len(delivered)} deliveries"
        if endpoint.fault == CloseOnReuse() and sent["disconnected"].get(name):
            yield f"{name}: {sent['disconnected'][name]} attempts on a connection that had ended"
        if report["connected"]:
            yield f"{name}: {report['connected']} connections are open in the end"
        read = {event_id for _, event_id in report["read"]}
        if endpoint.reads and not read.issuperset(delivered):
            yield f"{name}: {len(set(delivered) - read)} deliveries that it has not read"
        if isinstance(endpoint.fault, AnswerUnread) and sent["largest"].get(name, 0) > _HELD:
            yield f"{name}: {sent['largest'][name]} bytes delivered, at most {_HELD} have left"
