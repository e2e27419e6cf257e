"""Frameworks cost time to import, and are imported by those alone who use them."""

from __future__ import annotations

import subprocess
import sys

import pytest

FRAMEWORKS = {"aiohttp.web", "fastapi", "pydantic", "starlette", "uvicorn"}


def imported(statement: str) -> set[str]:
    """The frameworks that a fresh interpreter has imported after ``statement``."""
    code = f"import sys; {statement}; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    return FRAMEWORKS & set(output.split())


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("import relaybox_hooks", set()),
        ("import relaybox_hooks.receive.asgi", set()),
        ("import relaybox_hooks.receive.aiohttp", {"aiohttp.web"}),
        ("import relaybox_hooks.receive.fastapi", {"starlette"}),
    ],
)
def test_a_front_end_imports_its_own_framework_alone(statement: str, expected: set[str]) -> None:
    assert imported(statement) == expected
