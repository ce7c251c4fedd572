"""Whether what a configuration names answers: each thing is opened as the box would, read, and closed.

Nothing is ever written to a device, and nothing is created in the storage folder.
"""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from appliance.config import BoxConfig
from drivers.driver import CameraConfig, TagDriverConfig
from drivers.errors import DeviceError
from drivers.reading import Quality, Reading
from provisioning.answers import Problem, shown

TAGS_SECONDS = 5.0
"""How long a device may take, once connected, to report every tag."""

RECEIVER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Reached:
    """What came of opening one thing that the configuration names."""

    name: str
    kind: str
    detail: str = ""
    problems: tuple[Problem, ...] = ()


def reach_all(box: BoxConfig) -> list[Reached]:
    """Open everything that the configuration names, all at once, each in a thread of its own.

    A driver's library may take a second to import; in one event loop that would eat the others' time-outs.
    """
    attempts: list[Callable[[], Reached]] = [partial(reach_storage, box.storage.folder)]
    attempts += [partial(reach_device, device) for device in box.devices]
    attempts += [partial(reach_camera, camera) for camera in box.cameras]
    if box.uplink is not None:
        attempts.append(partial(reach_receiver, box, box.uplink.receiver))
    with ThreadPoolExecutor(len(attempts)) as threads:
        return list(threads.map(lambda attempt: attempt(), attempts))


def reach_storage(folder: Path) -> Reached:
    """Whether the box could write there: the folder itself, or the nearest one above it that exists."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not existing.is_dir():
        problem = Problem.of("storage.folder", f"{existing} is a file", "name another folder")
        return Reached(shown(folder), "storage", "", (problem,))
    if not os.access(existing, os.W_OK | os.X_OK):
        what = f"{existing} is not a folder that this user may write to"
        problems = (Problem.of("storage.folder", what, _to_give(folder)),)
        return Reached(shown(folder), "storage", "", problems)
    return Reached(shown(folder), "storage", "exists" if existing == folder else "will be made", ())


def _to_give(folder: Path) -> str:
    """How this user gets the folder itself, and never one above it: that may be the system's."""
    return f"name another folder, or give this user this one: sudo install -d -o {os.getuid()} {folder}"


def reach_device(config: TagDriverConfig) -> Reached:
    """Connect, and wait until every tag has been reported once."""
    where = f"devices[{config.name}]"
    try:
        latest = asyncio.run(latest_readings(config))
    except DeviceError as error:
        return Reached(config.name, "device", "", (problem_of(where, error),))
    problems = [
        Problem.of(f"{where}.tags[{tag}]", why, "compare its address or node with the device's own list")
        for tag in config.tag_units
        if (why := trouble_with(latest.get(tag)))
    ]
    good = len(config.tag_units) - len(problems)
    return Reached(config.name, "device", f"{good} of {len(config.tag_units)} tags good", tuple(problems))


async def latest_readings(config: TagDriverConfig) -> dict[str, Reading]:
    """Every tag that the device reports within TAGS_SECONDS of being connected.

    Raises:
        DeviceError: if it cannot be connected, or the connection breaks.
    """
    latest: dict[str, Reading] = {}
    async with config.open() as driver:
        try:
            async with asyncio.timeout(TAGS_SECONDS):
                async for reading in driver.readings():
                    latest[reading.tag] = reading
                    if config.tag_units.keys() <= latest.keys():
                        break
        except TimeoutError:
            return latest  # what is missing is then named tag by tag
    return latest


def trouble_with(reading: Reading | None) -> str:
    """Why a tag cannot be used; empty when it can."""
    if reading is None:
        return f"the device did not report it within {TAGS_SECONDS:g} s"
    if reading.quality is Quality.BAD:
        return f"the device reports it as bad ({reading.status or 'no reason given'})"
    return ""


def reach_camera(config: CameraConfig) -> Reached:
    """Open it and take one picture."""
    where = f"cameras[{config.name}]"
    began = time.monotonic()
    try:
        with config.open() as camera:
            frame = next(iter(camera.frames()), None)
    except DeviceError as error:
        return Reached(config.name, "camera", "", (problem_of(where, error),))
    if frame is None:
        problem = Problem.of(where, "it holds no picture", "put pictures into its folder")
        return Reached(config.name, "camera", "", (problem,))
    height_px, width_px = frame.image.shape[:2]
    detail = f"{width_px} x {height_px} px, first picture after {time.monotonic() - began:.1f} s"
    return Reached(config.name, "camera", detail)


def problem_of(where: str, error: DeviceError) -> Problem:
    """A device's failure, with the next step that its driver knows."""
    return Problem.of(where, error, error.hint or "check its address, that it is on, and the network between")


def reach_receiver(box: BoxConfig, url: str) -> Reached:
    """Ask the receiver for its health, and see whether this box has been introduced to it."""
    where = "uplink.receiver"
    try:
        answer = httpx.get(f"{url.rstrip('/')}/healthz", timeout=RECEIVER_SECONDS)
        answer.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        next_step = "check the address, that the receiver runs, and the way to it (DNS, proxy, firewall)"
        problem = Problem.of(where, f"{url}: {str(error) or type(error).__name__}", next_step)
        return Reached(shown(url), "receiver", "", (problem,))
    if not os.access(box.storage.identity / "receiver.json", os.F_OK):
        next_step = f"alumiguard enrol --receiver {url} --token-file FILE"
        problem = Problem.of(where, "it answers, and this box is not enrolled there", next_step)
        return Reached(shown(url), "receiver", "", (problem,))
    return Reached(shown(url), "receiver", "enrolled")
