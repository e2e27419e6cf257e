"""Classes are composed: inheritance implements what a base declares, and undoes nothing."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Generic

import relaybox_hooks
from relaybox_hooks import Hooks, Observer

#: What any class may define anew.
ANYWHERE = {"__init__", "__slots__", "__doc__", "__module__", "__repr__", "__str__"}


def modules() -> Iterator[str]:
    for module in pkgutil.walk_packages(relaybox_hooks.__path__, "relaybox_hooks."):
        if not module.name.endswith("__main__"):
            yield module.name


def classes() -> Iterator[type]:
    for name in modules():
        module = import_module(name)
        for value in vars(module).values():
            if inspect.isclass(value) and value.__module__ == name:
                yield value


def test_between_hooks_and_generic_there_is_nothing() -> None:
    assert Hooks.__mro__ == (Hooks, Generic, object)


def test_no_class_overrides_more_than_its_base_declares_abstract() -> None:
    """Observers and exceptions aside, whose bases are there to be overridden or extended."""
    undone = []
    for cls in classes():
        if issubclass(cls, Observer | BaseException):
            continue
        for base in cls.__mro__[1:]:
            if not base.__module__.startswith("relaybox_hooks"):
                continue
            if getattr(base, "_is_protocol", False):
                continue  # all that it declares is for others to define
            abstract: frozenset[str] = getattr(base, "__abstractmethods__", frozenset())
            both = vars(cls).keys() & vars(base).keys() - abstract - ANYWHERE
            undone += [
                f"{cls.__qualname__} overrides {base.__qualname__}.{name}"
                for name in both
                if callable(getattr(base, name)) or isinstance(vars(base)[name], property)
            ]
    assert undone == []
