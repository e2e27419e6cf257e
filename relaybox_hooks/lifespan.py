"""Start and close with a web application: open while it runs, closed after its last connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from relaybox_hooks.errors import ConfigError

if TYPE_CHECKING:
    from aiohttp import web

ManagerT = TypeVar("ManagerT", bound=AbstractAsyncContextManager[Any, Any])


def add_to_aiohttp(app: web.Application, manager: ManagerT, key: web.AppKey[ManagerT]) -> None:
    """Let ``manager`` be entered with an aiohttp application, and be found in it under ``key``.

    Raises:
        ConfigError: ``app`` is not aiohttp's, runs already, or has something under ``key``.
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
    if key in app:
        raise ConfigError("app", app, "hooks were set up in it before: app[HOOKS_KEY] are those")
    app[key] = manager

    async def context(app: web.Application) -> AsyncIterator[None]:
        async with manager:
            yield

    app.cleanup_ctx.append(context)


@asynccontextmanager
async def asgi_lifespan(manager: AbstractAsyncContextManager[Any, Any]) -> AsyncIterator[None]:
    """Enter ``manager`` for as long as an ASGI application runs."""
    async with manager:
        yield
