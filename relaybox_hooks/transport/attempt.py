"""One attempt of a delivery: sign, send, read, outcome. Nothing else makes a request."""

from __future__ import annotations

import asyncio
import re
from functools import lru_cache
from typing import Any, Final, cast

from aiohttp import ClientConnectorError, ClientResponse, ClientResponseError, InvalidURL, hdrs
from yarl import URL

from relaybox_hooks.outcome import DELIVERED, FAILED, RETRY, Outcome, of_status
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.transport.egress import blocked_by
from relaybox_hooks.transport.endpoint import Endpoint
from relaybox_hooks.transport.runtime import Runtime
from relaybox_hooks.wire.envelope import Envelope

#: End of an error's own words: what follows quotes bytes of the response, or is another line.
_QUOTATION: Final = re.compile(r":?\s*\bb['\"]|\n")

#: Characters kept of an error's message; an endpoint has a hand in it.
_MAX_DETAIL: Final = 200

#: Outcome of an attempt that its deadline ended.
TIMED_OUT: Final = Outcome(RETRY, error="TimeoutError", detail="no response in time")

#: Outcome of an attempt that closing cut short; the endpoint may have seen the request.
INTERRUPTED: Final = Outcome(RETRY, error="CancelledError", detail="closing ended the attempt")


class Attempter:
    """Makes attempts, one at a time, in the task that it was made in.

    Attributes:
        task: the task that it makes them in.
        began: when the latest attempt began, monotonic.
        deadline: when it must end, monotonic.
        outcome: its outcome, as soon as there is one: the status decides, and reading the rest of
            the response changes nothing.
    """

    __slots__ = ("_cancelling", "_overdue", "_runtime", "began", "deadline", "outcome", "task")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.task: asyncio.Task[Any] = cast("asyncio.Task[Any]", asyncio.current_task())
        self._overdue = False
        self._cancelling = 0
        self.began: float = 0.0
        self.deadline: float = 0.0
        self.outcome: Outcome | None = None

    async def attempt(
        self, endpoint: Endpoint, webhook: Webhook, envelope: Envelope, number: int
    ) -> Outcome:
        """Send ``envelope``, stamped and signed at this moment, and read the response.

        The only way to end it early is to cancel the task.

        Args:
            endpoint: of the webhook.
            webhook: as observers see it.
            envelope: the encoded event.
            number: 1 for the first attempt.

        Raises:
            asyncio.CancelledError: the task was cancelled; ``outcome`` is set where the status
                was known by then.
        """
        runtime = self._runtime
        clock, notifier, deadlines = runtime.clock, runtime.notifier, runtime.deadlines
        self.outcome = None
        # A replay may run in a task that is being cancelled, and cleans up.
        self._cancelling = self.task.cancelling()
        extra = notifier.headers(webhook, envelope, number) if notifier.attempting else None
        self.began = clock.monotonic()
        self.deadline = self.began + endpoint.timeout
        deadlines.running.add(self)
        if self.deadline < deadlines.earliest:
            deadlines.set_timer(self.deadline)
        try:
            try:
                response = await endpoint.post(runtime.session, envelope, clock.time(), extra)
            except Exception as error:
                self.outcome = of_error(error, endpoint.url)
                await asyncio.sleep(0)  # an address is refused without a pause, for all alike
            else:
                self.outcome = of_response(response, endpoint, clock.time)
                if not (response.closed and response.content.at_eof()):  # most have no body
                    await _drain(response, endpoint.max_response)
        except asyncio.CancelledError:
            if not self._overdue or self.task.uncancel() > self._cancelling:
                raise
            self.outcome = self.outcome or TIMED_OUT
        finally:
            deadlines.running.discard(self)
            self._overdue = False
        return self.outcome

    def time_out(self) -> None:
        """Cancel the attempt, because its deadline has passed."""
        if not self._overdue:
            self._overdue = True
            self.task.cancel()


def of_response(response: ClientResponse, endpoint: Endpoint, time: Any) -> Outcome:
    """Return the outcome of an attempt that was answered; ``time`` is the wall clock."""
    status, peername = response.status, getattr(response, "peername", None)
    if 200 <= status < 300:
        return _delivered(status, peername)
    asked = response.headers.get(hdrs.RETRY_AFTER)
    return of_status(status, asked, endpoint.retry, time(), _shown(peername))


def of_error(error: Exception, url: URL) -> Outcome:
    """Return the outcome of an attempt to reach ``url`` that brought no response."""
    rule = blocked_by(error)
    if rule is not None:
        return Outcome(FAILED, error="EgressError", detail=rule)
    if isinstance(error, InvalidURL):
        return Outcome(FAILED, error=type(error).__name__, detail=_message(error, url))
    cause: Any = error.os_error if isinstance(error, ClientConnectorError) else error
    name = type(error).__name__
    if type(cause) is not type(error) and type(cause) is not OSError:
        name = f"{name}({type(cause).__name__})"
    return Outcome(RETRY, error=name, detail=_message(error, url))


async def _drain(response: ClientResponse, max_response: int) -> None:
    """Read the rest of the response within its bound, so that the connection can serve again.

    Past the bound, or if anything goes wrong, the connection is closed.
    """
    content = response.content
    left = max_response
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


@lru_cache(maxsize=256)
def _delivered(status: int, peername: tuple[Any, ...] | None) -> Outcome:
    """Return the outcome that nearly all attempts at an endpoint have, made once."""
    return Outcome(DELIVERED, status, peer=_shown(peername))


def _shown(peername: tuple[Any, ...] | None) -> str | None:
    """Return address and port as a URL has them."""
    if peername is None:
        return None
    address, port = peername[:2]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _message(error: Exception, url: URL) -> str:
    """Return an error's message, fit for a log: one bounded line, without the URL's query.

    aiohttp names the whole URL in some errors, and in others quotes the response, which may
    echo the payload.
    """
    text = error.message if isinstance(error, ClientResponseError) else str(error)
    for query in (url.raw_query_string, url.query_string):
        if query:
            text = text.replace(f"?{query}", "?***")
    return _QUOTATION.split(text, maxsplit=1)[0][:_MAX_DETAIL]
