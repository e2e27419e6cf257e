"""``webhook``: what its commands do to a file, and that Hooks reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.programs import Call, Run

from relaybox_hooks import Hooks, RetryPolicy

CREATE = ("webhook", "create", "crm", "--url", "https://crm.example/webhook?token=t")


async def test_the_installed_program_keeps_a_file(run: Run, tmp_path: Path) -> None:
    code, output, errors = await run(*CREATE, "--event", "room:*")
    assert (code, errors) == (0, "")
    assert output.splitlines() == [
        "crm is in hooks.toml, sent room:*",
        'set its key in $CRM_SIGNING_KEY: export CRM_SIGNING_KEY="$(relaybox-hooks keygen)"',
    ]
    _, output, _ = await run("webhook", "list", CRM_SIGNING_KEY="secret key")
    assert output.splitlines()[1].split() == [
        *("crm", "enabled", "https://crm.example/webhook", "room:*", "$CRM_SIGNING_KEY")
    ]


def test_hooks_read_what_was_created(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (
        *("--event", "room:*", "--event", "auth:signin", "--key-env", "KEY", "--app-pid", "chat"),
        *("--header", "X-Source: chat", "--header-env", "Authorization:TOKEN"),
        *("--set", "retry.attempts=8", "--set", "order_by=room", "--set", "enabled=false"),
    )
    assert call(*CREATE, *options).code == 0
    monkeypatch.setenv("KEY", "secret key")
    monkeypatch.setenv("TOKEN", "Bearer 1")
    (webhook,) = Hooks.from_config(tmp_path / "hooks.toml").webhooks
    assert (webhook.id, webhook.url) == ("crm", "https://crm.example/webhook?token=t")
    assert (webhook.events, webhook.signing_key) == (("room:*", "auth:signin"), "secret key")
    assert (webhook.app_pid, webhook.order_by, webhook.enabled) == ("chat", "room", False)
    assert webhook.headers == {"X-Source": "chat", "Authorization": "Bearer 1"}
    assert webhook.retry == RetryPolicy(attempts=8)
    text = (tmp_path / "hooks.toml").read_text(encoding="utf-8")
    assert "secret key" not in text
    assert "Bearer" not in text


def test_a_webhook_is_edited(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "hooks.toml"
    call(*CREATE, "--event", "room:*", "--set", "max_age=60")
    code, output, _ = call(
        *("webhook", "edit", "crm", "--url", "http://crm/", "--event", "*", "--key-env", "OTHER"),
        *("--set", "breaker=false", "--unset", "max_age"),
    )
    assert (code, output) == (0, "crm is changed in hooks.toml\n")
    assert file.read_text(encoding="utf-8") == (
        '[webhooks.crm]\nurl = "http://crm/"\nevents = ["*"]\n'
        'signing_key = { env = "OTHER" }\nbreaker = false\n'
    )


def test_a_webhook_is_switched_off_and_on(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "hooks.toml"
    call(*CREATE, "--event", "room:*")
    text = file.read_text(encoding="utf-8")
    assert call("webhook", "disable", "crm").output == "crm is disabled in hooks.toml\n"
    record = json.loads(call("webhook", "list", "--json").output)
    assert record == {
        "name": "crm",
        "id": "crm",
        "enabled": False,
        "url": "https://crm.example/webhook",
        "events": ["room:*"],
        "key": "$CRM_SIGNING_KEY (not set)",
        "app_pid": None,
    }
    assert call("webhook", "enable", "crm").output == "crm is enabled in hooks.toml\n"
    assert file.read_text(encoding="utf-8") == text


def test_a_webhook_is_removed(call: Call, tmp_path: Path) -> None:
    call(*CREATE, "--event", "room:*", "--config", "other.toml")
    code, output, _ = call("webhook", "remove", "crm", "-c", "other.toml")
    assert (code, output) == (0, "crm is out of other.toml; 0 webhooks left\n")
    assert (tmp_path / "other.toml").read_text(encoding="utf-8") == ""


def test_a_key_in_the_file_is_not_shown(call: Call, tmp_path: Path) -> None:
    (tmp_path / "hooks.toml").write_text(
        '[webhooks.crm]\nurl = "http://crm/"\nevents = ["*"]\nsigning_key = "plain key"\n', "utf-8"
    )
    _, output, errors = call("webhook", "list")
    assert "in the file" in output
    assert "plain key" not in output + errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "crm", "--url", "http://h/", "--event", "*"], "'crm' is in hooks.toml already"),
        (["create", "b", "--url", "http://h/"], "name at least one, or '*' for all"),
        (
            ["create", "b", "--url", "http://h/", "--event", "rom:join"],
            "hooks.toml: [webhooks.b] events='rom:join': did you mean",
        ),
        (["edit", "crm", "--url", "h"], "hooks.toml: [webhooks.crm] url='h': give an http"),
        (
            ["edit", "crm", "--set", "retry.atempts=3"],
            "hooks.toml: [webhooks.crm.retry] atempts: unknown key: did you mean 'attempts'?",
        ),
        (["edit", "crm", "--set", "signing_key=k"], "--set signing_key.env=NAME"),
        (["disable", "crn"], "no webhook 'crn' in hooks.toml: there is crm"),
        (["list", "-c", "nothing.toml"], "nothing.toml: no such file; `relaybox-hooks webhook"),
        (["lst"], "Did you mean 'list'?"),
    ],
)
def test_mistakes_are_named_and_change_nothing(
    call: Call, tmp_path: Path, arguments: list[str], said: str
) -> None:
    call(*CREATE, "--event", "room:*")
    before = (tmp_path / "hooks.toml").read_text(encoding="utf-8")
    code, output, errors = call("webhook", *arguments)
    assert (code, output) == (2, "")
    assert said in errors
    assert (tmp_path / "hooks.toml").read_text(encoding="utf-8") == before
