"""Sessions: from what a server keeps of a connection to the eight fields that leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field, replace
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest

from relaybox_hooks import PayloadError, Session, User
from relaybox_hooks.session import NO_SESSION
from relaybox_hooks.wire.envelope import encode_session

EIGHT = {
    "appPid",
    "keyId",
    "clientId",
    "connectionId",
    "socketId",
    "timestamp",
    "exp",
    "user",
}
USER_FIELDS = {
    "id",
    "clientId",
    "createdAt",
    "updatedAt",
    "username",
    "orgId",
    "appId",
    "isOnline",
    "lastOnline",
    "blockedAt",
    "firstName",
    "lastName",
}
WIRE: dict[str, Any] = {
    "appPid": "app",
    "keyId": "key",
    "clientId": "client",
    "connectionId": "connection",
    "socketId": "socket",
    "timestamp": "2024-10-22T13:15:08.913Z",
    "exp": 1_729_602_908,
    "user": {"id": "u1", "isOnline": True, "firstName": "Ada", "badge": {"level": 3}},
}


@dataclass
class HostSession:
    """What a server may keep of a connection: the eight, and what is nobody's business."""

    app_pid: str = "app"
    key_id: str = "key"
    client_id: str = "client"
    connection_id: str = "connection"
    socket_id: str = "socket"
    timestamp: str = "2024-10-22T13:15:08.913Z"
    exp: int = 1_729_602_908
    permissions: list[str] = field(default_factory=lambda: ["secret:admin"])
    access_token: str = "secret-token"
    user: object = None


def test_a_mapping_with_the_wire_names() -> None:
    session = Session.of(WIRE)
    assert session.app_pid == "app"
    assert session.connection_id == "connection"
    assert session.user == User(
        id="u1", is_online=True, first_name="Ada", extra={"badge": {"level": 3}}
    )


def test_any_mapping_will_do() -> None:
    assert Session.of(MappingProxyType(WIRE)) == Session.of(WIRE)


def test_an_object_with_snake_case_attributes() -> None:
    host = HostSession(user=SimpleNamespace(id="u1", first_name="Ada", password="secret"))
    assert Session.of(host) == Session(
        app_pid="app",
        key_id="key",
        client_id="client",
        connection_id="connection",
        socket_id="socket",
        timestamp="2024-10-22T13:15:08.913Z",
        exp=1_729_602_908,
        user=User(id="u1", first_name="Ada"),
    )


def test_an_object_may_lack_most_of_the_attributes() -> None:
    assert Session.of(SimpleNamespace(client_id="c")) == Session(client_id="c")


def test_an_object_may_have_a_mapping_for_its_user() -> None:
    session = Session.of(HostSession(user={"id": "u1", "theme": "dark"}))
    assert session.user == User(id="u1", extra={"theme": "dark"})


def test_a_session_is_taken_as_it_is() -> None:
    session = Session(client_id="c")
    assert Session.of(session) is session


def test_no_session_is_eight_nulls() -> None:
    assert Session.of(None) is NO_SESSION
    assert Session.of({}).to_wire() == dict.fromkeys(EIGHT)


@pytest.mark.parametrize(
    "source",
    [
        {**WIRE, "permissions": ["secret:admin"], "accessToken": "secret-token", "app_pid": "no"},
        HostSession(),
        Session.of(HostSession()),
    ],
    ids=["mapping", "object", "session"],
)
def test_exactly_the_eight_fields_leave(source: object) -> None:
    session = Session.of(source)
    assert set(session.to_wire()) == EIGHT
    assert b"secret" not in encode_session(session)
    assert b"secret" not in repr(session).encode()


def test_what_a_user_object_has_besides_stays() -> None:
    """Of an object only the documented members are read; its other attributes are the host's."""
    user = User.of(SimpleNamespace(id="u1", password_hash="secret"))
    assert set(user.to_wire()) == USER_FIELDS


def test_further_members_of_a_user_mapping_pass_through() -> None:
    wire = User.of({"id": "u1", "badge": 3, "client_id": "extra"}).to_wire()
    assert set(wire) == USER_FIELDS | {"badge", "client_id"}
    assert wire["badge"] == 3
    assert wire["clientId"] is None


def test_an_extra_member_cannot_replace_a_documented_one() -> None:
    assert User(id="real", extra={"id": "forged"}).to_wire()["id"] == "real"


def test_sessions_and_users_are_frozen() -> None:
    session = Session.of(WIRE)
    with pytest.raises(FrozenInstanceError):
        session.client_id = "other"  # type: ignore[misc]
    assert session.user is not None
    with pytest.raises(FrozenInstanceError):
        session.user.id = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        session.user.extra["badge"] = 4  # type: ignore[index]


def test_a_mapping_changed_later_does_not_reach_the_session() -> None:
    source = {**WIRE, "user": {"id": "u1", "badge": 1}}
    session = Session.of(source)
    source["clientId"] = "other"
    source["user"]["badge"] = 2
    assert session.client_id == "client"
    assert session.user is not None
    assert session.user.extra == {"badge": 1}


def test_the_encoded_form_is_made_once_and_does_not_outlive_a_change() -> None:
    session = Session(client_id="before")
    assert encode_session(session) is encode_session(session)
    changed = replace(session, client_id="after")
    assert b"after" in encode_session(changed)
    assert b"before" not in encode_session(changed)


@pytest.mark.parametrize(
    "name", ["appPid", "keyId", "clientId", "connectionId", "socketId", "timestamp"]
)
@pytest.mark.parametrize("value", [5, b"bytes", ["list"], True])
def test_a_field_of_the_wrong_type_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(PayloadError, match=rf"^session\.{name}: .*pass str or None") as caught:
        Session.of({name: value})
    assert caught.value.path == f"session.{name}"


@pytest.mark.parametrize(
    "stranger", ["text", 5, {"client_id": "snake"}, {"other": 1}, object(), ["clientId"]]
)
def test_what_has_none_of_the_fields_is_no_session(stranger: object) -> None:
    """A mapping in snake_case, or a wrong argument, would otherwise go out as eight nulls."""
    with pytest.raises(PayloadError, match=r"^session: .*appPid.*app_pid"):
        Session.of(stranger)


@pytest.mark.parametrize("stranger", ["text", 5, object(), []])
def test_what_has_none_of_the_members_is_no_user(stranger: object) -> None:
    with pytest.raises(PayloadError, match=r"^session\.user: "):
        Session.of({"user": stranger})


def test_a_field_that_json_cannot_carry_is_refused_with_its_path() -> None:
    user: Mapping[str, object] = {"id": "u1", "tags": ["ok", b"bytes"]}
    with pytest.raises(PayloadError) as caught:
        encode_session(Session.of({"user": user}))
    assert caught.value.path == "session.user.tags[1]"
    with pytest.raises(PayloadError) as caught:
        encode_session(Session(exp=2**53))
    assert caught.value.path == "session.exp"


def test_a_property_that_raises_is_named() -> None:
    """As Starlette's ``request.user`` does where no middleware has set one."""

    class Connection:
        app_pid = "chat"

        @property
        def user(self) -> None:
            raise AssertionError("install the middleware")

    with pytest.raises(
        PayloadError, match=r"session\.user: reading it raised AssertionError: inst"
    ):
        Session.of(Connection())
