"""FastAPI integration: the received event as a dependency.

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


# async, because FastAPI runs sync dependencies in a thread. It resolves `request` by annotation.
async def received_event(request: Request) -> ReceivedEvent:
    """Return the event of a request that :class:`WebhookMiddleware` has verified.

    Raises:
        ConfigError: no middleware verifies the request's path.
    """
    return asgi.received_event(request)
