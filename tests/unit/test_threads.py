from __future__ import annotations

import threading

import pytest

from lasersell._threads import next_number, start_thread


def test_a_started_thread_runs_its_target_under_its_name() -> None:
    """The target runs in a thread that a stack dump shows by name."""
    names: list[str] = []
    thread = start_thread(
        "lasersell-test-1", lambda: names.append(threading.current_thread().name)
    )
    thread.join(5.0)
    assert names == ["lasersell-test-1"]


def test_a_started_thread_does_not_keep_the_process_alive() -> None:
    """Our threads are daemons."""
    thread = start_thread("lasersell-test-2", lambda: None)
    thread.join(5.0)
    assert thread.daemon


def test_a_thread_that_cannot_start_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever asked for a thread learns that there is none."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start"):
        start_thread("lasersell-test-3", lambda: None)


def test_numbers_are_unique_across_threads() -> None:
    """No two threads of ours get the same number."""
    taken: list[int] = []
    together = threading.Barrier(4, timeout=5.0)

    def take() -> None:
        together.wait()
        taken.extend(next_number() for _ in range(500))

    threads = [start_thread(f"lasersell-test-{name}", take) for name in "abcd"]
    for thread in threads:
        thread.join(5.0)
    assert len(set(taken)) == 2000
