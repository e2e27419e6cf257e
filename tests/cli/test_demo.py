"""``demo``: all of it on one screen."""

from __future__ import annotations

from support.programs import Run

from relaybox_hooks import EVENTS


async def test_everything_comes_as_it_should(run: Run) -> None:
    code, output, errors = await run("demo")
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert len(lines) < 35, "it fits on a screen"
    verified = [line.split() for line in lines if line[14:22] == "verified"]
    duplicates = [line.split() for line in lines if line[14:23] == "duplicate"]
    assert {words[4] for words in verified} == set(EVENTS)
    assert [words[3:5] for words in verified if words[3] != "204"] == [["503", "room:publish"]]
    assert [words[3:5] for words in duplicates] == [["204", "room:publish"]]
    for said in (
        "emitted          13 events, accepted 27 times",
        "REFUSED   → 401  POST /  InvalidSignatureError: ",
        "retry            room:publish        status 503, again in ",
        "given up         room:destroy        webhook impostor: status 401, kept as a dead",
    ):
        assert sum(said in line for line in lines) == 1, said
    assert lines[-1] == (
        "as it should be: 13 of 13 events delivered and verified, 1 tried again after a 503, "
        "1 forgery refused"
    )
