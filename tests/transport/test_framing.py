"""Heads that not every client reads alike are found, and usual ones are let pass."""

from __future__ import annotations

import pytest

from relaybox_hooks.transport.framing import (
    begins_well,
    has_plain_length,
    is_chunked,
    is_interim,
)

LONG = b"0" * 20


def head(*lines: bytes) -> tuple[bytes, int, int]:
    """A head with something before and behind it, and where it is."""
    text = b"\r\n".join((*lines, b"", b""))
    before = b"HTTP/1.0 100 x\x00\r\nTransfer-Encoding: y\r\n\r\n"
    return before + text + b"\r\nTransfer-Encoding: z", len(before), len(before) + len(text)


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 503 Out \xe9\tof order",
        b"HTTP/1.1 200 ",
        b"HTTP/1.1 200",
        b"HTTP/1.0 200 OK",
    ],
)
def test_status_lines_of_the_standard_begin_well(line: bytes) -> None:
    assert begins_well(*head(line))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\r\nHTTP/1.1 200 OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/1.2 200 OK",
        b"ICE/1.0 200 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 200 \x0b",
        b"HTTP/1.1 200 O\x00K",
        b"HTTP/1.1 200 O\x7fK",
        b"HTTP/1.1 200\tOK",
    ],
)
def test_other_first_lines_do_not(line: bytes) -> None:
    assert not begins_well(*head(line))


@pytest.mark.parametrize(
    ("version", "value", "well"),
    [
        (b"1.0", b"keep-alive", True),
        (b"1.0", b"keep-alive, Close", False),
        (b"1.1", b"x, close", True),  # there llhttp itself finds it
    ],
)
def test_http_1_0_that_is_kept_alive_and_closed_does_not(
    version: bytes, value: bytes, well: bool
) -> None:
    found = begins_well(*head(b"HTTP/%s 200 OK!" % version, b"connection: " + value))
    assert found == well


@pytest.mark.parametrize(
    ("lines", "plain"),
    [
        ((b"HTTP/1.1 200 OK", b"Content-Length: 5"), True),
        ((b"HTTP/1.1 404 Not Found", b"Content-Length: 5"), True),
        ((b"HTTP/1.1 200 OK", b"X-Id: 000000000000", b"Content-Length: 5"), True),
        ((b"HTTP/1.1 200 OK", b"content-length: " + LONG), True),
        ((b"HTTP/1.1 200 OK", b"content-length: " + LONG + b"5"), False),
        ((b"HTTP/1.1 304 Not Modified", b"content-length:" + LONG + b"5"), False),
        ((b"HTTP/1.1 204 No Content",), True),
        ((b"HTTP/1.1 204 No Content", b"transfer-encoding: chunked"), False),
        ((b"HTTP/1.1 204 No Content", b"Transfer-Encoding:gzip"), False),
        ((b"HTTP/1.1 200 \x0b", b"Content-Length: 5"), False),
    ],
)
def test_a_plain_length_is_short_and_alone(lines: tuple[bytes, ...], plain: bool) -> None:
    assert has_plain_length(*head(*lines)) == plain


@pytest.mark.parametrize(
    ("lines", "chunked"),
    [
        ((b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked"), True),
        ((b"HTTP/1.1 404 Not Found", b"transfer-encoding:Chunked "), True),
        ((b"HTTP/1.1 200 \x0b", b"transfer-encoding: chunked"), False),
        ((b"HTTP/1.1 200 OK", b"Transfer-Encoding: gzip, chunked"), False),
        ((b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked", b"transfer-encoding: x"), False),
        ((b"HTTP/1.1 200 OK",), False),
        ((b"HTTP/1.0 200 OK", b"Transfer-Encoding: chunked"), False),
    ],
)
def test_only_one_coding_is_known_and_not_in_http_1_0(
    lines: tuple[bytes, ...], chunked: bool
) -> None:
    assert is_chunked(*head(*lines)) == chunked


@pytest.mark.parametrize(("digits", "chunked"), [(20, True), (21, False)])
def test_a_chunk_has_a_size_of_so_many_digits(digits: int, chunked: bool) -> None:
    text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert is_chunked(text + b"a".rjust(digits, b"0") + b"\r\n", 0, len(text)) == chunked


@pytest.mark.parametrize(
    ("lines", "interim"),
    [
        ((b"HTTP/1.1 103 Early Hints", b"Link: </a>"), True),
        ((b"HTTP/1.1 100 Continue", b"Content-Length: 0"), False),
        ((b"HTTP/1.1 100 Continue", b"transfer-encoding: chunked\t"), False),
        ((b"\r\nHTTP/1.1 100 Continue",), False),
    ],
)
def test_an_interim_response_has_no_framing(lines: tuple[bytes, ...], interim: bool) -> None:
    assert is_interim(*head(*lines)) == interim
