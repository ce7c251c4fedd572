import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sync import record
from sync.verify import verify_log
from tests.support.box_log import LOG_VERIFIER, lines, opened

REPOSITORY = Path(__file__).parents[2]


def write_until_killed(folder: Path, accepted_first: int) -> dict[int, str]:
    """Let a process append, kill it after so many accepted records; returns what it told, seq to lot."""
    told: dict[int, str] = {}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.log_writer", str(folder)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        if process.stdout is None:
            pytest.fail("the writer has no output")
        for line in process.stdout:
            if line.endswith("\n"):
                seq, lot = line.split()
                told[int(seq)] = lot
            if len(told) == accepted_first:
                process.kill()
    return told


def test_what_was_accepted_survives_sigkill_at_any_moment(tmp_path: Path) -> None:
    chance = random.Random(7)
    told: dict[int, str] = {}
    for _ in range(6):
        told |= write_until_killed(tmp_path, chance.randrange(1, 120))
    held = [record.decode(line) for line in lines(tmp_path / "box.db")]
    assert [read.seq for read in held] == list(range(1, len(held) + 1))
    assert len(told) > 50
    assert {seq: held[seq - 1].body["lot"] for seq in told} == told
    report = verify_log(tmp_path / "box.db", LOG_VERIFIER)
    assert report.problems == []
    with opened(tmp_path) as log:
        assert log.after_unclean_stop
        assert log.set_aside is None


def run_full_disk(*arguments: str) -> dict[str, Any]:
    command = [*arguments[1:], sys.executable, "-m", "tests.support.full_disk", *arguments[0].split()]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def assert_nothing_lost(told: dict[str, Any]) -> None:
    assert told["problems"] == []
    assert told["accepted"] == list(range(1, told["held"] + 1))
    assert "make room" in told["refusal"]
    assert told["trouble"] == told["refusal"]
    assert told["trouble_after"] == ""


def test_a_log_whose_files_may_not_grow_refuses_and_recovers_without_a_hole(tmp_path: Path) -> None:
    assert_nothing_lost(run_full_disk(f"limit {tmp_path}"))


def test_a_log_on_a_full_disk_refuses_and_recovers_without_a_hole(tmp_path: Path) -> None:
    probe = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "none", str(tmp_path)], capture_output=True, check=False
    )
    if probe.returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    assert_nothing_lost(run_full_disk(f"tmpfs {tmp_path}", "unshare", "-m"))
