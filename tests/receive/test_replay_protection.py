"""The replay memory: bounded, exact while it lasts, and frank about what it forgot."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from relaybox_hooks.errors import ConfigError, ReplayedRequestError
from relaybox_hooks.receive.replay_protection import AcceptedRequest, AcceptedRequests


def attempt(signature: object, *, webhook_id: str = "crm", time: float = 100) -> AcceptedRequest:
    return AcceptedRequest(str(signature), webhook_id, time)


def test_an_attempt_is_accepted_once() -> None:
    memory = AcceptedRequests(10, 30)
    assert not memory.add("a", attempt(1), now=100)
    for _ in range(2):
        with pytest.raises(ReplayedRequestError) as caught:
            memory.add("a", attempt(1), now=100)
        assert caught.value.event_id == "a"


def test_a_retry_does_not_make_the_first_attempt_acceptable_again() -> None:
    memory = AcceptedRequests(10, 30)
    memory.add("a", attempt(1), now=100)
    assert memory.add("a", attempt(2, time=101), now=101)
    for signature in (1, 2):
        with pytest.raises(ReplayedRequestError):
            memory.add("a", attempt(signature), now=101)


def test_another_webhook_for_the_same_event_is_no_duplicate() -> None:
    memory = AcceptedRequests(10, 30)
    memory.add("a", attempt(1), now=100)
    assert not memory.add("a", attempt(2, webhook_id="audit"), now=100)
    assert memory.add("a", attempt(3, webhook_id="audit"), now=100)


def test_another_webhook_id_does_not_disguise_a_replay() -> None:
    """The header is not signed: whoever captured a request can change it."""
    memory = AcceptedRequests(10, 30)
    memory.add("a", attempt(1), now=100)
    with pytest.raises(ReplayedRequestError):
        memory.add("a", attempt(1, webhook_id="other"), now=100)


def test_it_holds_so_many_events_and_no_more() -> None:
    """The one that was accepted longest ago goes first; a retry counts as accepted now."""
    memory = AcceptedRequests(3, 30)
    for event_id in ("a", "b", "c"):
        memory.add(event_id, attempt(1), now=100)
    memory.add("a", attempt(2), now=100)
    memory.add("d", attempt(1), now=100)
    assert len(memory) == 3
    for event_id in ("a", "c", "d"):
        with pytest.raises(ReplayedRequestError):
            memory.add(event_id, attempt(1), now=100)
    assert not memory.add("b", attempt(1), now=100)


def test_forgetting_what_has_expired_is_nothing_to_report(caplog: pytest.LogCaptureFixture) -> None:
    memory = AcceptedRequests(1, 30)
    memory.add("a", attempt(1, time=100), now=100)
    memory.add("b", attempt(2, time=131), now=131)
    assert memory.forgotten == 0
    assert not caplog.records


def test_forgetting_what_could_be_replayed_is_counted_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = AcceptedRequests(1, 30)
    memory.add("a", attempt(1), now=100)
    memory.add("a", attempt(2, time=101), now=101)
    for number in range(3):
        memory.add(f"b{number}", attempt(number), now=102)
    assert memory.forgotten == 4
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "memory=1 is too small" in caplog.text


def test_no_event_outgrows_the_memory() -> None:
    """However often it is retried; what is forgotten of it is counted as well."""
    memory = AcceptedRequests(10, 30)
    for number in range(100):
        memory.add("a", attempt(number), now=100)
    assert memory.forgotten == 84
    with pytest.raises(ReplayedRequestError):
        memory.add("a", attempt(99), now=100)


def test_of_many_threads_one_gets_through() -> None:
    memory = AcceptedRequests(10, 30)

    def race(_: int) -> bool:
        try:
            memory.add("a", attempt(1), now=100)
        except ReplayedRequestError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(race, range(200))) == 1


def test_a_memory_for_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="memory=0"):
        AcceptedRequests(0, 30)
