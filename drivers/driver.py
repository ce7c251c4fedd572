"""The two seams a device fits: tags and cameras.

A driver is one file: a config class that is its own factory, and a driver class. Making the config checks
everything that can be checked without the device. A driver raises (see errors.py) and dies; it never retries.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol

from drivers.frame import Frame
from drivers.reading import Reading, TagValue


class TagDriver(Protocol):
    """An open connection to a device with tags."""

    def readings(self) -> AsyncIterator[Reading]:
        """Yield readings as they come, for as long as the connection holds.

        Raises:
            DeviceError: when it no longer does. The iterator never ends in silence.
        """
        ...

    async def write(self, values: Mapping[str, TagValue]) -> None:
        """Write tags in the order given and return when the device has acknowledged the last one.

        Raises:
            DeviceMisconfigured: if a tag is not configured as writable; then nothing has been written.
            DeviceError: if the device did not take a value.
        """
        ...


class TagDriverConfig(Protocol):
    """A tag device's configuration."""

    @property
    def name(self) -> str:
        """The device's name in the box's configuration."""
        ...

    @property
    def tag_units(self) -> Mapping[str, str]:
        """Every tag the device provides, with its unit ("" for none)."""
        ...

    @property
    def writable_tags(self) -> frozenset[str]:
        """The tags that may be written."""
        ...

    def load_library(self) -> None:
        """Import what `open` needs. It may take a second, in which an event loop would hear nobody."""
        ...

    def open(self) -> AbstractAsyncContextManager[TagDriver]:
        """Connect. Raises DeviceError within the configured time-out if that fails."""
        ...


class Camera(Protocol):
    """An open camera. Used from one thread."""

    def frames(self) -> Iterator[Frame]:
        """Yield frames as they come; blocks no longer than the configured time-out for each.

        Raises:
            DeviceError: when no frame came in time or the source is gone. Only a file or folder that is not
                set to repeat ends the iterator, after its last picture.
        """
        ...


class CameraConfig(Protocol):
    """A camera's configuration."""

    @property
    def name(self) -> str:
        """The camera's name in the box's configuration."""
        ...

    def open(self) -> AbstractContextManager[Camera]:
        """Connect. Raises DeviceError within the configured time-out if that fails."""
        ...
