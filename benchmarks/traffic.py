"""What a realtime server would emit: chat messages of many connections."""

from __future__ import annotations

from typing import Final

from relaybox_hooks import Session
from relaybox_hooks.events import RoomPublishData

#: The application all of it belongs to, unless a benchmark says otherwise.
APP: Final = "chat"


def sessions(count: int, app_pid: str = APP) -> list[Session]:
    """One session for each of ``count`` connections: as many order keys."""
    return [
        Session(
            app_pid=app_pid,
            key_id="key-1",
            client_id=f"client-{number}",
            connection_id=f"connection-{number}",
            socket_id=f"socket-{number}",
            timestamp="2024-10-22T13:15:08.913Z",
        )
        for number in range(count)
    ]


def message(number: int, at: int = 0) -> RoomPublishData:
    """Data of ``room:publish``, about as long as what people type.

    Args:
        number: makes it differ from the others.
        at: when it is sent, as the sink reads it.
    """
    return {
        "id": f"message-{number:09}",
        "body": {"at": at, "text": "Shall we meet at eight, in front of the cinema? " * 3},
        "roomId": "chat:one",
        "timestamp": "2024-10-22T13:15:08.913Z",
        "event": "message",
    }
