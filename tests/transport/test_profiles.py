"""Profiles: TLS and headers by name, one result of a function for all who share it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from support import KEY, ONCE, ROOM, soon
from support.certificates import Certificate

from relaybox_hooks import ConfigError, Hooks, Profile, Webhook
from relaybox_hooks.targets.settings import Settings
from relaybox_hooks.testing import Answer, Fault, FaultReceiver, ReceivedRequest
from relaybox_hooks.transport.profiles import Profiles


class Tokens:
    """Makes ``Authorization: Bearer N``, where N counts the calls."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self) -> Mapping[str, str]:
        self.calls += 1
        return {"Authorization": f"Bearer {self.calls}"}


def webhook(url: str, name: str = "", **options: Any) -> Webhook:
    return Webhook(url, ["*"], KEY, name=name, **{"retry": ONCE, "profile": "partner", **options})


def expects(token: str) -> Any:
    """A script that answers 401 to any other token."""

    def answer(request: ReceivedRequest) -> Fault:
        return Answer(200 if request.headers["Authorization"] == token else 401)

    return answer


async def emit(hooks: Hooks, times: int = 1) -> None:
    for number in range(times):
        await hooks.emit("room:join", ROOM, {"connectionId": str(number)})
    await soon(hooks.join())


@pytest.mark.parametrize("own_session", [False, True])
async def test_webhooks_share_a_functions_result_and_what_a_401_makes_of_it(
    own_session: bool,
) -> None:
    tokens = Tokens()
    async with (
        FaultReceiver(expects("Bearer 2")) as receiver,
        ClientSession() as session,
        Hooks(
            [webhook(receiver.url, str(number)) for number in range(20)],
            profiles={"partner": Profile(headers=tokens)},
            http_session=session if own_session else None,
        ) as hooks,
    ):
        await emit(hooks, 3)
        assert hooks.stats().delivered == 60
    assert tokens.calls == 2


async def test_a_function_that_fails_is_named_as_the_profiles() -> None:
    async def headers() -> Mapping[str, str]:
        raise LookupError("s3cret")

    async with FaultReceiver() as receiver:
        profiles = {"partner": Profile(headers=headers)}
        async with Hooks([webhook(receiver.url)], profiles=profiles) as hooks:
            await emit(hooks)
            (letter,) = await hooks.dead_letters()
    assert letter.outcome is not None
    assert letter.outcome.detail == "Profile.headers raised LookupError"


async def test_fixed_headers_of_both_are_sent_and_the_webhooks_own_hold() -> None:
    shared = {"X-Partner": "p", "X-Tenant": "shared"}
    own = {"x-tenant": "own", "X-Own": "o"}
    async with FaultReceiver() as receiver:
        async with Hooks(
            [webhook(receiver.url, headers=own), webhook(receiver.url, "bare")],
            profiles={"partner": Profile(headers=shared)},
        ) as hooks:
            await emit(hooks)
            assert hooks.stats().delivered == 2
        first, second = sorted(receiver.requests, key=lambda each: "X-Own" not in each.headers)
    assert [first.headers[name] for name in ("X-Partner", "X-Tenant", "X-Own")] == ["p", "own", "o"]
    assert first.headers.getall("X-Tenant") == ["own"]
    assert [second.headers[name] for name in ("X-Partner", "X-Tenant")] == ["p", "shared"]


async def test_a_fixed_header_of_a_webhook_holds_before_one_that_the_profile_makes() -> None:
    async with FaultReceiver() as receiver:
        async with Hooks(
            [webhook(receiver.url, headers={"authorization": "Basic own"})],
            profiles={"partner": Profile(headers=Tokens())},
        ) as hooks:
            await emit(hooks)
        (request,) = receiver.requests
    assert request.headers.getall("Authorization") == ["Basic own"]


async def test_tls_of_a_profile_trusts_what_it_says(certificate: Certificate) -> None:
    async with (
        FaultReceiver(ssl=certificate.server()) as receiver,
        Hooks(
            [webhook(receiver.url), webhook(receiver.url, "other", profile="public")],
            profiles={"partner": Profile(ssl=certificate.client()), "public": Profile()},
        ) as hooks,
    ):
        await emit(hooks)
        assert (hooks.stats().delivered, hooks.stats().failed) == (1, 1)
        (letter,) = await hooks.dead_letters()
    assert letter.outcome is not None
    assert str(letter.outcome.error).startswith("ClientConnectorCertificateError")


def test_a_webhooks_own_tls_holds_and_plain_http_needs_none(certificate: Certificate) -> None:
    shared, own = certificate.client(), certificate.client()
    profiles = Profiles({"partner": Profile(ssl=shared)})

    def tls_of(url: str, **options: Any) -> ssl.SSLContext | None:
        made = webhook(url, **options)
        profiles.check(made)
        return profiles.endpoint(made, Settings()).ssl

    assert tls_of("https://a.test/") is shared
    assert tls_of("https://a.test/", ssl=own) is own
    assert tls_of("http://a.test/") is None
    assert tls_of("https://a.test/", profile=None) is None


async def test_a_profile_that_is_not_there_is_refused_at_registration() -> None:
    hooks = Hooks(profiles={"partner": Profile(), "other": Profile()})
    with pytest.raises(ConfigError) as caught:
        hooks.add_webhook(webhook("http://a.test/", profile="partnr"))
    assert str(caught.value) == (
        "Webhook.profile='partnr': not in Hooks(profiles=...); known are 'partner', 'other'"
    )
    assert hooks.webhooks == ()
    with pytest.raises(ConfigError, match="known are none"):
        Hooks([webhook("http://a.test/")])


def test_two_functions_for_one_webhook_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"Webhook\.profile='partner': it makes headers"):
        Hooks(
            [webhook("http://a.test/", headers=Tokens())],
            profiles={"partner": Profile(headers=Tokens())},
        )


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        (["partner"], r"profiles=\['partner'\]: give a mapping of names to Profile objects"),
        ({"": Profile()}, "profiles='': give text as a profile's name"),
        ({"partner": {"headers": {}}}, r"profiles\['partner'\]=.*: give a Profile\(ssl=, headers"),
    ],
)
def test_what_is_no_profile_is_refused(profiles: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Hooks(profiles=profiles)


def test_a_file_names_a_profile_that_code_has(tmp_path: Path) -> None:
    file = tmp_path / "hooks.toml"
    file.write_text(
        '[webhooks.crm]\nurl = "http://a.test/"\nevents = ["*"]\nsigning_key = "key"\n'
        'profile = "partner"\n'
    )
    hooks = Hooks.from_config(file, profiles={"partner": Profile()})
    assert hooks.webhooks[0].profile == "partner"
    with pytest.raises(ConfigError, match=r"Webhook\.profile='partner': not in Hooks"):
        Hooks.from_config(file)
