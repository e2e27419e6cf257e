"""Verifying webhook requests: whose they are, how old, and the event they carry."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from relaybox_hooks.errors import (
    ConfigError,
    InvalidSignatureError,
    MalformedBodyError,
    MissingHeaderError,
    PayloadError,
    TimestampError,
)
from relaybox_hooks.events import Event
from relaybox_hooks.receive.replay import Attempt, ReplayMemory
from relaybox_hooks.session import NO_SESSION, Session
from relaybox_hooks.wire.envelope import parse_timestamp
from relaybox_hooks.wire.javascript import JSONText, canonicalize_parsed, parse
from relaybox_hooks.wire.signing import SIGNATURE_HEADER, WEBHOOK_ID_HEADER, SigningKey

#: A tuple, for isinstance() takes three times as long with a union.
_TEXT: Final = (str, bytes, bytearray, memoryview)


def verify_webhook_signature(body: Any, signature: str, signing_key: str) -> bool:
    """Whether ``signature`` is RelayBox's for ``body`` under ``signing_key``.

    It checks nothing else: a captured request passes for ever. :class:`WebhookVerifier` checks
    the time and replays as well, and does not prepare the key anew for each request, which is
    done here so that no cache holds on to secrets.

    Args:
        body: the request's body as bytes or str, or what a JSON parser made of it.
        signature: the header ``X-Relaybox-Webhook-Signature``, 64 lower-case hex digits.
        signing_key: the webhook's key as RelayBox hands it out.

    Returns:
        the answer, found in constant time for a given body; False, never an exception, for
        anything malformed.
    """
    try:
        key = SigningKey(signing_key)
        canonical = parse(body)[1] if isinstance(body, _TEXT) else canonicalize_parsed(body)
    except (ConfigError, MalformedBodyError):
        return False
    return isinstance(signature, str) and key.verify(canonical, signature)


class ReceivedEvent(Event[Any]):
    """An event whose request was verified. Its ``timestamp`` is when this attempt was signed.

    ``name`` may be any text: RelayBox, or a sender with custom events, may know more names than
    this version of the library.

    Attributes:
        webhook_id: the webhook it came through, from the request's header. The protocol does
            not sign it, so decide nothing by it that an attacker must not decide.
        duplicate: the verifier has accepted an earlier attempt for the same event and webhook,
            and the sender saw no success: the answer was lost, or was no 2xx. So skip the event
            only if it was handled. False is no proof, for the memory is bounded and this
            process's own.
        key_index: which of the verifier's signing keys the signature fits, from 0.
    """

    __slots__ = ("duplicate", "key_index", "webhook_id")

    def __init__(
        self,
        id: str,
        name: str,
        data: Any,
        session: Session,
        time: float,
        *,
        webhook_id: str,
        duplicate: bool,
        key_index: int,
    ) -> None:
        super().__init__(id, name, data, session, time)
        self.webhook_id = webhook_id
        self.duplicate = duplicate
        self.key_index = key_index


class WebhookVerifier:
    """Turns requests into events, or says by a named error why one must not be trusted.

    No request is accepted twice: the signatures of the last ``memory`` events are remembered.
    A retry is another request, with a newer timestamp and signature, and is accepted. Replays
    are told by the signature alone, since nothing else of a request is proven; so two webhooks
    that share both a key and an endpoint can be taken for one another's replay: give each
    webhook a key of its own.

    The guarantee lasts as long as ``memory`` holds all events of the time in which a request
    still passes the time check, twice ``tolerance`` at most. At a higher rate, or when
    ``tolerance`` is None, the oldest are forgotten: a new request is not refused for that, but
    a replay of a forgotten one would be accepted. The verifier logs a warning when it happens
    first, and counts in :attr:`forgotten`. The memory is this object's own: processes that
    share an endpoint need a store in common, keyed by the event's id.

    Any thread may call it.

    Args:
        signing_keys: the webhook's key; during a rotation the new and the old one.
        tolerance: seconds (or a timedelta) that a request's timestamp may lie from this
            machine's clock, either way; None does not check. 30 is RelayBox's window.
        memory: event ids to remember, about 0.5 KB each. Events per second times twice the
            tolerance is enough.
        clock: seconds since the Unix epoch.

    Raises:
        ConfigError: no signing key or an unusable one, or an option out of range.
    """

    __slots__ = ("_clock", "_keys", "_replays", "_tolerance")

    def __init__(
        self,
        *signing_keys: str,
        tolerance: float | timedelta | None = 30,
        memory: int = 10_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not signing_keys:
            raise ConfigError("signing_keys", (), "pass the webhook's signing key")
        if isinstance(tolerance, timedelta):
            tolerance = tolerance.total_seconds()
        if tolerance is not None and not 0 < tolerance < math.inf:
            raise ConfigError("tolerance", tolerance, "pass positive seconds, or None to not check")
        self._keys = tuple(map(SigningKey, signing_keys))
        self._tolerance = tolerance
        self._clock = clock
        self._replays = ReplayMemory(memory, math.inf if tolerance is None else tolerance)

    @property
    def forgotten(self) -> int:
        """Requests forgotten while a replay of them would still have passed the time check."""
        return self._replays.forgotten

    def verify(self, headers: Mapping[str, str], body: JSONText) -> ReceivedEvent:
        """Verify one request.

        Nothing in the body is believed before the signature holds, and nothing is remembered
        before the time does.

        Args:
            headers: the request's headers, their names in any case.
            body: the body as it arrived; parsed and dumped again it may have lost something.

        Raises:
            MissingHeaderError: the signature or the webhook's id is not there.
            MalformedBodyError: the body is not JSON, or not the object that the protocol sends.
            InvalidSignatureError: it fits the body under none of the keys.
            TimestampError: it was signed too long ago, or too far in the future.
            ReplayedRequestError: this very request was accepted before.
        """
        signature = _header(headers, SIGNATURE_HEADER)
        webhook_id = _header(headers, WEBHOOK_ID_HEADER)
        value, canonical = parse(body)
        key_index = self._matching(canonical, signature)
        event_id, name, timestamp, signed = _texts(value)
        session = _session(value["session"])
        now = self._clock()
        skew = now - signed
        if self._tolerance is not None and abs(skew) > self._tolerance:
            raise TimestampError(timestamp, skew, self._tolerance)
        return ReceivedEvent(
            event_id,
            name,
            value["data"],
            session,
            signed,
            webhook_id=webhook_id,
            duplicate=self._replays.remember(event_id, Attempt(signature, webhook_id, signed), now),
            key_index=key_index,
        )

    def _matching(self, canonical: bytes, signature: str) -> int:
        for index, key in enumerate(self._keys):
            if key.verify(canonical, signature):
                return index
        raise InvalidSignatureError


def _header(headers: Mapping[str, str], name: str) -> str:
    # The first form serves the mappings of HTTP servers, which ignore case, the second a dict.
    value = headers.get(name)
    if value is None:
        wanted = name.lower()
        value = next((value for other, value in headers.items() if other.lower() == wanted), None)
    if not value:
        raise MissingHeaderError(name)
    return value


def _texts(value: Any) -> tuple[str, str, str, float]:
    """The id, name and timestamp of a body, and the timestamp in seconds since the epoch."""
    if type(value) is not dict:
        raise MalformedBodyError("it is not a JSON object")
    for member in ("id", "event", "data", "session", "timestamp"):
        if member not in value:
            raise MalformedBodyError(f"its member {member!r} is missing")
    for member in ("id", "event", "timestamp"):
        if type(value[member]) is not str:
            raise MalformedBodyError(f"its member {member!r} is not a string")
    timestamp = value["timestamp"]
    try:
        return value["id"], value["event"], timestamp, parse_timestamp(timestamp)
    except ValueError as error:
        raise MalformedBodyError(f"its member 'timestamp' is no time: {error}") from None


def _session(value: Any) -> Session:
    """A received session: ``null`` and members that this library does not know are welcome."""
    if value is None:
        return NO_SESSION
    if type(value) is not dict:
        raise MalformedBodyError("its member 'session' is neither an object nor null")
    try:
        return Session.of(value if "appPid" in value else {"appPid": None, **value})
    except PayloadError as error:
        raise MalformedBodyError(f"its member {error.path!r} has the wrong type") from None
