from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lasersell._clock import SYSTEM_CLOCK
from lasersell._threads import start_thread
from lasersell.errors import ConfigurationError, MissingExtraError, SessionInUseError
from lasersell.session import exclusive
from lasersell.session.exclusive import KeyHold, hold, lock_directory
from tests.patience import PATIENCE, SLACK

KEY = "sk-made-up-for-tests-7f3a"

_HOLDER = f"""
from lasersell.session.exclusive import hold
with hold({KEY!r}):
    print("held", flush=True)
    input()
"""
# The parent ends while its child lives on.
_FORKING_HOLDER = f"""
import os, signal
from lasersell.session.exclusive import hold
key_hold = hold({KEY!r})
if os.fork() == 0:
    key_hold.release()
    os.write(1, b"child %d\\n" % key_hold.is_held)
    os.read(0, 1)
else:
    os.write(1, b"parent %d\\n" % key_hold.is_held)
    signal.pause()
"""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the lock files of a test to itself."""
    path = tmp_path / "locks"
    monkeypatch.setenv(exclusive.DIRECTORY_VARIABLE, str(path))
    return path


@contextmanager
def running(program: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program that talks over pipes."""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    """Return the next line a program prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_key_is_held_once() -> None:
    """While a key is held, a second hold is refused and names the holder."""
    with hold(KEY), pytest.raises(SessionInUseError) as caught:
        hold(KEY)
    assert caught.value.pid == os.getpid()


def test_another_process_is_named() -> None:
    """A hold of another process is refused with that process's pid."""
    with running(_HOLDER) as holder:
        assert line_of(holder) == "held"
        with pytest.raises(SessionInUseError, match=f"process {holder.pid} ") as caught:
            hold(KEY)
    assert caught.value.pid == holder.pid


def test_a_released_key_is_free() -> None:
    """Whoever releases a key, once or twice, lets the next one have it."""
    first = hold(KEY)
    assert repr(first) == "<KeyHold slot 0, held>"
    first.release()
    first.release()
    assert repr(first) == "<KeyHold slot 0, released>"
    with hold(KEY) as second:
        assert second.is_held


def test_releasing_twice_does_not_disturb_the_next() -> None:
    """A hold that was released changes nothing about the next holder's."""
    first = hold(KEY)
    first.release()
    with hold(KEY) as second:
        first.release()
        first.allow(5)
        assert second.is_held
        with pytest.raises(SessionInUseError):
            hold(KEY)


def test_other_keys_are_free() -> None:
    """Two keys do not stand in each other's way."""
    with hold(KEY) as first, hold("another-key") as second:
        assert first.is_held
        assert second.is_held


def test_slots_are_what_the_caller_says() -> None:
    """A key of two sessions is held twice and not three times."""
    with hold(KEY, slots=2) as first, hold(KEY, slots=2) as second:
        assert (first.slot, second.slot) == (0, 1)
        with pytest.raises(SessionInUseError):
            hold(KEY, slots=2)


def test_slots_are_what_the_holder_heard() -> None:
    """Once a holder says that the service allows two, a second may join, no third."""
    with hold(KEY) as first:
        first.allow(2)
        with hold(KEY) as second:
            assert second.slot == 1
            with pytest.raises(SessionInUseError):
                hold(KEY)


@pytest.mark.parametrize("unknown", [0, None])
def test_an_unknown_number_of_slots_is_one(unknown: int | None) -> None:
    """A limit of 0 means unknown on the wire, so nobody else may join."""
    with hold(KEY) as first:
        first.allow(unknown)
        with pytest.raises(SessionInUseError):
            hold(KEY)


def test_the_number_of_slots_outlives_its_holder() -> None:
    """What a holder heard of the service is still known after it let go."""
    with hold(KEY) as first:
        first.allow(2)
    with hold(KEY), hold(KEY) as second:
        assert second.slot == 1


@pytest.mark.parametrize("slots", [0, -1, True, 1.5])
def test_slots_are_counted_from_one(slots: int) -> None:
    """A number of slots that is none is a mistake of the caller."""
    with pytest.raises(ConfigurationError, match="slots"):
        hold(KEY, slots=slots)


def test_a_standby_takes_over_within_a_second_of_a_kill() -> None:
    """A holder that is killed makes way for a stand-by within 1 s."""
    taken: list[KeyHold] = []

    def stand_by() -> None:
        taken.append(hold(KEY, wait=True))

    with running(_HOLDER) as holder:
        assert line_of(holder) == "held"
        thread = start_thread("stand-by", stand_by)
        thread.join(2 * exclusive.RETRY_SEC)
        assert thread.is_alive()
        killed_at = SYSTEM_CLOCK.monotonic()
        holder.send_signal(signal.SIGKILL)
        thread.join(PATIENCE)
        assert SYSTEM_CLOCK.monotonic() - killed_at < SLACK * 1.0
    assert taken[0].is_held
    taken[0].release()


def test_of_many_standbys_one_takes_over() -> None:
    """When a holder lets go, exactly one of those who wait holds the key."""
    stop = threading.Event()
    outcomes: list[KeyHold | SessionInUseError] = []
    is_taken = threading.Event()

    def stand_by() -> None:
        try:
            outcomes.append(hold(KEY, wait=True, stop=stop))
        except SessionInUseError as error:
            outcomes.append(error)
        is_taken.set()

    with hold(KEY):
        threads = [start_thread(f"stand-by-{n}", stand_by) for n in range(4)]
    assert is_taken.wait(PATIENCE)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    held = [outcome for outcome in outcomes if isinstance(outcome, KeyHold)]
    assert len(outcomes) == 4
    assert len(held) == 1
    held[0].release()


def test_a_wait_can_be_called_off() -> None:
    """A stand-by whose stop event is set gives up."""
    stop = threading.Event()
    stop.set()
    with hold(KEY), pytest.raises(SessionInUseError):
        hold(KEY, wait=True, stop=stop)


def test_a_forked_child_holds_nothing() -> None:
    """A child neither releases its parent's hold nor keeps it when the parent ends."""
    with running(_FORKING_HOLDER) as parent:
        assert {line_of(parent), line_of(parent)} == {"parent 1", "child 0"}
        with pytest.raises(SessionInUseError) as caught:
            hold(KEY)
        assert caught.value.pid == parent.pid
        parent.kill()
        parent.wait(PATIENCE)
        with hold(KEY) as key_hold:
            assert key_hold.is_held


def test_the_key_is_in_no_file(directory: Path) -> None:
    """Neither names nor contents of the files hold the key, and only we may read them."""
    with hold(KEY) as key_hold, ExitStack() as stack:
        key_hold.allow(2)
        stack.enter_context(hold(KEY))
        for path in directory.iterdir():
            assert KEY not in str(path)
            assert KEY not in path.read_text()
        assert KEY not in repr(key_hold)
    assert directory.stat().st_mode & 0o777 == 0o700


def test_a_holder_that_is_gone_is_not_named(directory: Path) -> None:
    """A pid that no process has any more is not given out as the holder's."""
    with running(_HOLDER) as holder:
        assert line_of(holder) == "held"
        (record,) = directory.glob("*.json")
        stale = record.read_text()
    with hold(KEY):
        record.write_text(stale)
        with pytest.raises(SessionInUseError) as caught:
            hold(KEY)
    assert caught.value.pid is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"pid": 1, "slots": "x"}', "\xff"])
def test_a_broken_record_is_no_obstacle(directory: Path, text: str) -> None:
    """What cannot be read says nothing: one session, held by somebody."""
    with hold(KEY):
        (record,) = directory.glob("*.json")
        record.write_text(text)
        with pytest.raises(SessionInUseError) as caught:
            hold(KEY)
    assert caught.value.pid is None


def test_a_record_that_cannot_be_written_is_no_obstacle(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a full disk: the key is held, and free again, all the same."""
    with hold(KEY):
        (record,) = directory.glob("*.json")
    # Where the draft of a record would be.
    record.with_suffix(f".{os.getpid()}").mkdir()
    for _ in range(2):
        with hold(KEY) as key_hold:
            key_hold.allow(2)
            assert key_hold.is_held
    assert "cannot be told who holds the key: Is a directory" in caplog.text


def test_the_directory_is_that_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a name of its own the directory is in that of the user's run time."""
    monkeypatch.delenv(exclusive.DIRECTORY_VARIABLE)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert lock_directory() == tmp_path / "lasersell"


def test_the_directory_has_a_place_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is named, the directory is among the temporary ones, per user."""
    monkeypatch.delenv(exclusive.DIRECTORY_VARIABLE)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert lock_directory() == tmp_path / f"lasersell-{os.geteuid()}"


def test_a_directory_that_others_may_write_to_is_refused(directory: Path) -> None:
    """Somebody else could take the lock away there, so it is not used."""
    directory.mkdir()
    directory.chmod(0o770)
    with pytest.raises(ConfigurationError, match="only you may write to"):
        hold(KEY)


def test_a_link_to_a_directory_is_refused(directory: Path, tmp_path: Path) -> None:
    """Who put the link there chooses the directory, so it is not used."""
    directory.symlink_to(tmp_path)
    with pytest.raises(ConfigurationError, match="only you may write to"):
        hold(KEY)


def test_a_directory_that_cannot_be_made_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says why and which variable names another one."""
    (tmp_path / "file").touch()
    monkeypatch.setenv(exclusive.DIRECTORY_VARIABLE, str(tmp_path / "file" / "locks"))
    with pytest.raises(ConfigurationError, match=exclusive.DIRECTORY_VARIABLE):
        hold(KEY)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without filelock the error says what to install."""
    monkeypatch.setitem(sys.modules, "filelock", None)
    with pytest.raises(MissingExtraError, match=r"lasersell\[exclusive\]"):
        hold(KEY)
