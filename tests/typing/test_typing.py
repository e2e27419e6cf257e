"""What a type checker says about code that uses the library: mypy, strict, in a fresh cache."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mypy import api

SAMPLES = Path(__file__).parent


def _mypy(sample: Path, cache: Path) -> tuple[set[int], str]:
    """The lines that mypy has an error for, and all it said."""
    said, crash, _ = api.run(
        [
            "--strict",
            "--no-error-summary",
            "--config-file=",
            f"--cache-dir={cache}",
            str(sample),
        ]
    )
    assert not crash, crash
    errors = re.findall(rf"^.*{re.escape(sample.name)}:(\d+): error: ", said, re.MULTILINE)
    return {int(line) for line in errors}, said


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared by the samples, so that the package is analysed once."""
    return tmp_path_factory.mktemp("mypy")


def test_good_code_is_accepted(cache: Path) -> None:
    errors, said = _mypy(SAMPLES / "good.py", cache)
    assert not errors, said
    assert not said, said


def test_each_mistake_is_an_error_where_it_is_made_and_nowhere_else(cache: Path) -> None:
    sample = SAMPLES / "bad.py"
    lines = sample.read_text("utf-8").splitlines()
    marked = {number for number, line in enumerate(lines, 1) if line.endswith("# E")}
    errors, said = _mypy(sample, cache)
    assert len(marked) > 20
    assert errors == marked, said
