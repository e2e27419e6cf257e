"""Profile: TLS and headers that several webhooks share, by a name that can be stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ssl import SSLContext
from types import MappingProxyType

from relaybox_hooks.targets.headers import RESERVED, STANDARD, HeadersFunction, checked_headers
from relaybox_hooks.validation import check_kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """TLS and headers of all webhooks that name it; immutable. Its repr shows no header.

    Attributes:
        ssl: how to speak TLS with their endpoints; not used for a URL that is not https.
        headers: headers of their requests, or an async function that makes them: its result is
            kept for all of them, until one of their endpoints answers 401.

    Raises:
        ConfigError: a value is invalid; ``option`` is its name.
    """

    ssl: SSLContext | None = None
    headers: Mapping[str, str] | HeadersFunction = field(
        default_factory=lambda: MappingProxyType({}), repr=False, hash=False
    )

    def __post_init__(self) -> None:
        check_kind("Profile.ssl", self.ssl, SSLContext)
        if not callable(self.headers):
            headers = MappingProxyType(self.checked_headers(self.headers))
            object.__setattr__(self, "headers", headers)

    def checked_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return a copy of headers that may be sent to any webhook.

        Raises:
            ConfigError: they may not; names the header, and not its value.
        """
        return checked_headers("Profile.headers", headers, RESERVED | STANDARD)
