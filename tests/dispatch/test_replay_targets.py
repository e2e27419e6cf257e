"""Replays that meet what happens meanwhile: cancellations, and webhooks registered again."""

from __future__ import annotations

import asyncio

from support import KEY, ONCE, Mood, dispatcher, emit, soon, webhook_to

from relaybox_hooks import Timeouts, Webhook
from relaybox_hooks.dispatch.replay import ReplayReport
from relaybox_hooks.testing import Answer, FaultReceiver, Hang, Hold, VirtualClock


async def test_a_replay_in_a_task_that_is_being_cancelled_times_out_as_any(
    clock: VirtualClock, receiver: FaultReceiver, mood: Mood
) -> None:
    """A server may replay as it cleans up, in the task that was cancelled for that."""
    mood.fault = Answer(503)
    webhook = webhook_to(receiver, retry=ONCE, timeouts=Timeouts(total=5))
    async with dispatcher(webhook, clock=clock) as hooks:
        await emit(hooks)
        await soon(hooks.join())
        mood.fault = Hang()

        async def clean_up() -> ReplayReport:
            try:
                await asyncio.Event().wait()
            finally:
                return await hooks.replay()  # noqa: B012 - the cancellation is swallowed

        task = asyncio.create_task(clean_up())
        await asyncio.sleep(0)
        task.cancel()
        await soon(receiver.wait_for(2))
        await clock.advance(5)
        assert await soon(task) == (0, 1, 0)


async def test_a_410_of_the_old_endpoint_leaves_a_webhook_registered_again_alone() -> None:
    old_mood = Mood(Answer(503))
    async with FaultReceiver({"/old": old_mood, "/new": Answer()}) as receiver:
        old = Webhook(receiver.url_for("/old"), ["*"], KEY, id="w", retry=ONCE)
        async with dispatcher(old) as hooks:
            await emit(hooks)
            await soon(hooks.join())
            old_mood.fault = Hold(Answer(410))
            replay = asyncio.create_task(hooks.replay())
            await soon(receiver.wait_for(2))
            hooks.remove_webhook("w")
            hooks.add_webhook(Webhook(receiver.url_for("/new"), ["*"], KEY, id="w"))
            receiver.release()
            assert await soon(replay) == (0, 1, 0)
            (webhook,) = hooks.webhooks
            assert webhook.enabled
