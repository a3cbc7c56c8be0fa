"""Java programs that can neither hang nor stay behind: found once, watched, ended with their group.

The benchmarks' tokenizer, METEOR and SPICE are Java programs. Whatever goes wrong with one of them
is a `JavaError`, whose sentence becomes the reason why a metric is unavailable.
"""

import contextlib
import functools
import os
import queue
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple, NoReturn

# A decimal comma or a Turkish i would change what the programs print and how they lower-case.
LOCALE = ("-Duser.language=en", "-Duser.country=US", "-Dfile.encoding=UTF-8")
PATIENCE = 300.0  # seconds without an answer after which a program is taken to hang
_STARTS = 60.0  # seconds that `java -version` may take, on however busy a machine


class JavaError(OSError):
    """Why a Java program gave no result, in one sentence."""


class Java(NamedTuple):
    """A Java runtime."""

    path: str
    version: str  # such as "17.0.15"

    @property
    def major(self) -> int:
        """8 of "1.8.0_402", 17 of "17.0.15"."""
        numbers = [int(number) for number in re.findall(r"\d+", self.version)]
        return numbers[1] if numbers[0] == 1 and len(numbers) > 1 else numbers[0]


def find_java(timeout: float = _STARTS) -> Java:
    """The `java` on the PATH, once it has told its version; JavaError where there is none."""
    path = shutil.which("java")
    if path is None:
        raise JavaError(
            "there is no java on the PATH; install Java 8 or newer (Debian: default-jre-headless)"
        )
    return _java_at(path, timeout)


@functools.lru_cache  # what is raised is not kept
def _java_at(path: str, timeout: float) -> Java:
    output = b" ".join(run_java(path, ["-version"], timeout=timeout)).decode(errors="replace")
    match = re.search(r'version "(\d[^"]*)"', output)
    if match is None:
        raise JavaError(f"{path} -version says {output.strip()[:80]!r}; is it a Java?")
    return Java(path, match[1])


def run_java(
    path: str, arguments: Sequence[str], *, timeout: float, data: bytes = b""
) -> tuple[bytes, bytes]:
    """What a Java program prints (stdout, stderr) when it is fed `data`.

    Raises JavaError where it does not start, fails, or takes longer than `timeout` seconds.
    """
    with _started([path, *arguments], subprocess.PIPE) as process:
        try:
            out, err = process.communicate(data, timeout)
        except subprocess.TimeoutExpired as error:
            raise JavaError(
                f"java ({path}) did not finish within {timeout:g} s and was ended; check that it "
                "runs, or allow it more time"
            ) from error
    if process.returncode:
        raise JavaError(_death(process.returncode, err))
    return out, err


class Talk:
    """A conversation in lines with a Java program, that ends with the `with` block it is made for.

    Lines are written by one thread and read by another, so that no pipe can fill up while this
    side waits on the other. patience: seconds without a line after which the program is taken to
    hang.
    """

    def __init__(self, path: str, arguments: Sequence[str], *, patience: float = PATIENCE):
        self._command = [path, *arguments]
        self._patience = patience
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> "Talk":
        with contextlib.ExitStack() as stack:  # undone here where a later step fails
            self._complaints = stack.enter_context(tempfile.TemporaryFile())
            self._process = stack.enter_context(_started(self._command, self._complaints))
            listener = threading.Thread(target=self._listen, daemon=True)
            listener.start()
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def ask(self, lines: Sequence[str], answers: int) -> list[str]:
        """Says `lines`, and returns as many lines as `answers`.

        Raises JavaError where the program ends, or is silent for longer than it may be.
        """
        speaker = threading.Thread(target=self._say, args=(lines,), daemon=True)
        speaker.start()
        heard: list[str] = []
        while len(heard) < answers:
            try:
                line = self._answers.get(timeout=self._patience)
            except queue.Empty:
                self._give_up()
            if line is None:
                self._explain_death()
            heard.append(line.decode(errors="replace").strip())
        speaker.join(self._patience)
        if speaker.is_alive():
            self._give_up()
        return heard

    def _say(self, lines: Sequence[str]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it died: the listener finds out
            for line in lines:
                self._process.stdin.write(line.encode(errors="replace") + b"\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):  # closed on our side
            for line in self._process.stdout:
                self._answers.put(line)
        self._answers.put(None)

    def _give_up(self) -> NoReturn:
        raise JavaError(
            f"java ({self._command[0]}) said nothing for {self._patience:g} s and was ended; check "
            "that it runs, or allow it more time"
        )

    def _explain_death(self) -> NoReturn:
        try:
            status = self._process.wait(self._patience)
        except subprocess.TimeoutExpired:
            self._give_up()
        self._complaints.seek(0)
        raise JavaError(_death(status, self._complaints.read()))


@contextlib.contextmanager
def _started(command: Sequence[str], stderr: int | IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has ended, with all that it started, when the block ends."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,  # `java` may be a script around the program: one group of both
        )
    except OSError as error:
        raise JavaError(f"cannot start {command[0]}: {error.strerror}; check that file") from error
    try:
        yield process
    finally:
        # Also where it has ended: a child that lives on would hold the pipes open.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was not yet written
                    pipe.close()


def _death(status: int, complaints: bytes) -> str:
    """Why a program ended, from its exit status and what it printed."""
    lines = [line.strip() for line in complaints.decode(errors="replace").splitlines()]
    lines = [line for line in lines if line]
    # A Java trace ends in the least telling of its lines.
    telling = [line for line in lines if re.search(r"Error|Exception|Could not", line)]
    complaint = (telling or lines[::-1] or ["it printed nothing"])[0][:200]
    full = "memory" in complaint or "heap" in complaint
    mend = "give it more memory" if full else "check that java runs"
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return f"java {how} ({complaint}); {mend}"
