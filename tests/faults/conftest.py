"""A certificate authority for the whole run."""

from __future__ import annotations

import ssl

import pytest
import trustme

from tests.faults.certificates import client_context, server_context


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Return the authority whose certificates the clients of these tests trust."""
    return trustme.CA()


@pytest.fixture(scope="session")
def contexts(authority: trustme.CA) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the contexts of a server on localhost and of a client that trusts it."""
    return server_context(authority), client_context(authority)
