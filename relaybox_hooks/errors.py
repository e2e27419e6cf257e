"""The tree of errors. Each carries what a handler needs as attributes.

::

    RelayboxHooksError
    ├── ConfigError (ValueError)            a webhook, policy or option that cannot work
    ├── UnknownEventError (ValueError)      an event name nobody declared
    ├── UnknownTargetError (LookupError)    no webhook with that id is registered
    ├── PayloadError (ValueError)           data or session that cannot be sent faithfully
    ├── LaneFullError                       a target's lane has no room
    ├── HooksClosedError                    not started yet, closing or closed
    ├── JournalWaitError                    emit_nowait, where emit waits for the journal
    ├── EgressError (OSError)               an address the egress policy refuses
    ├── MissingExtraError (ImportError)     an optional dependency that is not installed
    └── VerificationError                   a received request that must not be trusted
        ├── MissingHeaderError
        ├── InvalidSignatureError
        ├── TimestampError
        ├── MalformedBodyError
        └── ReplayedRequestError
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

#: ``errno`` of every :class:`EgressError`. Negative, so no operating system produces it, and
#: constant, so it survives the merging of several addresses' errors into one ``OSError``.
EGRESS_ERRNO: Final = -403

#: How a request was signed: as RelayBox does it, or as Standard Webhooks has it.
Scheme: TypeAlias = Literal["relaybox", "standard"]


class RelayboxHooksError(Exception):
    """The root of every error this library raises on purpose."""


class ConfigError(RelayboxHooksError, ValueError):
    """An option, policy or webhook was given a value that cannot work.

    Attributes:
        option: the name of the argument at fault.
        value: what was given; ``"***"`` where it is a secret.
    """

    def __init__(self, option: str, value: object, advice: str) -> None:
        super().__init__(f"{option}={value!r}: {advice}")
        self.option = option
        self.value = value


class UnknownEventError(RelayboxHooksError, ValueError):
    """An event name, or a pattern that matches no event, that nobody declared.

    Attributes:
        name: the unknown name.
        suggestion: the nearest declared name, or ``None`` where none is near.
    """

    def __init__(self, name: object, known: Iterable[str]) -> None:
        # Where it is needed: a program without the error has no use for what it imports.
        from difflib import get_close_matches  # noqa: PLC0415

        near = get_close_matches(name, list(known), n=1) if isinstance(name, str) else []
        self.name = name
        self.suggestion: str | None = near[0] if near else None
        hint = f"did you mean {self.suggestion!r}? " if self.suggestion else ""
        super().__init__(
            f"unknown event {name!r}: {hint}Declare further events with Hooks(custom_events=[...])"
        )


class UnknownTargetError(RelayboxHooksError, LookupError):
    """No webhook with this id, or no such subscriber, is registered.

    Attributes:
        target: the id, or the function, that was asked for.
    """

    def __init__(self, target: object, advice: str) -> None:
        super().__init__(f"{target!r} is not registered: {advice}")
        self.target = target


class PayloadError(RelayboxHooksError, ValueError):
    """Data or a session holds a value that JSON cannot carry faithfully. Nothing was queued.

    Attributes:
        path: where the value is, for example ``data.items[3].price``.
        reason: what is wrong with it and what to do.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class LaneFullError(RelayboxHooksError):
    """A target's lane has no room, and waiting for some was not allowed or could not end.

    Raised by ``emit_nowait``, by ``emit`` where ``overflow="raise"``, and by a subscriber's
    own ``emit`` that would wait for itself. No target received the event.

    Attributes:
        target: the webhook's id or the subscriber's name.
        limit: the bound of the lane, in events.
    """

    def __init__(self, target: str, limit: int, reason: str) -> None:
        super().__init__(f"the lane of {target!r} is full ({limit} events): {reason}")
        self.target = target
        self.limit = limit


class HooksClosedError(RelayboxHooksError):
    """``emit`` was called before ``start()``, or after closing began.

    Attributes:
        state: ``"new"``, ``"closing"`` or ``"closed"``.
    """

    def __init__(self, state: str) -> None:
        advice = (
            "enter 'async with hooks' or await hooks.start() before the first emit"
            if state == "new"
            else "no event is accepted once aclose() was called"
        )
        super().__init__(f"hooks are {state}: {advice}")
        self.state = state


class JournalWaitError(RelayboxHooksError):
    """``emit_nowait`` was called for an event that the journal has to store first."""

    def __init__(self) -> None:
        super().__init__(
            "emit_nowait cannot wait until the journal has stored the event; "
            "await emit(...) instead"
        )


class EgressError(RelayboxHooksError, OSError):
    """The egress policy refuses to connect to an address. The delivery fails for good.

    Attributes:
        address: the IP address that would have been connected to.
        rule: the network or rule that refused it, for example ``169.254.0.0/16 link-local``.
    """

    def __init__(self, address: str, rule: str) -> None:
        super().__init__(EGRESS_ERRNO, f"egress to {address} refused by rule: {rule}")
        self.address = address
        self.rule = rule

    def __str__(self) -> str:
        return str(self.strerror)


class MissingExtraError(RelayboxHooksError, ImportError):
    """A module was imported that needs a package which is not installed.

    Attributes:
        package: what is missing.
        extra: the extra of relaybox-hooks that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'relaybox-hooks[{extra}]'")
        self.package = package
        self.extra = extra


class VerificationError(RelayboxHooksError):
    """A received request must not be trusted; the subclasses say why."""


class MissingHeaderError(VerificationError):
    """A header that every request of its kind carries is not there.

    Attributes:
        header: its name.
    """

    def __init__(self, header: str, kind: str = "RelayBox webhook") -> None:
        super().__init__(f"header {header} is missing: this is not a {kind} request")
        self.header = header


class InvalidSignatureError(VerificationError):
    """No key of the verifier produces the request's signature for its body.

    Attributes:
        scheme: whose signature it is, ``"relaybox"`` or ``"standard"``.
    """

    def __init__(self, scheme: Scheme = "relaybox") -> None:
        super().__init__(
            "the signature fits the body under none of the signing keys: check that the "
            "key is the webhook's and that the body reaches the verifier unchanged"
            if scheme == "relaybox"
            else "no signature in webhook-signature fits webhook-id, webhook-timestamp and the "
            "body under any of the secrets: check that the secret is the webhook's and that "
            "headers and body reach the verifier unchanged"
        )
        self.scheme = scheme


class TimestampError(VerificationError):
    """The request was signed too long ago, or too far in the future.

    Attributes:
        timestamp: the timestamp as the request has it, text.
        skew: seconds between it and the verifier's clock; positive when it lies in the past.
        tolerance: the seconds allowed either way.
    """

    def __init__(self, timestamp: str, skew: float, tolerance: float) -> None:
        where = "behind" if skew > 0 else "ahead of"
        super().__init__(
            f"timestamp {timestamp} is {abs(skew):.3f} s {where} this machine's clock, "
            f"{tolerance:g} s are allowed: check both clocks"
        )
        self.timestamp = timestamp
        self.skew = skew
        self.tolerance = tolerance


class MalformedBodyError(VerificationError):
    """The body is not the JSON object that the protocol sends.

    Attributes:
        reason: what is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"malformed webhook body: {reason}")
        self.reason = reason


class ReplayedRequestError(VerificationError):
    """The very same request was accepted before.

    Attributes:
        event_id: the id of the event it carries.
    """

    def __init__(self, event_id: str) -> None:
        super().__init__(f"event {event_id}: this very request was accepted before (a replay)")
        self.event_id = event_id
