"""The picture of ``listen`` and ``trigger``: it can be made, and shows what they do."""

from __future__ import annotations

from html import unescape
from pathlib import Path

from support.examples import Run

COMMITTED = Path(__file__).parents[2] / "examples" / "listen.svg"


def shows_all(picture: Path) -> bool:
    text = unescape(picture.read_text(encoding="utf-8")).replace("\xa0", " ")
    said = ("listen", "trigger room:publish", "verified", "duplicate", "REFUSED", "next try in")
    return all(word in text for word in (*said, "delivered", "InvalidSignatureError"))


async def test_the_picture_is_made_of_real_runs(run: Run, tmp_path: Path) -> None:
    picture = tmp_path / "listen.svg"
    program = await run("capture_listen.py", str(picture), "--port", "0")
    code, output, _ = await program.ends()
    assert code == 0
    assert output.startswith(f"{picture}: ")
    assert shows_all(picture)


def test_the_readmes_picture_is_one_of_them() -> None:
    assert shows_all(COMMITTED)
    assert COMMITTED.stat().st_size < 60_000
    assert "font-face" not in COMMITTED.read_text(encoding="utf-8"), "it loads nothing"
