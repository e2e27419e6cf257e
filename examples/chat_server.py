"""Chat server with a web page that emits its events with relaybox_hooks.

    python examples/chat_server.py                   then open http://127.0.0.1:8080/
    python examples/chat_server.py --webhook http://127.0.0.1:4000/webhook --key KEY
    python examples/chat_server.py --demo            with a receiver and three simulated users

``examples/receiver.py`` is a receiver for the second form. ``chat/app.py`` creates the hooks,
``chat/server.py`` emits the events.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys

from chat.app import make_app, make_hooks, serving
from chat.demo import demo

from relaybox_hooks import ConfigError, Webhook


async def serve(port: int, webhook: Webhook | None) -> None:
    app = make_app(make_hooks([webhook] if webhook else []), show_mail)
    async with serving(app, port) as bound:
        target = f", events go to {webhook.shown_url}" if webhook else ""
        print(f"chat at http://127.0.0.1:{bound}/{target}", flush=True)
        await asyncio.Event().wait()


def show_mail(email: str, code: str) -> None:
    """Print the code; stands for a mail server."""
    print(f"mail to {email!a}: your code is {code}", flush=True)


async def run(options: argparse.Namespace, webhook: Webhook | None) -> int:
    task = asyncio.current_task()
    if task is not None and sys.platform != "win32":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    if options.demo:
        return await demo(wrong_key=options.wrong_key)
    await serve(options.port, webhook)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="A chat server that emits webhooks.")
    parser.add_argument("--port", type=int, default=8080, help="0 selects a free one")
    parser.add_argument("--webhook", metavar="URL", help="target of all events")
    parser.add_argument(
        "--key",
        default=os.environ.get("RELAYBOX_SIGNING_KEY"),
        help="its signing key; or set RELAYBOX_SIGNING_KEY",
    )
    parser.add_argument(
        "--demo", action="store_true", help="run a scripted session and check every event"
    )
    parser.add_argument(
        "--wrong-key",
        action="store_true",
        help="with --demo: the receiver expects another key, so the demo must fail",
    )
    options = parser.parse_args()
    if options.wrong_key and not options.demo:
        parser.error("--wrong-key goes with --demo")
    webhook = None
    if options.webhook:
        if not options.key:
            parser.error("--webhook needs its signing key: --key, or RELAYBOX_SIGNING_KEY")
        try:
            webhook = Webhook(options.webhook, ["*"], options.key, name="receiver")
        except ConfigError as error:
            parser.error(str(error))
    try:
        return asyncio.run(run(options, webhook))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    except OSError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
