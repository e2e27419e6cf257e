"""Exception hierarchy of the library. Details are attributes of each exception.

::

    RelayboxHooksError
    ├── ConfigError (ValueError)            invalid value of an option, policy or webhook
    ├── UnknownEventError (ValueError)      undeclared event name
    ├── UnknownTargetError (LookupError)    unregistered webhook or subscriber
    ├── PayloadError (ValueError)           data or session that JSON cannot represent exactly
    ├── LaneFullError                       full lane of a target
    ├── HooksClosedError                    Hooks not started yet, closing or closed
    ├── JournalWaitError                    emit_nowait for an event that a journal must store
    ├── SubscriberWaitError                 emit_nowait for an event that an async function awaits
    ├── SubscriberTimeoutError (TimeoutError)  inline subscriber that took too long
    ├── EgressError (OSError)               address blocked by the egress policy
    ├── MissingExtraError (ImportError)     optional dependency that is not installed
    └── VerificationError                   received request that failed verification
        ├── MissingHeaderError
        ├── InvalidSignatureError
        ├── TimestampError
        ├── MalformedBodyError
        └── ReplayedRequestError
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

#: ``errno`` of every :class:`EgressError`. Negative, so that no operating system uses it, and
#: constant, because asyncio merges the errors of several addresses into one ``OSError``.
EGRESS_ERRNO: Final = -403

#: Signature scheme of a request: RelayBox or Standard Webhooks.
Scheme: TypeAlias = Literal["relaybox", "standard"]


class RelayboxHooksError(Exception):
    """Base class of all exceptions that this library raises deliberately.

    They can be pickled, as a process pool does with what its workers raise.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (type(self), self.args, vars(self))


def _unpickled(
    kind: type[RelayboxHooksError], args: tuple[Any, ...], attributes: dict[str, Any]
) -> RelayboxHooksError:
    """Make an error of its message, from which its own constructor could not make one."""
    error = kind.__new__(kind)
    builtin = next(each for each in kind.__mro__ if each.__module__ == "builtins")
    builtin.__init__(error, *args)  # type: ignore[misc] # the class is found, not written here
    vars(error).update(attributes)
    return error


class ConfigError(RelayboxHooksError, ValueError):
    """Raised when an option, policy or webhook has an invalid value.

    Attributes:
        option: name of the argument.
        value: value of the argument; ``"***"`` if it is a secret.
    """

    def __init__(self, option: str, value: object, advice: str) -> None:
        super().__init__(f"{option}={value!r}: {advice}")
        self.option = option
        self.value = value


class UnknownEventError(RelayboxHooksError, ValueError):
    """Raised when an event name is undeclared or a pattern matches no declared name.

    Attributes:
        name: the undeclared name or pattern.
        suggestion: closest declared name, ``None`` if none is close.
    """

    def __init__(self, name: object, known: Iterable[str]) -> None:
        # Imported here, so that programs that never raise the error do not load difflib.
        from difflib import get_close_matches  # noqa: PLC0415

        near = get_close_matches(name, list(known), n=1) if isinstance(name, str) else []
        self.name = name
        self.suggestion: str | None = near[0] if near else None
        hint = f"did you mean {self.suggestion!r}? " if self.suggestion else ""
        super().__init__(
            f"unknown event {name!r}: {hint}Declare further events with Hooks(custom_events=[...])"
        )


class UnknownTargetError(RelayboxHooksError, LookupError):
    """Raised when a webhook id or a subscriber function is not registered.

    Attributes:
        target: the id or the function.
    """

    def __init__(self, target: object, advice: str) -> None:
        super().__init__(f"{target!r} is not registered: {advice}")
        self.target = target


class PayloadError(RelayboxHooksError, ValueError):
    """Raised when JSON cannot represent data or session exactly. No target got the event.

    Attributes:
        path: location of the value, for example ``data.items[3].price``.
        reason: cause and remedy.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class LaneFullError(RelayboxHooksError):
    """Raised when a lane is full and ``emit`` may not wait, or would wait forever.

    Raised by ``emit_nowait``, by ``emit`` with ``overflow="raise"``, and by an ``emit`` in a
    subscriber that would wait for its own lane. No target got the event.

    Attributes:
        target: id of the webhook or name of the subscriber.
        limit: bound of the lane, in events.
    """

    def __init__(self, target: str, limit: int, reason: str) -> None:
        super().__init__(f"the lane of {target!r} is full ({limit} events): {reason}")
        self.target = target
        self.limit = limit


class HooksClosedError(RelayboxHooksError):
    """Raised by ``emit`` before ``start()`` and after closing has begun.

    Attributes:
        state: ``"new"``, ``"closing"`` or ``"closed"``.
    """

    def __init__(self, state: str) -> None:
        advice = (
            "enter 'async with hooks' or await hooks.start() before the first emit"
            if state == "new"
            else "it accepts no events after aclose(); create a new one"
        )
        super().__init__(f"this Hooks instance is {state}: {advice}")
        self.state = state


class JournalWaitError(RelayboxHooksError):
    """Raised by ``emit_nowait`` for an event that the journal must store first."""

    def __init__(self) -> None:
        super().__init__(
            "emit_nowait cannot wait until the journal has stored the event; "
            "await emit(...) instead"
        )


class SubscriberWaitError(RelayboxHooksError):
    """Raised by ``emit_nowait`` where an inline subscriber would have to be awaited.

    Attributes:
        subscriber: name of the subscriber.
    """

    def __init__(self, subscriber: str) -> None:
        super().__init__(
            f"emit_nowait cannot await the inline subscriber {subscriber!r}; "
            "await emit(...) instead"
        )
        self.subscriber = subscriber


class SubscriberTimeoutError(RelayboxHooksError, TimeoutError):
    """Raised by ``emit`` when an inline subscriber takes longer than its ``timeout``.

    Attributes:
        subscriber: name of the subscriber.
        timeout: its limit, seconds.
    """

    def __init__(self, subscriber: str, timeout: float) -> None:
        super().__init__(
            f"the inline subscriber {subscriber!r} took longer than {timeout:g} s: "
            "make it faster, or raise its timeout"
        )
        self.subscriber = subscriber
        self.timeout = timeout


class EgressError(RelayboxHooksError, OSError):
    """Raised when the egress policy blocks an address. The delivery fails permanently.

    Attributes:
        address: the blocked IP address.
        rule: network or rule that blocks it, for example ``169.254.0.0/16 link-local``.
    """

    def __init__(self, address: str, rule: str) -> None:
        super().__init__(EGRESS_ERRNO, f"egress to {address} refused by rule: {rule}")
        self.address = address
        self.rule = rule

    def __str__(self) -> str:
        return str(self.strerror)


class MissingExtraError(RelayboxHooksError, ImportError):
    """Raised on import of a module whose optional dependency is not installed.

    Attributes:
        package: name of the missing package.
        extra: extra of relaybox-hooks that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'relaybox-hooks[{extra}]'")
        self.package = package
        self.extra = extra


class VerificationError(RelayboxHooksError):
    """Raised when a received request fails verification; subclasses give the cause."""


class MissingHeaderError(VerificationError):
    """Raised when a required header is missing.

    Attributes:
        header: name of the header.
    """

    def __init__(self, header: str, kind: str = "RelayBox webhook") -> None:
        super().__init__(f"header {header} is missing: this is not a {kind} request")
        self.header = header


class InvalidSignatureError(VerificationError):
    """Raised when the signature matches the body under none of the verifier's keys.

    Attributes:
        scheme: scheme of the signature, ``"relaybox"`` or ``"standard"``.
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
    """Raised when the request was signed too long ago, or too far in the future.

    Attributes:
        timestamp: timestamp of the request, text.
        skew: seconds by which it is behind the verifier's clock; negative if ahead.
        tolerance: allowed seconds in either direction.
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
    """Raised when the body is not a JSON object of the protocol's shape.

    Attributes:
        reason: description of the fault.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"malformed webhook body: {reason}")
        self.reason = reason


class ReplayedRequestError(VerificationError):
    """Raised when the same request was accepted before (a replay attack).

    Attributes:
        event_id: id of the event in the request.
    """

    def __init__(self, event_id: str) -> None:
        super().__init__(f"event {event_id}: this very request was accepted before (a replay)")
        self.event_id = event_id
