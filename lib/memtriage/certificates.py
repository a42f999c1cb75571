"""Whose certificates are believed."""

from __future__ import annotations

import ssl


def context(ca: str | None) -> ssl.SSLContext:
    """Certificates are verified, by those in the file ``ca``, else by the system's; there is no way not to.

    Raises ``ValueError``, which names the file, where it cannot be read or holds none.
    """
    try:
        return ssl.create_default_context(cafile=ca or None)
    except OSError as error:  # ssl.SSLError, for what is no certificate, is one; neither names the file
        raise ValueError(f"{ca}: {'it holds no certificate' if isinstance(error, ssl.SSLError) else error.strerror}") from None
