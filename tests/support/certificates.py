"""Certificates for servers on loopback, made by the program ``openssl`` when a test asks."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for ``localhost``, ``127.0.0.1`` and ``::1``, and its key."""

    cert: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        """Return the context of a server that has the certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context

    def client(self) -> ssl.SSLContext:
        """Return the context of a client that trusts the certificate alone."""
        return ssl.create_default_context(cafile=str(self.cert))


def make_certificate(directory: Path) -> Certificate:
    """Make a certificate in ``directory``; without ``openssl`` skip the test, or fail it in CI."""
    program = shutil.which("openssl")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("the program openssl is not installed")
        pytest.skip("the program openssl is not installed")
    made = Certificate(directory / "cert.pem", directory / "key.pem")
    command = [
        *(program, "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"),
        *("-addext", "keyUsage=critical,digitalSignature,keyCertSign"),
        *("-keyout", str(made.key), "-out", str(made.cert)),
    ]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603
    return made
