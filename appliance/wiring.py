"""The appliance process: opens the log, then runs every loop of the box in one TaskGroup.

devices ─► line, alarms, recorder ─► LOG ─► uplink ─► receiver
vision  ─► outputs, recorder ─────►
"""

import asyncio
import contextlib
import dataclasses
import fcntl
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import structlog

from appliance.alarms import TagAlarms, keep_watching, standing_alarms
from appliance.box import Box
from appliance.clock import SystemClock
from appliance.config import BoxConfig
from appliance.control_api import control_app, serve
from sync import identity
from sync.audit_log import AuditLog
from sync.record import BoxStarted, BoxStopped, GapDeclared
from sync.uplink import Uplink
from ui.backend import LinkView

LAST_WORDS_SECONDS = 5.0
ENROLLED_SECONDS = 2.0
"""How often a box that is not enrolled yet looks whether it is."""

log = structlog.get_logger()


class StorageUnusable(Exception):
    """The storage folder cannot be made or written."""


class StorageInUse(Exception):
    """Another appliance process works in this storage folder."""


async def run_box(config: BoxConfig, config_path: Path, stopping: asyncio.Event) -> None:
    """Run the box until `stopping` is set.

    Raises:
        StorageInUse: if another appliance works in the same storage folder.
        StorageUnusable: if the storage folder cannot be made or written.
    """
    clock = SystemClock()
    for device in config.devices:
        device.load_library()
    with _only_one(config.storage.folder):
        keys = identity.load_or_create(config.storage.identity, config.box.id)
        audit_log = AuditLog.open(config.storage.folder, config.box.id, keys.log_key, clock)
        try:
            box = Box(config, config_path, audit_log, clock, standing_alarms(audit_log.path))
            _put_start(box)
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(box.recorder.keep_writing(), name="recorder")
                uplink = group.create_task(keep_uplink(box), name="uplink")
                await _run_loops(box, stopping)
                box.recorder.close(BoxStopped(reason="asked to stop"))
                await _write_the_rest(box, writer)
                await _ship_the_rest(box)
                uplink.cancel()
        finally:
            audit_log.close()


def _put_start(box: Box) -> None:
    """The first records of this run. A full disk delays them; it does not keep the box from inspecting."""
    started_at = box.clock.stamp().at
    box.recorder.put(
        BoxStarted(
            software=f"alumiguard {version('alumiguard')}",
            config_sha256=box.config.digest,
            after_unclean_stop=box.log.after_unclean_stop,
            reason=box.log.break_reason,
            previous=box.log.previous,
        )
    )
    if box.log.after_unclean_stop and box.log.last_at is not None:
        reason = "the box stopped without notice; what it saw after its last record is not known"
        box.recorder.put(GapDeclared(what="box", first=box.log.last_at, last=started_at, reason=reason))


async def _run_loops(box: Box, stopping: asyncio.Event) -> None:
    """Run everything until `stopping`; then the vision process ends first, its last words are heard."""
    api = control_app(box.status, box.preview, box.acknowledge, box.judge)
    tag_alarms = TagAlarms(box.config.alarms, box.line)
    async with asyncio.TaskGroup() as group:
        loops = [
            group.create_task(box.recorder.summarise_coverage(), name="coverage"),
            group.create_task(box.recorder.summarise_tags(), name="tags"),
            group.create_task(keep_watching(box.alarms, tag_alarms, box.conditions), name="alarms"),
            group.create_task(serve(api, box.config.storage.control_socket), name="control API"),
            group.create_task(box.listen_to_vision(), name="vision link"),
            group.create_task(box.watch_vision(), name="vision watch"),
        ]
        loops += [group.create_task(device.keep(), name=name) for name, device in box.devices.items()]
        if box.outputs is not None:
            loops.append(group.create_task(box.outputs.keep_writing(), name="outputs"))
        vision = group.create_task(box.vision.keep(), name="vision") if box.cameras else None
        log.info("box is up", box=box.config.box.id, epoch=box.log.head.epoch)
        await stopping.wait()
        if vision is not None:
            vision.cancel()
            await asyncio.wait([vision])
            await box.vision_said_all()
        if box.outputs is not None:
            await box.outputs.say_stopped()
        for task in loops:
            task.cancel()


async def keep_uplink(box: Box) -> None:
    """Ship the log to the configured receiver, from the moment the box is enrolled."""
    section = box.config.uplink
    if section is None:
        return
    while True:
        keys = identity.load_or_create(box.config.storage.identity, box.config.box.id)
        if keys.receiver is not None:
            break
        await asyncio.sleep(ENROLLED_SECONDS)
    # How the receiver is reached may change (a relay, a new name) without a new enrolment.
    there = dataclasses.replace(keys, receiver=dataclasses.replace(keys.receiver, url=section.receiver))
    box.uplink = Uplink(box.log, there, box.clock)
    await box.uplink.run()


async def _write_the_rest(box: Box, writer: asyncio.Task[None]) -> None:
    """Wait until the log has all; on a disk that stays full the rest is lost, and that is said."""
    await asyncio.wait([writer], timeout=LAST_WORDS_SECONDS)
    if not writer.done():
        log.warning("records are lost: the disk takes none", reason=box.log_trouble)
        writer.cancel()


async def _ship_the_rest(box: Box) -> None:
    """Give a receiver that answers the chance to have the last records before the box is off."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_WORDS_SECONDS):
            while _more_to_ship(box.link_view(), box.log.head.seq):  # noqa: ASYNC110 - of two owners
                await asyncio.sleep(0.05)


def _more_to_ship(link: LinkView, through_seq: int) -> bool:
    return link.connected and link.held_through_seq < through_seq


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the storage folder's lock: two writers on one log must never be."""
    try:
        (folder / "run").mkdir(mode=0o700, parents=True, exist_ok=True)
        lock_file = (folder / "run" / "appliance.lock").open("w")
    except OSError as error:
        raise StorageUnusable(
            f"the storage folder {folder} cannot be made or written ({error.strerror}); name another under "
            "[storage] folder, or give it to the user that the box runs as"
        ) from error
    with lock_file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageInUse(
                f"another appliance works in {folder}; stop it first (alumiguard status shows it)"
            ) from error
        yield
