"""Relaybox Hooks: an embeddable event bus for realtime servers.

Local functions and signed webhooks get the events of a server, without any of them
ever stalling a socket. See the README for a start.
"""

from relaybox_hooks._version import __version__
from relaybox_hooks.dead_letters import DeadLetter
from relaybox_hooks.errors import (
    ConfigError,
    EgressError,
    HooksClosedError,
    InvalidSignatureError,
    JournalWaitError,
    LaneFullError,
    MalformedBodyError,
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
from relaybox_hooks.events import EVENTS, Event
from relaybox_hooks.hooks import HOOKS_KEY, Hooks
from relaybox_hooks.observer import Attempt, Observer
from relaybox_hooks.receive import ReceivedEvent, WebhookVerifier, verify_webhook_signature
from relaybox_hooks.session import Session, User
from relaybox_hooks.stats import CloseReport, Receipt, Stats, TargetStats
from relaybox_hooks.targets.policies import BreakerPolicy, RetentionPolicy, RetryPolicy, Timeouts
from relaybox_hooks.targets.profile import Profile
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.transport.egress import EgressPolicy
from relaybox_hooks.wire.signing import generate_signing_key
from relaybox_hooks.wire.standard_webhooks import generate_standard_secret

__all__ = [
    "EVENTS",
    "HOOKS_KEY",
    "Attempt",
    "BreakerPolicy",
    "CloseReport",
    "ConfigError",
    "DeadLetter",
    "EgressError",
    "EgressPolicy",
    "Event",
    "Hooks",
    "HooksClosedError",
    "InvalidSignatureError",
    "JournalWaitError",
    "LaneFullError",
    "MalformedBodyError",
    "MissingHeaderError",
    "Observer",
    "PayloadError",
    "Profile",
    "Receipt",
    "ReceivedEvent",
    "RelayboxHooksError",
    "ReplayedRequestError",
    "RetentionPolicy",
    "RetryPolicy",
    "Session",
    "Stats",
    "SubscriberTimeoutError",
    "SubscriberWaitError",
    "TargetStats",
    "Timeouts",
    "TimestampError",
    "UnknownEventError",
    "UnknownTargetError",
    "User",
    "VerificationError",
    "Webhook",
    "WebhookVerifier",
    "__version__",
    "generate_signing_key",
    "generate_standard_secret",
    "verify_webhook_signature",
]
