import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync import record
from tests.support.box_log import alarm, coverage, inspection, judgement, long_record

BODIES = [inspection(1), coverage(), alarm(), judgement(3), record.LotStarted(lot="coil-1")]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.KIND)
def test_a_body_reads_back_as_it_was(body: record.Body) -> None:
    line = record.encode(7, "2026-03-01T12:00:00.000000Z", "b", 9, record.ClockQuality.RTC, body)
    read = record.decode(line)
    assert record.typed_body(read) == body
    assert (read.seq, read.mono_ns, read.clock, read.kind) == (7, 9, "rtc", body.KIND)
    assert read.line == line
    assert b"\n" not in line
    assert (
        json.dumps(json.loads(line), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        == line.decode()
    )


def test_a_kind_that_nobody_knows_is_kept() -> None:
    line = b'{"at":"","body":{"x":[1,{}]},"boot":"","clock":"ntp","kind":"future.kind","mono_ns":1,"seq":1}'
    read = record.decode(line)
    assert record.typed_body(read) is None
    assert read.body == {"x": [1, {}]}


def test_a_known_kind_with_another_body_is_a_record_error() -> None:
    line = b'{"at":"","body":{"lot":7},"boot":"","clock":"ntp","kind":"lot.started","mono_ns":1,"seq":4}'
    with pytest.raises(record.RecordError, match=r"seq 4: a lot\.started record whose body is not one"):
        record.typed_body(record.decode(line))


def test_a_line_that_is_too_long_is_never_made_and_never_read() -> None:
    with pytest.raises(record.RecordError, match="over the limit"):
        record.encode(1, "", "", 1, record.ClockQuality.NTP, long_record(record.MAX_LINE_BYTES))
    with pytest.raises(record.RecordError, match="over the limit"):
        record.decode(b" " * (record.MAX_LINE_BYTES + 1))


def test_every_kind_tells_what_it_is_in_a_sentence() -> None:
    for kind, body in record.KINDS.items():
        sentence = (body.__doc__ or "").strip()
        assert sentence.endswith("."), kind
        assert "\n" not in sentence, kind


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
_fields = st.dictionaries(
    st.sampled_from(["seq", "at", "boot", "mono_ns", "clock", "kind", "body", "other"]), _json
)


@given(
    st.one_of(
        st.binary(max_size=200),
        _fields.map(lambda value: json.dumps(value).encode()),
        _json.map(lambda value: json.dumps(value).encode()),
    )
)
def test_any_bytes_are_a_record_or_a_record_error(line: bytes) -> None:
    try:
        read = record.decode(line)
    except record.RecordError:
        return
    assert isinstance(read.body, dict)


@given(st.sampled_from(sorted(record.KINDS)), st.dictionaries(st.text(max_size=9), _json, max_size=4))
def test_any_body_is_typed_or_a_record_error(kind: str, body: dict[str, Any]) -> None:
    line = {"at": "", "body": body, "boot": "", "clock": "ntp", "kind": kind, "mono_ns": 1, "seq": 1}
    read = record.decode(json.dumps(line).encode())
    try:
        assert isinstance(record.typed_body(read), record.KINDS[kind])
    except record.RecordError as error:
        assert "seq 1" in str(error)  # noqa: PT017 - either outcome is right
