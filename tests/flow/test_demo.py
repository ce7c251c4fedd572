"""The demo keeps what it promises, with an outage in the middle, and leaves nothing behind."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import wait_until

_DEMO = [sys.executable, "-m", "provisioning", "demo", "--headless"]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_demo_with_an_outage_loses_nothing_and_sees_almost_everything(tmp_path: Path) -> None:
    outcome_path = tmp_path / "outcome.json"
    arguments = ["--for", "30", "--outage", "10", "--json", str(outcome_path)]
    done = subprocess.run([*_DEMO, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = json.loads(outcome_path.read_text())

    frames, records, truth = outcome["frames"], outcome["records"], outcome["truth"]
    assert frames["seen"] == frames["inspected"] + frames["dropped"]
    assert sum(outcome["verdicts"].values()) == frames["inspected"]
    assert records["appended"] == records["received"] > 30
    assert outcome["chain"] == {"box": True, "receiver": True}
    assert outcome["tags"]["opcua"] > 100
    assert outcome["tags"]["modbus"] > 100
    assert outcome["alarms"] >= 1
    assert {"infer", "verdict", "output", "record"} <= outcome["latency_ms"].keys()
    assert {"appliance", "vision", "console", "receiver", "plant"} <= outcome["peak_rss_mb"].keys()
    assert outcome["startup_seconds"] > 0

    if frames["dropped"] < 0.05 * frames["seen"]:  # a machine that keeps up, as the promise supposes
        assert truth["defects"] >= 20
        assert truth["escapes"] < 0.05 * truth["defects"]
        assert truth["false_rejects"] < 0.02 * truth["clean_frames"]


@pytest.mark.slow
def test_ctrl_c_ends_the_demo_in_good_order_and_leaves_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    output = tmp_path / "output"
    with output.open("w") as to:
        demo = subprocess.Popen([*_DEMO, "--folder", str(folder)], stdout=to, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "Ctrl-C" in output.read_text(), "the demo to be up", seconds=90)
        children = psutil.Process(demo.pid).children(recursive=True)
        assert len(children) >= 6
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0, output.read_text()
    finally:
        demo.kill()
        demo.wait()
    assert "Everything holds together" in output.read_text()
    assert [child for child in children if child.is_running()] == []


@pytest.mark.slow
def test_a_demo_that_is_killed_takes_its_processes_with_it(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("w") as to:
        arguments = [*_DEMO, "--folder", str(tmp_path / "d")]
        demo = subprocess.Popen(arguments, stdout=to, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "Ctrl-C" in output.read_text(), "the demo to be up", seconds=90)
        children = psutil.Process(demo.pid).children(recursive=True)
        os.kill(demo.pid, signal.SIGKILL)
        demo.wait()
        wait_until(
            lambda: not any(child.is_running() for child in children), "its processes to end", seconds=30
        )
    finally:
        demo.kill()
        demo.wait()


def test_the_demo_says_where_everything_is_and_with_which_key(tmp_path: Path) -> None:
    done = subprocess.run([*_DEMO, "--for", "1"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Console +http://127\.0\.0\.1:\d+/", done.stdout)
    assert re.search(r"Receiver +http://127\.0\.0\.1:\d+", done.stdout)
    assert re.search(r"Reader key +agk_\S{20,}", done.stdout)
