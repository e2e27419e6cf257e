"""Names are the field's: none of those that were replaced has come back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import relaybox_hooks

PACKAGE: Final = Path(relaybox_hooks.__file__).parent
ROOT: Final = Path(__file__).parents[1]

#: Former names of modules, classes, functions and attributes, leading underscores aside, and what
#: took their place.
REPLACED: Final = {
    **dict.fromkeys(["signatures"], "typed_calls"),
    **dict.fromkeys(["Letter", "takes_letters"], "PrebuiltRequest, takes_prebuilt"),
    **dict.fromkeys(["Morgue", "Letters"], "MemoryDeadLetters, DeadLetterStore"),
    **dict.fromkeys(["Archive"], "JournalDeadLetters, DeliveryLog"),
    **dict.fromkeys(["Books"], "Accounting"),
    **dict.fromkeys(["Ledger"], "JournalState"),
    **dict.fromkeys(["Records"], "part of Hooks"),
    **dict.fromkeys(["Aside", "Entry"], "ParkedKeys, ParkedKey"),
    **dict.fromkeys(["Held"], "RetryQueue"),
    **dict.fromkeys(["Hub", "RemoteHub", "Keeping", "House"], "Runtime"),
    **dict.fromkeys(["Keeper"], "JournalGateway"),
    **dict.fromkeys(["local", "remote", "DurableLane"], "subscriber_lane, webhook_lane"),
    **dict.fromkeys(["BEHIND", "BUSY", "HELD", "GONE"], "BLOCKED, IN_FLIGHT, WAITING_RETRY"),
    **dict.fromkeys(
        [
            *("squeeze", "bury", "queue_up", "turn_away", "freed", "stop", "halt", "end"),
            *("abandon", "retire", "dismiss", "give_up", "forget"),
        ],
        "enqueue, reject, suspend, resume, close, complete, discard, dead_letter",
    ),
    **dict.fromkeys(
        ["doomed", "floor", "gone", "missed", "stuck", "turn"],
        "give_up_through_seq, first_seq, settled_while_reading, append_missed, generation",
    ),
    **dict.fromkeys(["refusal"], "payload_error, blocking_rule"),
    **dict.fromkeys(["count", "seconds", "moment", "listed"], "check_int, to_seconds, to_utc"),
    **dict.fromkeys(["javascript", "gate"], "json_parsing, guard"),
}

#: Where such a name stays: a role in the protocols of a journal, and options that users write.
STAYS: Final = {
    ("journal/protocol.py", "Records"),
    ("targets/policies.py", "count"),  # RetentionPolicy.count
    ("testing/faults.py", "seconds"),  # Late.seconds
}

#: Former terms, in what users read.
TERMS: Final = re.compile(
    r"\b(Morgue|Keeper|Aside|RemoteHub|Keeping|squeezed?|turned away|nobody|at the most)\b|"
    r"(?<!dead )(?<!Dead )(?<!dead-)\bletters?\b(?!, digits)"
)

DOCUMENTS: Final = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/RESULTS.md"]


def names_in(path: Path) -> Iterator[str]:
    """The names of ours that a module defines."""
    yield path.stem
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name, body=body):
                yield name
                yield from assigned(body)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
    yield from assigned(tree.body)


def assigned(body: list[ast.stmt]) -> Iterator[str]:
    """The names that the statements of a module or class assign."""
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_no_replaced_name_is_defined(path: Path) -> None:
    place = path.relative_to(PACKAGE).as_posix()
    for name in names_in(path):
        plain = name.lstrip("_")
        assert not plain.startswith("refuse_"), f"{place}: {name}: use check_..."
        if (place, plain) not in STAYS:
            assert plain not in REPLACED, f"{place}: {name}: use {REPLACED[plain]}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_use_the_terms_of_the_field(document: str) -> None:
    text = (ROOT / document).read_text("utf-8")
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    assert [match.group() for match in TERMS.finditer(prose)] == []


def test_log_messages_use_the_terms_of_the_field() -> None:
    """And errors: every string of the package but its docstrings."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and id(node) not in docstrings and " " in text:
                found += [(path.name, text)] if TERMS.search(text) else []
    assert found == []
