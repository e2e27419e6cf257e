"""The rules that all front ends share: what passes, and what the rest is answered."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from support import KEY
from support.signing import signed

from relaybox_hooks import ReceivedEvent, WebhookVerifier, errors
from relaybox_hooks.errors import (
    ConfigError,
    InvalidSignatureError,
    MalformedBodyError,
    MissingHeaderError,
    ReplayedRequestError,
    TimestampError,
    VerificationError,
)
from relaybox_hooks.receive import guard as gate
from relaybox_hooks.receive.guard import ErrorResponseError, RequestGuard, webhook_paths
from relaybox_hooks.wire.json_parsing import JSONText


def answer(refused: ErrorResponseError) -> tuple[int, str]:
    return refused.status, json.loads(refused.body)["error"]


class OwnError(VerificationError):
    """An error of somebody's own verifier."""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MissingHeaderError("X-Secret"), 400),
        (MalformedBodyError("SECRET"), 400),
        (InvalidSignatureError(), 401),
        (TimestampError("SECRET", 60, 30), 401),
        (ReplayedRequestError("SECRET"), 401),
        (OwnError("SECRET"), 401),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_has_its_answer(error: VerificationError, status: int) -> None:
    """The same whatever the error holds."""
    refused = ErrorResponseError.of(error)
    assert answer(refused) == (status, type(error).__name__)
    assert refused.headers == {"Content-Type": "application/json"}
    assert "secret" not in refused.body.decode().lower()


def test_every_error_of_the_library_has_a_row_of_its_own() -> None:
    *rows, _ = gate._RESPONSES
    kinds = tuple(row[0] for row in rows)
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, VerificationError):
            assert issubclass(error, kinds) or error is VerificationError, error


@pytest.mark.parametrize(
    ("method", "length", "expected"),
    [
        ("POST", None, None),
        ("POST", 0, None),
        ("POST", 100, None),
        ("POST", 101, (413, "BodyTooLarge")),
        ("GET", 0, (405, "MethodNotAllowed")),
        ("PUT", 101, (405, "MethodNotAllowed")),
    ],
)
def test_a_head_can_be_enough(
    method: str, length: int | None, expected: tuple[int, str] | None
) -> None:
    guard = RequestGuard(WebhookVerifier(KEY), 100)
    if expected is None:
        guard.check_head(method, length)
        return
    with pytest.raises(ErrorResponseError) as caught:
        guard.check_head(method, length)
    assert answer(caught.value) == expected


class Watched(WebhookVerifier):
    """Notes the threads that it works in."""

    def __init__(self) -> None:
        super().__init__(KEY)
        self.threads: list[int] = []

    def verify(self, headers: Mapping[str, str], body: JSONText) -> ReceivedEvent:
        self.threads.append(threading.get_ident())
        return super().verify(headers, body)


async def test_a_long_body_does_not_stall_the_event_loop() -> None:
    """Such a body can take most of a second to verify, whoever sent it."""
    verifier = Watched()
    guard = RequestGuard(verifier, 1 << 20)
    assert (await guard.verify(*signed("short", "x" * 1_000))).id == "short"
    assert (await guard.verify(*signed("long", "x" * 20_000))).id == "long"
    with pytest.raises(ErrorResponseError):
        await guard.verify({}, b" " * 20_000)
    here = threading.get_ident()
    assert [thread == here for thread in verifier.threads] == [True, False, False]


@pytest.mark.parametrize("paths", [(), ("webhook",), ("/webhook", ""), (None,)])
def test_paths_that_protect_nothing_are_refused(paths: Any) -> None:
    with pytest.raises(ConfigError, match="paths="):
        webhook_paths(paths)


@pytest.mark.parametrize("max_body", [0, -1, 1.5, None])
def test_a_bound_that_cannot_work_is_refused(max_body: Any) -> None:
    with pytest.raises(ConfigError, match="max_body="):
        RequestGuard(WebhookVerifier(KEY), max_body)
