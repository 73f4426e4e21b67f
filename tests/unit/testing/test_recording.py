from __future__ import annotations

import gzip
import json
import stat
from pathlib import Path

import pytest

from lasersell.errors import ConfigurationError, DecodeError
from lasersell.testing.frames import Frame
from lasersell.testing.recording import (
    Answer,
    Ending,
    RecordedConnection,
    RecordedFrame,
    Recording,
    RecordingWriter,
    Side,
)

_FRAMES = [
    Frame(0x81, '{"name":"é"}'.encode()),
    Frame(0x81, b"\xff"),
    Frame(0x88, b"\x03\xe8bye"),
    Frame(None, b"\x81\x05hel"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a recording goes."""
    return tmp_path / "session.gz"


def _written(path: Path) -> RecordingWriter:
    """Write two connections; return the writer, still open."""
    writer = RecordingWriter(path)
    writer.keep_out("s3cret")
    writer.opened(1, Answer(503, {"retry-after": "7"}, "no s3cret here"))
    writer.opened(2, Answer(101))
    writer.frames(2, "client", [Frame(0x81, b'{"key":"s3cret"}')])
    writer.frames(2, "server", _FRAMES)
    writer.ended(2, "server", is_reset=True)
    return writer


def test_what_was_written_is_read_again(path: Path) -> None:
    """Answers, frames of every kind, their sides, order and times, and the end."""
    _written(path).close()
    refused, taken = Recording.load(path).connections
    assert refused.answer.status == 503
    assert refused.answer.headers == {"retry-after": "7"}
    assert taken.answer == Answer(101)
    assert [entry.frame for entry in taken.frames][1:] == _FRAMES
    assert [entry.side for entry in taken.frames] == ["client"] + ["server"] * 4
    times = [refused.at, taken.at, *(entry.at for entry in taken.frames)]
    assert times == sorted(times)
    assert taken.ending is not None
    assert taken.ending.is_reset
    assert taken.texts("server") == ['{"name":"é"}']


def test_secrets_are_not_in_the_file(path: Path) -> None:
    """A key is cut out of frames and bodies, whoever repeats it."""
    _written(path).close()
    text = gzip.decompress(path.read_bytes()).decode()
    assert "s3cret" not in text
    assert text.count("[removed]") == 2


def test_half_a_frame_of_a_client_is_not_in_the_file(path: Path) -> None:
    """A secret in it would be masked, with the mask beside it."""
    writer = RecordingWriter(path)
    writer.opened(1, Answer(101))
    masked = bytes(c ^ 0x55 for c in b"s3cret")
    half = Frame(None, b"\x81\xff\x55\x55\x55\x55" + masked)
    writer.frames(1, "client", [half])
    writer.frames(1, "server", [half])
    writer.close()
    (connection,) = Recording.load(path).connections
    assert [entry.frame.payload for entry in connection.frames] == [
        b"[removed]",
        half.payload,
    ]


def test_an_empty_secret_removes_nothing(path: Path) -> None:
    """A client without a key does not spoil the file."""
    writer = RecordingWriter(path)
    writer.keep_out("")
    writer.opened(1, Answer(101))
    writer.frames(1, "server", [Frame(0x81, b"{}")])
    writer.close()
    assert Recording.load(path).connections[0].texts("server") == ["{}"]


def test_only_the_owner_may_read_it_and_nothing_is_overwritten(path: Path) -> None:
    """The file is made with 0600, and one that exists is refused by name."""
    _written(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ConfigurationError, match=r"session.gz exists"):
        RecordingWriter(path)
    with pytest.raises(ConfigurationError, match="cannot record"):
        RecordingWriter(path / "below")


def test_a_recorder_that_was_killed_leaves_what_it_had_flushed(path: Path) -> None:
    """A file without its end is read as far as it goes."""
    writer = _written(path)
    writer.flush()
    cut = path.with_name("cut.gz")
    cut.write_bytes(path.read_bytes())
    writer.close()
    assert len(Recording.load(cut).connections[1].frames) == 5
    for size in range(40, len(cut.read_bytes()), 7):
        cut.write_bytes(path.read_bytes()[:size])
        try:
            assert len(Recording.load(cut).connections) <= 2
        except DecodeError as error:
            assert "no recording" in str(error)  # noqa: PT017  either is right


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"plain text", "no recording"),
        (gzip.compress(b""), "no recording"),
        (gzip.compress(b'{"format":"other"}\n'), "no recording"),
        (gzip.compress(b"[]\n"), "no recording"),
        (gzip.compress(b"\xff\xfe"), "no recording"),
        (
            gzip.compress(b'{"format":"lasersell-recording","version":2}\n'),
            "use a later one",
        ),
        (
            gzip.compress(b'{"format":"lasersell-recording","version":1}\n{"at":0}\n'),
            "cannot be read",
        ),
    ],
    ids=[
        "text",
        "empty",
        "another format",
        "no object",
        "not UTF-8",
        "a later version",
        "bad frame",
    ],
)
def test_what_is_no_recording_is_refused(
    path: Path, content: bytes, problem: str
) -> None:
    """Another file, a later version and a broken line say what they are."""
    path.write_bytes(content)
    with pytest.raises(DecodeError, match=problem):
        Recording.load(path)


def test_the_lines_are_json_for_anybody(path: Path) -> None:
    """Each line stands for itself, and texts are readable."""
    _written(path).close()
    lines = [
        json.loads(line)
        for line in gzip.decompress(path.read_bytes()).split(b"\n")[:-1]
    ]
    assert lines[0]["format"] == "lasersell-recording"
    assert {"connection", "at", "from", "text"} <= lines[4].keys()


def _connection(
    entries: list[tuple[Side, int]], ending: Ending | None
) -> RecordedConnection:
    frames = [RecordedFrame(0.0, side, Frame(head, b"")) for side, head in entries]
    return RecordedConnection(0.0, Answer(101), frames, ending)


@pytest.mark.parametrize(
    ("entries", "ending", "by"),
    [
        ([("server", 0x81)], None, None),
        ([("server", 0x81)], Ending(1, "client"), "client"),
        ([("client", 0x88), ("server", 0x88)], Ending(1, "server"), "client"),
        ([("server", 0x88), ("client", 0x88)], Ending(1, "server"), "server"),
        ([], Ending(1, "server", True), "server"),
    ],
)
def test_who_wanted_the_end(
    entries: list[tuple[Side, int]], ending: Ending | None, by: str | None
) -> None:
    """Who sent the first close frame or, without any, who hung up."""
    assert _connection(entries, ending).ended_by == by
