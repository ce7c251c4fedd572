"""The diagnostics log: structlog, JSON lines on standard output. It is not the audit log."""

import logging
import sys

import structlog

# The values of variables stay out of the log: among them are tokens and keys.
_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def set_up_log(process: str, *, level: int = logging.INFO) -> None:
    """Write structured lines to standard output, and what libraries say through `logging` along with them."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *shared,
            _TRACEBACKS,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
    )
    structlog.contextvars.bind_contextvars(process=process)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _TRACEBACKS,
            structlog.processors.JSONRenderer(),
        ],
    )
    to_stdout = logging.StreamHandler(sys.stdout)
    to_stdout.setFormatter(formatter)
    for loud in ("asyncua", "pymodbus"):  # a traceback for every lost link, which ours tells in a line
        logging.getLogger(loud).setLevel(logging.CRITICAL)
    logging.basicConfig(handlers=[to_stdout], level=logging.WARNING, force=True)
