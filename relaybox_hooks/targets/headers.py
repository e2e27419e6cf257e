"""Headers that a user may add to requests, and those that are not theirs to set."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, TypeAlias

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.wire.signing import SIGNATURE_HEADER, WEBHOOK_ID_HEADER
from relaybox_hooks.wire.standard_webhooks import (
    STANDARD_ID_HEADER,
    STANDARD_SIGNATURE_HEADER,
    STANDARD_TIMESTAMP_HEADER,
)

#: Makes the headers of requests.
HeadersFunction: TypeAlias = Callable[[], Awaitable[Mapping[str, str]]]

#: Lower-case names of headers that the protocol or HTTP itself sets.
RESERVED: Final = frozenset(
    {
        "content-type",
        "user-agent",
        SIGNATURE_HEADER.lower(),
        WEBHOOK_ID_HEADER.lower(),
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
#: Headers of Standard Webhooks, reserved only if the webhook signs by that scheme.
STANDARD: Final = frozenset(
    {STANDARD_ID_HEADER, STANDARD_TIMESTAMP_HEADER, STANDARD_SIGNATURE_HEADER}
)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_FIELD_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")  # RFC 9110 §5.5, without obs-text


def checked_headers(
    option: str, headers: Mapping[str, str], reserved: Collection[str] = RESERVED
) -> dict[str, str]:
    """Return a copy of ``headers``.

    Raises:
        ConfigError: a header is reserved or duplicate, or not valid in HTTP (RFC 9110 §5.5).
    """
    if not isinstance(headers, Mapping):
        raise ConfigError(option, "***", "give a mapping of names to values")
    seen: set[str] = set()
    for name, value in headers.items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise ConfigError(option, name, "not a header name (RFC 9110 §5.6.2)")
        if name.lower() in reserved:
            raise ConfigError(option, name, "the protocol sets this header itself")
        if name.lower() in seen:
            raise ConfigError(option, name, "given twice")
        if not isinstance(value, str) or not _FIELD_VALUE.fullmatch(value):
            raise ConfigError(
                option,
                name,
                "its value must be ASCII text without control characters (no CR or LF)",
            )
        seen.add(name.lower())
    return dict(headers)
