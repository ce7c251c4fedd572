"""What is wrong with the box itself, and the one picture of it that pages and `alumiguard status` show."""

import time
from collections.abc import Mapping
from pathlib import Path

from appliance.alarms import Condition
from appliance.cameras import CameraBoard
from appliance.config import BoxConfig
from ui.backend import CameraState, LinkView

RECEIVER_SILENT_SECONDS = 30.0


def box_alarms(config: BoxConfig) -> list[str]:
    """The names of the alarms that the box raises about itself."""
    cameras = [f"camera-gone-{camera.name}" for camera in config.cameras]
    devices = [f"device-gone-{device.name}" for device in config.devices]
    return [*cameras, *devices, "vision-down", "receiver-silent", "receiver-fork", "log-full", "log-broken"]


def box_conditions(
    cameras: Mapping[str, CameraBoard],
    devices_gone: Mapping[str, str],
    *,
    vision_running: bool,
    link: LinkView,
    link_lost_mono: float | None,
    forked: bool,
    log_trouble: str | None,
    log_break: str,
) -> list[Condition]:
    """What is wrong with the box now."""
    wrong = [
        Condition(
            f"camera-gone-{name}",
            "high",
            f"Camera {name} gives no picture: this part of the strip is not inspected",
            f"Check its power and its cable. {board.detail}",
        )
        for name, board in cameras.items()
        if board.state is CameraState.GONE
    ]
    wrong += [
        Condition(f"device-gone-{name}", "medium", f"Device {name} does not answer", f"{cause}")
        for name, cause in devices_gone.items()
    ]
    if not vision_running:
        wrong.append(
            Condition(
                "vision-down",
                "high",
                "The vision process is not running: nothing is inspected",
                "It is started again by itself; if that fails, look at the box's log for why it ends.",
            )
        )
    if link_lost_mono is not None and time.monotonic() - link_lost_mono > RECEIVER_SILENT_SECONDS:
        wrong.append(
            Condition(
                "receiver-silent",
                "low",
                "The receiver does not answer; the records stay on this box until it does",
                f"Check the network to it. {link.detail}",
            )
        )
    if forked:
        wrong.append(
            Condition(
                "receiver-fork",
                "high",
                "The receiver holds other records under the same numbers: this log was copied or altered",
                "Call the central team before anything else is done to this box.",
            )
        )
    if log_trouble is not None:
        wrong.append(
            Condition(
                "log-full",
                "high",
                "The log takes no record: what is inspected now is only in memory",
                f"Make room on the box's disk before the box is switched off. {log_trouble}",
            )
        )
    if log_break:
        wrong.append(
            Condition(
                "log-broken",
                "high",
                "The log was found damaged at this start; it was set aside and a new one begun",
                f"Keep the file that was set aside, and tell the central team. {log_break}",
            )
        )
    return wrong


def peak_rss_bytes(pid: int | None) -> int:
    """The most memory that a process has held, from the kernel; 0 when it is not running."""
    if pid is None:
        return 0
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    kib = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")), "0")
    return int(kib) * 1024
