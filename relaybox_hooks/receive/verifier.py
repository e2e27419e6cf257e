"""Verification of webhook requests: signature, age and replays."""

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
from relaybox_hooks.receive.replay_protection import AcceptedRequest, AcceptedRequests
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

#: Name of the scheme in errors.
_STANDARD: Final = "Standard Webhooks"
#: Timestamp in whole seconds; 15 digits cover all dates, and a float represents them exactly.
_SECONDS: Final = re.compile(r"\d{1,15}", re.ASCII)
#: Tuple, because isinstance() takes three times as long with a union.
_TEXT: Final = (str, bytes, bytearray, memoryview)


def verify_webhook_signature(body: Any, signature: str, signing_key: str) -> bool:
    """Return True if ``signature`` is the RelayBox signature of ``body`` under ``signing_key``.

    Checks nothing else, so a captured request passes forever. :class:`WebhookVerifier` also
    checks age and replays, and prepares the key once instead of at each call (this function
    caches none, so that no secret outlives the call).

    Args:
        body: body of the request as bytes or str, or the value a JSON parser returned for it.
        signature: value of ``X-Relaybox-Webhook-Signature``, 64 lower-case hex digits.
        signing_key: signing key of the webhook, as issued by RelayBox.

    Returns:
        True or False, in constant time for a given body; False for malformed arguments, which
        raise no exception.
    """
    try:
        key = SigningKey(signing_key)
        canonical = parse(body)[1] if isinstance(body, _TEXT) else canonicalize_parsed(body)
    except (ConfigError, MalformedBodyError):
        return False
    return isinstance(signature, str) and key.verify(canonical, signature)


class ReceivedEvent(Event[Any]):
    """Event of a verified request. Its ``timestamp`` is the time of the attempt's signing.

    ``name`` may be any text: RelayBox, or a sender with custom events, may send names that this
    version of the library does not declare.

    Attributes:
        webhook_id: id of the webhook, from the request's header. It is not signed, so do not
            base security decisions on it. ``""`` if a request signed by Standard Webhooks
            alone lacks the header.
        duplicate: True if the verifier has accepted an earlier attempt for the same event and
            webhook whose response was lost or was not 2xx. Skip the event only if it was
            handled. False does not prove that it is new, because the verifier's memory is
            bounded and local to the process.
        key_index: index of the signing key that matched, from 0; for a request signed by
            Standard Webhooks alone, index of the secret.
        key_indexes: index of the key or secret by scheme of each verified signature:
            ``{"relaybox": 0}``, ``{"standard": 1}`` or both.
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
    """Result of a Standard Webhooks check.

    Attributes:
        key_index: index of the secret that matched.
        timestamp: signed timestamp, whole seconds since the Unix epoch, text.
        content: signed content.
    """

    key_index: int
    timestamp: str
    content: bytes


class WebhookVerifier:
    """Verifier of webhook requests; thread-safe.

    Accepts no request twice: it stores the signatures of the last ``memory`` events. A retry is
    a different request, with a newer timestamp and signature, and is accepted. The signature
    alone identifies a replay, because no other part of a request proves its origin. Two
    webhooks that share a key and an endpoint can therefore be mistaken for each other's replay:
    give each webhook its own key.

    With ``standard_webhooks`` the verifier also accepts requests signed by Standard Webhooks;
    without signing keys, only those. A signature of either scheme suffices, so security is that
    of the weaker secret; if a request has signatures of both schemes, both must match. Since
    such a request has several signatures, an attacker could replay it once per signature. The
    verifier therefore identifies it by the signed content: the body with signing keys, else all
    that Standard Webhooks signs. Webhooks that send the same events to one endpoint then need a
    verifier each.

    Replay protection requires that ``memory`` covers all events of the period in which a
    request passes the time check, at most twice ``tolerance``. At a higher rate, or with
    ``tolerance=None``, the oldest requests are evicted, and a replay of those would be
    accepted. The verifier logs a warning at the first such eviction and counts them in
    :attr:`forgotten`. The memory is not shared: several processes behind one endpoint need a
    common store, keyed by event id.

    Args:
        signing_keys: signing keys of the webhook; during a rotation the new and the old one.
            ``key_index`` of an event is the index of the key that matched.
        standard_webhooks: one or several Standard Webhooks secrets (``whsec_...``).
        tolerance: maximum difference between a request's timestamp and the local clock in
            either direction, seconds or a timedelta; ``None`` disables the check. RelayBox
            uses 30. With signing keys it applies to the timestamp in the body; for a Standard
            Webhooks signature also to the one in the header.
        memory: number of event ids to store, about 0.5 KB each. Events per second times twice
            the tolerance is enough.
        clock: returns the time, seconds since the Unix epoch.

    Raises:
        ConfigError: no key is given, or an argument is invalid.
    """

    __slots__ = ("_accepted", "_clock", "_keys", "_secrets", "_tolerance")

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
        self._accepted = AcceptedRequests(memory, math.inf if tolerance is None else tolerance)

    @property
    def forgotten(self) -> int:
        """Return the number of requests evicted while a replay would still have been accepted."""
        return self._accepted.forgotten

    def verify(self, headers: Mapping[str, str], body: JSONText) -> ReceivedEvent:
        """Verify one request and return its event.

        Checks the signature before it reads any member of the body, and stores a request only
        after the time check.

        Args:
            headers: headers of the request, names in any case.
            body: body as received; a parsed and re-serialised body may not be identical.

        Raises:
            MissingHeaderError: the signature or another required header is missing.
            MalformedBodyError: the body is not a JSON object of the protocol's shape.
            InvalidSignatureError: a signature matches the body under none of the keys.
            TimestampError: the request was signed too long ago, or too far in the future.
            ReplayedRequestError: the same request was accepted before.
        """
        signature = _find(headers, SIGNATURE_HEADER) if self._keys else None
        signatures = _find(headers, STANDARD_SIGNATURE_HEADER) if self._secrets else None
        if not signature and not signatures:
            raise self._unsigned_error()
        webhook_id = _find(headers, WEBHOOK_ID_HEADER) or ""
        if signature and not webhook_id:
            raise MissingHeaderError(WEBHOOK_ID_HEADER)
        value, canonical = parse(body)
        indexes: dict[Scheme, int] = {}
        proof = None
        if signature:
            indexes["relaybox"] = self._matching_key(canonical, signature)
        if signatures:
            proof = self._check_standard(headers, body, signatures)
            indexes["standard"] = proof.key_index
        event_id, name, timestamp, signed = _read_members(value)
        session = _read_session(value["session"])
        now = self._clock()
        sent = signed
        if self._keys:
            self._check_time(timestamp, signed, now)
        if proof is not None:
            sent = float(proof.timestamp)
            self._check_time(proof.timestamp, sent, now)
        request = AcceptedRequest(self._identity(signature, canonical, proof), webhook_id, sent)
        duplicate = self._accepted.add(event_id, request, now)
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
        """Return the text that identifies a replay of the request."""
        if signature and not self._secrets:
            return signature
        content = canonical if self._keys or proof is None else proof.content
        return hashlib.sha256(content).hexdigest()

    def _unsigned_error(self) -> MissingHeaderError:
        if not self._keys:
            return MissingHeaderError(STANDARD_SIGNATURE_HEADER, _STANDARD)
        if not self._secrets:
            return MissingHeaderError(SIGNATURE_HEADER)
        return MissingHeaderError(SIGNATURE_HEADER, f"RelayBox or {_STANDARD}")

    def _matching_key(self, canonical: bytes, signature: str) -> int:
        for index, key in enumerate(self._keys):
            if key.verify(canonical, signature):
                return index
        raise InvalidSignatureError

    def _check_standard(
        self, headers: Mapping[str, str], body: JSONText, signatures: str
    ) -> _Proof:
        message_id = _header(headers, STANDARD_ID_HEADER, _STANDARD)
        timestamp = _header(headers, STANDARD_TIMESTAMP_HEADER, _STANDARD)
        raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body)
        content = signed_content(message_id, timestamp, raw)
        index = matching_secret(self._secrets, content, signatures)
        # A timestamp in another format cannot have a valid signature of a correct sender.
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
    # HTTP servers pass case-insensitive mappings; a plain dict needs the second look-up.
    value = headers.get(name)
    if value is None:
        wanted = name.lower()
        value = next((value for other, value in headers.items() if other.lower() == wanted), None)
    return value


def _read_members(value: Any) -> tuple[str, str, str, float]:
    """Return id, name and timestamp of a body, and the timestamp in seconds since the epoch."""
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


def _read_session(value: Any) -> Session:
    """Return a received session; accepts ``null`` and unknown members."""
    if value is None:
        return NO_SESSION
    if type(value) is not dict:
        raise MalformedBodyError("its member 'session' is neither an object nor null")
    try:
        return Session.of(value if "appPid" in value else {"appPid": None, **value})
    except PayloadError as error:
        raise MalformedBodyError(f"its member {error.path!r} has the wrong type") from None
