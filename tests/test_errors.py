"""The errors: what handlers find in them, and what their messages advise."""

from __future__ import annotations

import errno
import pickle

import pytest

from relaybox_hooks import errors
from relaybox_hooks.errors import (
    ConfigError,
    EgressError,
    HooksClosedError,
    InvalidSignatureError,
    JournalWaitError,
    LaneFullError,
    MalformedBodyError,
    MissingExtraError,
    MissingHeaderError,
    PayloadError,
    RelayboxHooksError,
    ReplayedRequestError,
    SubscriberTimeoutError,
    SubscriberWaitError,
    TimestampError,
    UnknownEventError,
    UnknownTargetError,
    VerificationError,
)

ERRORS: list[tuple[RelayboxHooksError, dict[str, object], str]] = [
    (
        ConfigError("queue_size", -1, "give a whole number of at least 1"),
        {"option": "queue_size", "value": -1},
        "queue_size=-1: give a whole number of at least 1",
    ),
    (
        UnknownTargetError("crm", "known are 'audit'"),
        {"target": "crm"},
        "'crm' is not registered: known are 'audit'",
    ),
    (
        PayloadError("data.items[3]", "a set is no JSON"),
        {"path": "data.items[3]", "reason": "a set is no JSON"},
        "data.items[3]: a set is no JSON",
    ),
    (
        LaneFullError("crm", 1000, "await emit(...) instead"),
        {"target": "crm", "limit": 1000},
        "the lane of 'crm' is full (1000 events): await emit(...) instead",
    ),
    (
        HooksClosedError("new"),
        {"state": "new"},
        (
            "this Hooks instance is new: enter 'async with hooks' or await hooks.start() before "
            "the first emit"
        ),
    ),
    (
        HooksClosedError("closing"),
        {"state": "closing"},
        "this Hooks instance is closing: it accepts no events after aclose(); create a new one",
    ),
    (
        JournalWaitError(),
        {},
        "emit_nowait cannot wait until the journal has stored the event; await emit(...) instead",
    ),
    (
        SubscriberWaitError("audit"),
        {"subscriber": "audit"},
        "emit_nowait cannot await the inline subscriber 'audit'; await emit(...) instead",
    ),
    (
        SubscriberTimeoutError("audit", 0.5),
        {"subscriber": "audit", "timeout": 0.5},
        (
            "the inline subscriber 'audit' took longer than 0.5 s: make it faster, or raise its "
            "timeout"
        ),
    ),
    (
        EgressError("10.0.0.1", "10.0.0.0/8 private"),
        {"address": "10.0.0.1", "rule": "10.0.0.0/8 private", "errno": errors.EGRESS_ERRNO},
        "egress to 10.0.0.1 refused by rule: 10.0.0.0/8 private",
    ),
    (
        MissingExtraError("apsw", "sqlite"),
        {"package": "apsw", "extra": "sqlite"},
        "apsw is not installed: pip install 'relaybox-hooks[sqlite]'",
    ),
    (
        MissingHeaderError("webhook-id", "Standard Webhooks"),
        {"header": "webhook-id"},
        "header webhook-id is missing: this is not a Standard Webhooks request",
    ),
    (
        TimestampError("2024-10-22T13:15:08.913Z", -7.5, 5.0),
        {"timestamp": "2024-10-22T13:15:08.913Z", "skew": -7.5, "tolerance": 5.0},
        (
            "timestamp 2024-10-22T13:15:08.913Z is 7.500 s ahead of this machine's clock, "
            "5 s are allowed: check both clocks"
        ),
    ),
    (
        MalformedBodyError("no JSON object"),
        {"reason": "no JSON object"},
        "malformed webhook body: no JSON object",
    ),
    (
        ReplayedRequestError("e-1"),
        {"event_id": "e-1"},
        "event e-1: this very request was accepted before (a replay)",
    ),
]


@pytest.mark.parametrize(
    ("error", "attributes", "message"), ERRORS, ids=lambda value: type(value).__name__
)
def test_an_error_carries_what_a_handler_needs(
    error: RelayboxHooksError, attributes: dict[str, object], message: str
) -> None:
    assert {name: getattr(error, name) for name in attributes} == attributes
    assert str(error) == message


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (ConfigError, ValueError),
        (UnknownEventError, ValueError),
        (PayloadError, ValueError),
        (UnknownTargetError, LookupError),
        (EgressError, OSError),
        (SubscriberTimeoutError, TimeoutError),
        (MissingExtraError, ImportError),
    ],
)
def test_an_error_is_also_the_builtin_that_callers_expect(
    kind: type[Exception], builtin: type[Exception]
) -> None:
    assert issubclass(kind, RelayboxHooksError)
    assert issubclass(kind, builtin)


def test_every_reason_to_distrust_a_request_is_a_verification_error() -> None:
    reasons = (
        MissingHeaderError,
        InvalidSignatureError,
        TimestampError,
        MalformedBodyError,
        ReplayedRequestError,
    )
    assert set(VerificationError.__subclasses__()) >= set(reasons)


def test_an_unknown_event_suggests_the_nearest_known_one() -> None:
    error = UnknownEventError("room:jion", ["room:join", "auth:signin"])
    assert (error.name, error.suggestion) == ("room:jion", "room:join")
    assert "did you mean 'room:join'?" in str(error)
    assert UnknownEventError("x", ["room:join"]).suggestion is None
    assert UnknownEventError(7, ["room:join"]).suggestion is None


def test_a_refused_address_is_no_error_of_the_operating_system() -> None:
    assert errors.EGRESS_ERRNO not in errno.errorcode
    assert errors.EGRESS_ERRNO < 0


@pytest.mark.parametrize("scheme", ["relaybox", "standard"])
def test_a_wrong_signature_says_which_scheme_it_is_of(scheme: errors.Scheme) -> None:
    error = InvalidSignatureError(scheme)
    assert error.scheme == scheme
    assert ("webhook-signature" in str(error)) == (scheme == "standard")


@pytest.mark.parametrize("error", [each[0] for each in ERRORS], ids=lambda e: type(e).__name__)
def test_it_is_the_same_once_it_was_pickled(error: RelayboxHooksError) -> None:
    """As a process pool does; an error that cannot be unpickled would leave the pool waiting."""
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(copy) is type(error)
    assert (str(copy), copy.args, vars(copy)) == (str(error), error.args, vars(error))
