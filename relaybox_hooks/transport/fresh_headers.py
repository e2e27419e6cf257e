"""Headers that an async function makes, such as a bearer token that expires."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import ClientError

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.targets.webhook import HeadersFunction, Webhook


class HeadersError(ClientError):
    """The function of a webhook's headers failed; names the error, and none of its words."""


class FreshHeaders:
    """The latest headers of one webhook, made anew when its endpoint has refused them.

    Args:
        webhook: checks what its function returns.
        function: makes them.
    """

    __slots__ = ("_function", "_kept", "_making", "_webhook")

    def __init__(self, webhook: Webhook, function: HeadersFunction) -> None:
        self._webhook = webhook
        self._function = function
        self._kept: Mapping[str, str] | None = None
        self._making: asyncio.Lock | None = None

    async def get(self) -> Mapping[str, str]:
        """Return the headers; all that wait for them wait for the same call of the function.

        Raises:
            HeadersError: it raised, or what it returned cannot be sent. The next call asks again.
        """
        if self._kept is not None:
            return self._kept
        if self._making is None:
            self._making = asyncio.Lock()
        async with self._making:  # cancelled, it leaves the call to the next one that waits
            if self._kept is None:
                self._kept = await self._make()
        return self._kept

    def refuse(self, headers: Mapping[str, str]) -> None:
        """Let headers that the endpoint refused be made anew, unless they are by now."""
        if self._kept is headers:
            self._kept = None

    async def _make(self) -> Mapping[str, str]:
        try:
            return self._webhook.checked_headers(await self._function())
        except ConfigError as error:  # names the header, and not its value
            raise HeadersError(f"Webhook.headers: {error}") from None
        except Exception as error:
            raise HeadersError(f"Webhook.headers raised {type(error).__name__}") from None
