"""The public names are a promise: pinned, sorted, importable, typed."""

from __future__ import annotations

import ast
from importlib import metadata, resources

import relaybox_hooks

#: Fixed by the project's issue; no release may drop one of them.
FIXED = {
    "EVENTS",
    "Event",
    "Hooks",
    "HooksClosedError",
    "LaneFullError",
    "PayloadError",
    "Receipt",
    "RelayboxHooksError",
    "RetryPolicy",
    "Session",
    "Timeouts",
    "UnknownEventError",
    "User",
    "Webhook",
    "WebhookVerifier",
    "generate_signing_key",
    "verify_webhook_signature",
}


def _imported_names() -> set[str]:
    source = resources.files(relaybox_hooks).joinpath("__init__.py").read_text("utf-8")
    return {
        alias.asname or alias.name
        for node in ast.parse(source).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_the_fixed_names_are_public() -> None:
    assert set(relaybox_hooks.__all__) >= FIXED


def test_all_is_sorted_and_free_of_repeats() -> None:
    names = relaybox_hooks.__all__
    # Constants, classes, functions: the order that ruff's RUF022 keeps.
    key = [(not name.isupper(), not name[0].isupper(), name) for name in names]
    assert key == sorted(set(key))


def test_all_is_exactly_what_the_package_imports() -> None:
    """A name that is imported but not listed, or the other way round, was forgotten."""
    assert set(relaybox_hooks.__all__) == _imported_names()
    for name in relaybox_hooks.__all__:
        assert getattr(relaybox_hooks, name) is not None


def test_every_error_is_a_relaybox_hooks_error() -> None:
    errors = [
        getattr(relaybox_hooks, name) for name in relaybox_hooks.__all__ if name.endswith("Error")
    ]
    assert len(errors) > 5
    assert all(issubclass(error, relaybox_hooks.RelayboxHooksError) for error in errors)


def test_the_package_is_typed() -> None:
    assert resources.files(relaybox_hooks).joinpath("py.typed").is_file()


def test_the_version_is_that_of_the_distribution() -> None:
    assert relaybox_hooks.__version__ == metadata.version("relaybox-hooks")
