from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync import database, projections, record
from tests.support.box_log import alarm, append_a_shift, inspection, judgement, opened, rows


def tables(path: Path) -> dict[str, list[tuple[object, ...]]]:
    return {name: rows(path, f"SELECT * FROM {name} ORDER BY rowid") for name in projections.TABLES}  # noqa: S608


def rebuild(path: Path) -> None:
    connection = database.open_writer(path)
    projections.rebuild(connection)
    connection.close()


async def test_tables_rebuilt_from_the_log_are_the_ones_filled_while_appending(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        await append_a_shift(log)
    before = tables(log.path)
    assert all(before.values())
    rebuild(log.path)
    assert tables(log.path) == before
    connection = database.open_writer(log.path)
    for name in projections.TABLES:
        connection.execute(f"DELETE FROM {name}")  # noqa: S608 - ours
    projections.rebuild(connection)
    connection.close()
    assert tables(log.path) == before


async def test_an_inspection_has_a_row_and_one_for_each_detection(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        seq = await log.append(inspection(7, confidence=0.875))
        (row,) = rows(log.path, "SELECT seq, camera, frame, verdict, lot, judgement FROM inspections")
        found = rows(log.path, "SELECT inspection_seq, label, confidence, x_px, position_m FROM detections")
    assert row == (seq, "top", 7, "NG", "coil-1", None)
    assert found == [(seq, "scratch", 0.875, 0.0, None), (seq, "scratch", 0.875, 10.1, 7 * 0.17)]


async def test_the_latest_judgement_stands(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        seq = await log.append(inspection(1))
        await log.append(judgement(seq, record.Judgement.FALSE))
        await log.append(judgement(seq, record.Judgement.REAL))
        assert rows(log.path, "SELECT judgement, judged_by FROM inspections") == [("real", "Ana")]


async def test_the_first_acknowledgement_stands(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        seq = await log.append(alarm(81))
        for name in ("Ana", "Bob"):
            await log.append(record.AlarmAcknowledged(alarm="hot", raised_seq=seq, by=name))
        assert rows(log.path, "SELECT acknowledged_by, value FROM alarms") == [("Ana", "81.0")]


async def test_a_lot_ends_the_newest_open_one_of_its_name(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        for _ in range(2):
            await log.append(record.LotStarted(lot="coil-1"))
        await log.append(record.LotEnded(lot="coil-1"))
        ended = [
            row[0] is not None for row in rows(log.path, "SELECT ended_at FROM lots ORDER BY started_seq")
        ]
    assert ended == [False, True]


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(text=_texts, value=st.one_of(st.none(), st.booleans(), _numbers, st.integers(-(2**53), 2**53), _texts))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_an_alarm_says_is_rebuilt_as_it_was(
    tmp_path: Path,
    text: str,
    value: float | str | bool | None,  # noqa: FBT001 - a tag's value may be one
) -> None:
    with opened(tmp_path) as log:
        raised = record.AlarmRaised(
            alarm=text, priority="low", text=text, action=text, value=value, unit=text
        )
        log.submit(raised).result(10)
    before = tables(log.path)
    rebuild(log.path)
    assert tables(log.path) == before
