"""Example data and session of each event, as RelayBox's services send them."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

from relaybox_hooks.events import EventName

_ROOM: Final = "chat:one"

_AUTH: Final = {
    "identities": [
        {
            "id": "2b8e63b1-59a5-4f3e-8f43-d61a2f7a9f0c",
            "provider": "EMAIL",
            "providerId": "zoe@example.com",
            "verifiedAt": "2024-10-22T13:15:08.913Z",
        }
    ],
    "factors": [],
    "authMfaEnabled": False,
    "email": "zoe@example.com",
    "verifiedAt": "2024-10-22T13:15:08.913Z",
}
_PRESENCE: Final = {"roomId": _ROOM, "userData": {"mood": "☕", "typing": False}}

#: Example data by event name.
DATA: Final[MappingProxyType[EventName, Any]] = MappingProxyType(
    {
        # At sign-up nothing is verified yet.
        "auth:signup": {**_AUTH, "identities": [], "verifiedAt": None},
        "auth:verify": _AUTH,
        "auth:signin": _AUTH,
        "auth:session:initialize": None,
        "presence:join": _PRESENCE,
        "presence:leave": _PRESENCE,
        "presence:update": {**_PRESENCE, "userData": {"mood": "☕", "typing": True}},
        "room:create": {
            "id": _ROOM,
            "uuid": "6f0a6a4e-3d3c-4f0e-9d62-6f1a6a0e2a71",
            "visibility": "public",
        },
        "room:join": {"roomId": _ROOM},
        "room:leave": {"roomId": _ROOM},
        "room:destroy": {"roomId": _ROOM},
        "room:publish": {
            "id": "0192b4a6-1c51-7e0c-8d3a-1f6f7a0b9d11",
            "body": {"text": "hello, everyone"},
            "roomId": _ROOM,
            "timestamp": "2024-10-22T13:15:08.913Z",
            "event": "message",
        },
        "user:status:update": {"status": "away"},
    }
)

_SESSION: Final = {
    "appPid": "fk3wUpsZIq5k",
    "keyId": "Rm4sBJ4dmsXL",
    "clientId": "zoe",
    "connectionId": "c-7f31",
    "socketId": "s-02b9",
    "timestamp": "2024-10-22T13:15:00.000Z",
    "exp": 1729606508,
    "user": {
        "id": "1b671a64-40d5-491e-99b0-da01ff1f3341",
        "clientId": "zoe",
        "createdAt": "2024-10-01T09:00:00.000Z",
        "updatedAt": "2024-10-22T13:15:00.000Z",
        "username": "zoe",
        "orgId": "acme",
        "appId": "chat",
        "isOnline": True,
        "lastOnline": "2024-10-22T13:15:00.000Z",
        "blockedAt": None,
        "firstName": "Zoe",
        "lastName": "Park",
    },
}

#: Events of HTTP requests, before a websocket connection exists.
_UNCONNECTED: Final = ("auth:signup", "auth:verify", "auth:signin")


def session_for(event: str) -> dict[str, Any]:
    """Return the example session of ``event``, by wire names."""
    if event in _UNCONNECTED:
        return {**_SESSION, "connectionId": None, "socketId": None}
    return dict(_SESSION)
