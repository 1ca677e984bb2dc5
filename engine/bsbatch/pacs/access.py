"""Credentials and certificates for a PACS. Secrets come from a file or the environment and stand in no message."""

import base64
import os
import re
import ssl
from pathlib import Path

from bsbatch.errors import UsageError
from bsbatch.host.files import read_plain
from bsbatch.pacs.settings import Access

CREDENTIALS, PASSPHRASE = "BSBATCH_PACS_CREDENTIALS", "BSBATCH_PACS_PASSPHRASE"
"""Environment variables: see `bsbatch.pacs.settings.Access.credentials`, and the passphrase of the client's key."""
_MOST_BYTES = 1 << 16
_BEARER, _BASIC = re.compile(r"Bearer ([\x21-\x7e]+)", re.IGNORECASE), re.compile(r"[^:\s]+:.*")


def authorization(access: Access) -> str | None:
    """Return the value of the header Authorization, RFC 7617 or RFC 6750; None without credentials.

    Raises
    ------
    UsageError
        The file cannot be read, or holds something else.
    """
    secret = _secret(access.credentials) if access.credentials else os.environ.get(CREDENTIALS, "").strip()
    if not secret:
        return None
    if token := _BEARER.fullmatch(secret):
        return f"Bearer {token[1]}"
    if _BASIC.fullmatch(secret):
        return f"Basic {base64.b64encode(secret.encode()).decode()}"
    raise UsageError(
        f"credentials are one line, user:password or Bearer TOKEN: see {access.credentials or CREDENTIALS}"
    )


def tls(access: Access, purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH) -> ssl.SSLContext:
    """Return the settings of TLS: the certificate of the other side is always checked, 1.2 or newer.

    Raises
    ------
    UsageError
        A file of certificates cannot be used.
    """
    try:
        context = ssl.create_default_context(purpose, cafile=access.authority)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"{access.authority} holds no certificates as PEM") from error
    context.minimum_version, context.verify_mode = ssl.TLSVersion.TLSv1_2, ssl.CERT_REQUIRED
    if access.certificate:
        passphrase = os.environ.get(PASSPHRASE, "")
        try:
            context.load_cert_chain(access.certificate, password=lambda: passphrase)  # without one, OpenSSL would ask
        except (OSError, ssl.SSLError) as error:
            raise UsageError(
                f"{access.certificate} holds no certificate with its key as PEM, or {PASSPHRASE} is not its passphrase"
            ) from error
    return context


def _secret(path: Path) -> str:
    try:
        return read_plain(path, _MOST_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the credentials in {path} cannot be read") from error
