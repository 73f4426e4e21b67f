"""A certificate authority of the test suite, and what it signs."""

from __future__ import annotations

import base64
import datetime
import hashlib
import ssl

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization

__all__ = ["client_context", "server_context", "spki_pin"]

_PAST = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)


def client_context(authority: trustme.CA) -> ssl.SSLContext:
    """Return a verifying context that trusts only this authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


def server_context(
    authority: trustme.CA,
    host: str = "localhost",
    *,
    expired: bool = False,
    presents: trustme.CA | None = None,
) -> ssl.SSLContext:
    """
    Return a server's context.

    Args:
        authority: Who signs its certificate.
        host: Whom the certificate is for.
        expired: Whether it is out of date.
        presents: Another authority whose certificate is sent along, without having
            signed anything.
    """
    certificate = authority.issue_cert(host, not_after=_PAST if expired else None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    if presents is not None:
        chain += presents.cert_pem.bytes()
    with trustme.Blob(certificate.private_key_pem.bytes() + chain).tempfile() as path:
        context.load_cert_chain(path)
    return context


def spki_pin(authority: trustme.CA) -> str:
    """Return the pin of an authority's public key."""
    key = x509.load_pem_x509_certificate(authority.cert_pem.bytes()).public_key()
    spki = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()
