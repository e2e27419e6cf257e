"""The event loop and the fresh processes that measurements run in."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

ParamsT = ParamSpec("ParamsT")
ReturnT = TypeVar("ReturnT")


def run_loop(
    work: Coroutine[Any, Any, ReturnT],
    new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> ReturnT:
    """Run ``work`` as ``asyncio.run`` does, and raise errors of tasks and callbacks at the end.

    Figures of a program that breaks on the way are worth nothing.

    Args:
        work: the coroutine.
        new_loop: makes the event loop; by default the policy does.
    """
    errors: list[BaseException] = []

    async def watch() -> ReturnT:
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: errors.append(
                context.get("exception") or RuntimeError(context["message"])
            )
        )
        return await work

    with asyncio.Runner(loop_factory=new_loop) as runner:
        result = runner.run(watch())
    gc.collect()
    if errors:
        raise RuntimeError(f"{len(errors)} errors went unhandled; here is the first") from errors[0]
    return result


def in_fresh_process(
    function: Callable[ParamsT, ReturnT], *args: ParamsT.args, **kwargs: ParamsT.kwargs
) -> ReturnT:
    """Call a module's ``function`` in a new interpreter: memory is measured from scratch."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        result = pool.apply(function, args, kwargs)
        pool.close()
        pool.join()  # or its CPU time would not count as ours
    return result


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * _PAGE
