"""A camera: its live picture with what was found, or a black tile that says why there is none."""

import time
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from nicegui.element import Element

from sync.record import Verdict
from ui.backend import CameraState, CameraView
from ui.headline import Sign
from ui.pages.elements import Text, put, tag
from ui.pages.shapes import Shape
from ui.watch import Picture, Snapshot
from ui.wording import age, duration, label, percent

_SIGNS = {Verdict.OK: Sign.OK, Verdict.NG: Sign.NG, Verdict.CHECK: Sign.CHECK}


THANKS_SECONDS = 5.0
"""For how long a tile says that a missed defect was recorded."""


class CameraPicture(Element, component="camera_picture.js"):
    """Shows pictures one after the other without flicker, each with its own boxes."""

    def __init__(self, camera: str) -> None:
        super().__init__()
        self._camera = camera
        put(self, "alt", f"Live picture of camera {camera}")

    def show(self, picture: Picture | None) -> None:
        """Show this one; None takes the picture away."""
        if picture is None:
            put(self, "picture", None)
            return
        src = f"/preview/{quote(self._camera, safe='')}.jpg?n={picture.number}"
        found = [
            {
                "x": one.x,
                "y": one.y,
                "width": one.width,
                "height": one.height,
                "text": f"{label(one.label)} {percent(one.confidence)}",
            }
            for one in picture.found
        ]
        put(self, "picture", {"src": src, "found": found})


class CameraTile:
    """One camera's tile, and the button for a defect that the box did not see."""

    def __init__(self, camera: str, missed: Callable[[str], Awaitable[str]]) -> None:
        self.camera = camera
        with tag("section", "tile panel", aria_label=f"Camera {camera}") as self.section:
            self._picture = CameraPicture(camera)
            with tag("div", "no-picture", role="status") as self._blank:
                self._blank_title = Text("strong")
                self._blank_detail = Text("span")
            with tag("div", "tile-foot"):
                with tag("div", "tile-facts"):
                    with tag("div", "tile-name"):
                        self._shape = Shape(Sign.NOT_INSPECTING)
                        Text("h2", camera)
                        self._verdict = Text("span", classes="tile-verdict")
                    self._rate = Text("span", classes="quiet")
                    put(self._rate, "role", "status")
                with tag(
                    "button", "action", type="button", aria_label=f"Missed defect, camera {camera}"
                ) as button:
                    Shape("missed")
                    Text("span", "Missed defect")
            self._button = button
        self._missed = missed
        self._thanks = ""
        self._thanked_mono = 0.0
        button.on("click", self._tapped, args=[])

    async def _tapped(self) -> None:
        thanks = await self._missed(self.camera)
        if thanks:
            self._thanks, self._thanked_mono = thanks, time.monotonic()

    def show(self, snapshot: Snapshot) -> None:
        """Show this camera as it is now."""
        view = snapshot.view
        camera = (
            None if view is None else next((one for one in view.cameras if one.name == self.camera), None)
        )
        if camera is None:
            silent = duration(snapshot.silent_seconds)
            self._show_blank(Sign.NOT_ANSWERING, f"no connection to the box for {silent}")
            self._show_facts(Sign.NOT_ANSWERING, "")
        elif camera.state is CameraState.INSPECTING:
            self._show_live(camera, snapshot)
        else:
            self._show_out(camera, snapshot.out_seconds.get(camera.name, 0.0))
        put(self._button, "disabled", True if view is None else None)

    def _show_live(self, camera: CameraView, snapshot: Snapshot) -> None:
        picture = snapshot.pictures.get(camera.name)
        # the large sign is held for two seconds; here it has to agree with the picture above it
        verdict = camera.verdict if picture is None else picture.verdict
        sign = _SIGNS[verdict] if verdict is not None else Sign.NOT_INSPECTING
        if picture is None:
            self._show_blank("NO LIVE PICTURE", "It is inspecting; the picture is on its way")
        else:
            self._picture.show(picture)
            self._blank.set_visibility(False)
        last = age(camera.age_seconds)
        dropped = f"\n{camera.dropped:,} dropped" if camera.dropped else ""
        rate = f"{camera.frames_per_second:.1f} frames/s"
        self._show_facts(sign, f"{rate}{dropped}" if last == "now" else f"last frame {last}{dropped}")

    def _show_out(self, camera: CameraView, out_seconds: float) -> None:
        starting = camera.state is CameraState.STARTING
        lasted = duration(max(out_seconds, camera.age_seconds or 0.0))
        title = "CAMERA STARTING" if starting else "CAMERA GONE"
        since = f"for {lasted}" if starting else f"no picture for {lasted}"
        self._show_blank(title, f"{since}. {camera.detail}" if camera.detail else since)
        self._show_facts(Sign.NOT_INSPECTING, f"{camera.dropped:,} dropped" if camera.dropped else "")

    def _show_blank(self, title: str, detail: str) -> None:
        self._picture.show(None)
        self._blank.set_visibility(True)
        self._blank_title.text = title
        self._blank_detail.text = detail

    def _show_facts(self, sign: Sign, rate: str) -> None:
        put(self.section, "data-sign", sign.name.lower())
        self._shape.show(sign)
        self._verdict.text = sign.value if sign in _SIGNS.values() else ""
        thanked = time.monotonic() - self._thanked_mono < THANKS_SECONDS
        self._rate.text = self._thanks if thanked else rate
        put(self._rate, "data-thanks", "yes" if thanked else None)
