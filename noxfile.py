"""The checks of this repository, each a session: ``nox -l`` lists them, ``nox -s lint`` runs one.

What follows ``--`` goes to the session's program: ``nox -s tests-3.13 -- tests/wire -x``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import nox
from nox.command import CommandFailed

PYPROJECT: Final = nox.project.load_toml("pyproject.toml")
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")

nox.needs_version = ">=2026.2"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ("lint", "floors", "types", "docs", "tests")
# Nox would fail for a missing Python where CI is set; here it is skipped with a line that says so.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"

# The shims of pyenv run only the versions it has selected. Behind all else on the path, so that
# no other command is another one than before.
for directory in sorted(Path("~/.pyenv/versions").expanduser().glob("3.*/bin")):
    os.environ["PATH"] += os.pathsep + str(directory)


def install(session: nox.Session, group: str) -> None:
    """Install this project and a dependency group; the pip of an old virtual environment can."""
    session.install("-e", ".", *nox.project.dependency_groups(PYPROJECT, group))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The whole suite; what needs Node or a browser is skipped where they are missing."""
    install(session, "test")
    session.run("pytest", *(session.posargs or ["-q"]))


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check", *session.posargs)


@nox.session
def floors(session: nox.Session) -> None:
    """The contracts of the house: who may import whom."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "floors"))
    session.run("lint-imports", "--no-logo", "--no-cache", *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    """mypy on everything; and no symbol of the package whose type a checker has to guess."""
    install(session, "types")
    session.run("mypy", *session.posargs)
    try:
        session.run("basedpyright", "--verifytypes", "relaybox_hooks", "--ignoreexternal")
    except CommandFailed:
        session.error("the package is not completely typed: annotate the symbols listed above")


@nox.session
def docs(session: nox.Session) -> None:
    """The README's snippets and errors, and every link within the repository's Markdown."""
    install(session, "test")
    session.run(
        "pytest", "-q", "tests/examples/test_readme.py", "tests/test_links.py", *session.posargs
    )


@nox.session
def examples(session: nox.Session) -> None:
    """The demo, and each example as a process of its own."""
    install(session, "test")
    session.run("python", "examples/chat_server.py", "--demo")
    session.run("pytest", "-q", "tests/examples", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """The suite in two processes, with the lines and branches that it and its children run."""
    install(session, "test")
    session.run(
        "pytest",
        "-q",
        *("-n", "2", "--dist", "loadfile"),
        *("--cov", "--cov-report=term", "--cov-report=html"),
        *("--ignore", "tests/benchmarks"),  # they measure, and measuring coverage would show
        *session.posargs,
    )


@nox.session
def bench(session: nox.Session) -> None:
    """Every benchmark, too short to mean anything: shows that they work."""
    session.install("-e", ".[bench,sqlite]")
    session.run("python", "-m", "benchmarks", "--quick", *session.posargs)
