"""The example with metrics, scraped over HTTP as Prometheus does."""

from __future__ import annotations

import asyncio
import signal

from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families
from support.examples import Run


async def scrape(http: ClientSession, url: str) -> dict[str, float]:
    """Samples with the labels' values behind the name."""
    async with http.get(url) as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        text = await response.text()
    return {
        " ".join((sample.name.removeprefix("relaybox_hooks_"), *sorted(sample.labels.values()))): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_a_running_server_can_be_scraped(run: Run) -> None:
    """Until a delivery was made that had to be tried again; then the figures fit together."""
    program = await run("metrics.py", "--port", "0", "--pause", "0.01")
    url = (await program.line()).removeprefix("metrics at ")
    async with ClientSession() as http, asyncio.timeout(20):
        found: dict[str, float] = {}
        while found.get("webhook_attempts_total 2xx default itself", 0) < 4:
            found = await scrape(http, url)
    assert found["webhook_attempts_total 5xx default itself"] >= 1
    delivered = found["webhook_delivered_total default itself"]
    assert delivered == found["webhook_delivery_latency_seconds_count default itself"]
    assert delivered == found["webhook_attempts_total 2xx default itself"]
    assert found["events_total default room:join"] >= delivered
    assert found["webhook_breaker closed default itself"] == 1
    assert found["webhook_enabled default itself"] == 1
    assert found["subscriber_handled_total default greet"] >= 4
    assert not any(key.startswith("webhook_dead_letters") for key in found)
    status, output, errors = await program.ends(signal.SIGTERM)
    assert (status, errors) == (0, "")
    assert "welcome to chat:garden" in output
