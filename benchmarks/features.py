"""Options that the measured version of the library may lack: benchmarks run with older ones too."""

from __future__ import annotations

from inspect import signature
from typing import Any, Final

from relaybox_hooks import Hooks
from relaybox_hooks.targets.subscriber import SubscriberOptions

#: True if ``Hooks`` bounds the connections of the process; if not it has room for any number.
BOUNDS_CONNECTIONS: Final = "max_connections" in signature(Hooks).parameters
#: True if ``on`` takes functions that run inside ``emit``.
RUNS_INLINE: Final = "inline" in SubscriberOptions.__annotations__


def room(connections: int) -> dict[str, Any]:
    """Return the options of ``Hooks`` that give it room for so many connections at least."""
    return {"max_connections": connections} if BOUNDS_CONNECTIONS else {}
