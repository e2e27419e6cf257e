"""A configuration file while it is edited: comments and layout stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tomlkit
from typer import BadParameter

from relaybox_hooks.cli.document import Document, set_option, unset_option
from relaybox_hooks.config import ConfigFileError

TEXT = """\
# What the chat tells others.
queue_size = 500        # enough for an hour

[webhooks.crm]          # customers
url = "https://crm.example/webhook"
events = [
    "room:*",           # all of them
    "auth:signin",
]
signing_key = { env = "CRM_SIGNING_KEY" }

  [webhooks.crm.retry]
  attempts = 8          # they restart slowly

# Further policies.
[retry]
attempts = 3

[webhooks.audit]
url = "https://audit.example/"
events = ["*"]
signing_key = { env = "AUDIT_KEY" }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "hooks.toml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_what_is_not_edited_stays_as_it_is(file: Path) -> None:
    document = Document(str(file))
    table = document.webhook("crm")
    set_option(table, "retry.attempts=9")
    table["url"] = "https://crm.example/v2"
    document.save()
    assert file.read_text(encoding="utf-8") == TEXT.replace(
        "attempts = 8 ", "attempts = 9 "
    ).replace("example/webhook", "example/v2")


def test_ends_of_lines_stay_as_they_are(file: Path) -> None:
    file.write_bytes(TEXT.replace("\n", "\r\n").encode())
    document = Document(str(file))
    set_option(document.webhook("crm"), "retry.attempts=9")
    document.save()
    edited = TEXT.replace("attempts = 8 ", "attempts = 9 ")
    assert file.read_bytes() == edited.replace("\n", "\r\n").encode()


def test_a_webhook_is_added_at_the_end(file: Path) -> None:
    document = Document(str(file))
    document.add("new", tomlkit.item({"url": "http://h/", "events": ["*"], "signing_key": "k"}))
    document.save()
    text = file.read_text(encoding="utf-8")
    assert text == f'{TEXT}\n[webhooks.new]\nurl = "http://h/"\nevents = ["*"]\nsigning_key = "k"\n'


@pytest.mark.parametrize("name", ["crm", "audit"])
def test_a_webhook_is_taken_out_with_its_tables(file: Path, name: str) -> None:
    document = Document(str(file))
    document.remove(name)
    document.save()
    text = file.read_text(encoding="utf-8")
    assert name not in text
    assert "# Further policies.\n[retry]\nattempts = 3\n" in text
    (left,) = Document(str(file)).read().webhooks
    assert left.id == {"crm": "audit", "audit": "crm"}[name]


def test_what_cannot_work_is_not_saved(file: Path) -> None:
    document = Document(str(file))
    document.webhook("crm")["url"] = "ftp://crm"
    with pytest.raises(ConfigFileError, match=r"\[webhooks.crm\] url='ftp://crm': give an http"):
        document.save()
    assert file.read_text(encoding="utf-8") == TEXT


def test_a_file_keeps_its_mode_and_stays_a_link(file: Path) -> None:
    file.chmod(0o640)
    link = file.with_name("link.toml")
    link.symlink_to(file)
    document = Document(str(link))
    document.webhook("crm")["enabled"] = False
    document.save()
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    assert "enabled = false" in file.read_text(encoding="utf-8")
    assert sorted(os.listdir(file.parent)) == ["hooks.toml", "link.toml"]


def changed(*assignments: str, unset: tuple[str, ...] = ()) -> str:
    """A table after assignments."""
    table = tomlkit.table()
    for assignment in assignments:
        set_option(table, assignment)
    for key in unset:
        unset_option(table, key)
    return tomlkit.dumps(table)


@pytest.mark.parametrize(
    ("assignment", "written"),
    [
        ("max_age=60", "max_age = 60\n"),
        ("order_by=room", 'order_by = "room"\n'),
        ("breaker = false", "breaker = false\n"),
        ("retry.statuses=[503]", "retry = { statuses = [503] }\n"),
        ("name=a = 'b'\nurl = 'c'", "name = \"a = 'b'\\nurl = 'c'\"\n"),
        ("previous_key.env=OLD", 'previous_key = { env = "OLD" }\n'),
    ],
)
def test_values_are_toml_or_else_text(assignment: str, written: str) -> None:
    assert changed(assignment) == written


def test_tables_on_one_line_are_kept_tidy() -> None:
    assert changed("retry.attempts=8", "retry.initial=1") == (
        "retry = { attempts = 8, initial = 1 }\n"
    )
    assert changed("retry.attempts=8", "retry.initial=1", unset=("retry.attempts",)) == (
        "retry = { initial = 1 }\n"
    )
    assert changed("retry.attempts=8", unset=("retry.attempts",)) == ""


@pytest.mark.parametrize("assignment", ["signing_key=abc", 'previous_key=["abc"]'])
def test_a_key_is_never_written(assignment: str) -> None:
    with pytest.raises(BadParameter, match=r"--set \w+\.env=NAME"):
        changed(assignment)


@pytest.mark.parametrize("assignment", ["max_age", "=1", "retry.=1"])
def test_what_is_no_assignment_is_refused(assignment: str) -> None:
    with pytest.raises(BadParameter, match="write KEY=VALUE"):
        changed(assignment)


@pytest.mark.parametrize("key", ["max_age", "retry.attempts", "max_age.x"])
def test_what_is_not_set_cannot_be_unset(key: str) -> None:
    with pytest.raises(BadParameter, match="is not set"):
        changed("name=x", unset=(key,))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"queue_size 5", "this is not TOML: "),
        (b"\xff", "this is not TOML: "),
        (b"webhooks = 5", "webhooks: write a table for each"),
    ],
)
def test_a_file_that_cannot_be_edited_is_named(tmp_path: Path, text: bytes, said: str) -> None:
    (tmp_path / "hooks.toml").write_bytes(text)
    with pytest.raises(ConfigFileError, match=said):
        Document(str(tmp_path / "hooks.toml")).webhook("crm")


def test_files_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError, match=r"no such file; `relaybox-hooks webhook create`"):
        Document(str(tmp_path / "nothing.toml"))
    with pytest.raises(ConfigFileError, match="Is a directory"):
        Document(str(tmp_path))
    missing = Document(str(tmp_path / "no" / "hooks.toml"), missing_ok=True)
    with pytest.raises(ConfigFileError, match="No such file or directory"):
        missing.save()
