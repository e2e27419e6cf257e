"""What becomes of a webhook request: its event, or an answer that says what is wrong with it.

The rules that all front ends share, without any I/O:

====== ================================================ ======================
status when                                             ``error`` in the body
====== ================================================ ======================
405    the method is not POST                           MethodNotAllowed
413    the body is longer than ``max_body``             BodyTooLarge
400    it is no RelayBox request: a header is missing   MissingHeaderError
400    ... or the body has another shape                MalformedBodyError
401    nothing proves who sent it                       InvalidSignatureError
401    it is proven, but not fresh                      TimestampError
401    ... or not new                                   ReplayedRequestError
====== ================================================ ======================

For senders all of them are final: the same request again would fare no better. What an answer
says is fixed for each case, so that it cannot give away a secret or a payload; the details are
in the error that is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import orjson
from anyio import to_thread

from relaybox_hooks.errors import (
    ConfigError,
    InvalidSignatureError,
    MalformedBodyError,
    MissingHeaderError,
    ReplayedRequestError,
    TimestampError,
    VerificationError,
)
from relaybox_hooks.receive.verifier import ReceivedEvent, WebhookVerifier
from relaybox_hooks.validation import check_int

_log = logging.getLogger(__name__)

#: What ``Hooks`` sends at most, unless it is told otherwise.
MAX_BODY: Final = 1_048_576

#: Bytes of a body that is verified where it is received. One made to be slow takes up to 0.7 µs
#: a byte, before it is known who sent it: longer ones must not stall the event loop.
_INLINE: Final = 16_384

#: The last row is for errors that only a verifier of one's own has.
_ANSWERS: Final = (
    (MissingHeaderError, 400, "a header that every webhook request carries is missing"),
    (MalformedBodyError, 400, "the body is not the JSON object that a webhook request carries"),
    (InvalidSignatureError, 401, "the signature does not fit the body"),
    (TimestampError, 401, "the timestamp is too far from this server's clock"),
    (ReplayedRequestError, 401, "this very request was accepted before"),
    (VerificationError, 401, "the request is not to be trusted"),
)


class RefusedError(Exception):
    """A request is answered instead of handled. No front end lets it out.

    Attributes:
        status: the answer's status code.
        headers: its headers, all but the length.
        body: its body, JSON in UTF-8.
    """

    def __init__(self, status: int, error: str, reason: str) -> None:
        super().__init__(f"{error}: {reason}")
        self.status = status
        self.headers: dict[str, str] = {"Content-Type": "application/json"}
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.headers["Allow"] = "POST"  # RFC 9110 §15.5.6 asks for it
        self.body: bytes = orjson.dumps({"error": error, "reason": reason})

    @classmethod
    def of(cls, error: VerificationError) -> RefusedError:
        """What a request is answered that the verifier does not trust."""
        status, reason = next(row[1:] for row in _ANSWERS if isinstance(error, row[0]))
        return cls(status, type(error).__name__, reason)

    def log(self) -> None:
        """Tell the log what the answer leaves out. Not above INFO: anybody can send a request."""
        _log.info("a webhook request was answered %d: %s", self.status, self.__cause__ or self)


class RequestGuard:
    """Lets the requests of one front end through, or raises what they are answered.

    Args:
        verifier: whose requests pass.
        max_body: bytes of the longest body that is read.

    Raises:
        ConfigError: ``max_body`` is not a whole number of at least 1.
    """

    __slots__ = ("_verifier", "max_body")

    def __init__(self, verifier: WebhookVerifier, max_body: int) -> None:
        self._verifier = verifier
        self.max_body: int = check_int("max_body", max_body)

    def check_head(self, method: str, length: int | None) -> None:
        """Check what is known before the body is read.

        Args:
            length: the body's length as the request states it, ``None`` where it does not.

        Raises:
            RefusedError: there is no need to read the body.
        """
        if method != "POST":
            raise RefusedError(405, "MethodNotAllowed", "webhook requests are POSTs")
        self.check_length(length or 0)

    def check_length(self, length: int) -> None:
        """Check how much of the body has been read so far.

        Raises:
            RefusedError: it is more than ``max_body``.
        """
        if length > self.max_body:
            raise self.too_large()

    def too_large(self) -> RefusedError:
        """What a request is answered whose body is longer than ``max_body``."""
        reason = f"this server reads bodies of up to {self.max_body} bytes"
        return RefusedError(413, "BodyTooLarge", reason)

    async def verify(self, headers: Mapping[str, str], body: bytes) -> ReceivedEvent:
        """The event of a request that was read whole.

        Raises:
            RefusedError: the verifier does not trust it.
        """
        try:
            if len(body) <= _INLINE:
                return self._verifier.verify(headers, body)
            return await to_thread.run_sync(self._verifier.verify, headers, body)
        except VerificationError as error:
            raise RefusedError.of(error) from error


def webhook_paths(paths: tuple[str, ...]) -> frozenset[str]:
    """The paths that a middleware was given.

    Raises:
        ConfigError: there are none, so that nothing would be verified, or one is no path.
    """
    if not paths:
        raise ConfigError("paths", (), "name those that webhooks come to, such as '/webhook'")
    for path in paths:
        if not isinstance(path, str) or not path.startswith("/"):
            raise ConfigError("paths", path, "a path is text that begins with '/'")
    return frozenset(paths)


def not_verified(path: str) -> ConfigError:
    """The error of a handler that asks for an event where no request is verified."""
    return ConfigError("path", path, "its requests are not verified: give it to the middleware")
