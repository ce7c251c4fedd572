"""What the page says in letters that can be read from five metres."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sync.record import Verdict
from ui.backend import BoxView, CameraState, CameraView, FoundView
from ui.wording import label

HOLD_SECONDS = 2.0
"""At 6 frames a second a defect is under the camera for 0.17 s; nobody sees a sign that short."""


class Sign(StrEnum):
    """The signs there are, and the text each shows. `NOT INSPECTING` is never taken for `OK`."""

    OK = "OK"
    NG = "NG"
    CHECK = "CHECK"
    NOT_INSPECTING = "NOT INSPECTING"
    NOT_ANSWERING = "BOX NOT ANSWERING"


@dataclass(frozen=True, slots=True)
class Held:
    """The verdict that a camera's sign shows, what was found then, and when (monotonic clock)."""

    verdict: Verdict
    found: tuple[FoundView, ...]
    at_mono: float


@dataclass(frozen=True, slots=True)
class Headline:
    """A sign and one line that says more."""

    sign: Sign
    detail: str


MOST_NAMED = 2
"""More names than that do not fit under a sign; each camera's tile says it as well."""

_WEIGHT = {Verdict.OK: 0, Verdict.CHECK: 1, Verdict.NG: 2}


def hold(before: Mapping[str, Held], cameras: Iterable[CameraView], now_mono: float) -> dict[str, Held]:
    """Each inspecting camera's verdict, where a worse one stays for HOLD_SECONDS after it was last given."""
    held = {}
    for camera in cameras:
        if camera.state is not CameraState.INSPECTING or camera.verdict is None:
            continue
        old = before.get(camera.name)
        still_held = old is not None and now_mono - old.at_mono < HOLD_SECONDS
        if old is not None and still_held and _WEIGHT[old.verdict] > _WEIGHT[camera.verdict]:
            held[camera.name] = old
        else:
            held[camera.name] = Held(camera.verdict, camera.found, now_mono)
    return held


def headline(view: BoxView | None, held: Mapping[str, Held]) -> Headline:
    """The one sign for all cameras: NG first, then not inspecting, then CHECK. Unknown is never OK."""
    if view is None:
        return Headline(Sign.NOT_ANSWERING, "Nothing on this page is live")
    blind = [camera for camera in view.cameras if camera.name not in held]
    for verdict, sign in ((Verdict.NG, Sign.NG), (None, Sign.NOT_INSPECTING), (Verdict.CHECK, Sign.CHECK)):
        if verdict is None:
            if blind or not view.cameras:
                return Headline(sign, _blindness(blind))
        elif seen := [(name, one) for name, one in held.items() if one.verdict is verdict]:
            also = f" · {_blindness(blind)}" if blind else ""
            return Headline(sign, " · ".join(_findings(name, one) for name, one in seen) + also)
    return Headline(Sign.OK, _naming([camera.name for camera in view.cameras], "inspecting"))


def _findings(camera: str, held: Held) -> str:
    labels = dict.fromkeys(
        label(found.label) for found in sorted(held.found, key=lambda one: -one.confidence)
    )
    return f"{', '.join(labels) or 'defect'} · {camera}"


def _blindness(blind: list[CameraView]) -> str:
    if not blind:
        return "No camera is configured"
    starting = [camera.name for camera in blind if camera.state is CameraState.STARTING]
    gone = [camera.name for camera in blind if camera.state is not CameraState.STARTING]
    said = [_naming(gone, "not inspecting"), _naming(starting, "starting")]
    return " · ".join(one for one in said if one)


def _naming(cameras: list[str], doing: str) -> str:
    """Camera top is inspecting; cameras top, bottom are inspecting."""
    if not cameras:
        return ""
    if len(cameras) > MOST_NAMED:
        return f"{len(cameras)} cameras are {doing}"
    one = len(cameras) == 1
    return f"Camera{'' if one else 's'} {', '.join(cameras)} {'is' if one else 'are'} {doing}"
