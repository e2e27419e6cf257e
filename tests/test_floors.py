"""The house's floors: the contracts of ``pyproject.toml`` hold, and nothing imports in a circle.

An import within a function or under ``TYPE_CHECKING`` counts like any other.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Final

import grimp
import pytest

ROOT: Final = Path(__file__).parents[1]
PYPROJECT: Final = ROOT / "pyproject.toml"
CONTRACTS: Final[dict[str, dict[str, Any]]] = {
    contract["id"]: contract
    for contract in tomllib.loads(PYPROJECT.read_text("utf-8"))["tool"]["importlinter"]["contracts"]
}

#: What the contracts with a list of forbidden parts leave to those they are about.
STANDS_ON: Final = {
    "receive": {"errors", "events", "session", "validation", "wire"},
    "observers": {
        *("clock", "dead_letters", "errors", "events", "observer", "outcome"),
        *("session", "stats", "targets", "validation", "wire"),
    },
}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("relaybox_hooks", "benchmarks", cache_dir=None)


@pytest.mark.parametrize("contract", CONTRACTS)
def test_contract_is_kept(contract: str) -> None:
    """In a process of its own: import-linter disables the loggers of the one it runs in."""
    program = Path(sys.executable).with_name("lint-imports")
    options = ["--config", str(PYPROJECT), "--contract", contract, "--no-cache"]
    ran = subprocess.run([program, *options], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("package", ["relaybox_hooks", "benchmarks"])
def test_no_module_imports_itself_over_others(package: str, graph: grimp.ImportGraph) -> None:
    modules = {package, *graph.find_descendants(package)}
    imports = {
        module: sorted(graph.find_modules_directly_imported_by(module) & modules)
        for module in sorted(modules)
    }
    cycle: list[str] = []
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        cycle = error.args[1]
    assert not cycle, " is imported by ".join(cycle)


@pytest.mark.parametrize("part", STANDS_ON)
def test_forbidden_parts_are_all_but_those_that_it_stands_on(
    part: str, graph: grimp.ImportGraph
) -> None:
    """A new part of the house has to be added to the contract, or to the exceptions here."""
    parts = {name.removeprefix("relaybox_hooks.") for name in graph.find_children("relaybox_hooks")}
    forbidden = {
        name.removeprefix("relaybox_hooks.") for name in CONTRACTS[part]["forbidden_modules"]
    }
    assert forbidden == parts - STANDS_ON[part] - {part, "_version"}
