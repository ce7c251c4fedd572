"""Looks at a demo site."""

from provisioning.demo_site import Site
from ui.backend import CameraState


def is_inspecting(site: Site) -> bool:
    """Whether every camera gives verdicts now."""
    view = site.status()
    return view is not None and all(c.state is CameraState.INSPECTING for c in view.cameras)
