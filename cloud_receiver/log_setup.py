"""The diagnostics log: structlog, JSON lines on standard output, uvicorn's own lines among them."""

import logging
import sys

import structlog

# The values of variables stay out of the log: among them are tokens and keys.
_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def set_up_log() -> None:
    """Send structlog's and the standard library's log lines to standard output as JSON."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    ending: list[structlog.typing.Processor] = [
        _TRACEBACKS,
        structlog.processors.JSONRenderer(),
    ]
    structlog.configure(
        processors=[*shared, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
    )
    to_stdout = logging.StreamHandler(sys.stdout)
    to_stdout.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    logging.basicConfig(handlers=[to_stdout], level=logging.WARNING, force=True)
