"""What can go wrong with the log, named by what has to happen next.

LogError
├── LogUnwritable   the disk refuses: make room or replace it; the log goes on by itself
├── LogDamaged      the open file is damaged: restart, which sets it aside
├── LogClosed       it was closed: start the appliance again
└── LogInUse        another process writes it: stop that one first
"""


class LogError(Exception):
    """The log did not do it."""


class LogUnwritable(LogError):
    """The disk refused; the record is not in the log. The log goes on by itself once the disk does."""


class LogDamaged(LogError):
    """The file was damaged while it was open. Only a restart helps: it sets the file aside."""


class LogClosed(LogError):
    """The log was closed, or is being closed."""

    def __init__(self) -> None:
        super().__init__("the log is closed: start the appliance again to write to it")


class LogInUse(LogError):
    """Another process writes this folder's log."""
