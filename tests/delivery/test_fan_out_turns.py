"""One event to many webhooks: what it starts is spread over turns of the event loop."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from support import KEY, ROOM, soon

from relaybox_hooks import Hooks, Webhook
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.testing import FaultReceiver

#: Webhooks; the event loop is to be held up by no more than some of them at a time.
COUNT = 1000
MOST_IN_A_TURN = 10


async def test_one_event_to_a_thousand_webhooks_begins_a_few_attempts_a_turn() -> None:
    async with FaultReceiver() as receiver:
        webhooks = [
            Webhook(receiver.url_for(f"/{number}"), ["*"], KEY, id=f"w{number}")
            for number in range(COUNT)
        ]
        async with Hooks(webhooks, logging=False, max_connections=COUNT) as hooks:
            runtime = parts_of(hooks).runtime
            starts = runtime.starts
            for _ in range(2):  # on new connections, then on idle ones
                await hooks.emit("room:join", ROOM)
                assert starts.running <= MOST_IN_A_TURN
                begun = [0]  # and settled, or under way, after each turn
                joining = asyncio.ensure_future(hooks.join())
                while not joining.done():
                    await asyncio.sleep(0)
                    under_way = starts.running - starts.beginning
                    begun.append(COUNT - runtime.outstanding + under_way)
                await soon(joining)
                assert begun[-1] == COUNT
                assert max(after - earlier for earlier, after in pairwise(begun)) <= MOST_IN_A_TURN
            assert hooks.stats().delivered == 2 * COUNT
