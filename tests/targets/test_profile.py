"""Profile: checked when it is made, and silent about its headers."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from relaybox_hooks import ConfigError, Profile
from relaybox_hooks.targets.headers import RESERVED, STANDARD


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ssl": True}, "Profile.ssl=True"),
        ({"headers": ["X-A: 1"]}, "Profile.headers='***': give a mapping"),
        ({"headers": {"X-A": "a\r\nb"}}, "Profile.headers='X-A': its value must be ASCII"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Profile(**options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", sorted(RESERVED | STANDARD))
def test_headers_that_some_webhook_sets_itself_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="the protocol sets this header itself"):
        Profile(headers={name: "x"})


def test_its_repr_shows_no_header() -> None:
    profile = Profile(ssl=ssl.create_default_context(), headers={"Authorization": "s3cret"})
    assert "s3cret" not in repr(profile)


def test_headers_are_a_copy_that_cannot_be_changed() -> None:
    given = {"X-A": "1"}
    profile = Profile(headers=given)
    given["X-A"] = "2"
    assert profile.headers == {"X-A": "1"}
    with pytest.raises(TypeError):
        profile.headers["X-A"] = "3"  # type: ignore[index]
