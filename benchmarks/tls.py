"""A certificate for loopback, made for one run and trusted by those who are told where it is."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

#: Where OpenSSL looks for the authorities that default contexts trust. aiohttp makes its context
#: when it is imported, so this reaches processes that start later.
_TRUSTED: Final = "SSL_CERT_FILE"

_EXTENSIONS: Final = (
    "subjectAltName=IP:127.0.0.1",
    "keyUsage=critical,digitalSignature,keyCertSign",
)


def can_certify() -> bool:
    """Return True if a certificate can be made here: it takes the program ``openssl``."""
    return shutil.which("openssl") is not None


@contextmanager
def trusted_certificate() -> Iterator[str]:
    """A file with a key and its certificate, which fresh processes trust while the block lasts."""
    before = os.environ.get(_TRUSTED)
    with TemporaryDirectory() as directory:
        key, certificate = Path(directory) / "key.pem", Path(directory) / "certificate.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
        command += ["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=sink"]
        command += [part for extension in _EXTENSIONS for part in ("-addext", extension)]
        command += ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - no input of others
        both = Path(directory) / "both.pem"
        both.write_bytes(key.read_bytes() + certificate.read_bytes())
        both.chmod(0o600)
        os.environ[_TRUSTED] = str(certificate)
        try:
            yield str(both)
        finally:
            if before is None:
                del os.environ[_TRUSTED]
            else:
                os.environ[_TRUSTED] = before
