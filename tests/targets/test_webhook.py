"""A webhook: what it takes, what it refuses and why, and that it keeps its key to itself."""

from __future__ import annotations

import logging
import ssl
import traceback
from copy import copy
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from support import KEY

from relaybox_hooks import (
    BreakerPolicy,
    ConfigError,
    Hooks,
    RetryPolicy,
    Timeouts,
    Webhook,
    generate_standard_secret,
)

URL = "https://example.com/hook"
SECRET, OLD_SECRET = generate_standard_secret(), generate_standard_secret()
MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
CONTEXT = ssl.create_default_context()
BEHIND = timezone(timedelta(hours=-7))


def webhook(**options: Any) -> Webhook:
    return Webhook(**{"url": URL, "events": ["room:join"], "signing_key": KEY, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "ftp://example.com"}, "Webhook.url='ftp://example.com': give an http:// or"),
        ({"url": "example.com/hook"}, "Webhook.url='example.com/hook': give an http:// or"),
        ({"url": "http://"}, "Webhook.url='http://': give an http:// or https:// URL with a host"),
        ({"url": "http://a b/"}, "Webhook.url='http://a b/': give an http:// or https:// URL wit"),
        ({"url": "http://a/\r\nX: y"}, r"Webhook.url='http://a/\r\nX: y': give an http://"),
        ({"url": "http://a\u3000b/"}, r"Webhook.url='http://a\u3000b/': give an http:// or"),
        ({"url": "http://a/\ud800"}, r"Webhook.url='http://a/\ud800': give an http:// or"),
        ({"url": "http://[::1"}, "Webhook.url='http://[::1': not a URL"),
        ({"url": "http://a:70000/"}, "Webhook.url='http://a:70000/': not a URL: Port out of rang"),
        ({"url": None}, "Webhook.url=None: give an http:// or https:// URL"),
        ({"events": []}, "Webhook.events=(): name at least one event, or '*' for all"),
        ({"events": "room:join"}, "Webhook.events='room:join': give a list: ['room:join']"),
        ({"events": None}, "Webhook.events=None: give a list of names"),
        ({"events": [["room:join"]]}, "Webhook.events=[['room:join']]: give a list of names"),
        ({"signing_key": ""}, "signing_key='***': pass the webhook's key"),
        ({"signing_key": None}, "signing_key='***': pass the webhook's key"),
        ({"signing_key": b"bytes"}, "signing_key='***': pass the webhook's key"),
        ({"signing_key": "k\ud800"}, "signing_key='***': it holds a lone surrogate"),
        ({"previous_key": "old"}, "Webhook.rotate_at=None: say when signing_key takes over"),
        ({"rotate_at": MOMENT}, "Webhook.previous_key=None: give the key that signs before rota"),
        ({"previous_key": "", "rotate_at": MOMENT}, "Webhook.previous_key='***': pass the webho"),
        ({"previous_key": b"old", "rotate_at": MOMENT}, "Webhook.previous_key='***': pass the"),
        (
            {"previous_key": "old", "rotate_at": MOMENT.replace(tzinfo=None)},
            "Webhook.rotate_at=datetime.datetime(2026, 3, 1, 12, 0): give a datetime with a time",
        ),
        (
            {"previous_key": "old", "rotate_at": "2026-03-01T12:00:00Z"},
            "Webhook.rotate_at='2026-03-01T12:00:00Z': give a datetime with a time zone: datetim",
        ),
        (
            {"previous_key": "old", "rotate_at": datetime.max.replace(tzinfo=BEHIND)},
            "Webhook.rotate_at=datetime.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=dateti",
        ),
        ({"standard_webhooks": "whsec_c2hvcnQ="}, "standard_webhooks='***': give secrets of the"),
        ({"standard_webhooks": [SECRET, None]}, "standard_webhooks='***': give secrets of the"),
        ({"standard_webhooks": []}, "standard_webhooks='***': give secrets of the form 'whsec_'"),
        ({"standard_webhooks": ""}, "standard_webhooks='***': give secrets of the form 'whsec_'"),
        ({"id": "a\r\nb"}, r"Webhook.id='a\r\nb': give printable ASCII: it is sent in a header"),
        ({"id": "ä"}, "Webhook.id='ä': give printable ASCII: it is sent in a header"),
        ({"id": 5}, "Webhook.id=5: give printable ASCII: it is sent in a header"),
        ({"name": "a\nb"}, r"Webhook.name='a\nb': give printable text: it is for logs"),
        ({"name": 5}, "Webhook.name=5: give printable text: it is for logs"),
        ({"enabled": "no"}, "Webhook.enabled='no': give True or False"),
        ({"ssl": "cert.pem"}, "Webhook.ssl='cert.pem': give a SSLContext or None"),
        (
            {"ssl": CONTEXT, "url": "http://a/"},
            "Webhook.ssl=<ssl.SSLContext object",
        ),
        ({"app_pid": ""}, "Webhook.app_pid='': give an application's public id"),
        ({"app_pid": 5}, "Webhook.app_pid=5: give an application's public id"),
        ({"headers": {"a b": "c"}}, "Webhook.headers='a b': not a header name (RFC 9110 §5.6.2)"),
        ({"headers": {"": "c"}}, "Webhook.headers='': not a header name"),
        ({"headers": {"X-A": "b\r\nX-B: c"}}, "Webhook.headers='X-A': its value must be ASCII"),
        ({"headers": {"X-A": "ä"}}, "Webhook.headers='X-A': its value must be ASCII"),
        ({"headers": {"X-A": 5}}, "Webhook.headers='X-A': its value must be ASCII"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "Webhook.headers='x-a': given twice"),
        ({"headers": ["X-A: 1"]}, "Webhook.headers='***': give a mapping of names to values"),
        ({"concurrency": 0}, "Webhook.concurrency=0: give a whole number of at least 1"),
        ({"queue_size": 0}, "Webhook.queue_size=0: give a whole number of at least 1"),
        ({"overflow": "drop"}, "Webhook.overflow='drop': choose one of 'wait', 'drop_oldest'"),
        ({"order_by": "user"}, "Webhook.order_by='user': choose 'connection', 'room', 'none' or"),
        ({"max_age": 0}, "Webhook.max_age=0: must be more than 0 seconds"),
        ({"retry": 5}, "Webhook.retry=5: give a RetryPolicy or None"),
        ({"timeouts": 5}, "Webhook.timeouts=5: give a Timeouts or None"),
        ({"breaker": "none"}, "Webhook.breaker='none': give a BreakerPolicy or None"),
    ],
)
def test_what_cannot_work_is_refused_with_its_name_and_advice(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        webhook(**options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "name",
    [
        "content-type",
        "User-Agent",
        "X-Relaybox-Webhook-Signature",
        "x-relaybox-webhook-id",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Expect",
    ],
)
def test_headers_of_the_protocol_and_of_http_cannot_be_overridden(name: str) -> None:
    with pytest.raises(ConfigError, match="the protocol sets this header itself") as caught:
        webhook(headers={name: "x"})
    assert caught.value.value == name


@pytest.mark.parametrize("name", ["webhook-id", "Webhook-Timestamp", "WEBHOOK-SIGNATURE"])
def test_headers_of_standard_webhooks_are_taken_where_it_is_on(name: str) -> None:
    with pytest.raises(ConfigError, match="the protocol sets this header itself") as caught:
        webhook(headers={name: "x"}, standard_webhooks=SECRET)
    assert caught.value.value == name
    assert webhook(headers={name: "x"}).headers == {name: "x"}


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@example.com/",
        "https://hunter2@example.com/",
        "ftp://user:hunter2@example.com/",
        "https://user:hunter 2@example.com/",
        "https://user:hunter2@example.com:99999/",
    ],
)
def test_user_info_is_refused_without_repeating_it(url: str) -> None:
    """Even where another fault of the URL would be reported."""
    with pytest.raises(ConfigError, match="send an Authorization header instead") as caught:
        webhook(url=url)
    assert "hunter" not in "".join(traceback.format_exception(caught.value, chain=True))


def test_a_value_that_a_header_refuses_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        webhook(headers={"Authorization": "Bearer hunter2\n"})
    assert "hunter2" not in str(caught.value)


def test_an_at_sign_in_path_or_query_is_no_user_info() -> None:
    for url in ("https://example.com/@me", "https://example.com/?to=http://a@b"):
        assert webhook(url=url).url == url


def test_an_id_is_made_from_url_and_name_and_survives_a_restart() -> None:
    first = webhook(name="crm").id
    assert webhook(name="crm").id == first
    assert webhook(name="erp").id != first
    assert webhook(name="crm", url=URL + "2").id != first
    assert UUID(first).version == 5


def test_the_name_is_the_id_where_none_is_given() -> None:
    assert webhook(id="w1").name == "w1"
    assert webhook(id="w1", name="crm").name == "crm"


def test_events_keep_their_order_and_lose_repeats() -> None:
    assert webhook(events=iter(["b:c", "a", "b:c"])).events == ("b:c", "a")


def test_headers_are_a_copy_that_cannot_be_changed() -> None:
    given = {"X-A": "1"}
    made = webhook(headers=given)
    given["X-A"] = "2"
    assert made.headers == {"X-A": "1"}
    with pytest.raises(TypeError):
        made.headers["X-A"] = "3"  # type: ignore[index]


def test_a_webhook_is_frozen_comparable_and_hashable() -> None:
    with pytest.raises(FrozenInstanceError):
        webhook().url = "http://other"  # type: ignore[misc]
    assert webhook() == webhook()
    assert webhook() != webhook(signing_key="other")
    assert len({webhook(), webhook()}) == 1


def test_policies_of_its_own_are_kept() -> None:
    made = webhook(
        retry=RetryPolicy(attempts=1),
        timeouts=Timeouts(total=1),
        breaker=None,
        max_age=timedelta(minutes=1),
        order_by=lambda event: event.id,
        overflow="raise",
    )
    assert made.retry == RetryPolicy(attempts=1)
    assert made.max_age == 60.0
    assert made.breaker is None
    assert webhook(breaker=BreakerPolicy(failures=2)).breaker == BreakerPolicy(failures=2)


def test_a_rotation_is_kept_in_utc() -> None:
    made = webhook(previous_key="old", rotate_at=MOMENT.astimezone(BEHIND))
    assert made.previous_key == "old"
    assert str(made.rotate_at) == "2026-03-01 12:00:00+00:00"


def test_which_key_signs_when() -> None:
    made = webhook(previous_key="old", rotate_at=MOMENT)
    assert made.key_at(MOMENT.timestamp() - 0.001) == "old"
    assert made.key_at(MOMENT.timestamp()) == KEY
    assert webhook().key_at(0) == KEY


def test_one_secret_or_several_of_standard_webhooks_are_kept_in_their_order() -> None:
    assert webhook(standard_webhooks=SECRET).standard_webhooks == (SECRET,)
    several = webhook(standard_webhooks=iter([OLD_SECRET, SECRET]))
    assert several.standard_webhooks == (OLD_SECRET, SECRET)
    assert len({several, replace(several, enabled=True)}) == 1


def test_further_keys_are_masked_too() -> None:
    made = webhook(previous_key="hunter2", rotate_at=MOMENT, standard_webhooks=[SECRET, OLD_SECRET])
    assert "signing_key='***', previous_key='***', rotate_at=datetime.datetime(2026" in repr(made)
    assert "standard_webhooks='***'" in repr(made)
    assert "hunter2" not in repr(made)
    assert "whsec_" not in repr(made)


def test_the_key_is_masked_wherever_a_webhook_is_shown() -> None:
    made = webhook(name="crm", url=URL + "?token=hunter2", headers={"Authorization": "hunter2"})
    for shown in (
        repr(made),
        str(made),
        f"{made}",
        f"{[made]}",
        repr(replace(made, enabled=False)),
    ):
        assert "signing_key='***'" in shown
        assert KEY not in shown
        assert "hunter2" not in shown
    assert repr(copy(made)) == repr(made)


def test_the_repr_names_what_was_chosen_and_nothing_else() -> None:
    assert repr(webhook(id="w1", queue_size=5)) == (
        "Webhook(url='https://example.com/hook', events=('room:join',), signing_key='***', "
        "id='w1', name='w1', queue_size=5)"
    )


def test_the_key_shows_in_no_error_and_no_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    hooks: Hooks = Hooks([webhook(id="w1")])
    with pytest.raises(ConfigError) as twice:
        hooks.add_webhook(webhook(id="w1"))
    with pytest.raises(ConfigError) as listed:
        hooks.add_webhook([webhook(id="w2")])  # type: ignore[arg-type]
    hooks.disable_webhook("w1")
    for error in (twice.value, listed.value):
        assert KEY not in "".join(traceback.format_exception(error))
    assert "w1" in caplog.text
    assert KEY not in caplog.text


def test_the_url_for_logs_has_no_query() -> None:
    assert webhook(url=URL + "?token=hunter2#part").shown_url == URL
