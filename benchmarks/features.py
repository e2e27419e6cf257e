"""Options that the measured version of the library may lack: benchmarks run with older ones too."""

from __future__ import annotations

from inspect import signature
from typing import Any, Final

from relaybox_hooks import Hooks, Webhook
from relaybox_hooks.targets.subscriber import SubscriberOptions

#: True if ``Hooks`` bounds the connections of the process; if not it has room for any number.
BOUNDS_CONNECTIONS: Final = "max_connections" in signature(Hooks).parameters
#: True if ``on`` takes functions that run inside ``emit``.
RUNS_INLINE: Final = "inline" in SubscriberOptions.__annotations__
#: True if ``Webhook`` bounds its pending events in bytes too.
BOUNDS_BYTES: Final = "max_pending_bytes" in signature(Webhook).parameters


def room(connections: int) -> dict[str, Any]:
    """Return the options of ``Hooks`` that give it room for so many connections at least."""
    return {"max_connections": connections} if BOUNDS_CONNECTIONS else {}


def room_for_bytes(size: int) -> dict[str, Any]:
    """Return the options of ``Webhook`` that let events of so many bytes be pending at least."""
    return {"max_pending_bytes": size} if BOUNDS_BYTES else {}
