"""Verifying webhook requests: whose they are, how old, and the event they carry."""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple

from relaybox_hooks.errors import (
    ConfigError,
    InvalidSignatureError,
    MalformedBodyError,
    MissingHeaderError,
    PayloadError,
    Scheme,
    TimestampError,
)
from relaybox_hooks.events import Event
from relaybox_hooks.receive.replay_protection import Attempt, ReplayMemory
from relaybox_hooks.session import NO_SESSION, Session
from relaybox_hooks.wire.envelope import parse_timestamp
from relaybox_hooks.wire.json_parsing import JSONText, canonicalize_parsed, parse
from relaybox_hooks.wire.signing import SIGNATURE_HEADER, WEBHOOK_ID_HEADER, SigningKey
from relaybox_hooks.wire.standard_webhooks import (
    STANDARD_ID_HEADER,
    STANDARD_SIGNATURE_HEADER,
    STANDARD_TIMESTAMP_HEADER,
    StandardSecret,
    check_secrets,
    matching_secret,
    signed_content,
)

#: What errors call a request of that kind.
_STANDARD: Final = "Standard Webhooks"
#: A timestamp in whole seconds: more digits than any date has, and a float holds them all.
_SECONDS: Final = re.compile(r"\d{1,15}", re.ASCII)
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
            not sign it, so decide nothing by it that an attacker must not decide. A request
            signed by Standard Webhooks alone may lack it: ``""``.
        duplicate: the verifier has accepted an earlier attempt for the same event and webhook,
            and the sender saw no success: the answer was lost, or was no 2xx. So skip the event
            only if it was handled. False is no proof, for the memory is bounded and this
            process's own.
        key_index: which of the verifier's signing keys the signature fits, from 0; of a request
            signed by Standard Webhooks alone, which of the secrets.
        key_indexes: the same for each scheme whose signature it bears: ``{"relaybox": 0}``,
            ``{"standard": 1}`` or both.
    """

    __slots__ = ("duplicate", "key_index", "key_indexes", "webhook_id")

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
        key_indexes: dict[Scheme, int] | None = None,
    ) -> None:
        super().__init__(id, name, data, session, time)
        self.webhook_id: str = webhook_id
        self.duplicate: bool = duplicate
        self.key_index: int = key_index
        self.key_indexes: dict[Scheme, int] = key_indexes or {"relaybox": key_index}


class _Proof(NamedTuple):
    """What a signature of Standard Webhooks vouches for; ``content`` is all that it signs."""

    key_index: int
    timestamp: str
    content: bytes


class WebhookVerifier:
    """Turns requests into events, or says by a named error why one must not be trusted.

    No request is accepted twice: the signatures of the last ``memory`` events are remembered.
    A retry is another request, with a newer timestamp and signature, and is accepted. Replays
    are told by the signature alone, since nothing else of a request is proven; so two webhooks
    that share both a key and an endpoint can be taken for one another's replay: give each
    webhook a key of its own.

    With ``standard_webhooks`` it takes what is signed as Standard Webhooks has it as well, or,
    without signing keys, only that. Either scheme will do, so the weaker of the secrets decides;
    but of a request that bears both schemes' signatures both must hold. Such a verifier tells a
    replay not by a signature, for one request has several and could be split into as many, but
    by what they sign: with signing keys the body, else all that the scheme signs. So webhooks
    that send the same events to one endpoint need a verifier each.

    The guarantee lasts as long as ``memory`` holds all events of the time in which a request
    still passes the time check, twice ``tolerance`` at most. At a higher rate, or when
    ``tolerance`` is None, the oldest are forgotten: a new request is not refused for that, but
    a replay of a forgotten one would be accepted. The verifier logs a warning when it happens
    first, and counts in :attr:`forgotten`. The memory is this object's own: processes that
    share an endpoint need a store in common, keyed by the event's id.

    Any thread may call it.

    Args:
        signing_keys: the webhook's key; during a rotation the new and the old one. Events say
            by ``key_index`` which of them has signed.
        standard_webhooks: a secret of Standard Webhooks (``whsec_...``), or several.
        tolerance: seconds (or a timedelta) that a request's timestamp may lie from this
            machine's clock, either way; None does not check. 30 is RelayBox's window. With
            signing keys it is the body's timestamp, whoever signed; where a signature of
            Standard Webhooks is checked, the header's too.
        memory: event ids to remember, about 0.5 KB each. Events per second times twice the
            tolerance is enough.
        clock: seconds since the Unix epoch.

    Raises:
        ConfigError: no signing key or an unusable one, or an option out of range.
    """

    __slots__ = ("_clock", "_keys", "_replays", "_secrets", "_tolerance")

    def __init__(
        self,
        *signing_keys: str,
        standard_webhooks: str | Iterable[str] | None = None,
        tolerance: float | timedelta | None = 30,
        memory: int = 10_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not signing_keys and standard_webhooks is None:
            raise ConfigError(
                "signing_keys", (), "pass the webhook's signing key, or standard_webhooks"
            )
        if isinstance(tolerance, timedelta):
            tolerance = tolerance.total_seconds()
        if tolerance is not None and not 0 < tolerance < math.inf:
            raise ConfigError("tolerance", tolerance, "pass positive seconds, or None to not check")
        self._keys = tuple(map(SigningKey, signing_keys))
        secrets = () if standard_webhooks is None else check_secrets(standard_webhooks)
        self._secrets = tuple(map(StandardSecret, secrets))
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
            MissingHeaderError: there is no signature, or another header is not there that
                belongs to it.
            MalformedBodyError: the body is not JSON, or not the object that the protocol sends.
            InvalidSignatureError: one that is there fits the body under none of the keys.
            TimestampError: it was signed too long ago, or too far in the future.
            ReplayedRequestError: this very request was accepted before.
        """
        signature = _find(headers, SIGNATURE_HEADER) if self._keys else None
        signatures = _find(headers, STANDARD_SIGNATURE_HEADER) if self._secrets else None
        if not signature and not signatures:
            raise self._unsigned()
        webhook_id = _find(headers, WEBHOOK_ID_HEADER) or ""
        if signature and not webhook_id:
            raise MissingHeaderError(WEBHOOK_ID_HEADER)
        value, canonical = parse(body)
        indexes: dict[Scheme, int] = {}
        proof = None
        if signature:
            indexes["relaybox"] = self._matching(canonical, signature)
        if signatures:
            proof = self._proven(headers, body, signatures)
            indexes["standard"] = proof.key_index
        event_id, name, timestamp, signed = _texts(value)
        session = _session(value["session"])
        now = self._clock()
        sent = signed
        if self._keys:
            self._check_time(timestamp, signed, now)
        if proof is not None:
            sent = float(proof.timestamp)
            self._check_time(proof.timestamp, sent, now)
        attempt = Attempt(self._identity(signature, canonical, proof), webhook_id, sent)
        duplicate = self._replays.remember(event_id, attempt, now)
        return ReceivedEvent(
            event_id,
            name,
            value["data"],
            session,
            signed,
            webhook_id=webhook_id,
            duplicate=duplicate,
            key_index=next(iter(indexes.values())),
            key_indexes=indexes,
        )

    def _identity(self, signature: str | None, canonical: bytes, proof: _Proof | None) -> str:
        """What a request is known by if it comes again."""
        if signature and not self._secrets:
            return signature
        content = canonical if self._keys or proof is None else proof.content
        return hashlib.sha256(content).hexdigest()

    def _unsigned(self) -> MissingHeaderError:
        if not self._keys:
            return MissingHeaderError(STANDARD_SIGNATURE_HEADER, _STANDARD)
        if not self._secrets:
            return MissingHeaderError(SIGNATURE_HEADER)
        return MissingHeaderError(SIGNATURE_HEADER, f"RelayBox or {_STANDARD}")

    def _matching(self, canonical: bytes, signature: str) -> int:
        for index, key in enumerate(self._keys):
            if key.verify(canonical, signature):
                return index
        raise InvalidSignatureError

    def _proven(self, headers: Mapping[str, str], body: JSONText, signatures: str) -> _Proof:
        message_id = _header(headers, STANDARD_ID_HEADER, _STANDARD)
        timestamp = _header(headers, STANDARD_TIMESTAMP_HEADER, _STANDARD)
        raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body)
        content = signed_content(message_id, timestamp, raw)
        index = matching_secret(self._secrets, content, signatures)
        # No sender signs another form of timestamp, so no signature can be right.
        if index is None or not _SECONDS.fullmatch(timestamp):
            raise InvalidSignatureError("standard")
        return _Proof(index, timestamp, content)

    def _check_time(self, timestamp: str, signed: float, now: float) -> None:
        skew = now - signed
        if self._tolerance is not None and abs(skew) > self._tolerance:
            raise TimestampError(timestamp, skew, self._tolerance)


def _header(headers: Mapping[str, str], name: str, kind: str) -> str:
    value = _find(headers, name)
    if not value:
        raise MissingHeaderError(name, kind)
    return value


def _find(headers: Mapping[str, str], name: str) -> str | None:
    # The first form serves the mappings of HTTP servers, which ignore case, the second a dict.
    value = headers.get(name)
    if value is None:
        wanted = name.lower()
        value = next((value for other, value in headers.items() if other.lower() == wanted), None)
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
