"""Test support for users: event recording, a receiver with fault injection, a virtual clock."""

from relaybox_hooks.testing.clock import VirtualClock
from relaybox_hooks.testing.faults import (
    Answer,
    CloseMidResponse,
    Drip,
    EndlessBody,
    EndlessHeaders,
    Exchange,
    Fault,
    Garbage,
    Hang,
    Hold,
    Late,
    Redirect,
    ResetAfterRead,
    ResetBeforeRead,
)
from relaybox_hooks.testing.memory_journal import MemoryJournal
from relaybox_hooks.testing.receiver import FaultReceiver
from relaybox_hooks.testing.recorder import RecordedEvent, Recording, record
from relaybox_hooks.testing.request import ReceivedRequest
from relaybox_hooks.testing.script import FaultScript, Script
from relaybox_hooks.testing.traffic import Acceptance

__all__ = [
    "Acceptance",
    "Answer",
    "CloseMidResponse",
    "Drip",
    "EndlessBody",
    "EndlessHeaders",
    "Exchange",
    "Fault",
    "FaultReceiver",
    "FaultScript",
    "Garbage",
    "Hang",
    "Hold",
    "Late",
    "MemoryJournal",
    "ReceivedRequest",
    "RecordedEvent",
    "Recording",
    "Redirect",
    "ResetAfterRead",
    "ResetBeforeRead",
    "Script",
    "VirtualClock",
    "record",
]
