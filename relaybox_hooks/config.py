"""Hooks out of a TOML file: options at the top, a table for each webhook, secrets by reference.

::

    queue_size = 500

    [retry]
    attempts = 8

    [webhooks.crm]
    url = "https://crm.example/webhook"
    events = ["room:*"]
    signing_key = { env = "CRM_SIGNING_KEY" }
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from inspect import signature
from typing import Any, Final, NamedTuple

from relaybox_hooks.dispatch.options import Options
from relaybox_hooks.errors import ConfigError, RelayboxHooksError, UnknownEventError
from relaybox_hooks.events import Catalogue
from relaybox_hooks.targets.policies import BreakerPolicy, RetentionPolicy, RetryPolicy, Timeouts
from relaybox_hooks.targets.webhook import Webhook
from relaybox_hooks.transport.egress import EgressPolicy

#: Options of ``Hooks`` that are objects, which no file can hold.
_IN_CODE: Final = frozenset(
    {"connector", "http_session", "profiles", "observers", "journal", "clock", "random"}
)

#: Keys whose value is a table of a policy's arguments.
_POLICIES: Final[Mapping[str, Callable[..., object]]] = {
    "retry": RetryPolicy,
    "timeouts": Timeouts,
    "breaker": BreakerPolicy,
    "egress": EgressPolicy,
    "retention": RetentionPolicy,
}

#: Keys of a webhook whose value may be ``{ env = "NAME" }``, or a list with such tables.
SECRETS: Final = frozenset({"signing_key", "previous_key", "standard_webhooks"})

#: What reads a variable of the environment, ``None`` where it is not set.
Lookup = Callable[[str], str | None]


class ConfigFileError(ConfigError):
    """A configuration file that cannot be read, or says what cannot work.

    Attributes:
        path: the file.
        table: the table at fault, for example ``webhooks.crm``; empty for the top of the file.
        key: the key at fault; empty where the file or the table as a whole is.
    """

    def __init__(self, path: str, table: str, key: str, problem: str) -> None:
        place = " ".join(part for part in (table and f"[{table}]", key) if part)
        # Past ConfigError's own words: those name a value, which may be a secret here.
        RelayboxHooksError.__init__(self, ": ".join(filter(None, (path, place))) + problem)
        self.option = key
        self.value = "***"
        self.path = path
        self.table = table
        self.key = key


class Configuration(NamedTuple):
    """Contents of a file, as arguments.

    Attributes:
        options: keyword arguments of ``Hooks``.
        webhooks: those of the file, in its order.
    """

    options: dict[str, Any]
    webhooks: tuple[Webhook, ...]


def read(path: str | os.PathLike[str], options: Mapping[str, Any] | None = None) -> Configuration:
    """Read the file at ``path``.

    Args:
        options: keyword arguments of ``Hooks`` that hold instead of the file's.

    Raises:
        ConfigFileError: it is not there, is no TOML, or says what cannot work.
    """
    shown = os.fspath(path)
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise ConfigFileError(shown, "", "", f": {error.strerror}") from error
    except ValueError as error:  # TOML that is none, or no UTF-8
        raise ConfigFileError(shown, "", "", f": this is not TOML: {error}") from None
    return interpret(document, shown, options or {}, os.environ.get)


def interpret(
    document: Mapping[str, Any], path: str, options: Mapping[str, Any], lookup: Lookup
) -> Configuration:
    """Interpret a parsed file.

    Args:
        document: the file's tables.
        path: the file's name, for errors.
        options: keyword arguments of ``Hooks`` that hold instead of the file's.
        lookup: reads the environment.

    Raises:
        ConfigFileError: the file says what cannot work.
    """
    reader = _Reader(path, lookup)
    return reader.configuration(document, options)


class _Reader:
    """Turns tables into arguments, and names the place of whatever is wrong."""

    def __init__(self, path: str, lookup: Lookup) -> None:
        self._path = path
        self._lookup = lookup

    def configuration(
        self, document: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> Configuration:
        tables = document.get("webhooks", {})
        given = {key: value for key, value in document.items() if key != "webhooks"}
        for key in _IN_CODE & given.keys():
            raise self._error(
                "", key, f": a file cannot hold it; pass Hooks.from_config(..., {key}=...)"
            )
        self._check_known("", given, [*signature(Options).parameters, "webhooks"])
        ours = self._policies("", given)
        with self._locating(""):
            Options(**ours)
        options = {**ours, **overrides}
        catalogue = Catalogue(options.get("custom_events", ()))
        webhooks: dict[str, Webhook] = {}
        if not isinstance(tables, Mapping):
            raise self._error("", "webhooks", ": write a table for each: [webhooks.NAME]")
        for name, table in tables.items():
            place = f"webhooks.{_bare_or_quoted(name)}"
            webhook = self._webhook(place, name, table)
            if webhook.id in webhooks:
                raise self._error(place, "id", f"={webhook.id!r}: another webhook has it")
            self._check_events(place, webhook, catalogue)
            webhooks[webhook.id] = webhook
        return Configuration(options, tuple(webhooks.values()))

    def _webhook(self, place: str, name: str, table: Any) -> Webhook:
        if not isinstance(table, Mapping):
            raise self._error(place, "", ": write a table: url, events, signing_key")
        parameters = signature(Webhook).parameters
        self._check_known(place, table, parameters)
        for key, parameter in parameters.items():
            if parameter.default is parameter.empty and key not in table:
                raise self._error(place, key, f": is missing; {_FORMS[key]}")
        # By its table's name, so that another URL does not make it another webhook.
        arguments = {"id": name, "name": name, **self._policies(place, table)}
        for key in SECRETS & table.keys():
            arguments[key] = self._secret(place, key, table[key])
        if isinstance(table.get("headers"), Mapping):
            arguments["headers"] = {
                header: self._secret(f"{place}.headers", header, value)
                for header, value in table["headers"].items()
            }
        with self._locating(place):
            return Webhook(**arguments)

    def _check_events(self, place: str, webhook: Webhook, catalogue: Catalogue) -> None:
        try:
            for pattern in webhook.events:
                catalogue.matching(pattern)
        except UnknownEventError as error:
            hint = f"did you mean {error.suggestion!r}? " if error.suggestion else ""
            advice = f"{hint}Declare further events with custom_events at the top of the file"
            raise self._error(place, "events", f"={error.name!r}: {advice}") from None

    def _policies(self, place: str, table: Mapping[str, Any]) -> dict[str, Any]:
        """The table with its policies made; ``false`` for one says that there is none."""
        made = dict(table)
        for key, policy in _POLICIES.items():
            inner = table.get(key)
            if isinstance(inner, Mapping):
                within = f"{place}.{key}" if place else key
                self._check_known(within, inner, signature(policy).parameters)
                with self._locating(within):
                    made[key] = policy(**inner)
            elif key == "breaker" and inner is False:
                made[key] = None
            elif inner is not None:
                raise self._error(
                    place, key, f": write a table: {', '.join(signature(policy).parameters)}"
                )
        return made

    def _secret(self, place: str, key: str, value: Any) -> Any:
        """The value, what it refers to in the environment read there."""
        if isinstance(value, list):
            return [self._secret(place, key, item) for item in value]
        if not isinstance(value, Mapping):
            return value
        name = value.get("env")
        if len(value) != 1 or not isinstance(name, str):
            raise self._error(place, key, ': write text, or { env = "NAME" }')
        found = self._lookup(name)
        if not found:
            raise self._error(place, key, f": the environment variable {name} is not set")
        return found

    def _check_known(self, place: str, table: Mapping[str, Any], known: Any) -> None:
        for key in table:
            if key not in known:
                near = get_close_matches(key, known, n=1)
                advice = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
                raise self._error(place, key, f": unknown key: {advice}")

    @contextmanager
    def _locating(self, place: str) -> Iterator[None]:
        """Name the place in the errors of what is made of it."""
        try:
            yield
        except ConfigError as error:
            key = error.option.rpartition(".")[2]
            raise self._error(place, key, str(error).removeprefix(error.option)) from None
        except TypeError as error:  # a number where a list is due, and the like
            raise self._error(place, "", f": a value has the wrong type: {error}") from None

    def _error(self, place: str, key: str, problem: str) -> ConfigFileError:
        return ConfigFileError(self._path, place, key, problem)


#: How to write what every webhook needs.
_FORMS: Final = {
    "url": 'write url = "https://..."',
    "events": 'write events = ["room:*"], or ["*"] for all',
    "signing_key": 'write signing_key = { env = "NAME" }',
}


def _bare_or_quoted(key: str) -> str:
    """A key as TOML has it."""
    bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if bare else f'"{key}"'
