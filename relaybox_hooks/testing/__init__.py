"""For users' own tests: a record of events, a receiver that misbehaves on purpose, a clock."""

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
from relaybox_hooks.testing.receiver import Acceptance, FaultReceiver
from relaybox_hooks.testing.recorder import RecordedEvent, Recording, record
from relaybox_hooks.testing.request import ReceivedRequest
from relaybox_hooks.testing.script import FaultScript, Script

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
