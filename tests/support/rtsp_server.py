"""An RTSP camera made of GStreamer (Debian: gir1.2-gst-rtsp-server-1.0), a peer that nobody here wrote.

Run with the system's Python, for which Debian packages PyGObject: `/usr/bin/python3 rtsp_server.py`. It
prints its port and serves a moving test picture at `/cam`, 320 x 240 at 25 frames/s in H.264, until it is
killed; with the argument `locked` only to user "box" with password "se/cret".
"""

import sys
from typing import Any

import gi  # type: ignore[import-not-found] # it belongs to the system's Python, not to this project's

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import (  # type: ignore[import-not-found] # noqa: E402 - gi wants the versions first
    GLib,
    Gst,
    GstRtsp,
    GstRtspServer,
)

PIPELINE = (
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1 ! "
    "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay name=pay0 pt=96 )"
)


def serve(*, locked: bool) -> None:
    """Serve until killed."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(PIPELINE)
    factory.set_shared(True)
    if locked:
        server.set_auth(_log_in())
        factory.add_role_from_structure(_may_do_all("box"))
    server.get_mount_points().add_factory("/cam", factory)
    server.attach(None)
    sys.stdout.write(f"{server.get_bound_port()}\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


def _log_in() -> Any:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "box")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic("box", "se/cret"), token)
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
    return auth


def _may_do_all(role: str) -> Any:
    structure = Gst.Structure.new_empty(role)
    for right in ("media.factory.access", "media.factory.construct"):
        structure.set_value(right, True)  # noqa: FBT003 - as GStreamer has it
    return structure


if __name__ == "__main__":
    serve(locked="locked" in sys.argv)
