"""Validation of messages from browsers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, TypedDict

import orjson

Message: TypeAlias = dict[str, Any]

#: Maximum size of a websocket message or request body, bytes: the longest text in UTF-8 and more.
MESSAGE_LIMIT: Final = 16_384
NAME_LIMIT: Final = 40
BODY_LIMIT: Final = 2_000


class UserData(TypedDict):
    """Presence data of a user in a room: ``userData`` of presence events."""

    mood: str
    typing: bool


class InvalidRequestError(Exception):
    """Raised when a request is invalid; its text is shown to the user."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


def parse(text: str | bytes) -> Message:
    """Parse a JSON object. orjson also rejects lone surrogates, which webhooks cannot send."""
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise InvalidRequestError("that is not JSON") from None
    if not isinstance(message, dict):
        raise InvalidRequestError("that is not a JSON object")
    return message


def text(message: Message, name: str, limit: int = BODY_LIMIT) -> str:
    value = message.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequestError(f"{name} is missing")
    if len(value) > limit:
        raise InvalidRequestError(f"{name} is longer than {limit} characters")
    return value


def label(message: Message, name: str) -> str:
    """Return a name of a user or a room: printable text on one line."""
    value = text(message, name, NAME_LIMIT).strip()
    if not value.isprintable():
        raise InvalidRequestError(f"{name} has characters that cannot be shown")
    return value


def choice(message: Message, name: str, options: Iterable[str]) -> str:
    value = message.get(name)
    known = tuple(options)
    if not isinstance(value, str) or value not in known:
        raise InvalidRequestError(f"{name} must be one of {', '.join(known)}")
    return value


def user_data(message: Message) -> UserData:
    value = message.get("userData")
    match value:
        case {"mood": str(mood), "typing": bool(typing)} if len(mood) <= NAME_LIMIT:
            return {"mood": mood, "typing": typing}
    raise InvalidRequestError("userData must have a mood and whether you are typing")


def now() -> str:
    """Return the current time in RelayBox's format: ``2024-10-22T13:15:08.913Z``."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
