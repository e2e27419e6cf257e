"""Hooks from a TOML file: everything that can be said in one, and what is said of mistakes."""

from __future__ import annotations

import inspect
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relaybox_hooks import (
    BreakerPolicy,
    ConfigError,
    EgressPolicy,
    Hooks,
    RetryPolicy,
    Timeouts,
    Webhook,
)
from relaybox_hooks.config import ConfigFileError, read
from relaybox_hooks.targets.policies import RetentionPolicy
from relaybox_hooks.testing import FaultReceiver
from relaybox_hooks.wire.standard_webhooks import generate_standard_secret

CRM = """
[webhooks.crm]
url = "https://crm.example/webhook"
events = ["room:*", "auth:signin"]
signing_key = { env = "CRM_SIGNING_KEY" }
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_SIGNING_KEY", "the key of crm")
    monkeypatch.setenv("CRM_TOKEN", "Bearer 1234")
    monkeypatch.delenv("NOT_SET", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hooks.toml"


def write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def refused(file: Path, text: str) -> str:
    """What is said of a file with this text, without the directory it is in."""
    write(file, text)
    with pytest.raises(ConfigFileError) as caught:
        Hooks.from_config(file)
    assert caught.value.path == str(file)
    return str(caught.value).removeprefix(f"{file.parent}/")


async def test_a_webhook_of_the_file_is_sent_events(file: Path) -> None:
    async with FaultReceiver() as receiver:
        write(file, CRM.replace("https://crm.example/webhook", receiver.url))
        async with Hooks.from_config(file) as hooks:
            await hooks.emit("room:join", {"roomId": "chat:one"})
            await hooks.join()
        assert [request.webhook_id for request in receiver.requests] == ["crm"]


def test_a_table_says_all_that_a_webhook_can_be_told(file: Path) -> None:
    write(
        file,
        CRM
        + """
id = "crm-1"
name = "Customers"
enabled = false
headers = { X-Source = "chat", Authorization = { env = "CRM_TOKEN" } }
app_pid = "chat"
concurrency = 2
queue_size = 10
overflow = "drop_oldest"
order_by = "room"
retry = { attempts = 3, initial = 1, statuses = [503] }
timeouts = { total = 2.5, connect = 1 }
breaker = { failures = 3, cooldown = 1, maximum = 2 }
max_age = 60
""",
    )
    assert Hooks.from_config(file).webhooks == (
        Webhook(
            "https://crm.example/webhook",
            ["room:*", "auth:signin"],
            "the key of crm",
            id="crm-1",
            name="Customers",
            enabled=False,
            headers={"X-Source": "chat", "Authorization": "Bearer 1234"},
            app_pid="chat",
            concurrency=2,
            queue_size=10,
            overflow="drop_oldest",
            order_by="room",
            retry=RetryPolicy(attempts=3, initial=1, statuses=[503]),
            timeouts=Timeouts(total=2.5, connect=1),
            breaker=BreakerPolicy(failures=3, cooldown=1, maximum=2),
            max_age=60,
        ),
    )


def test_the_top_says_all_that_hooks_can_be_told(file: Path) -> None:
    text = """
queue_size = 5
overflow = "raise"
emit_timeout = 1.5
concurrency = 3
order_by = "none"
breaker = false
max_age = 60
max_body = 1000
max_response = 2000
max_pending_bytes = 100_000
max_connections = 64
keepalive = 30
custom_events = ["order:paid"]
logging = false
dead_letter_limit = 7
dead_letter_bytes = 1_000_000
close_timeout = 2
retry.attempts = 1
timeouts.total = 3

[retention]
count = 10
dead = 60

[egress]
public_only = true
allow_networks = ["10.1.0.0/16"]
allow_hosts = ["hooks.internal"]
"""
    write(file, text)
    options = read(file).options
    assert options["breaker"] is None
    assert options["retry"] == RetryPolicy(attempts=1)
    assert options["timeouts"] == Timeouts(total=3)
    assert options["egress"] == EgressPolicy(
        public_only=True, allow_networks=["10.1.0.0/16"], allow_hosts=["hooks.internal"]
    )
    assert options["retention"] == RetentionPolicy(count=10, dead=60)
    objects = {"webhooks", "connector", "http_session", "profiles", "observers", "journal"}
    assert (options["max_connections"], options["keepalive"]) == (64, 30)
    for_tests = {"clock", "random"}
    assert options.keys() == inspect.signature(Hooks).parameters.keys() - objects - for_tests
    assert isinstance(Hooks.from_config(file), Hooks)


def test_a_webhook_is_known_by_its_table(file: Path) -> None:
    """So that another URL does not make it another webhook, whose deliveries are a stranger's."""
    write(file, CRM)
    (webhook,) = Hooks.from_config(file).webhooks
    assert (webhook.id, webhook.name) == ("crm", "crm")


def test_options_given_in_code_hold_instead_of_the_files(file: Path) -> None:
    write(file, 'custom_events = ["order:paid"]\nqueue_size = 5' + CRM)
    hooks = Hooks.from_config(file, queue_size=6, custom_events=["order:shipped"])
    hooks.on("order:shipped")  # type: ignore[call-overload]
    with pytest.raises(ConfigError) as caught:
        Hooks.from_config(file, queue_size=0)
    assert not isinstance(caught.value, ConfigFileError), "the file is not to blame"


def test_a_key_may_stand_in_the_file_and_never_shows(file: Path) -> None:
    write(file, CRM.replace('{ env = "CRM_SIGNING_KEY" }', '"plain key"'))
    said = read(file)
    assert said.webhooks[0].signing_key == "plain key"
    assert "plain key" not in repr(said)
    assert "plain key" not in refused(file, file.read_text() + 'signing_keyy = "plain key"')


def test_every_argument_of_a_webhook_is_a_key(file: Path) -> None:
    """Whatever a release adds to Webhook can be written without a change here."""
    for field in fields(Webhook):
        said = refused(file, CRM.replace("\nurl", f"\n{field.name}_ = 1\nurl"))
        assert f"{field.name}_: unknown key: did you mean '{field.name}'?" in said


MISTAKES = {
    "queue_sze = 5": "queue_sze: unknown key: did you mean 'queue_size'?",
    "queue_size = 0": "queue_size=0: give a whole number of at least 1",
    "overflow = 'drop'": "overflow='drop': choose one of 'wait', 'drop_oldest', 'drop_newest', "
    "'raise'",
    "custom_events = ['a b']": "custom_events='a b': a name is words of letters, digits, '_', '.' "
    "and '-' joined by ':'",
    "connector = 'tcp'": "connector: a file cannot hold it; pass Hooks.from_config(..., "
    "connector=...)",
    "observers = []": "observers: a file cannot hold it; pass Hooks.from_config(..., "
    "observers=...)",
    "retry = 5": "retry: write a table: attempts, initial, factor, maximum, jitter, statuses",
    "[retry]\nattempts = 0": "[retry] attempts=0: give a whole number of at least 1",
    "[retry]\nstatuses = 5": "[retry]: a value has the wrong type: 'int' object is not iterable",
    "[egress]\nallow_network = []": "[egress] allow_network: unknown key: did you mean "
    "'allow_networks'?",
    "[webhook.crm]": "webhook: unknown key: did you mean 'webhooks'?",
    "[[webhooks]]": "webhooks: write a table for each: [webhooks.NAME]",
    "[webhooks]\ncrm = 1": "[webhooks.crm]: write a table: url, events, signing_key",
    "[webhooks.crm]": '[webhooks.crm] url: is missing; write url = "https://..."',
    CRM + "ulr = 1": "[webhooks.crm] ulr: unknown key: did you mean 'url'?",
    CRM + "colour = 1": "[webhooks.crm] colour: unknown key: known are url, events, signing_key, ",
    CRM + "concurrency = 0": "[webhooks.crm] concurrency=0: give a whole number of at least 1",
    CRM + "retry.jitter = 2": "[webhooks.crm.retry] jitter=2: give a share from 0 to 1",
    CRM + "breaker = true": "[webhooks.crm] breaker: write a table: failures, cooldown, maximum",
    CRM + "[webhooks.b]\nurl = 1": "[webhooks.b] events: is missing; write events = "
    '["room:*"], or ["*"] for all',
    CRM + "[webhooks.'a b']\nurl = 'http://h/'\nevents = ['*']\nsigning_key = 'k'": "[webhooks."
    "\"a b\"] id='a b': give printable ASCII: it is sent in a header",
    CRM + "[webhooks.b]\nid = 'crm'\nurl = 'http://h/'\nevents = ['*']\nsigning_key = 'k'": "[web"
    "hooks.b] id='crm': another webhook has it",
    CRM.replace("https", "ftp"): "[webhooks.crm] url='ftp://crm.example/webhook': give an "
    "http:// or https:// URL with a host",
    CRM.replace("room:*", "rom:join"): "[webhooks.crm] events='rom:join': did you mean "
    "'room:join'? Declare further events with custom_events at the top of the file",
    CRM.replace("CRM_SIGNING_KEY", "NOT_SET"): "[webhooks.crm] signing_key: the environment "
    "variable NOT_SET is not set",
    CRM.replace("env =", "file ="): '[webhooks.crm] signing_key: write text, or { env = "NAME" }',
    CRM + "headers.X-Token.env = 'NOT_SET'": "[webhooks.crm.headers] X-Token: the environment "
    "variable NOT_SET is not set",
    "queue_size 5": "this is not TOML: Expected '=' after a key in a key/value pair (at line 1, "
    "column 12)",
}


@pytest.mark.parametrize(("text", "said"), MISTAKES.items(), ids=MISTAKES.values())
def test_a_mistake_is_named_with_its_place(file: Path, text: str, said: str) -> None:
    assert refused(file, text).startswith(f"hooks.toml: {said}")


def test_the_place_can_be_read_by_programs(file: Path) -> None:
    write(file, CRM + "[webhooks.crm.retry]\nattempts = 0")
    with pytest.raises(ConfigFileError) as caught:
        Hooks.from_config(file)
    assert (caught.value.table, caught.value.key) == ("webhooks.crm.retry", "attempts")


@pytest.mark.parametrize("name", ["nothing.toml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigFileError, match=r": (No such file|Is a) .*directory"):
        Hooks.from_config(tmp_path / name)


def test_text_that_is_no_utf8_is_no_toml(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigFileError, match="this is not TOML"):
        Hooks.from_config(file)


def test_keys_rotate_and_secrets_may_be_several(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = generate_standard_secret()
    monkeypatch.setenv("NEW_SECRET", secret)
    text = (
        CRM
        + """
previous_key = { env = "CRM_TOKEN" }
rotate_at = 2026-12-01T00:00:00Z
standard_webhooks = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", { env = "NEW_SECRET" }]
"""
    )
    write(file, text)
    (webhook,) = Hooks.from_config(file).webhooks
    assert (webhook.signing_key, webhook.previous_key) == ("the key of crm", "Bearer 1234")
    assert webhook.rotate_at == datetime(2026, 12, 1, tzinfo=UTC)
    assert webhook.standard_webhooks == ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", secret)
    assert refused(file, text.replace("NEW_SECRET", "NOT_SET")).endswith(
        "standard_webhooks: the environment variable NOT_SET is not set"
    )
