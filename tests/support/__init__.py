"""What several test files need: waits, a running Hooks, its receiver and its observer.

The rest is by topic: ``support.journals``, ``support.front_ends`` and so on.
"""

from __future__ import annotations

from support.dispatching import (
    KEY,
    METHODS,
    ONCE,
    ROOM,
    START,
    STEADY,
    Mood,
    Opened,
    Watch,
    advance_to_next,
    arrived,
    assert_consistent,
    dispatcher,
    emit,
    emit_times,
    header_fields,
    sent_at,
    webhook_to,
)
from support.waiting import soon, turns, until

__all__ = [
    "KEY",
    "METHODS",
    "ONCE",
    "ROOM",
    "START",
    "STEADY",
    "Mood",
    "Opened",
    "Watch",
    "advance_to_next",
    "arrived",
    "assert_consistent",
    "dispatcher",
    "emit",
    "emit_times",
    "header_fields",
    "sent_at",
    "soon",
    "turns",
    "until",
    "webhook_to",
]
