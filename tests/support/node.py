"""A webhook endpoint in a Node process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp


@dataclass(frozen=True)
class NodeReceiver:
    """A running ``receiver.mjs``: verifies what is posted to ``url`` under ``signing_key``."""

    url: str
    signing_key: str

    async def report(self) -> dict[str, Any]:
        """``{"accepted": int, "rejected": int, "requests": [...]}``, one entry for each POST."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/report") as response,
        ):
            report: dict[str, Any] = await response.json()
            return report
