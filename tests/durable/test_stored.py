"""Rows of a journal become deliveries, dead letters and outcomes again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from support.journals import BUSY, FINE, REFUSED, envelope

from relaybox_hooks.durable.stored import datetime_of, dead_letter_of, delivery_of, outcome_of
from relaybox_hooks.journal import DeliveryState, StoredDelivery
from relaybox_hooks.lanes.delivery import READY
from relaybox_hooks.outcome import DELIVERED, FAILED, RETRY, Outcome, Verdict

ENVELOPE = envelope(7)


def row(**values: Any) -> StoredDelivery:
    """A delivery that waits for its second retry."""
    pending = StoredDelivery(
        seq=12,
        webhook_id="crm",
        key="c-1",
        envelope=ENVELOPE,
        state="pending",
        attempts=2,
        due=90.0,
        outcome=BUSY,
        reason=None,
        at=None,
    )
    return pending._replace(**values)


# Outcomes


@pytest.mark.parametrize(
    ("state", "verdict"), [("pending", RETRY), ("delivered", DELIVERED), ("dead", FAILED)]
)
def test_the_verdict_of_an_outcome_follows_from_the_state(
    state: DeliveryState, verdict: Verdict
) -> None:
    assert outcome_of(row(state=state)) == Outcome(verdict, 503)


def test_status_error_and_detail_of_an_outcome_are_those_stored() -> None:
    error = "ClientConnectorError"
    assert outcome_of(row(outcome=REFUSED)) == Outcome(RETRY, None, error, "refused")
    assert outcome_of(row(outcome=FINE, state="delivered")) == Outcome(DELIVERED, 204)


def test_without_an_attempt_there_is_no_outcome() -> None:
    assert outcome_of(row(outcome=None, attempts=0)) is None


# Deliveries


def test_a_delivery_goes_on_where_it_was() -> None:
    delivery = delivery_of(row())
    assert delivery.envelope is ENVELOPE
    assert (delivery.seq, delivery.key, delivery.attempts) == (12, "c-1", 2)
    assert delivery.outcome == Outcome(RETRY, 503)
    assert delivery.state == READY


def test_a_delivery_that_was_never_attempted_begins_anew() -> None:
    delivery = delivery_of(row(outcome=None, attempts=0, key=None))
    assert (delivery.attempts, delivery.outcome, delivery.key) == (0, None, None)


# Dead letters


def test_a_dead_row_is_a_dead_letter_of_its_reason_and_time() -> None:
    letter = dead_letter_of(row(state="dead", reason="exhausted", at=123.5))
    assert (letter.webhook_id, letter.reason, letter.attempts) == ("crm", "exhausted", 2)
    assert letter.died_at == datetime(1970, 1, 1, 0, 2, 3, 500_000, UTC)
    assert letter.outcome == Outcome(FAILED, 503)
    assert letter.envelope is ENVELOPE
    assert letter.seq == 12


def test_a_pending_row_is_a_dead_letter_of_the_reason_and_time_that_are_given() -> None:
    """Its outcome stays what it was: another attempt would have been made."""
    letter = dead_letter_of(row(), "unregistered", 200.0)
    assert (letter.reason, letter.died_at) == ("unregistered", datetime_of(200.0))
    assert letter.outcome == Outcome(RETRY, 503)


def test_moments_are_in_utc() -> None:
    assert datetime_of(1_700_000_000.25).isoformat() == "2023-11-14T22:13:20.250000+00:00"
