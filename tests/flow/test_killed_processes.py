"""Each process of the box dies without warning; the box is back by itself and its log holds."""

import os
import signal
from functools import partial

import httpx
import pytest

from provisioning.demo_site import Site
from sync import record
from sync.verify import verify_log
from tests.support.site import is_inspecting


@pytest.mark.slow
def test_the_box_recovers_from_sigkill_of_each_of_its_processes(site: Site) -> None:
    for name in ("vision", "appliance", "console"):
        before = site.box_processes()[name]
        os.kill(before.pid, signal.SIGKILL)
        site.wait_for(f"{name} again", partial(_is_back, site, name, before.pid))
        site.wait_for("the inspection", lambda: is_inspecting(site))
        site.wait_for("the console", lambda: _console_answers(site))

    site.stop("box")
    report = verify_log(site.storage / "box.db", None)
    assert report.ok, report
    held = site.held_lines()
    assert sorted(held) == list(range(1, report.records + 1))

    records = [record.decode(held[seq]) for seq in sorted(held)]
    starts = [r.body["after_unclean_stop"] for r in records if r.kind == "box.started"]
    assert starts == [False, True]
    assert any(r.kind == "device.lost" and r.body["device"] == "vision" for r in records)
    assert any(r.kind == "gap.declared" for r in records)
    coverage = [r.body for r in records if r.kind == "coverage"]
    assert all(c["seen"] == c["inspected"] + sum(c["dropped"].values()) for c in coverage)


@pytest.mark.slow
def test_a_vision_process_that_hangs_is_replaced(site: Site) -> None:
    hung = site.box_processes()["vision"]
    hung.suspend()
    site.wait_for("another vision process", partial(_is_back, site, "vision", hung.pid), 60.0)
    site.wait_for("the inspection", lambda: is_inspecting(site))


def _is_back(site: Site, name: str, killed_pid: int) -> bool:
    process = site.box_processes().get(name)
    return process is not None and process.pid != killed_pid


def _console_answers(site: Site) -> bool:
    try:
        return httpx.get(site.console_url, timeout=2.0).status_code == 200
    except httpx.HTTPError:
        return False
