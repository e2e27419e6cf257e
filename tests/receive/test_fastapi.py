"""The FastAPI dependency, beyond what all front ends have in common."""

from __future__ import annotations

from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from starlette.requests import Request

from relaybox_hooks import ConfigError, ReceivedEvent
from relaybox_hooks.receive.fastapi import received_event


async def test_a_handler_whose_path_is_not_verified_is_told() -> None:
    request = Request({"type": "http", "path": "/other", "headers": []})
    with pytest.raises(ConfigError, match="path='/other': its requests are not verified"):
        await received_event(request)


def test_the_event_is_no_parameter_of_the_api() -> None:
    """FastAPI passes it, and neither reads nor documents anything for it."""
    app = FastAPI()

    @app.post("/webhook")
    async def webhook(event: Annotated[ReceivedEvent, Depends(received_event)]) -> None: ...

    operation = app.openapi()["paths"]["/webhook"]["post"]
    assert not {"parameters", "requestBody"} & set(operation)
