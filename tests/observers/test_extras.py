"""Observers that need an extra say so, and nobody pays for them who does not import them."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from relaybox_hooks.errors import MissingExtraError, RelayboxHooksError

EXTRAS = [
    ("prometheus", "prometheus_client", "prometheus-client"),
    ("opentelemetry", "opentelemetry.context", "opentelemetry-api"),
]


def test_the_package_imports_no_extra() -> None:
    code = (
        "import sys, relaybox_hooks; print(*sorted(name for name in sys.modules "
        "if name.partition('.')[0] in ('prometheus_client', 'opentelemetry') "
        "or name.startswith(('relaybox_hooks.observers.p', 'relaybox_hooks.observers.o'))))"
    )
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert ran.stdout.split() == []


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
