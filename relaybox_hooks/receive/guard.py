"""Verification rules and error responses that all framework integrations share; no I/O.

====== ================================================ ======================
status when                                             ``error`` in the body
====== ================================================ ======================
405    the method is not POST                           MethodNotAllowed
413    the body is longer than ``max_body``             BodyTooLarge
400    a required header is missing                     MissingHeaderError
400    the body is not JSON of the protocol's shape     MalformedBodyError
401    the signature does not match                     InvalidSignatureError
401    the timestamp is out of tolerance                TimestampError
401    the request was accepted before                  ReplayedRequestError
====== ================================================ ======================

All of them are final for senders: a repetition of the request would fail again. Each response
has a fixed text, so that it cannot disclose a secret or a payload; details are in the log.
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

#: Default limit of a body, bytes; also the default limit of ``Hooks`` for sending.
MAX_BODY: Final = 1_048_576

#: Longest body that is verified in the event loop, bytes. A crafted body takes up to 0.7 µs per
#: byte before its signature is checked, so longer ones are verified in a worker thread.
_INLINE: Final = 16_384

#: Responses by error class; the last row is for a custom verifier's subclasses.
_RESPONSES: Final = (
    (MissingHeaderError, 400, "a header that every webhook request carries is missing"),
    (MalformedBodyError, 400, "the body is not the JSON object that a webhook request carries"),
    (InvalidSignatureError, 401, "the signature does not fit the body"),
    (TimestampError, 401, "the timestamp is too far from this server's clock"),
    (ReplayedRequestError, 401, "this very request was accepted before"),
    (VerificationError, 401, "the request is not to be trusted"),
)


class ErrorResponseError(Exception):
    """Raised to answer a request with an error response instead of calling its handler.

    The framework integrations catch it; it never reaches the application.

    Attributes:
        status: status code of the response.
        headers: headers of the response, without ``Content-Length``.
        body: body of the response, JSON in UTF-8.
    """

    def __init__(self, status: int, error: str, reason: str) -> None:
        super().__init__(f"{error}: {reason}")
        self.status = status
        self.headers: dict[str, str] = {"Content-Type": "application/json"}
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.headers["Allow"] = "POST"  # required by RFC 9110 §15.5.6
        self.body: bytes = orjson.dumps({"error": error, "reason": reason})

    @classmethod
    def of(cls, error: VerificationError) -> ErrorResponseError:
        """Build the response to a request that failed verification."""
        status, reason = next(row[1:] for row in _RESPONSES if isinstance(error, row[0]))
        return cls(status, type(error).__name__, reason)

    def log(self) -> None:
        """Log the details that the response omits, at INFO, since anyone can send requests."""
        _log.info("a webhook request was answered %d: %s", self.status, self.__cause__ or self)


class RequestGuard:
    """Verifier of one endpoint's requests that raises error responses.

    Args:
        verifier: verifier of the requests.
        max_body: maximum length of a body, bytes.

    Raises:
        ConfigError: ``max_body`` is not a whole number of at least 1.
    """

    __slots__ = ("_verifier", "max_body")

    def __init__(self, verifier: WebhookVerifier, max_body: int) -> None:
        self._verifier = verifier
        self.max_body: int = check_int("max_body", max_body)

    def check_head(self, method: str, length: int | None) -> None:
        """Check method and ``Content-Length`` before the body is read.

        Args:
            method: method of the request.
            length: value of ``Content-Length``, bytes; ``None`` without the header.

        Raises:
            ErrorResponseError: the method is not POST, or ``length`` exceeds ``max_body``.
        """
        if method != "POST":
            raise ErrorResponseError(405, "MethodNotAllowed", "webhook requests are POSTs")
        self.check_length(length or 0)

    def check_length(self, length: int) -> None:
        """Check the number of bytes read so far.

        Raises:
            ErrorResponseError: ``length`` exceeds ``max_body``.
        """
        if length > self.max_body:
            raise self.too_large()

    def too_large(self) -> ErrorResponseError:
        """Return the response to a request whose body is longer than ``max_body``."""
        reason = f"this server reads bodies of up to {self.max_body} bytes"
        return ErrorResponseError(413, "BodyTooLarge", reason)

    async def verify(self, headers: Mapping[str, str], body: bytes) -> ReceivedEvent:
        """Verify a request whose body was read completely, and return its event.

        Raises:
            ErrorResponseError: the request failed verification.
        """
        try:
            if len(body) <= _INLINE:
                return self._verifier.verify(headers, body)
            return await to_thread.run_sync(self._verifier.verify, headers, body)
        except VerificationError as error:
            raise ErrorResponseError.of(error) from error


def webhook_paths(paths: tuple[str, ...]) -> frozenset[str]:
    """Validate the paths of a middleware and return them as a set.

    Raises:
        ConfigError: ``paths`` is empty, so that no request would be verified, or contains an
            item that is not a path.
    """
    if not paths:
        raise ConfigError(
            "paths", (), "give the paths that webhooks are sent to, such as '/webhook'"
        )
    for path in paths:
        if not isinstance(path, str) or not path.startswith("/"):
            raise ConfigError("paths", path, "a path is text that begins with '/'")
    return frozenset(paths)


def not_verified(path: str) -> ConfigError:
    """Return the error for a handler that asks for the event of an unverified request."""
    return ConfigError("path", path, "its requests are not verified: add it to the middleware")
