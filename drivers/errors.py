"""What can go wrong with a device, named by what has to happen next.

    DeviceError
    ├── DeviceUnreachable    nobody answers: back off and try again
    ├── DeviceRefused        it answers no: ask a human
    ├── DeviceMisconfigured  the configuration cannot work: stop this device, and only this one
    └── ProtocolViolation    the answer makes no sense: close the connection and connect anew

A driver raises one of these and dies; `appliance/supervisor.py` is the only loop that retries.
"""


class DeviceError(Exception):
    """A device failed. `hint` is the next step for the person who reads it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class DeviceUnreachable(DeviceError):
    """Nobody answers, or no longer."""


class DeviceRefused(DeviceError):
    """The device answers and says no: credentials, certificates, rights, an address that it does not have."""


class DeviceMisconfigured(DeviceError):
    """The configuration cannot work with this device as it is."""


class ProtocolViolation(DeviceError):
    """The device sent something that its protocol does not allow."""
