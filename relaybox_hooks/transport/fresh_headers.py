"""Headers that an async function makes, such as a bearer token that expires."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from aiohttp import ClientError

from relaybox_hooks.errors import ConfigError
from relaybox_hooks.targets.headers import HeadersFunction


class HeadersError(ClientError):
    """A function of headers failed; names the option and the error, and none of its words."""


class FreshHeaders:
    """The latest headers that a function made, made anew when an endpoint has refused them.

    Args:
        option: the function's name in errors, for example ``Webhook.headers``.
        function: makes them.
        check: returns a copy of what the function returned, or raises ConfigError.
    """

    __slots__ = ("_check", "_function", "_kept", "_making", "_option")

    def __init__(
        self,
        option: str,
        function: HeadersFunction,
        check: Callable[[Mapping[str, str]], Mapping[str, str]],
    ) -> None:
        self._option = option
        self._function = function
        self._check = check
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
            return self._check(await self._function())
        except ConfigError as error:  # names the header, and not its value
            raise HeadersError(f"{self._option}: {error}") from None
        except Exception as error:
            raise HeadersError(f"{self._option} raised {type(error).__name__}") from None
