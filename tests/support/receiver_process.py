"""A receiver as a real server process on loopback, which may be told to die at the worst moment."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from sync import wire
from tests.support.log_builder import BoxKeys

ROOT = Path(__file__).parents[2]


@dataclass
class ServerProcess:
    """A running server; `url` is where it is."""

    process: subprocess.Popen[str]
    url: str

    def post(self, box: BoxKeys, packed: bytes) -> httpx.Response:
        """Send a batch as the box would.

        Raises:
            httpx.TransportError: if the server dies meanwhile.
        """
        headers = {**box.bearer(), "Content-Type": wire.MEDIA_TYPE}
        return httpx.post(f"{self.url}/v1/batches", headers=headers, content=packed, timeout=60)

    def kill(self) -> None:
        """As the kernel or a power cut would."""
        self.process.kill()
        self.process.wait()


def run_cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one verb of `alumiguard-receiver` to its end."""
    command = [sys.executable, "-m", "cloud_receiver.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


def told(*arguments: str) -> dict[str, str]:
    """What a verb that succeeds tells with `--json`."""
    ended = run_cli(*arguments, "--json")
    assert ended.returncode == 0, ended.stderr
    facts: dict[str, str] = json.loads(ended.stdout)
    return facts


@contextmanager
def served(data: Path, *, dies: str = "", port: int = 0) -> Iterator[ServerProcess]:
    """Serve a folder. With `dies` (a moment of `dying_receiver`) the server kills itself there."""
    program = ["tests.support.dying_receiver", dies] if dies else ["cloud_receiver.cli", "serve"]
    command = [sys.executable, "-m", *program, "--data", str(data), "--listen", f"127.0.0.1:{port}", "--json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        first_line = process.stdout.readline()
        assert first_line, f"the server ended with status {process.wait()}"
        yield ServerProcess(process, json.loads(first_line)["url"])
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.stdout.read()  # it must not block on a full pipe while it stops
        process.wait(timeout=60)
        process.stdout.close()
