"""Headers of a user's own: which may be sent, whoever adds them."""

from __future__ import annotations

import pytest

from relaybox_hooks import ConfigError
from relaybox_hooks.targets.headers import RESERVED, STANDARD, checked_headers


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_the_protocols_own_are_refused_in_any_case(name: str) -> None:
    with pytest.raises(ConfigError, match="the protocol sets this header itself"):
        checked_headers("option", {name.title(): "x"})


@pytest.mark.parametrize("name", sorted(STANDARD))
def test_those_of_standard_webhooks_are_refused_where_the_caller_says_so(name: str) -> None:
    assert checked_headers("option", {name: "x"}) == {name: "x"}
    with pytest.raises(ConfigError, match="the protocol sets this header itself"):
        checked_headers("option", {name: "x"}, RESERVED | STANDARD)


def test_an_error_names_the_option_and_the_header_and_not_its_value() -> None:
    with pytest.raises(ConfigError) as caught:
        checked_headers("Profile.headers", {"X-Token": "s3cret\n"})
    assert str(caught.value).startswith("Profile.headers='X-Token': its value must be ASCII")
    assert "s3cret" not in str(caught.value)
