"""The diagnostics log."""

import pytest
import structlog

from appliance.log_setup import set_up_log


def test_a_traceback_in_the_log_holds_no_values_of_variables(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_log("test")
    token = "agt_" + "x" * 8
    try:
        int(token)
    except ValueError:
        structlog.get_logger().exception("it failed")
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    said = capsys.readouterr().out
    assert "ValueError" in said
    assert "locals" not in said
