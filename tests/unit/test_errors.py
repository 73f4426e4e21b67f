from __future__ import annotations

import pickle

import pytest

from lasersell import errors

ERRORS: list[errors.LaserSellError] = [
    errors.LaserSellError("text"),
    errors.ConfigurationError("text"),
    errors.MissingExtraError("the simulator", "sim"),
    errors.ConcurrencyError("text"),
    errors.ForkedError(42),
    errors.SessionInUseError(42),
    errors.StreamError("text"),
    errors.ConnectError("text"),
    errors.ConnectTimeoutError("text"),
    errors.TlsError("text"),
    errors.HandshakeError(
        "text", status=429, code="busy", message="later", retry_after=2.5
    ),
    errors.AuthenticationError("text", status=401),
    errors.StreamLostError("text", close_code=1001, close_reason="going away"),
    errors.NotConnectedError("text"),
    errors.HoldFullError(256),
    errors.DecodeError("not an integer", path="pong.server_time_ms", raw=b"{}"),
    errors.ApiError(
        "text",
        status=429,
        reason="r",
        body={"a": 1},
        is_retryable=True,
        retry_after=2.5,
    ),
    errors.TxError(
        "text", stage="submit", target="rpc", is_retryable=True, detail={"code": 1}
    ),
    errors.GuardRefusedError("text", reason="unknown_program"),
    errors.RelayError("text"),
    errors.RelayConnectError("text"),
    errors.RelayAuthenticationError("text"),
    errors.RelayTlsError("text"),
    errors.RelayVersionError("text", version="5.0.7"),
    errors.RelayTimeoutError("text"),
]


def test_every_error_is_tried_below() -> None:
    """No class of the tree is left out of the tests of this file."""
    tried = {type(error).__name__ for error in ERRORS}
    assert tried == set(errors.__all__)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_survives_a_pickle(error: errors.LaserSellError) -> None:
    """An error crosses a process border with its text and all its fields."""
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_is_a_laser_sell_error(error: errors.LaserSellError) -> None:
    """One except clause catches them all."""
    assert isinstance(error, errors.LaserSellError)


@pytest.mark.parametrize(
    ("kind", "also"),
    [
        (errors.ConfigurationError, ValueError),
        (errors.MissingExtraError, ImportError),
        (errors.ConcurrencyError, RuntimeError),
        (errors.ForkedError, RuntimeError),
        (errors.ConnectError, ConnectionError),
        (errors.ConnectTimeoutError, TimeoutError),
        (errors.StreamLostError, ConnectionError),
        (errors.NotConnectedError, ConnectionError),
        (errors.DecodeError, ValueError),
        (errors.RelayConnectError, ConnectionError),
        (errors.RelayTimeoutError, TimeoutError),
    ],
)
def test_errors_are_what_their_readers_expect(
    kind: type[Exception], also: type[Exception]
) -> None:
    """Where the standard library has a class for it, that clause catches ours too."""
    assert issubclass(kind, also)


@pytest.mark.parametrize(
    ("kind", "parent"),
    [
        (errors.ConnectTimeoutError, errors.ConnectError),
        (errors.TlsError, errors.ConnectError),
        (errors.ConnectError, errors.StreamError),
        (errors.AuthenticationError, errors.HandshakeError),
        (errors.HandshakeError, errors.StreamError),
        (errors.StreamLostError, errors.StreamError),
        (errors.NotConnectedError, errors.StreamError),
        (errors.HoldFullError, errors.StreamError),
        (errors.GuardRefusedError, errors.TxError),
        (errors.RelayConnectError, errors.RelayError),
        (errors.RelayAuthenticationError, errors.RelayConnectError),
        (errors.RelayTlsError, errors.RelayConnectError),
        (errors.RelayVersionError, errors.RelayError),
        (errors.RelayTimeoutError, errors.RelayError),
    ],
)
def test_the_tree_is_the_documented_one(
    kind: type[Exception], parent: type[Exception]
) -> None:
    """Each class hangs where the docstring prints it."""
    assert issubclass(kind, parent)


def test_the_docstring_prints_the_whole_tree() -> None:
    """A reader of the module's first lines knows every class."""
    assert errors.__doc__ is not None
    assert all(f":exc:`{name}`" in errors.__doc__ for name in errors.__all__)


def test_a_missing_extra_says_how_to_install_it() -> None:
    """The text is the cure: one command to copy."""
    error = errors.MissingExtraError("the command line", "cli")
    assert "pip install 'lasersell[cli]'" in str(error)
    assert error.extra == "cli"


def test_a_forked_session_names_its_owner() -> None:
    """Whoever used a session in a child learns whose it is and what to do."""
    assert "process 42" in str(errors.ForkedError(42))
    assert "connect again" in str(errors.ForkedError(42))


@pytest.mark.parametrize(
    ("pid", "holder"), [(42, "process 42"), (None, "another process")]
)
def test_a_session_in_use_names_the_holder(pid: int | None, holder: str) -> None:
    """The holder's process id is shown where it is known."""
    assert str(errors.SessionInUseError(pid)).startswith(holder)


def test_a_decode_error_starts_with_the_path() -> None:
    """Where in the message comes before what is wrong there."""
    error = errors.DecodeError("missing", path="position_opened.tokens")
    assert str(error) == "position_opened.tokens: missing"


def test_a_decode_error_of_the_whole_text_has_no_path() -> None:
    """Nothing stands before the problem when the text is no JSON at all."""
    assert str(errors.DecodeError("not JSON")) == "not JSON"
