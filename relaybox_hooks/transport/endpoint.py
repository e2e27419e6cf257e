"""The endpoint of one webhook: URL, keys and headers of its requests, prepared once."""

from __future__ import annotations

from collections.abc import Mapping
from ssl import SSLContext
from typing import Final, cast

from aiohttp import ClientRequest, hdrs
from yarl import URL

from relaybox_hooks._version import __version__
from relaybox_hooks.targets.policies import RetryPolicy
from relaybox_hooks.targets.settings import Settings
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.transport.connections import Connections
from relaybox_hooks.transport.fresh_headers import FreshHeaders
from relaybox_hooks.transport.request_head import lines, lines_of, start_of
from relaybox_hooks.wire.envelope import Envelope, format_timestamp
from relaybox_hooks.wire.key_rotation import RotatingKey
from relaybox_hooks.wire.signing import SIGNATURE_HEADER, WEBHOOK_ID_HEADER, SigningKey
from relaybox_hooks.wire.standard_webhooks import StandardSecret, standard_headers

USER_AGENT: Final = f"relaybox-hooks/{__version__}"

#: Headers that are the same whatever the webhook; one with none of its own needs no copy.
_HEADERS: Final[dict[str, str]] = {
    hdrs.CONTENT_TYPE: "application/json",
    hdrs.USER_AGENT: USER_AGENT,
}

_NO_HEADERS: Final[Mapping[str, str]] = {}

#: The same as they are written: hundreds of bytes that are not kept for each webhook.
_LINES: Final = lines_of(_HEADERS)


class Endpoint:
    """Everything that the requests to one webhook have in common.

    Args:
        webhook: says most of it.
        settings: of the webhook.
        ssl: of its profile; used where it has none of its own and speaks TLS.
        headers: of its profile; those of its own replace them by name.
        fresh: of its profile; ``None`` where the webhook makes headers itself.

    Attributes:
        connections: to it; made when the first is needed.
        connect_timeout: seconds for the handshakes of a connection, or ``None``.
        fresh: headers that a function makes; ``None`` where there is no such function.
        max_response: raw bytes read of a response.
        ssl: how to speak TLS with it; ``None`` for the session's own way.
        retry: says which statuses are tried again.
        timeout: seconds an attempt may take.
        url: the webhook's.
    """

    __slots__ = (
        "_headers",
        "_id",
        "_key",
        "_lines",
        "_secrets",
        "_start",
        "connect_timeout",
        "connections",
        "fresh",
        "max_response",
        "retry",
        "ssl",
        "timeout",
        "url",
    )

    def __init__(
        self,
        webhook: Webhook,
        settings: Settings,
        ssl: SSLContext | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
        fresh: FreshHeaders | None = None,
    ) -> None:
        # As it was registered: yarl would rewrite escapes, and a pre-signed URL holds no more.
        self.url: URL = URL(webhook.url, encoded=webhook.url.isascii())
        self.retry: RetryPolicy = settings.retry
        self.max_response: int = settings.max_response
        self.timeout: float = cast("float", settings.timeouts.total)
        self.connect_timeout: float | None = cast("float | None", settings.timeouts.connect)
        self.ssl: SSLContext | None = webhook.ssl
        if ssl is not None and self.ssl is None and self.url.scheme == "https":
            self.ssl = ssl
        self.connections: Connections | None = None
        self._key = _key_of(webhook)
        secrets = webhook.standard_webhooks
        #: Of Standard Webhooks; none where the webhook does not sign by it.
        self._secrets = tuple(map(StandardSecret, secrets)) if secrets else None
        self.fresh: FreshHeaders | None = fresh
        if callable(webhook.headers):
            self.fresh = FreshHeaders("Webhook.headers", webhook.headers, webhook.checked_headers)
        else:
            headers = _joined(headers, webhook.headers)
        self._headers = {**headers, **_HEADERS} if headers else _HEADERS
        self._id = webhook.id
        self._start = start_of(self.url, {WEBHOOK_ID_HEADER: webhook.id})
        self._lines = lines_of(self._headers) if headers else _LINES

    def rekey(self, webhook: Webhook) -> None:
        """Sign with the keys of ``webhook`` from the next attempt on."""
        self._key = _key_of(webhook)

    def request(
        self, envelope: Envelope, now: float, extra: Mapping[str, str] | None = None
    ) -> bytes:
        """Return a whole request: ``envelope``, stamped and signed.

        Args:
            envelope: the encoded event.
            now: the moment of the attempt, seconds since the Unix epoch.
            extra: headers by lower-case name, for this attempt; one that the request has
                already stays as it is.

        Raises:
            ValueError: a header that would begin another line.
        """
        body = envelope.at(format_timestamp(now))
        # A signature needs no look at its characters.
        head = f"{self._start}{self._lines}{SIGNATURE_HEADER}: {self._key.sign(body)}\r\n"
        if extra or self._secrets is not None:
            head += lines(self._further(envelope, now, body, extra))
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def headers_and_body(
        self, envelope: Envelope, now: float, extra: Mapping[str, str] | None = None
    ) -> tuple[dict[str, str], bytes]:
        """Return the parts of the same request, for a client that writes the head itself."""
        body = envelope.at(format_timestamp(now))
        headers = {**self._headers, WEBHOOK_ID_HEADER: self._id}
        headers[SIGNATURE_HEADER] = self._key.sign(body)
        headers |= self._further(envelope, now, body, extra)
        return headers, body

    def _further(
        self, envelope: Envelope, now: float, body: bytes, extra: Mapping[str, str] | None
    ) -> dict[str, str]:
        """Return the headers of an attempt that most have none of."""
        headers: dict[str, str] = {}
        if self._secrets is not None:
            headers.update(standard_headers(self._secrets, envelope.id, now, body))
        if extra:
            self._add(extra, headers)
        return headers

    def _add(self, extra: Mapping[str, str], headers: dict[str, str]) -> None:
        """Add an observer's headers to those of an attempt; they replace none."""
        own = WEBHOOK_ID_HEADER, SIGNATURE_HEADER
        names = (*self._headers, *own, *headers, *ClientRequest.DEFAULT_HEADERS)
        taken = {name.lower() for name in names}
        headers |= {name: value for name, value in extra.items() if name.lower() not in taken}


def _key_of(webhook: Webhook) -> SigningKey | RotatingKey:
    """Return the key of a webhook: one that rotates costs those that do not rotate nothing."""
    key = SigningKey(webhook.signing_key)
    if webhook.previous_key is None or webhook.rotate_at is None:
        return key
    return RotatingKey(SigningKey(webhook.previous_key), key, webhook.rotate_at)


def _joined(shared: Mapping[str, str], own: Mapping[str, str]) -> Mapping[str, str]:
    """Return both; where both have a name, ``own`` has the value."""
    if not shared or not own:
        return shared or own
    names = {name.lower() for name in own}
    return {name: value for name, value in shared.items() if name.lower() not in names} | dict(own)
