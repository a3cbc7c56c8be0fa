"""Is it seen how far along a command is: on a terminal as a bar, elsewhere as lines?"""

import contextlib
import fcntl
import io
import os
import pty
import struct
import sys
import termios

import pytest

from capjax.terminal import progress
from capjax.terminal.progress import Progress, about, along, write


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A list whose sum is the time."""
    passed = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: sum(passed))
    return passed


def test_a_log_has_a_line_every_ten_seconds(clock, capsys):
    with Progress(1000, "drawing", "images", done=100) as shown:
        for _ in range(900):
            clock.append(0.0625)  # seconds; 56.25 in all
            shown.update()
    out, err = capsys.readouterr()
    assert not out
    *lines, last = err.splitlines()
    assert lines[0] == "drawing: 260 of 1,000 images, about 50 s left"
    assert len(lines) == 5
    assert last == "drawing: 1,000 of 1,000 images"
    assert "\r" not in err


def test_what_is_told_beside_it_is_asked_when_it_is_shown(clock, capsys):
    asked = []
    with Progress(9, "mle", "steps", beside=lambda: asked.append(1) or "loss 1.5") as shown:
        for _ in range(3):
            clock.append(4.0)
            shown.update()
    assert capsys.readouterr().err == "mle: 3 of 9 steps, loss 1.5\n" * len(asked)
    assert len(asked) == 2  # after twelve seconds, and at the end


def test_where_nothing_is_known_beside_it_no_time_is_made_up(clock, capsys):
    with Progress(9, "mle", "steps", beside=lambda: "") as shown:
        clock.append(60.0)  # it compiled
        shown.update()
        assert capsys.readouterr().err == "mle: 1 of 9 steps\n"


@pytest.mark.parametrize("shown", [True, False])
def test_what_ends_within_ten_seconds_says_nothing_in_a_log(shown, clock, capsys):
    assert [*along(range(5), 5, "reading", "files", shown=shown)] == [0, 1, 2, 3, 4]
    if not shown:
        clock.append(60.0)
        assert [*along(range(5), 5, "reading", "files", shown=False)] == [0, 1, 2, 3, 4]
    assert capsys.readouterr() == ("", "")


def test_what_fails_has_no_line_that_it_is_done(clock, capsys):
    def fails():
        with Progress(2, "x", "files") as shown:
            clock.append(11.0)
            shown.update()
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert capsys.readouterr().err == "x: 1 of 2 files, about 10 s left\n"


def test_a_terminal_has_a_bar_and_lines_above_it(monkeypatch):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        patch.setattr(progress, "BAR", 0.0)
        with Progress(3, "1/2 mle", "steps", beside=lambda: "about 3 min left") as shown:
            shown.update(2)
            write("a line", terminal)
    seen = b""
    with contextlib.suppress(OSError):  # as a terminal ends that nobody writes to any more
        while part := os.read(ours, 4096):
            seen += part
    os.close(ours)
    seen = seen.decode()
    assert "\r1/2 mle: 67%|" in seen
    assert "2/3, about 3 min left" in seen
    assert "a line\r\n" in seen


def test_a_line_is_there_at_once():
    file = io.TextIOWrapper(io.BufferedWriter(raw := io.BytesIO()))
    write("said", file)
    assert raw.getvalue() == b"said\n"


def test_times_are_told_no_finer_than_they_are_known():
    told = {0: "a few seconds", 12: "about 10 s", 94: "about 90 s", 96: "about 2 min"}
    told |= {3540: "about 59 min", 3599: "about 1 h", 7800: "about 2 h 10 min", 4e5: "about 5 days"}
    assert {seconds: about(seconds) for seconds in told} == told
