"""One attempt over the shared HTTP session, from an encoded event to an outcome."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from io import BytesIO
from typing import Any, Final

from aiohttp import (
    ClientConnectorError,
    ClientRequest,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    InvalidURL,
    hdrs,
)
from yarl import URL

from relaybox_hooks._version import __version__
from relaybox_hooks.outcome import Outcome, Verdict, of_status
from relaybox_hooks.targets.policies import RetryPolicy, Timeouts
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.transport.egress import EgressPolicy, blocked_by, make_connector
from relaybox_hooks.transport.prebuilt_request import (
    AT_ONCE,
    lines_of,
    open_posting,
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

#: The same as they are written. Hundreds of bytes that no webhook is to hold for itself.
_LINES: Final = lines_of(_HEADERS)

#: Response headers beyond these are an error: aiohttp's own defaults, named here so that a
#: change of theirs does not change what an endpoint can make us hold.
_MAX_LINE: Final = 8190
_MAX_HEADERS: Final = 128

#: Bytes that aiohttp takes without a warning; longer bodies it wants to write in pieces.
_MAX_BYTES: Final = 2**20

#: Where an error's own words end and bytes of the response, or another line, begin.
_QUOTATION: Final = re.compile(r":?\s*\bb['\"]|\n")

#: Characters kept of what an error says; an endpoint has a hand in it.
_MAX_DETAIL: Final = 200

#: The outcome of an attempt that its deadline ended.
TIMED_OUT: Final = Outcome(Verdict.RETRY, error="TimeoutError", detail="no response in time")

#: The outcome of an attempt that closing cut short; the endpoint may have seen the request.
INTERRUPTED: Final = Outcome(
    Verdict.RETRY, error="CancelledError", detail="closing ended the attempt"
)


def open_session(egress: EgressPolicy) -> ClientSession:
    """A session that keeps no cookies, takes no proxy from the environment, and connects only
    where ``egress`` allows. Its connector sets no limit: each lane has its own."""
    return open_posting(
        connector=make_connector(egress),
        cookie_jar=DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        max_line_size=_MAX_LINE,
        max_field_size=_MAX_LINE,
        max_headers=_MAX_HEADERS,
    )


class Endpoint:
    """What every request to one webhook has in common, prepared once."""

    __slots__ = (
        "_headers",
        "_id",
        "_key",
        "_lines",
        "_max_response",
        "_retry",
        "_secrets",
        "_start",
        "_timeout",
        "_url",
        "deadline",
    )

    def __init__(
        self, webhook: Webhook, retry: RetryPolicy, timeouts: Timeouts, max_response: int
    ) -> None:
        # As it was registered: yarl would rewrite escapes, and a pre-signed URL holds no more.
        self._url = URL(webhook.url, encoded=webhook.url.isascii())
        self._key = _key_of(webhook)
        secrets = webhook.standard_webhooks
        #: Of Standard Webhooks; none where the webhook does not sign by it.
        self._secrets = tuple(map(StandardSecret, secrets)) if secrets else None
        self._retry = retry
        self._max_response = max_response
        self._headers = {**webhook.headers, **_HEADERS} if webhook.headers else _HEADERS
        self._id = webhook.id
        self._start = start_of(self._url, {WEBHOOK_ID_HEADER: webhook.id})
        self._lines = lines_of(self._headers) if webhook.headers else _LINES
        self._timeout = _connect_timeout(timeouts.connect)
        #: Seconds an attempt may take.
        self.deadline: float = timeouts.total  # type: ignore[assignment]

    def rekey(self, webhook: Webhook) -> None:
        """Sign with the keys of ``webhook`` from the next attempt on."""
        self._key = _key_of(webhook)

    async def send(
        self,
        session: ClientSession,
        envelope: Envelope,
        time: Callable[[], float],
        extra: Mapping[str, str] | None = None,
    ) -> tuple[Outcome, ClientResponse | None]:
        """Post ``envelope``, signed at this moment. Never raises but for cancellation.

        The status decides: what happens to the response's body afterwards changes nothing.

        Args:
            session: the shared session.
            envelope: the encoded event.
            time: the wall clock, seconds since the Unix epoch.
            extra: headers by lower-case name, for this attempt; one that the request has
                already stays as it is.

        Returns:
            The outcome, and the response if there is one, to be handed to :meth:`drain`.
        """
        now = time()
        body = envelope.at(format_timestamp(now))
        headers = {SIGNATURE_HEADER: self._key.sign(body)}
        if self._secrets is not None:
            headers.update(standard_headers(self._secrets, envelope.id, now, body))
        if extra:
            self._add(extra, headers)
        try:
            response = await self._post(session, body, headers)
        except Exception as error:
            return of_error(error, self._url), None
        status, peername = response.status, getattr(response, "peername", None)
        if 200 <= status < 300:
            return _delivered(status, peername), response
        asked = response.headers.get(hdrs.RETRY_AFTER)
        outcome = of_status(status, asked, self._retry, time(), _shown(peername))
        return outcome, response

    def _add(self, extra: Mapping[str, str], headers: dict[str, str]) -> None:
        """Add an observer's headers to those of an attempt; they replace none."""
        names = (*self._headers, WEBHOOK_ID_HEADER, *headers, *ClientRequest.DEFAULT_HEADERS)
        taken = {name.lower() for name in names}
        headers |= {name: value for name, value in extra.items() if name.lower() not in taken}

    def _post(
        self, session: ClientSession, body: bytes, headers: dict[str, str]
    ) -> Awaitable[ClientResponse]:
        """Post ``body`` with the webhook's headers and these of the attempt."""
        if len(body) <= AT_ONCE and takes_prebuilt(session):
            return session.post(
                self._url,
                data=write(self._start + self._lines, headers, body),
                allow_redirects=False,
                timeout=self._timeout,
            )
        return session.post(
            self._url,
            data=body if len(body) <= _MAX_BYTES else BytesIO(body),
            headers={**self._headers, WEBHOOK_ID_HEADER: self._id, **headers},
            allow_redirects=False,
            raise_for_status=False,  # whatever the host's own session has
            timeout=self._timeout,
        )

    async def drain(self, response: ClientResponse) -> None:
        """Read the rest of the response within its bound, so that the connection can serve
        again; past the bound, or if anything goes wrong, the connection is closed."""
        content = response.content
        left = self._max_response
        try:
            while not content.at_eof():
                left -= len(await content.readany())
                if left < 0:
                    break
        except Exception:
            left = -1
        finally:
            if left < 0 or not content.at_eof():
                response.close()
            else:
                response.release()


def _key_of(webhook: Webhook) -> SigningKey | RotatingKey:
    """What signs bodies: chosen once, so that a webhook that rotates no key pays for none."""
    key = SigningKey(webhook.signing_key)
    if webhook.previous_key is None or webhook.rotate_at is None:
        return key
    return RotatingKey(SigningKey(webhook.previous_key), key, webhook.rotate_at)


@lru_cache(maxsize=64)
def _connect_timeout(seconds: float | None) -> ClientTimeout:
    """aiohttp's form of a time-out, one object for all webhooks that have the same.

    It limits connecting alone. The deadline of an attempt is kept by its lane, with one timer
    for all attempts; aiohttp would start one for each.
    """
    return ClientTimeout(total=None, sock_connect=seconds)


@lru_cache(maxsize=256)
def _delivered(status: int, peername: tuple[Any, ...] | None) -> Outcome:
    """The outcome that nearly all attempts at an endpoint come to, made once."""
    return Outcome(Verdict.DELIVERED, status, peer=_shown(peername))


def _shown(peername: tuple[Any, ...] | None) -> str | None:
    """Address and port as a URL has them."""
    if peername is None:
        return None
    address, port = peername[:2]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def of_error(error: Exception, url: URL) -> Outcome:
    """The outcome of an attempt to reach ``url`` that brought no response."""
    refusal = blocked_by(error)
    if refusal is not None:
        return Outcome(Verdict.FAILED, error="EgressError", detail=refusal)
    if isinstance(error, InvalidURL):
        return Outcome(Verdict.FAILED, error=type(error).__name__, detail=_said(error, url))
    cause: Any = error.os_error if isinstance(error, ClientConnectorError) else error
    name = type(error).__name__
    if type(cause) is not type(error) and type(cause) is not OSError:
        name = f"{name}({type(cause).__name__})"
    return Outcome(Verdict.RETRY, error=name, detail=_said(error, url))


def _said(error: Exception, url: URL) -> str:
    """What an error says, fit for a log: one bounded line, without the URL's query.

    aiohttp names the whole URL in some errors, and in others quotes the response, which may
    echo the payload.
    """
    text = error.message if isinstance(error, ClientResponseError) else str(error)
    for query in (url.raw_query_string, url.query_string):
        if query:
            text = text.replace(f"?{query}", "?***")
    return _QUOTATION.split(text, maxsplit=1)[0][:_MAX_DETAIL]
