"""Command ``verify``: check the signature of a request and diagnose a mismatch."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from multidict import CIMultiDict

from relaybox_hooks.cli.console import iso, printable, say
from relaybox_hooks.cli.diagnosis import diagnose
from relaybox_hooks.cli.inputs import (
    HeadersOption,
    KeysOption,
    contents,
    examples,
    headers,
    required_keys,
)
from relaybox_hooks.errors import InvalidSignatureError, VerificationError
from relaybox_hooks.receive import ReceivedEvent, WebhookVerifier
from relaybox_hooks.wire.json_parsing import parse
from relaybox_hooks.wire.signing import SIGNATURE_HEADER, WEBHOOK_ID_HEADER, SigningKey

EXAMPLES = examples(
    "verify body.json --key KEY --signature 5d41402abc4b2a76b9719d911017c592...",
    "verify body.json -H 'X-Relaybox-Webhook-Signature: 5d41...' --tolerance 30",
    "verify - < body.json",
)


def verify(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Body as received; - reads standard input.")
    ],
    keys: KeysOption = None,
    signature: Annotated[
        str | None,
        typer.Option(metavar="HEX", help=f"Value of {SIGNATURE_HEADER}.", show_default=False),
    ] = None,
    header: HeadersOption = None,
    tolerance: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Maximum difference between signing time and now; 0 disables the check.",
        ),
    ] = 0,
) -> None:
    """Check a signature and explain why it does not match.

    Exit code 0 if it matches, 1 if not.
    """
    found = required_keys(keys)
    fields = CIMultiDict(headers(header))
    if signature is not None:
        fields[SIGNATURE_HEADER] = signature
    if SIGNATURE_HEADER not in fields:
        raise typer.BadParameter(
            f"give --signature, or --header '{SIGNATURE_HEADER}: ...'", param_hint="--signature"
        )
    fields.setdefault(WEBHOOK_ID_HEADER, "-")
    body = contents(file, "FILE")
    try:
        event = WebhookVerifier(*found, tolerance=tolerance or None).verify(fields, body)
    except VerificationError as error:
        say(("REFUSED  ", "bold red"), (f"{type(error).__name__}: {error}", "red"))
        if isinstance(error, InvalidSignatureError):
            _explain(found, fields[SIGNATURE_HEADER], body)
        raise typer.Exit(1) from None
    _confirm(event, len(found))


def _confirm(event: ReceivedEvent, keys: int) -> None:
    """Write a line about a valid request, with its age."""
    signed = event.timestamp.timestamp()
    age = time.time() - signed
    under = f"  under key {event.key_index + 1} of {keys}" if keys > 1 else ""
    where = "ago" if age >= 0 else "ahead of this machine's clock"
    say(
        ("verified  ", "green"),
        (f"{printable(event.name)}  ", "bold"),
        f"{printable(event.id)}  signed {iso(signed)}, {abs(age):.0f} s {where}{under}",
    )


def _explain(keys: list[str], signature: str, body: bytes) -> None:
    """Write the probable cause of a mismatch and the expected signatures."""
    canonical = parse(body)[1]
    for sentence in diagnose(keys, signature, body, canonical):
        say("because   ", printable(sentence))
    say("given     ", printable(signature))
    for number, key in enumerate(keys, 1):
        which = f"  under key {number}" if len(keys) > 1 else ""
        say("expected  ", SigningKey(key).sign(canonical), which)
    say("canonical ", printable(canonical.decode()))
