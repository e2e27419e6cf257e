"""What browsers may send: every field is checked before anything happens."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, TypedDict

import orjson

Message: TypeAlias = dict[str, Any]

#: Bytes of one websocket message or request body: the longest text in UTF-8, with room to spare.
MESSAGE_LIMIT: Final = 16_384
NAME_LIMIT: Final = 40
BODY_LIMIT: Final = 2_000


class UserData(TypedDict):
    """What people show of themselves in a room: the ``userData`` of presence events."""

    mood: str
    typing: bool


class RefusedError(Exception):
    """Something that cannot be done; the text is for the person who asked."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


def parse(text: str | bytes) -> Message:
    """A JSON object. orjson also refuses lone surrogates, which no webhook could carry."""
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise RefusedError("that is not JSON") from None
    if not isinstance(message, dict):
        raise RefusedError("that is not a JSON object")
    return message


def text(message: Message, name: str, limit: int = BODY_LIMIT) -> str:
    value = message.get(name)
    if not isinstance(value, str) or not value.strip():
        raise RefusedError(f"{name} is missing")
    if len(value) > limit:
        raise RefusedError(f"{name} is longer than {limit} characters")
    return value


def label(message: Message, name: str) -> str:
    """Text that stands on one line: the name of a person or a room."""
    value = text(message, name, NAME_LIMIT).strip()
    if not value.isprintable():
        raise RefusedError(f"{name} has characters that cannot be shown")
    return value


def choice(message: Message, name: str, options: Iterable[str]) -> str:
    value = message.get(name)
    known = tuple(options)
    if not isinstance(value, str) or value not in known:
        raise RefusedError(f"{name} must be one of {', '.join(known)}")
    return value


def user_data(message: Message) -> UserData:
    value = message.get("userData")
    match value:
        case {"mood": str(mood), "typing": bool(typing)} if len(mood) <= NAME_LIMIT:
            return {"mood": mood, "typing": typing}
    raise RefusedError("userData must have a mood and whether you are typing")


def now() -> str:
    """This moment as RelayBox writes it: ``2024-10-22T13:15:08.913Z``."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
