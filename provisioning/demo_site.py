"""The demo's site: a simulated plant, a receiver and a box, processes of their own, on loopback only."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil

import appliance
from appliance.supervisor import die_with_parent
from sync import record
from ui.backend import BoxView

START_SECONDS = 60.0
STOP_SECONDS = 20.0
BOX_ID = "demo-line-1"
SITE_NAME = "demo-plant"


class DemoFailed(Exception):
    """The demo did not come up; the message says which part and where its output is."""


@dataclass
class Site:
    """Everything that runs, and where to find it."""

    folder: Path
    seed: int
    ports: dict[str, int] = field(default_factory=dict)
    reader_key: str = ""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    peak_rss_bytes: dict[str, int] = field(default_factory=dict)

    @property
    def config_path(self) -> Path:
        """The box's configuration."""
        return self.folder / "box.toml"

    @property
    def storage(self) -> Path:
        """The box's storage folder."""
        return self.folder / "box"

    @property
    def console_url(self) -> str:
        """Where the console is."""
        return f"http://127.0.0.1:{self.ports['console']}/"

    @property
    def receiver_url(self) -> str:
        """Where the receiver is."""
        return f"http://127.0.0.1:{self.ports['receiver']}"

    # --- putting it up ------------------------------------------------------------------------------------

    def put_up(self, tell: Callable[[str], object] = str) -> None:
        """Start plant, receiver and box, and enrol the box; `tell` hears which part comes next.

        Raises:
            DemoFailed: if a part does not come up; the others have been started and want `stop_all`.
        """
        self.ports = {"receiver": _free_port(), "console": _free_port()}
        tell("a simulated plant and a receiver")
        self.start("plant", "drivers.simulated.plant", "--seed", str(self.seed))
        self.start_receiver()
        self.wait_for("the receiver", self._receiver_answers)
        tell("the receiver's keys")
        with ThreadPoolExecutor() as pool:
            token = pool.submit(self._receiver_secret, "token", "create", "--site", SITE_NAME)
            key = pool.submit(self._receiver_secret, "key", "create", "--role", "reader", "--name", "demo")
        self.reader_key = key.result()["key"]
        self.ports |= self._ports_of_plant()
        self.config_path.write_text(self._box_toml())
        token_file = self.folder / "token"
        token_file.touch(mode=0o600)
        token_file.write_text(token.result()["token"])
        where = ("--config", str(self.config_path), "--receiver", self.receiver_url)
        tell("the box's enrolment")
        self.run_to_end("enrol", "provisioning", "enrol", *where, "--token-file", str(token_file))
        tell("the box")
        self.start("box", "provisioning", "run", "--config", str(self.config_path))

    def status(self) -> BoxView | None:
        """The box now, None while it does not answer."""
        path = str(self.storage / "run" / "control.sock")
        transport = httpx.HTTPTransport(uds=path)
        try:
            with socket.socket(socket.AF_UNIX) as probe:  # httpcore leaks its socket when nobody listens
                probe.connect(path)
            with httpx.Client(transport=transport, base_url="http://box", timeout=2.0) as client:
                return BoxView.model_validate_json(client.get("/v1/status").raise_for_status().content)
        except (OSError, httpx.HTTPError):
            return None

    def ask_receiver(self, path: str, **query: Any) -> httpx.Response:
        """Ask the receiver with the demo's reader key."""
        headers = {"Authorization": f"Bearer {self.reader_key}"}
        answer = httpx.get(self.receiver_url + path, params=query, headers=headers, timeout=30.0)
        return answer.raise_for_status()

    def held_lines(self) -> dict[int, bytes]:
        """Every record line that the receiver holds of the box's epoch, verbatim, by seq.

        Raises:
            DemoFailed: if it gives one seq twice.
        """
        lines: dict[int, bytes] = {}
        after: dict[str, str] = {}
        while True:
            answer = self.ask_receiver("/v1/records", box=BOX_ID, limit=1000, **after)
            page = msgspec.json.decode(answer.content, type=_Page)
            for stored in page.records:
                line = bytes(stored.record)
                seq = record.decode(line).seq
                if seq in lines:
                    raise DemoFailed(f"the receiver gives record {seq} twice")
                lines[seq] = line
            if not page.more:
                return lines
            after = {"after": page.next}

    def wait_for(self, what: str, holds: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        """Wait until something holds.

        Raises:
            DemoFailed: if it does not in time, or a process of the site has ended meanwhile.
        """
        deadline = time.monotonic() + seconds
        while not holds():
            ended = [name for name, process in self.processes.items() if process.poll() is not None]
            if ended:
                raise DemoFailed(f"{ended[0]} ended: {self._last_words(ended[0])}")
            if time.monotonic() > deadline:
                raise DemoFailed(
                    f"{what} did not come up within {seconds:g} s; see the logs in {self.folder}"
                )
            time.sleep(0.05)

    def _receiver_secret(self, *words: str) -> dict[str, str]:
        data = ("--data", str(self.folder / "receiver"), "--json")
        made: dict[str, str] = json.loads(self.run_to_end(words[0], "cloud_receiver.cli", *words, *data))
        return made

    def _ports_of_plant(self) -> dict[str, int]:
        output = self.folder / "plant.log"
        self.wait_for("the simulated plant", lambda: b"\n" in output.read_bytes())
        ports: dict[str, int] = json.loads(output.read_bytes().splitlines()[0])
        return ports

    def _receiver_answers(self) -> bool:
        try:
            return httpx.get(f"{self.receiver_url}/healthz", timeout=1.0).status_code == 200
        except httpx.HTTPError:
            return False

    def _box_toml(self) -> str:
        """The shipped profile, with this site's names and addresses."""
        text = (Path(appliance.__file__).parent / "profiles" / "surface.toml").read_text()
        changes = {
            'id = "line-1"': f'id = "{BOX_ID}"',
            'site = "my-plant"': f'site = "{SITE_NAME}"',
            'folder = "/var/lib/alumiguard"': f'folder = "{self.storage}"',
            "http://127.0.0.1:8081/": f"http://127.0.0.1:{self.ports['camera_port']}/",
            "port = 5020": f"port = {self.ports['modbus_port']}",
            "opc.tcp://127.0.0.1:4840/": f"opc.tcp://127.0.0.1:{self.ports['opcua_port']}/",
            'listen = "127.0.0.1:8440"': f'listen = "127.0.0.1:{self.ports["console"]}"',
            '# [uplink]\n# receiver = "https://receiver.example:8443"': (
                f'[uplink]\nreceiver = "{self.receiver_url}"'
            ),
        }
        for shipped, ours in changes.items():
            if shipped not in text:
                raise DemoFailed(f"the shipped profile no longer says {shipped!r}")
            text = text.replace(shipped, ours)
        return text

    def _last_words(self, name: str) -> str:
        lines = (self.folder / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:]) or "it printed nothing"

    # --- processes ----------------------------------------------------------------------------------------

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one of our programs in the background; what it prints goes to NAME.log in the folder."""
        with (self.folder / f"{name}.log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - no thread of ours holds a lock here
                start_new_session=True,
            )
        self.processes[name] = process
        return process

    def stop(self, name: str) -> None:
        """Ask a process to stop; kill it if it does not."""
        process = self.processes.pop(name, None)
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop_all(self) -> None:
        """Stop the box first, then the rest."""
        for name in ("box", "receiver", "plant"):
            self.stop(name)

    def start_receiver(self) -> None:
        """Start (again) the receiver, on the same data and port."""
        self.start(
            "receiver",
            "cloud_receiver.cli",
            "serve",
            "--data",
            str(self.folder / "receiver"),
            "--listen",
            f"127.0.0.1:{self.ports['receiver']}",
        )

    def run_to_end(self, name: str, *arguments: str) -> str:
        """Run one of our programs and give what it printed.

        Raises:
            DemoFailed: if it fails.
        """
        done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DemoFailed(f"{name} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def box_processes(self) -> dict[str, psutil.Process]:
        """The processes that run now, by name."""
        found: dict[str, psutil.Process] = {}
        for name, process in self.processes.items():
            if process.poll() is not None:
                continue
            parent = psutil.Process(process.pid)
            found[name] = parent
            if name == "box":
                found |= {_role(child): child for child in parent.children(recursive=True)}
        return found

    def note_memory(self) -> None:
        """Keep the most memory that each process has been seen to hold."""
        for name, process in self.box_processes().items():
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            kib = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
            self.peak_rss_bytes[name] = max(self.peak_rss_bytes.get(name, 0), kib * 1024)


class _Stored(msgspec.Struct):
    """A record as the receiver gives it; its line verbatim."""

    record: msgspec.Raw


class _Page(msgspec.Struct):
    records: list[_Stored]
    next: str
    more: bool


def _role(process: psutil.Process) -> str:
    try:
        words = " ".join(process.cmdline())
    except psutil.Error:
        return f"pid {process.pid}"
    roles = {"appliance.vision_process": "vision", "ui.console": "console", "-m appliance ": "appliance"}
    return next((role for word, role in roles.items() if word in words), f"pid {process.pid}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
