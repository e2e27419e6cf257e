"""Editing of a configuration file that keeps comments and layout and rejects invalid content."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
import tomllib
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, cast

import tomlkit
import tomlkit.items
from tomlkit.exceptions import TOMLKitError
from typer import BadParameter

from relaybox_hooks.config import SECRETS, ConfigFileError, Configuration, interpret

#: Table of the file, mutable in place.
Table = MutableMapping[str, Any]


class Document:
    """Configuration file with mutable tables.

    Args:
        path: path of the file.
        missing_ok: start with an empty document if the file does not exist.

    Raises:
        ConfigFileError: the file cannot be read, or is not TOML.
    """

    def __init__(self, path: str, *, missing_ok: bool = False) -> None:
        self.path = path
        try:
            self._tables = tomlkit.parse(Path(path).read_bytes().decode())
        except FileNotFoundError:
            if not missing_ok:
                raise ConfigFileError(
                    path, "", "", ": no such file; `relaybox-hooks webhook create` creates one"
                ) from None
            self._tables = tomlkit.document()
        except OSError as error:
            raise ConfigFileError(path, "", "", f": {error.strerror}") from None
        except (TOMLKitError, ValueError) as error:
            raise ConfigFileError(path, "", "", f": this is not TOML: {error}") from None

    @property
    def webhooks(self) -> MutableMapping[str, Table]:
        """Return the tables of the webhooks by name."""
        found = self._tables.get("webhooks", {})
        if not isinstance(found, Mapping):
            raise ConfigFileError(
                self.path, "", "webhooks", ": write a table for each: [webhooks.NAME]"
            )
        return cast("MutableMapping[str, Table]", found)

    def webhook(self, name: str) -> Table:
        """Return the table of one webhook."""
        if name not in self.webhooks:
            known = ", ".join(self.webhooks) or "none"
            raise BadParameter(
                f"no webhook {name!r} in {self.path}: there is {known}", param_hint="NAME"
            )
        return self.webhooks[name]

    def add(self, name: str, table: Table) -> None:
        """Append the table of a webhook to the file."""
        whole = tomlkit.table(is_super_table=True)
        whole.add(name, table)
        addition = tomlkit.document()
        addition.add("webhooks", whole)
        before = tomlkit.dumps(self._tables)
        if before and not before.endswith("\n\n"):
            before += "\n" if before.endswith("\n") else "\n\n"
        self._tables = tomlkit.parse(before + tomlkit.dumps(addition))

    def remove(self, name: str) -> None:
        """Remove the table of a webhook and the comments in it."""
        self.webhook(name)
        before = self._lines()
        del self.webhooks[name]
        after = self._lines()
        # tomlkit removes everything up to the next table, also comments that precede that one.
        start = next((n for n, (a, b) in enumerate(zip(before, after)) if a != b), len(after))  # noqa: B905
        end = start + len(before) - len(after)
        if before[:start] + before[end:] == after:
            after[start:start] = _epilogue(before[start:end])
            self._tables = tomlkit.parse("".join(after))

    def _lines(self) -> list[str]:
        return tomlkit.dumps(self._tables).splitlines(keepends=True)

    def read(self) -> Configuration:
        """Return the configuration in the document's current state.

        Uses placeholders instead of environment variables, because the editor of a file need
        not have its secrets.

        Raises:
            ConfigFileError: the configuration is invalid.
        """
        text = tomlkit.dumps(self._tables)
        return interpret(tomllib.loads(text), self.path, {}, _placeholder)

    def save(self) -> None:
        """Write the file atomically.

        Raises:
            ConfigFileError: the configuration is invalid, or the file cannot be written.
        """
        self.read()
        target = Path(os.path.realpath(self.path))
        try:
            mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=target.parent, delete=False, newline=""
            ) as file:
                file.write(tomlkit.dumps(self._tables))
                os.chmod(file.name, mode)
            os.replace(file.name, target)
        except OSError as error:
            raise ConfigFileError(self.path, "", "", f": {error.strerror}") from None


def _placeholder(variable: str) -> str:
    """Return a value that is valid for any secret, Standard Webhooks included, and any header."""
    return f"whsec_{base64.b64encode(hashlib.sha256(variable.encode()).digest()).decode()}"


def _epilogue(lines: list[str]) -> list[str]:
    """Return the comments at the end of a table that a blank line separates from it."""
    last = max(n for n, line in enumerate(lines) if line.strip() and not _is_comment(line))
    rest = lines[last + 1 :]
    blank = next((n for n, line in enumerate(rest) if not line.strip()), len(rest))
    first = next((n for n in range(blank, len(rest)) if _is_comment(rest[n])), len(rest))
    return rest[first:]


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def inline(values: Mapping[str, Any]) -> Any:
    """Return an inline table with spaces inside the braces, which tomlkit omits."""
    pairs = (f"{tomlkit.key(k).as_string()} = {_text_of(v)}" for k, v in values.items())
    return tomlkit.value(f"{{ {', '.join(pairs)} }}")


def _text_of(value: Any) -> str:
    item = inline(value) if isinstance(value, Mapping) else tomlkit.item(value)
    return str(item.as_string())


def set_option(table: Table, assignment: str) -> None:
    """Apply ``KEY=VALUE`` with a dotted key, for example ``retry.attempts=3``."""
    key, equals, text = assignment.partition("=")
    path = [part.strip() for part in key.split(".")]
    if not equals or not all(path):
        raise BadParameter(f"{assignment!r}: write KEY=VALUE", param_hint="--set")
    value = _value(text.strip())
    if path[0] in SECRETS and len(path) == 1 and _holds_text(value):
        raise BadParameter(
            f"a key is not written into the file: --set {path[0]}.env=NAME", param_hint="--set"
        )
    assign(table, path, value)


def unset_option(table: Table, key: str) -> None:
    """Remove the value of a dotted key."""
    path = key.split(".")
    inner: Any = table
    for part in path[:-1]:
        inner = inner.get(part, {}) if isinstance(inner, Mapping) else {}
    if not isinstance(inner, MutableMapping) or path[-1] not in inner:
        raise BadParameter(f"{key!r} is not set", param_hint="--unset")
    del inner[path[-1]]
    changed = table.get(path[0])
    if isinstance(changed, Mapping) and not changed:
        del table[path[0]]
    elif isinstance(changed, tomlkit.items.InlineTable):
        table[path[0]] = inline(changed.unwrap())


def assign(table: Table, path: list[str], value: Any) -> None:
    """Set the value at a path of keys; missing tables become inline tables."""
    name, *rest = path
    if not rest:
        table[name] = value
        return
    inner = table.get(name, {})
    if isinstance(inner, tomlkit.items.Table):
        assign(inner, rest, value)
        return
    made = dict(inner) if isinstance(inner, Mapping) else {}
    assign(made, rest, value)
    table[name] = inline(made)


def _value(text: str) -> Any:
    """Parse a TOML value; return the text itself if it is not TOML."""
    try:
        read = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return read["value"] if read.keys() == {"value"} else text


def _holds_text(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and any(isinstance(item, str) for item in value)
    )
