"""Answers: fresh for seconds, stale for an hour, and no more of them than there is room for."""

from __future__ import annotations

import socket

from support.manual_clock import ManualClock

from relaybox_hooks.transport.answer_cache import FRESH, STALE, AnswerCache
from relaybox_hooks.transport.lookups import Address

ONE, TWO = (Address(socket.AF_INET, f"192.0.2.{n}") for n in (1, 2))
KEY = ("a.example", socket.AF_INET)


def test_an_answer_is_fresh_for_seconds_and_known_for_an_hour() -> None:
    clock = ManualClock()
    cache = AnswerCache(clock.monotonic)
    answer = cache.put(KEY, [ONE])
    clock.advance(FRESH)
    assert cache.is_fresh(answer)
    clock.advance(1)
    assert not cache.is_fresh(answer)
    clock.advance(STALE - FRESH - 1)
    assert cache.get(KEY) is answer
    clock.advance(0.5)
    assert cache.get(KEY) is None
    assert len(cache) == 0
    assert STALE == 3_600


def test_a_newer_answer_takes_the_place_of_the_older() -> None:
    clock = ManualClock()
    cache = AnswerCache(clock.monotonic)
    cache.put(KEY, [ONE]).failing = True
    clock.advance(STALE)
    newer = cache.put(KEY, [TWO])
    clock.advance(STALE)
    assert cache.get(KEY) is newer
    assert newer.take() == [TWO]
    assert not newer.failing


def test_families_are_told_apart() -> None:
    cache = AnswerCache(ManualClock().monotonic)
    cache.put(KEY, [ONE])
    assert cache.get(("a.example", socket.AF_INET6)) is None
    cache.drop(("a.example", socket.AF_INET6))
    assert cache.get(KEY) is not None
    cache.drop(KEY)
    assert cache.get(KEY) is None


def test_the_answer_unused_for_longest_makes_room() -> None:
    cache = AnswerCache(ManualClock().monotonic, size=2)
    a, b, c = (("abc"[n], socket.AF_INET) for n in range(3))
    cache.put(a, [ONE])
    cache.put(b, [ONE])
    cache.get(a)
    cache.put(c, [ONE])
    assert [cache.get(key) is not None for key in (a, b, c)] == [True, False, True]


def test_each_use_begins_with_another_address() -> None:
    answer = AnswerCache(ManualClock().monotonic).put(KEY, [ONE, TWO])
    assert [answer.take() for _ in range(3)] == [[ONE, TWO], [TWO, ONE], [ONE, TWO]]
