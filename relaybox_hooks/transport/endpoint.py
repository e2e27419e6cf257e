"""The endpoint of one webhook: URL, keys and headers of its requests, prepared once."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from functools import lru_cache
from io import BytesIO
from typing import Final, cast

from aiohttp import ClientRequest, ClientResponse, ClientSession, ClientTimeout, hdrs
from yarl import URL

from relaybox_hooks._version import __version__
from relaybox_hooks.targets.policies import RetryPolicy
from relaybox_hooks.targets.settings import Settings
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.transport.prebuilt_request import (
    AT_ONCE,
    lines_of,
    start_of,
    takes_prebuilt,
    write,
)
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

#: The same as they are written: hundreds of bytes that are not kept for each webhook.
_LINES: Final = lines_of(_HEADERS)

#: Bytes that aiohttp takes without a warning; longer bodies it wants to write in pieces.
_MAX_BYTES: Final = 2**20


class Endpoint:
    """Everything that the requests to one webhook have in common.

    Attributes:
        max_response: bytes read of a response's body.
        retry: says which statuses are tried again.
        timeout: seconds an attempt may take.
        url: the webhook's.
    """

    __slots__ = (
        "_connect_timeout",
        "_headers",
        "_id",
        "_key",
        "_lines",
        "_secrets",
        "_start",
        "max_response",
        "retry",
        "timeout",
        "url",
    )

    def __init__(self, webhook: Webhook, settings: Settings) -> None:
        # As it was registered: yarl would rewrite escapes, and a pre-signed URL holds no more.
        self.url: URL = URL(webhook.url, encoded=webhook.url.isascii())
        self.retry: RetryPolicy = settings.retry
        self.max_response: int = settings.max_response
        self.timeout: float = cast("float", settings.timeouts.total)
        self._key = _key_of(webhook)
        secrets = webhook.standard_webhooks
        #: Of Standard Webhooks; none where the webhook does not sign by it.
        self._secrets = tuple(map(StandardSecret, secrets)) if secrets else None
        self._headers = {**webhook.headers, **_HEADERS} if webhook.headers else _HEADERS
        self._id = webhook.id
        self._start = start_of(self.url, {WEBHOOK_ID_HEADER: webhook.id})
        self._lines = lines_of(self._headers) if webhook.headers else _LINES
        self._connect_timeout = _timeout_of(settings.timeouts.connect)

    def rekey(self, webhook: Webhook) -> None:
        """Sign with the keys of ``webhook`` from the next attempt on."""
        self._key = _key_of(webhook)

    def post(
        self,
        session: ClientSession,
        envelope: Envelope,
        now: float,
        extra: Mapping[str, str] | None = None,
    ) -> Awaitable[ClientResponse]:
        """Post ``envelope``, stamped and signed.

        Args:
            session: the shared session.
            envelope: the encoded event.
            now: the moment of the attempt, seconds since the Unix epoch.
            extra: headers by lower-case name, for this attempt; one that the request has
                already stays as it is.
        """
        body = envelope.at(format_timestamp(now))
        headers = {SIGNATURE_HEADER: self._key.sign(body)}
        if self._secrets is not None:
            headers.update(standard_headers(self._secrets, envelope.id, now, body))
        if extra:
            self._add(extra, headers)
        if len(body) <= AT_ONCE and takes_prebuilt(session):
            return session.post(
                self.url,
                data=write(self._start + self._lines, headers, body),
                allow_redirects=False,
                timeout=self._connect_timeout,
            )
        return session.post(
            self.url,
            data=body if len(body) <= _MAX_BYTES else BytesIO(body),
            headers={**self._headers, WEBHOOK_ID_HEADER: self._id, **headers},
            allow_redirects=False,
            raise_for_status=False,  # whatever the host's own session has
            timeout=self._connect_timeout,
        )

    def _add(self, extra: Mapping[str, str], headers: dict[str, str]) -> None:
        """Add an observer's headers to those of an attempt; they replace none."""
        names = (*self._headers, WEBHOOK_ID_HEADER, *headers, *ClientRequest.DEFAULT_HEADERS)
        taken = {name.lower() for name in names}
        headers |= {name: value for name, value in extra.items() if name.lower() not in taken}


def _key_of(webhook: Webhook) -> SigningKey | RotatingKey:
    """Return the key of a webhook: one that rotates costs those that do not rotate nothing."""
    key = SigningKey(webhook.signing_key)
    if webhook.previous_key is None or webhook.rotate_at is None:
        return key
    return RotatingKey(SigningKey(webhook.previous_key), key, webhook.rotate_at)


@lru_cache(maxsize=64)
def _timeout_of(seconds: float | None) -> ClientTimeout:
    """Return aiohttp's form of a time-out, one object for all webhooks that have the same.

    It limits connecting alone: the deadline of an attempt is kept by the runtime.
    """
    return ClientTimeout(total=None, sock_connect=seconds)
