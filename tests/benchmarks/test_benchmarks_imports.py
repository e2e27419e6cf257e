"""The modules of ``benchmarks`` import one another in one direction only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter

from benchmarks.paths import ROOT


def imported(source: str) -> Iterator[str]:
    """Every name that a module imports or may import, inside functions and for types too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_module_imports_itself_through_others() -> None:
    """Imports inside functions and under TYPE_CHECKING count."""
    sources = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text(encoding="utf-8")
        for path in (ROOT / "benchmarks").rglob("*.py")
        if path.name != "__init__.py"
    }
    graph = {name: set(imported(source)) & set(sources) for name, source in sources.items()}
    assert "benchmarks.result" in graph["benchmarks.harness"]
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert set(order) == set(sources)
