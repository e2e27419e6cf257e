"""The breaker at work: between real webhooks, on a clock that only the tests move."""

from __future__ import annotations

from support import Watch, dispatcher, emit, soon, webhook_to

from relaybox_hooks import (
    BreakerPolicy,
    EgressPolicy,
    Hooks,
    Observer,
    RetryPolicy,
    Webhook,
)
from relaybox_hooks.hooks import parts_of
from relaybox_hooks.targets.policies import CLOSED, HALF_OPEN, OPEN, BreakerState
from relaybox_hooks.testing import (
    Answer,
    Fault,
    FaultReceiver,
    Hang,
    ReceivedRequest,
    ResetAfterRead,
)
from relaybox_hooks.testing.clock import VirtualClock
from relaybox_hooks.transport.dialler import open_session
from relaybox_hooks.transport.egress import make_connector

POLICY = BreakerPolicy(failures=3, cooldown=5, maximum=15)
STEADY = RetryPolicy(attempts=50, initial=1, factor=1, jitter=0)


def state_of(hooks: Hooks, webhook_id: str = "root") -> str | None:
    return hooks.stats().targets[webhook_id].breaker


async def test_it_opens_holds_probes_once_and_drains_with_full_concurrency() -> None:
    """From the first failure to the last delivery; the held ones lose no attempt."""
    clock, watch = VirtualClock(), Watch()
    sick = True

    async with FaultReceiver(lambda request: Answer(503) if sick else Answer()) as receiver:
        webhook = webhook_to(receiver, breaker=POLICY, retry=STEADY, concurrency=4)
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            for _ in range(3):
                await emit(hooks)
            await watch.attempted_times(3)
            assert state_of(hooks) == OPEN
            for _ in range(20):
                await emit(hooks)
            await clock.advance(4.9)  # all 3 retries are due long since
            assert len(receiver.requests) == 3
            assert hooks.stats().pending == 23

            receiver.hold()
            await clock.advance(0.1)
            await soon(receiver.wait_for(4))
            assert state_of(hooks) == HALF_OPEN
            await clock.advance(1.0)
            assert len(receiver.requests) == 4, "one probe, and nothing beside it"
            receiver.release()
            await watch.attempted_times(4)
            assert state_of(hooks) == OPEN
            await clock.advance(9.9)
            assert len(receiver.requests) == 4, "the cooldown has doubled"

            sick = False
            receiver.hold()
            await clock.advance(0.1)
            await soon(receiver.wait_for(5))
            receiver.release(1)
            await soon(receiver.wait_until(lambda: len(receiver.held) == 4))
            assert state_of(hooks) == CLOSED
            assert hooks.stats().targets["root"].in_flight == 4
            receiver.release()
            await soon(hooks.join())
            assert hooks.stats().delivered == 23
        delivered = [attempt.number for attempt in watch.all("delivered")]
        assert sorted(delivered) == [1] * 19 + [2] * 4, "waiting burns no attempt"
        assert watch.states == [
            (CLOSED, OPEN),
            (OPEN, HALF_OPEN),
            (HALF_OPEN, OPEN),
            (OPEN, HALF_OPEN),
            (HALF_OPEN, CLOSED),
        ]


async def test_what_it_holds_counts_against_the_lane_s_bound() -> None:
    clock, watch = VirtualClock(), Watch()
    async with FaultReceiver(Answer(500)) as receiver:
        webhook = webhook_to(
            receiver, breaker=POLICY, retry=STEADY, queue_size=5, overflow="drop_newest"
        )
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            for _ in range(3):
                await emit(hooks)
            await watch.attempted_times(3)
            for _ in range(4):
                await emit(hooks)
            row = hooks.stats().targets["root"]
            assert (row.breaker, row.pending, row.dropped) == (OPEN, 5, 2)
    assert len(receiver.requests) == 3


async def test_a_slow_failure_from_before_does_not_let_a_second_probe_go() -> None:
    """The probe is still under way when an attempt from before the opening times out."""
    clock, watch = VirtualClock(), Watch()

    def script(request: ReceivedRequest) -> Fault:
        return Hang() if request.order in (1, 5) else Answer(500)

    policy = BreakerPolicy(failures=3, cooldown=1, maximum=1)
    async with FaultReceiver(script) as receiver:
        webhook = webhook_to(receiver, breaker=policy, retry=STEADY)
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            await emit(hooks)
            await soon(receiver.wait_for(1))
            for _ in range(3):
                await emit(hooks)
            await watch.attempted_times(3)
            assert state_of(hooks) == OPEN
            await clock.advance(1.0)
            await soon(receiver.wait_for(5))
            assert state_of(hooks) == HALF_OPEN
            await clock.advance(4.0)  # the hanging one from before times out
            assert [attempt.outcome.error for attempt in watch.attempts][-1] == "TimeoutError"
            assert state_of(hooks) == HALF_OPEN
            await clock.advance(0.9)
            assert len(receiver.requests) == 5


async def test_a_sick_webhook_does_not_open_the_breaker_of_another() -> None:
    clock, watch = VirtualClock(), Watch()
    script = {"/sick": Answer(500), "/well": Answer()}
    async with FaultReceiver(script) as receiver:
        sick = webhook_to(receiver, "/sick", breaker=POLICY)
        well = webhook_to(receiver, "/well", breaker=POLICY)
        async with dispatcher(sick, well, clock=clock, observers=[watch]) as hooks:
            for _ in range(10):
                await emit(hooks)
            await watch.until(lambda: len(watch.all("delivered")) == 10)
            assert state_of(hooks, "sick") == OPEN
            assert state_of(hooks, "well") == CLOSED
        assert {webhook.id for webhook, _, _ in watch.all("breaker_changed")} == {"sick"}


async def test_final_answers_show_that_the_endpoint_works() -> None:
    """404 again and again: every delivery is rejected, the breaker stays closed."""
    watch = Watch()
    async with FaultReceiver(Answer(404)) as receiver:
        webhook = webhook_to(receiver, breaker=BreakerPolicy(failures=1))
        async with dispatcher(webhook, observers=[watch]) as hooks:
            for _ in range(10):
                await emit(hooks)
            await soon(hooks.join())
            assert state_of(hooks) == CLOSED
    assert [letter.reason for letter in watch.letters] == ["rejected"] * 10
    assert watch.states == []


async def test_without_a_breaker_every_attempt_is_made() -> None:
    clock, watch = VirtualClock(), Watch()
    async with FaultReceiver(ResetAfterRead()) as receiver:
        webhook = webhook_to(receiver, breaker=None, retry=RetryPolicy(attempts=2, jitter=0))
        async with dispatcher(webhook, clock=clock, observers=[watch]) as hooks:
            assert state_of(hooks) is None
            for _ in range(15):
                await emit(hooks)
            await watch.attempted_times(15)
            await clock.advance(0.5)
            await soon(hooks.join())
            assert hooks.stats().failed == 15
    assert watch.states == []
    assert len(receiver.requests) == 30


async def test_a_webhook_ended_by_an_observer_of_the_probe_works_when_enabled_again() -> None:
    """The probe has its delivery by the time observers hear of it, so it cannot get lost."""
    clock, watch = VirtualClock(), Watch()
    sick = True

    class Ender(Observer):
        def breaker_changed(
            self, webhook: Webhook, before: BreakerState, after: BreakerState
        ) -> None:
            if after == HALF_OPEN and sick:
                hooks.disable_webhook(webhook.id)

    async with FaultReceiver(lambda request: Answer(500) if sick else Answer()) as receiver:
        webhook = webhook_to(receiver, breaker=BreakerPolicy(failures=1, cooldown=1))
        async with dispatcher(webhook, clock=clock, observers=[Ender(), watch]) as hooks:
            await emit(hooks)
            await watch.attempted_times(1)
            await clock.advance(1.0)
            await watch.attempted_times(2)
            assert [letter.reason for letter in watch.letters] == ["disabled"]
            sick = False
            hooks.enable_webhook("root")
            await emit(hooks)
            await clock.advance(2.0)
            await soon(hooks.join())
            assert hooks.stats().delivered == 1


async def test_a_probe_that_is_refused_an_address_does_not_leave_it_half_open() -> None:
    """That says nothing about the endpoint, so the next delivery probes it at once."""
    clock, watch = VirtualClock(), Watch()
    async with FaultReceiver(Answer(500)) as receiver:
        webhook = webhook_to(receiver, breaker=BreakerPolicy(failures=1, cooldown=1))
        async with dispatcher(webhook, clock=clock, observers=[watch], keepalive=0) as hooks:
            await emit(hooks)
            await watch.attempted_times(1)
            for _ in range(3):
                await emit(hooks)
            async with parts_of(hooks).runtime.session:
                parts_of(hooks).runtime.session = open_session(
                    make_connector(EgressPolicy.PUBLIC_ONLY), owns_connector=True
                )
            await clock.advance(1.0)
            await soon(hooks.join())
            assert state_of(hooks) == OPEN
    assert [letter.error for letter in watch.letters] == ["EgressError"] * 4


async def test_a_webhook_enabled_again_begins_with_a_closed_breaker() -> None:
    """Who has mended the endpoint does not want to wait for the old cooldown."""
    sick = True
    clock = VirtualClock()
    async with FaultReceiver(lambda request: Answer(503) if sick else Answer()) as receiver:
        webhook = webhook_to(receiver, breaker=POLICY, retry=RetryPolicy(attempts=1))
        async with dispatcher(webhook, clock=clock) as hooks:
            for _ in range(3):
                await emit(hooks)
            await soon(hooks.join())
            assert state_of(hooks) == OPEN
            hooks.disable_webhook("root")
            sick = False
            hooks.enable_webhook("root")
            assert state_of(hooks) == CLOSED
            await emit(hooks)
            await soon(hooks.join())
            assert hooks.stats().targets["root"].delivered == 1
