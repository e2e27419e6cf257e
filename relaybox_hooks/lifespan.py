"""At home in a web application: open while it runs, closed after its last connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp.helpers import AppKey  # aiohttp.web has it too, and is not for clients to import

from relaybox_hooks.errors import ConfigError

if TYPE_CHECKING:
    from aiohttp import web

    from relaybox_hooks.hooks import Hooks

#: Where ``hooks.setup(app)`` leaves the hooks: ``request.app[HOOKS_KEY]``, which a type checker
#: knows to be ``Hooks``; in a sub-application's handler ``request.config_dict[HOOKS_KEY]``.
HOOKS_KEY: Final = AppKey["Hooks"]("HOOKS_KEY")


class Hosted(AbstractAsyncContextManager[Any, None]):
    """What starts and closes with a web application."""

    def setup(self, app: web.Application) -> None:
        """Start with an aiohttp application and close when it cleans up.

        They are open when ``on_startup`` is sent, and until the last handler has ended: what
        handlers emit as ``on_shutdown`` closes their websockets is accepted and delivered. So
        is what cleanup contexts emit that are added later, for aiohttp leaves them in reverse;
        ``on_cleanup`` comes too late. Closing drains for ``close_timeout`` seconds at the most.

        Raises:
            ConfigError: ``app`` is none of aiohttp's, runs already, or has hooks.
        """
        from aiohttp import web  # noqa: PLC0415 - only servers need it, and it takes time

        if not isinstance(app, web.Application):
            raise ConfigError(
                "app",
                app,
                "give an aiohttp.web.Application; Starlette(lifespan=hooks.lifespan) and "
                "FastAPI(lifespan=hooks.lifespan) are for those",
            )
        if app.pre_frozen:
            raise ConfigError(
                "app",
                app,
                "it runs already, or was added to another application: call hooks.setup(app) "
                "where the application is made, or use `async with hooks:` around it",
            )
        if HOOKS_KEY in app:
            raise ConfigError(
                "app", app, "hooks were set up in it before: app[HOOKS_KEY] are those"
            )
        app[HOOKS_KEY] = cast("Hooks", self)
        app.cleanup_ctx.append(self.lifespan)

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        """``async with hooks:`` in the shape that ``Starlette(lifespan=...)`` and FastAPI take.

        The server sends its shutdown once the last connection has ended, so that what handlers
        emit on the way out is accepted.
        """
        async with self:
            yield
