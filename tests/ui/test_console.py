import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.console_process import REPO, console_process
from tests.support.waiting import wait_until
from ui.console import CANNOT_START, listen


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("0.0.0.0:8440", "no login yet"),
        ("192.168.1.5:8440", "no login yet"),
        ("[::]:8440", "no login yet"),
        ("example.org:8440", "no IP address"),
        ("127.0.0.1", "HOST:PORT"),
        ("127.0.0.1:http", "HOST:PORT"),
        ("127.0.0.1:70000", "HOST:PORT"),
    ],
)
def test_an_address_that_others_could_reach_or_that_is_none_is_refused(address: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        listen(address)


def test_a_port_of_this_machine_is_taken() -> None:
    with listen("127.0.0.1:0") as listener:
        assert listener.getsockname()[1] > 0


def test_a_console_that_cannot_listen_says_so_and_is_not_started_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ui.console", "--control", tmp_path / "c", "--storage", tmp_path]
    done = subprocess.run(
        [*map(str, command), "--listen", "0.0.0.0:1"],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == CANNOT_START
    assert "use 127.0.0.1" in done.stdout


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    storage = tmp_path_factory.mktemp("storage")
    with console_process(storage / "none.sock", storage) as console:
        yield console.url
        assert console.stop() == 0


def test_the_page_is_served_before_the_box_answers(url: str) -> None:
    answer = httpx.get(url)
    assert answer.status_code == 200
    assert "BOX NOT ANSWERING" in answer.text


def test_the_browser_is_told_to_ask_nobody_else(url: str) -> None:
    policy = httpx.get(url).headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy


def test_a_name_that_somebody_pointed_at_this_machine_does_not_get_in(url: str) -> None:
    assert httpx.get(url, headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize(
    "path", ["evidence/../../box.db/marked.jpg", "evidence/xyz/marked.jpg", "look/../console.py"]
)
def test_only_pictures_are_served_as_pictures(url: str, path: str) -> None:
    assert httpx.get(url + path.replace("..", "%2e%2e")).status_code in {404, 422}


def test_the_console_ends_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    parent = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'ui.console', '--exit-with-parent', '--listen',"
        " '127.0.0.1:0', '--control', sys.argv[1], '--storage', sys.argv[1]], stdout=sys.stdout)\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent, str(tmp_path)], cwd=REPO, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        child = int(started.stdout.readline())
        assert "console.listening" in started.stdout.readline()
        started.send_signal(signal.SIGKILL)
        wait_until(lambda: not _runs(child), "the console is gone")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
