"""Frameworks and extras are imported by those alone who use them, and missed by name."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from relaybox_hooks.errors import MissingExtraError, RelayboxHooksError

FRAMEWORKS = {"aiohttp.web", "fastapi", "pydantic", "starlette", "uvicorn"}
EXTRAS = [
    ("prometheus", "prometheus_client", "prometheus-client"),
    ("opentelemetry", "opentelemetry.context", "opentelemetry-api"),
]


def imported(statement: str) -> set[str]:
    """The modules that a fresh interpreter has imported after ``statement``."""
    code = f"import sys; {statement}; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - ours
    return set(ran.stdout.split())


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
    """And the package imports none."""
    assert FRAMEWORKS & imported(statement) == expected


def test_the_package_imports_no_extra() -> None:
    modules = imported("import relaybox_hooks")
    assert not {name.partition(".")[0] for name in modules} & {"prometheus_client", "opentelemetry"}
    observers = ("relaybox_hooks.observers.p", "relaybox_hooks.observers.o")
    assert not [name for name in modules if name.startswith(observers)]


@pytest.mark.parametrize(("extra", "module", "package"), EXTRAS)
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, extra: str, module: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"relaybox_hooks.observers.{extra}", raising=False)
    with pytest.raises(MissingExtraError) as caught:
        import_module(f"relaybox_hooks.observers.{extra}")
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value, RelayboxHooksError)
    assert (caught.value.package, caught.value.extra) == (package, extra)
    assert str(caught.value) == (
        f"{package} is not installed: pip install 'relaybox-hooks[{extra}]'"
    )
