"""Sessions: the eight wire fields that identify the connection and user of an event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from relaybox_hooks.errors import PayloadError

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """User account of a session; on the wire its members are in camelCase.

    Attributes:
        extra: members beyond the documented ones by wire name, sent and received unchanged.
    """

    id: str | None = None
    client_id: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    username: str | None = None
    org_id: str | None = None
    app_id: str | None = None
    is_online: bool | None = None
    last_online: str | None = None
    blocked_at: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)

    def __post_init__(self) -> None:
        if self.extra is not _NOTHING:
            object.__setattr__(self, "extra", MappingProxyType(dict(self.extra)))

    @classmethod
    def of(cls, value: object) -> User:
        """Build from a mapping with the wire names or an object with snake_case attributes.

        Raises:
            PayloadError: ``value`` is neither.
        """
        if isinstance(value, cls):
            return value
        if type(value) is dict and value.keys() <= _USER_NAMES.keys():
            return cls._documented(value.get)
        if isinstance(value, Mapping):
            known = {
                attribute: value[name] for name, attribute in _USER_NAMES.items() if name in value
            }
            extra = {name: value[name] for name in value if name not in _USER_NAMES}
            return cls(**known, extra=extra)
        return cls(**_attributes(value, _USER_NAMES, "session.user"))

    @classmethod
    def _documented(cls, get: Callable[[str], Any]) -> User:
        # Hot path of every verified event: written out, it takes half the time of a loop.
        return cls(
            id=get("id"),
            client_id=get("clientId"),
            created_at=get("createdAt"),
            updated_at=get("updatedAt"),
            username=get("username"),
            org_id=get("orgId"),
            app_id=get("appId"),
            is_online=get("isOnline"),
            last_online=get("lastOnline"),
            blocked_at=get("blockedAt"),
            first_name=get("firstName"),
            last_name=get("lastName"),
        )

    def to_wire(self) -> dict[str, Any]:
        """Return all members by wire name, unset ones as ``None``."""
        known = {name: getattr(self, attribute) for name, attribute in _USER_NAMES.items()}
        return {**self.extra, **known}


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Connection and user of an event: exactly the fields that leave the process.

    Create one per connection and pass it to every ``emit``: its encoded form is cached.

    Attributes:
        app_pid: public id of the application; selects the webhooks bound to it.
        key_id: id of the API key that opened the connection.
        client_id: id of the user in the application.
        connection_id: id of the websocket connection; default order key, with ``client_id``.
        socket_id: id of the transport.
        timestamp: start of the session, ISO 8601 text.
        exp: expiry of the session, seconds since the Unix epoch.
        user: user account; a mapping with the wire names is converted to a :class:`User`.
        encoded: cached canonical text of the wire fields, UTF-8; ``None`` before the first
            emit. Set by :meth:`cache_encoded`; not a wire field.
    """

    app_pid: str | None = None
    key_id: str | None = None
    client_id: str | None = None
    connection_id: str | None = None
    socket_id: str | None = None
    timestamp: str | None = None
    exp: float | None = None
    user: User | None = None
    encoded: bytes | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        texts = (  # in field order; a loop with getattr takes twice as long
            self.app_pid,
            self.key_id,
            self.client_id,
            self.connection_id,
            self.socket_id,
            self.timestamp,
        )
        for place, value in enumerate(texts):
            if value is not None and type(value) is not str:
                name = list(_SESSION_NAMES)[place]
                raise PayloadError(
                    f"session.{name}", f"{value!r} is a {type(value).__name__}; pass str or None"
                )
        if self.user is not None:
            object.__setattr__(self, "user", User.of(self.user))

    @classmethod
    def of(cls, value: SessionLike | None) -> Session:
        """Build from a Session, a mapping with the wire names, an object or ``None``.

        Raises:
            PayloadError: ``value`` has none of a session's members, or one of the wrong type.
        """
        if isinstance(value, cls):
            return value
        if value is None:
            return NO_SESSION
        if type(value) is dict and "appPid" in value:
            # Hot path of verified events and of emits with a dict: faster than a loop.
            get = value.get
            return cls(
                app_pid=get("appPid"),
                key_id=get("keyId"),
                client_id=get("clientId"),
                connection_id=get("connectionId"),
                socket_id=get("socketId"),
                timestamp=get("timestamp"),
                exp=get("exp"),
                user=get("user"),
            )
        if isinstance(value, Mapping):
            found = {
                attribute: value[name]
                for name, attribute in _SESSION_NAMES.items()
                if name in value
            }
            if value and not found:
                raise _members_error(value, _SESSION_NAMES, "session")
            return cls(**found)
        return cls(**_attributes(value, _SESSION_NAMES, "session"))

    def to_wire(self) -> dict[str, Any]:
        """Return the eight wire fields by wire name, unset ones as ``None``."""
        wire = {name: getattr(self, attribute) for name, attribute in _SESSION_NAMES.items()}
        if self.user is not None:
            wire["user"] = self.user.to_wire()
        return wire

    def cache_encoded(self, encoded: bytes) -> None:
        """Set :attr:`encoded`, the canonical text of :meth:`to_wire`, for later emits."""
        object.__setattr__(self, "encoded", encoded)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _wire_names(cls: type, *internal: str) -> dict[str, str]:
    """Return attribute names by wire name, for every field except ``internal``."""
    return {_camel(f.name): f.name for f in fields(cls) if f.name not in internal}


_USER_NAMES: Final = _wire_names(User, "extra")
_SESSION_NAMES: Final = _wire_names(Session, "encoded")


def _attributes(value: object, names: Mapping[str, str], path: str) -> dict[str, Any]:
    found = {}
    for name in names.values():
        try:
            found[name] = getattr(value, name)
        except AttributeError:
            pass
        except Exception as error:
            raise PayloadError(
                f"{path}.{name}",
                f"reading it raised {type(error).__name__}: {error}; pass one with plain values",
            ) from error
    if not found:
        raise _members_error(value, names, path)
    return found


def _members_error(value: object, names: Mapping[str, str], path: str) -> PayloadError:
    return PayloadError(
        path,
        f"a {type(value).__name__} without any of its members: pass a mapping with the wire "
        f"names ({', '.join(list(names)[:4])}, ...) or an object with "
        f"{', '.join(list(names.values())[:4])}, ... as attributes",
    )


#: Types that ``emit`` accepts as a session: a :class:`Session`, a mapping with the wire names, or
#: any object that has the wire names in snake_case as attributes.
SessionLike: TypeAlias = Session | Mapping[str, Any] | object

#: Session of an event that was emitted without one.
NO_SESSION: Final = Session()
