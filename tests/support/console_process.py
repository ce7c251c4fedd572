"""The real console process, on a port of its own."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import wait_until

REPO = Path(__file__).resolve().parents[2]


class ConsoleProcess:
    """`python -m ui.console` on a free port; `restart` takes the same port again."""

    def __init__(self, control: Path, storage: Path) -> None:
        self._control = control
        self._storage = storage
        self._listen = "127.0.0.1:0"
        self.lines: list[str] = []
        self.url = ""
        self.start()

    def start(self) -> None:
        """Start it and wait until it listens."""
        heard = len(self.lines)
        command = [sys.executable, "-m", "ui.console", "--exit-with-parent"]
        where = ["--control", self._control, "--storage", self._storage, "--listen", self._listen]
        self.process = subprocess.Popen(
            [*command, *map(str, where)],
            cwd=REPO,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()
        wait_until(
            lambda: any("console.listening" in line for line in self.lines[heard:]), self._story, seconds=60
        )
        self.url = next(json.loads(line)["url"] for line in self.lines[heard:] if "console.listening" in line)
        self._listen = self.url.removeprefix("http://").rstrip("/")

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        """Ask it to stop; returns its exit status."""
        self.process.terminate()
        try:
            self.process.wait(15)
        finally:
            self.process.kill()
            self._reap()
        return self.process.returncode

    def _reap(self) -> None:
        self.process.wait(15)
        self._reader.join(15)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _read(self, process: "subprocess.Popen[str]") -> None:
        for line in process.stdout or ():
            self.lines.append(line.rstrip())

    def _story(self) -> str:
        return "the console listens; it said: " + " | ".join(self.lines[-20:])


@contextmanager
def console_process(control: Path, storage: Path) -> Iterator[ConsoleProcess]:
    """A console that is stopped in the end."""
    console = ConsoleProcess(control, storage)
    try:
        yield console
    finally:
        if console.process.poll() is None:
            console.stop()
