"""Test support for users: event recording, a receiver with fault injection, a virtual clock."""

from relaybox_hooks.testing.clock import VirtualClock
from relaybox_hooks.testing.faults import (
    Answer,
    CloseAfterRead,
    CloseMidResponse,
    Drip,
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
from relaybox_hooks.testing.floods import (
    EndlessBlankLines,
    EndlessBody,
    EndlessChunkExtension,
    EndlessHeaders,
    EndlessInterim,
    EndlessTrailers,
)
from relaybox_hooks.testing.keep_alive import CloseAfterAnswer, CloseOnReuse, SurplusResponses
from relaybox_hooks.testing.memory_journal import MemoryJournal
from relaybox_hooks.testing.receiver import FaultReceiver
from relaybox_hooks.testing.recorder import RecordedEvent, Recording, record
from relaybox_hooks.testing.request import ReceivedRequest
from relaybox_hooks.testing.script import FaultScript, Script
from relaybox_hooks.testing.traffic import Acceptance
from relaybox_hooks.testing.unread import AnswerUnread, NeverRead, Stall

__all__ = [
    "Acceptance",
    "Answer",
    "AnswerUnread",
    "CloseAfterAnswer",
    "CloseAfterRead",
    "CloseMidResponse",
    "CloseOnReuse",
    "Drip",
    "EndlessBlankLines",
    "EndlessBody",
    "EndlessChunkExtension",
    "EndlessHeaders",
    "EndlessInterim",
    "EndlessTrailers",
    "Exchange",
    "Fault",
    "FaultReceiver",
    "FaultScript",
    "Garbage",
    "Hang",
    "Hold",
    "Late",
    "MemoryJournal",
    "NeverRead",
    "ReceivedRequest",
    "RecordedEvent",
    "Recording",
    "Redirect",
    "ResetAfterRead",
    "ResetBeforeRead",
    "Script",
    "Stall",
    "SurplusResponses",
    "VirtualClock",
    "record",
]
