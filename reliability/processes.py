"""Commands in processes of their own, which can be killed, and what they leave behind."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONGEST_S = 900.0
"""After which a command counts as hanging."""
ORPHANS_S = 60.0
"""Time that workers have to end after their parent was killed."""


class Fault(AssertionError):
    """Something did not hold; the message says what."""


def expect(holds: object, message: str) -> None:
    """Raise `Fault` unless something holds."""
    if not holds:
        raise Fault(message)


_commands: list[Command] = []


class Command:
    """A running command, `python ARGUMENTS` from the root of the checkout.

    It and its children are a process group of their own.

    Args:
        arguments: of Python.
        largest_file: bytes that a file may grow to, in place of a disk that is full.
    """

    def __init__(self, arguments: Sequence[str], largest_file: int | None = None):
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the command)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        # one thread, as torchrun has: several may round differently
        environment |= {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        arguments = [sys.executable, *arguments]
        if largest_file is not None:
            limit = f'ulimit -f {largest_file // 1024}; exec "$@"'
            arguments = ["bash", "-c", limit, "bash", *arguments]
        self.process = subprocess.Popen(
            arguments,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # a command in the background of a shell inherits that Ctrl-C is ignored
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        self._started = time.monotonic()
        _commands.append(self)

    @property
    def output(self) -> str:
        """What it printed so far, in one line."""
        # without a seek, which would move the place where the command writes
        log = self._log.fileno()
        printed = os.pread(log, os.fstat(log).st_size, 0)
        return " ".join(printed.decode(errors="replace").split())

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        while not condition():
            if not self.running:
                raise Fault(f"it ended too early: {self.output[-2000:]}")
            self._check_time()
            time.sleep(0.005)

    def end(self, *statuses: int) -> str:
        """Wait for its end, with one of these exit statuses if any are given; what it printed."""
        while self.running:
            self._check_time()
            time.sleep(0.02)
        self._wait_for_children()
        status = self.process.returncode
        expect(not statuses or status in statuses, f"exit status {status}: {self.output[-2000:]}")
        return self.output

    def kill(self) -> None:
        """Kill the process itself, as `kill -9` does; its children have to end by themselves."""
        self.process.kill()
        self.process.wait()
        self._wait_for_children()

    def interrupt(self) -> None:
        """Ctrl-C, which a terminal sends to all processes of the group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def children(self) -> list[int]:
        """The other processes of the group."""
        own = self.process.pid
        return [number for number, _, group in _processes() if group == own != number]

    def started(self) -> list[int]:
        """The processes that it started itself, which may lead groups of their own."""
        return [number for number, parent, _ in _processes() if parent == self.process.pid]

    def _check_time(self) -> None:
        if time.monotonic() - self._started > LONGEST_S:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise Fault(f"it hangs: {self.output[-2000:]}")

    def _wait_for_children(self) -> None:
        until = time.monotonic() + ORPHANS_S
        while left := self.children():
            if time.monotonic() > until:
                os.killpg(self.process.pid, signal.SIGKILL)
                raise Fault(f"{len(left)} of its processes outlive it")
            time.sleep(0.05)


def kill_running() -> None:
    """Kill all commands that still run, with what they have started."""
    while _commands:
        command = _commands.pop()
        if command.running:
            for group in (*command.started(), command.process.pid):
                with suppress(ProcessLookupError):  # not all that it started lead groups
                    os.killpg(group, signal.SIGKILL)
            command.process.wait()


def run(arguments: Sequence[str]) -> None:
    """Run a command to its end, which must be a success."""
    Command(arguments).end(0)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder, hidden ones included, by its name in it."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def temporary_files(folder: Path) -> list[str]:
    """What killed processes have left half written."""
    return [str(path.relative_to(folder)) for path in folder.rglob(".jorder-*")]


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Mount a file system of `size` bytes in memory; False where this user may not."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = sys.platform == "linux" and _call(mount)
    try:
        yield mounted
    finally:
        if mounted:
            _call(["umount", "--lazy", str(folder)])


def enlarge(folder: Path, size: int) -> None:
    """Make room on a `small_disk`."""
    expect(_call(["mount", "-o", f"remount,size={size}", str(folder)]), "cannot enlarge the disk")


def _call(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def _processes() -> Iterator[tuple[int, int, int]]:
    """Number, parent and group of all processes that have not ended, on Linux."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, parent, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue  # it has just ended
        if state not in "ZX":
            yield int(entry.name), int(parent), int(group)
