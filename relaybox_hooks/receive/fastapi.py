"""Webhooks in a FastAPI application: the event as a dependency.

::

    app = FastAPI()
    app.add_middleware(WebhookMiddleware, WebhookVerifier(KEY), "/webhook")

    @app.post("/webhook", status_code=204)
    async def webhook(event: Annotated[ReceivedEvent, Depends(received_event)]) -> None: ...
"""

from __future__ import annotations

from starlette.requests import Request

from relaybox_hooks.receive import asgi
from relaybox_hooks.receive.asgi import WebhookMiddleware
from relaybox_hooks.receive.verifier import ReceivedEvent

__all__ = ["WebhookMiddleware", "received_event"]


# async, for FastAPI calls other functions in a thread. The annotation tells it what to pass.
async def received_event(request: Request) -> ReceivedEvent:
    """The event of a request that :class:`WebhookMiddleware` has verified.

    Raises:
        ConfigError: no middleware has the request's path.
    """
    return asgi.received_event(request)
