"""Heads of requests: the lines that a webhook's requests have in common, and none but those."""

from __future__ import annotations

import pytest
from yarl import URL

from relaybox_hooks.transport.request_head import lines, lines_of, start_of


@pytest.mark.parametrize(
    ("url", "target", "host"),
    [
        ("http://host", "/", "host"),
        ("http://host:80/", "/", "host"),
        ("https://host:443/", "/", "host"),
        ("https://host:80/", "/", "host:80"),
        ("http://host:8080/hook", "/hook", "host:8080"),
        ("http://host?a=1", "/?a=1", "host"),
        ("http://host/hook?a=1&b=2#fragment", "/hook?a=1&b=2", "host"),
        ("http://[::1]:8080/", "/", "[::1]:8080"),
        ("http://host/räume?x=ü", "/r%C3%A4ume?x=%C3%BC", "host"),
        ("http://bücher.example/", "/", "xn--bcher-kva.example"),
    ],
)
def test_target_and_host_are_those_of_the_url(url: str, target: str, host: str) -> None:
    start = start_of(URL(url), {"X-Relaybox-Webhook-Id": "crm"})
    assert start == (f"POST {target} HTTP/1.1\r\nHost: {host}\r\nX-Relaybox-Webhook-Id: crm\r\n")


def test_a_url_goes_out_as_it_was_registered() -> None:
    """A pre-signed one holds no longer once an escape of it is rewritten."""
    url = URL("http://host/a%2fb%7E?sig=%7e%2B", encoded=True)
    assert start_of(url, {}).startswith("POST /a%2fb%7E?sig=%7e%2B HTTP/1.1\r\n")


def test_headers_that_aiohttp_sends_are_added_where_they_are_missing() -> None:
    added = lines_of({"User-Agent": "us"})
    assert "Accept: */*\r\n" in added
    assert "Accept-Encoding: " in added
    assert added.endswith("User-Agent: us\r\n")


@pytest.mark.parametrize("name", ["Accept", "accept", "ACCEPT"])
def test_and_replaced_by_those_of_the_webhook_whatever_their_case(name: str) -> None:
    assert f"{name}: text/plain\r\n" in lines_of({name: "text/plain"})
    assert lines_of({name: "text/plain"}).lower().count("accept: ") == 1


def test_each_header_has_a_line_in_order() -> None:
    assert lines({"A": "1", "B": ""}) == "A: 1\r\nB: \r\n"
    assert lines({}) == ""


@pytest.mark.parametrize(
    "headers",
    [
        {"A": "1\r\nX-Injected: 1"},
        {"A": "1\n"},
        {"A": "1\r"},
        {"A": "\r", "B": "\n"},
        {"A\r\nB": "1"},
        {"A": "1\0"},
    ],
    ids=repr,
)
def test_no_header_begins_another_line(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="line break or a NUL"):
        lines(headers)
    with pytest.raises(ValueError, match="line break or a NUL"):
        start_of(URL("http://host/"), headers)
