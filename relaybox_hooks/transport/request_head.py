"""Heads of requests, as text that is made once per webhook."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import ClientRequest
from multidict import CIMultiDict
from yarl import URL


def start_of(url: URL, headers: Mapping[str, str]) -> str:
    """Return the first lines of all requests to one webhook: its URL and its own ``headers``."""
    start = f"POST {url.raw_path_qs} HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\n"
    return start + lines(headers)


def lines_of(headers: Mapping[str, str]) -> str:
    """Return the lines of ``headers``, and of those that aiohttp sends if they are missing."""
    whole = CIMultiDict[str](ClientRequest.DEFAULT_HEADERS)
    whole.update(headers)
    return lines(whole)


def lines(headers: Mapping[str, str]) -> str:
    """Return a line for each of ``headers``.

    Raises:
        ValueError: a header that would begin another line.
    """
    text = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if not text.count("\r") == text.count("\n") == len(headers) or "\0" in text:
        raise ValueError("a header's name or value has a line break or a NUL in it")
    return text
