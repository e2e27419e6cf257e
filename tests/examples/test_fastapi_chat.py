"""The FastAPI chat as uvicorn's own command line starts it."""

from __future__ import annotations

import json
import signal
import sysconfig
from pathlib import Path
from typing import Final

import pytest
from support.examples import Endpoint, Run
from websockets.asyncio.client import connect

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
UVICORN: Final = Path(sysconfig.get_path("scripts")) / "uvicorn"

#: uvicorn says on stdout where it listens, for the test to read.
LOGGING: Final = {
    "version": 1,
    "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}},
    "loggers": {"uvicorn": {"handlers": ["out"], "level": "INFO"}},
}


async def test_uvicorn_finds_the_webhook_in_the_environment(
    endpoint: Endpoint, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_URL", endpoint.receiver.url)
    logging = tmp_path / "logging.json"
    logging.write_text(json.dumps(LOGGING))
    server = await run(
        *(str(UVICORN), "--app-dir", str(EXAMPLES), "fastapi_chat:app"),
        *("--port", "0", "--log-config", str(logging)),
    )
    while "running on http" not in (line := await server.line()):
        pass
    url = line.split()[3].replace("http", "ws")
    async with connect(f"{url}/rooms/lobby?name=ada") as ada:
        assert await ada.recv() == "* ada joined"
        _, _, errors = await server.ends(signal.SIGTERM)
    assert errors == ""
    names = [event.name for event in endpoint.story("ada")]
    assert names == ["room:join", "presence:join", "presence:leave", "room:leave"]
