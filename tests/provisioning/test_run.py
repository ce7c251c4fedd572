"""`alumiguard run` keeps a box up until it is asked to stop, and says why when it cannot."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from provisioning.init import profile_text
from tests.support.command import alumiguard
from tests.support.waiting import wait_until


@pytest.fixture
def config() -> Iterator[Path]:
    """A box without a plant, in a folder whose name is short enough for sockets."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "box.toml"
        text = profile_text("surface").replace("/var/lib/alumiguard", f"{folder}/storage")
        path.write_text(text.replace("127.0.0.1:8440", "127.0.0.1:0"))
        yield path


@contextmanager
def running(config: Path) -> Iterator[subprocess.Popen[str]]:
    """The real command, stopped hard in the end if nothing else did."""
    command = [sys.executable, "-m", "provisioning", "run", "--config", str(config)]
    with (
        (config.parent / "run.log").open("a") as log,
        subprocess.Popen(command, stdout=log, stderr=subprocess.PIPE, text=True) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def answers(config: Path) -> bool:
    """Whether the box says anything of itself; without a plant it needs attention."""
    return alumiguard("status", "--config", config).status == 2


def test_a_box_runs_until_it_is_asked_to_stop_and_leaves_no_process(config: Path) -> None:
    with running(config) as process:
        wait_until(lambda: answers(config), "the box answers", seconds=60)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 3, "appliance, vision and console"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    assert [child for child in children if child.is_running()] == []
    assert alumiguard("status", "--config", config).status == 1
    assert alumiguard("audit", "verify", "--config", config).status == 0


def test_a_second_box_in_the_same_storage_is_refused(config: Path) -> None:
    with running(config):
        wait_until(lambda: answers(config), "the box answers", seconds=60)
        with running(config) as second:
            _, said = second.communicate(timeout=60)
            assert second.returncode == 1
    assert "another appliance works in" in said
    assert "error: " in said
    assert "next: " in said


def test_a_storage_folder_that_cannot_be_made_ends_it_with_a_sentence(config: Path) -> None:
    (config.parent / "storage").write_text("a file is in the way")
    with running(config) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cannot be made or written" in said
    assert "next: " in said
    assert "Traceback" not in said
