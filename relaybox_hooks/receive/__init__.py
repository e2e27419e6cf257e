"""Verification of received webhook requests.

Import the framework integrations by module name, since each needs its framework:
``relaybox_hooks.receive.aiohttp``, ``.asgi`` and ``.fastapi``.
"""

from relaybox_hooks.receive.idempotency import HandledEvents
from relaybox_hooks.receive.verifier import (
    ReceivedEvent,
    WebhookVerifier,
    verify_webhook_signature,
)

__all__ = ["HandledEvents", "ReceivedEvent", "WebhookVerifier", "verify_webhook_signature"]
