"""TLS of the server: certificate files in, a context for modern clients out."""

import ssl
from hashlib import sha256
from pathlib import Path

from handrail.core.errors import UsageError

# Of TLS 1.2 only what has forward secrecy and authenticates what it encrypts; TLS 1.3 has nothing else.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """What the server answers with.

    Raises:
        UsageError: a file is missing, is no PEM, or the key is another certificate's.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    load(context, cert, key)
    return context


def load(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    """Answer new connections with these files; when one is not good the context stays as it was."""
    for each in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
        try:
            each.load_cert_chain(cert, key, password=_refuse_password)
        except OSError as error:
            # An SSLError is one; its text names neither file.
            raise UsageError(
                f"can't use certificate {str(cert)!r} with key {str(key)!r}: {error.strerror or error}; "
                "both are PEM files, the key belongs to the certificate and is not encrypted"
            ) from error


def fingerprint(cert: Path) -> str:
    """SHA-256 of the certificate that the file begins with."""
    first = cert.read_text(encoding="ascii").partition("-----END CERTIFICATE-----")
    begin = first[0].index("-----BEGIN CERTIFICATE-----")
    return sha256(ssl.PEM_cert_to_DER_cert(first[0][begin:] + first[1])).hexdigest()


def _refuse_password() -> str:
    # Without this OpenSSL would ask on the terminal, in the middle of a start that nobody watches.
    return ""
