"""The hostile endpoints: every fault that a receiver can produce, plain, over TLS, and unread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from relaybox_hooks import BreakerPolicy
from relaybox_hooks.testing import (
    Answer,
    AnswerUnread,
    CloseAfterAnswer,
    CloseAfterRead,
    CloseMidResponse,
    CloseOnReuse,
    Drip,
    EndlessBlankLines,
    EndlessBody,
    EndlessChunkExtension,
    EndlessHeaders,
    EndlessInterim,
    EndlessTrailers,
    Fault,
    Garbage,
    Hang,
    Hold,
    Late,
    NeverRead,
    Redirect,
    ResetAfterRead,
    ResetBeforeRead,
    Stall,
    SurplusResponses,
)

#: Seconds that an attempt at a hostile endpoint may take.
TIMEOUT: Final = 0.5
#: Bytes of a receive buffer that is soon full.
SMALL: Final = 4096
#: Status of a response that answers no request: a delivery that has it was never made.
UNASKED: Final = 299


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One hostile endpoint, with a receiver and a webhook of its own.

    Attributes:
        name: unique; the id of its webhook.
        fault: played for each request or connection.
        delivers: whether it takes events; ``None`` if that depends on their size.
        tls: it speaks TLS.
        receive_buffer: of its connections, bytes; ``None`` for the system's default.
    """

    name: str
    fault: Fault
    delivers: bool | None = False
    tls: bool = False
    receive_buffer: int | None = None

    def options(self, number: int) -> dict[str, Any]:
        """Return the policies of its webhook, which differ with its ``number``."""
        breaker = BreakerPolicy(failures=5, cooldown=0.5, maximum=1.0)
        return {
            "order_by": "connection" if number % 3 == 0 else "none",
            "overflow": "drop_newest" if number % 2 else "drop_oldest",
            "breaker": breaker if number % 5 == 0 else None,
        }

    @property
    def reads(self) -> bool:
        """Return whether it answers only what it has read.

        A response that comes late, when the next request of its connection is under way, cannot be
        told from that request's.
        """
        if isinstance(self.fault, SurplusResponses):
            return not self.fault.delay
        return not isinstance(self.fault, AnswerUnread)


def _every(name: str, fault: Fault, delivers: bool | None = False) -> tuple[Endpoint, Endpoint]:
    """Return an endpoint, and the same over TLS."""
    return (
        Endpoint(name, fault, delivers),
        Endpoint(f"{name}-tls", fault, delivers, tls=True),
    )


#: All of them. A response whose status is 2xx delivers, whatever follows its head.
ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    # Floods
    *_every("body", EndlessBody(), True),
    *_every("body-slow", EndlessBody(503, interval=0.01)),
    *_every("headers", EndlessHeaders()),
    Endpoint("headers-slow", EndlessHeaders(interval=0.01)),
    *_every("interim", EndlessInterim()),
    Endpoint("interim-slow", EndlessInterim(interval=0.01, interim=103)),
    Endpoint("blank-lines", EndlessBlankLines()),
    Endpoint("blank-lines-slow", EndlessBlankLines(interval=0.01), tls=True),
    *_every("chunk-extension", EndlessChunkExtension(), True),
    Endpoint("trailers", EndlessTrailers(), True),
    Endpoint("trailers-slow", EndlessTrailers(503, interval=0.01)),
    # Requests that are not read
    *(
        Endpoint(f"never-read-{tls}-{buffer}", NeverRead(), tls=tls, receive_buffer=buffer)
        for tls, buffer in ((False, SMALL), (True, SMALL), (False, None))
    ),
    *(
        Endpoint(f"stall-{tls}-{buffer}", Stall(), tls=tls, receive_buffer=buffer)
        for tls, buffer in ((False, SMALL), (True, None))
    ),
    *(
        Endpoint(f"answer-unread-{tls}", AnswerUnread(limit=None), None, tls, SMALL)
        for tls in (False, True)
    ),
    Endpoint("answers-unread-slow", AnswerUnread(limit=None, interval=0.01), None, False, SMALL),
    # Connections that are used again
    *_every("surplus", SurplusResponses(surplus=Answer(UNASKED), number=2000), True),
    Endpoint("surplus-late", SurplusResponses(delay=0.02), True),
    *_every("close-on-reuse", CloseOnReuse(), True),
    Endpoint("reset-on-reuse", CloseOnReuse(reset=True), True),
    Endpoint("close-after-answer", CloseAfterAnswer(), True),
    # No response, or one that comes slowly
    *_every("hang", Hang()),
    Endpoint("hold", Hold()),
    *_every("drip", Drip(Answer(body=b"x" * 1000), interval=0.02)),
    Endpoint("late", Late(Answer(), 2 * TIMEOUT), receive_buffer=SMALL),
    # Connections that end early, and what is no response
    Endpoint("reset-before-read", ResetBeforeRead()),
    *_every("reset-after-read", ResetAfterRead()),
    Endpoint("close-after-read", CloseAfterRead()),
    Endpoint("close-mid-response", CloseMidResponse(Answer(502, body=b"cut short"), 3)),
    Endpoint("garbage", Garbage()),
    # Statuses
    Endpoint("redirect", Redirect("http://127.0.0.1:9/")),
    Endpoint("not-found", Answer(404)),
    Endpoint("gone", Answer(410)),
    Endpoint("error", Answer(500), tls=True),
    Endpoint("unavailable", Answer(503, {"Connection": "close"})),
    Endpoint("too-many", Answer(429, {"Retry-After": "1"})),
    Endpoint("too-many-for-ever", Answer(429, {"Retry-After": "99999999999"})),
)
