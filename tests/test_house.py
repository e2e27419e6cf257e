"""The tests mirror the package: a module's tests are found by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import relaybox_hooks

PACKAGE: Final = Path(relaybox_hooks.__file__).parent
TESTS: Final = Path(__file__).parent

#: Modules without a test file of their own, and why.
WITHOUT: Final = {
    "_version.py": "one constant; test_public_names.py compares it with the distribution's",
    "dispatch/typed_calls.py": "signatures only; a type checker tests them in tests/typing",
    "durable/lane_store.py": "protocols and a tuple of callbacks; test_journal_queue.py uses them",
    "lanes/callbacks.py": "a record of callbacks; test_webhook_lane.py sees them called",
    "lanes/delivery_queue.py": "a protocol; its queues have their tests",
}


def modules() -> list[Path]:
    """The modules of the package, by their paths in it."""
    paths = (path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
    return sorted(path for path in paths if path.stem not in ("__init__", "__main__"))


def mirrored(module: Path) -> Path:
    """The file that ought to hold a module's tests."""
    return TESTS / module.with_name(f"test_{module.name}")


def test_every_module_has_its_tests() -> None:
    """``lanes/breaker.py`` has ``tests/lanes/test_breaker.py``, and more by topic if it likes."""
    missing = [
        f"{module} has no tests/{mirrored(module).relative_to(TESTS)}"
        for module in modules()
        if str(module) not in WITHOUT and not mirrored(module).is_file()
    ]
    assert not missing, "\n".join(missing)


def test_no_exception_outlives_its_module() -> None:
    """Nor its reason: a module that has got its tests is no exception."""
    known = {str(module) for module in modules()}
    assert set(WITHOUT) <= known
    assert not [name for name in WITHOUT if mirrored(Path(name)).is_file()]


def test_no_test_file_is_too_long_to_read() -> None:
    long = [
        f"{path.relative_to(TESTS)}: {lines} lines"
        for path in TESTS.rglob("*.py")
        if (lines := len(path.read_text("utf-8").splitlines())) > 400
    ]
    assert not long, "\n".join(long)
