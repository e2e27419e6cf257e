"""The fixtures, in suites of their own: under each plugin that runs async tests."""

from __future__ import annotations

from typing import Final

import pytest

pytest_plugins = ["pytester"]

_SUITE: Final = """
    import pytest
    from relaybox_hooks import Webhook

    {head}

    async def test_events_and_webhooks(hooks, recording, webhook_receiver):
        hooks.add_webhook(Webhook(webhook_receiver.url, ["*"], "key"))
        await hooks.emit("room:join", {{"roomId": "lobby"}})
        await recording.wait_for("room:join")
        await recording.join()
        assert len(webhook_receiver.accepted) == 1

    async def test_each_has_its_own(hooks, recording, webhook_receiver):
        assert not (hooks.webhooks or recording.events or webhook_receiver.requests)

    async def test_subscriber_fails(hooks, recording):
        @hooks.on("room:join")
        def greet(event):
            event.data["greeting"]

        await hooks.emit("room:join", {{"roomId": "lobby"}})
"""
_OVERRIDING: Final = """
    import pytest
    from relaybox_hooks import Hooks

    @pytest.fixture
    async def hooks(virtual_clock):
        async with Hooks(custom_events=["order:paid"], clock=virtual_clock) as hooks:
            yield hooks

    async def test_server(hooks, recording, virtual_clock):
        await hooks.emit("order:paid")
        await virtual_clock.advance(60)
        assert recording.names == ["order:paid"]
"""
_ASYNCIO: Final = "asyncio_default_fixture_loop_scope = function\nasyncio_mode = {}"


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Without the plugins that are installed here for other tests."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeconftest('pytest_plugins = ["relaybox_hooks.testing.plugin"]')
    return pytester


def run(suite: pytest.Pytester, source: str, *plugins: str, ini: str) -> pytest.RunResult:
    """Run the tests in a process of their own, with warnings as errors."""
    # Because of -p asyncio, pytest wants to rewrite the asserts of a module of that name too.
    rewriting = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
    suite.makeini(f"[pytest]\nfilterwarnings =\n    error\n    {rewriting}\n{ini}")
    suite.makepyfile(source)
    return suite.runpytest_subprocess(*(part for name in plugins for part in ("-p", name)))


def three_ran(result: pytest.RunResult) -> None:
    """All passed, and the last one's subscriber failed it as its fixture ended."""
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_subscriber_fails*",
            "E * KeyError: 'greeting'",
            "E * in subscriber '*greet', handling room:join",
        ]
    )


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_under_pytest_asyncio(suite: pytest.Pytester, mode: str) -> None:
    head = "pytestmark = pytest.mark.asyncio" if mode == "strict" else ""
    three_ran(run(suite, _SUITE.format(head=head), "asyncio", ini=_ASYNCIO.format(mode)))


@pytest.mark.parametrize("plugins", ["anyio", "anyio asyncio", "asyncio anyio"])
def test_under_anyio(suite: pytest.Pytester, plugins: str) -> None:
    """Also beside pytest-asyncio: which of them comes first is a matter of the file system."""
    head = "pytestmark = pytest.mark.anyio; anyio_backend = pytest.fixture(lambda: 'asyncio')"
    ini = _ASYNCIO.format("strict") if "asyncio" in plugins.split() else ""
    three_ran(run(suite, _SUITE.format(head=head), *plugins.split(), ini=ini))


def test_hooks_can_be_the_servers_own(suite: pytest.Pytester) -> None:
    result = run(suite, _OVERRIDING, "asyncio", ini=_ASYNCIO.format("auto"))
    result.assert_outcomes(passed=1)


def test_nobody_has_the_fixtures_who_did_not_ask(suite: pytest.Pytester) -> None:
    suite.makeconftest("import relaybox_hooks.testing")
    result = run(suite, _OVERRIDING, "asyncio", ini=_ASYNCIO.format("auto"))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E * fixture 'virtual_clock' not found"])
