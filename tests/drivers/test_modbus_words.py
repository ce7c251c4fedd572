import math
import struct
from collections.abc import Sequence
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus_words import (
    NotEncodable,
    NoValue,
    ReadRequest,
    Table,
    WordOrder,
    Words,
    WordType,
    decode,
    encode,
    halve,
    plan_reads,
    plan_writes,
)

NUMBERS = [kind for kind in WordType if kind is not WordType.BOOL]


def words(kind: WordType, **more: object) -> Words:
    return Words(Table.HOLDING, 0, kind, **more)  # type: ignore[arg-type] # the tests name the fields


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (WordType.INT16, [0xCFC7], -12345),
        (WordType.UINT16, [0xCFC7], 53191),
        (WordType.INT32, [0xB669, 0xFD2E], -1234567890),
        (WordType.UINT32, [0xB669, 0xFD2E], 3060399406),
        (WordType.INT64, [0xEEDD, 0xEF0B, 0x8216, 0x7EEB], -1234567890123456789),
        (WordType.UINT64, [0x1122, 0x10F4, 0x7DE9, 0x8115], 1234567890123456789),
        (WordType.FLOAT32, [0x42F6, 0xE979], 123.45600128173828),
        (WordType.FLOAT64, [0x405E, 0xDD2F, 0x1A9F, 0xBE77], 123.456),
        (WordType.BOOL, [0x0100], True),
        (WordType.BOOL, [0x0000], False),
    ],
)
def test_words_of_each_type_have_the_value_that_the_standards_say(
    kind: WordType, raw: list[int], value: float
) -> None:
    assert decode(words(kind), raw) == value
    assert type(decode(words(kind), raw)) is type(value)
    little = words(kind, word_order=WordOrder.LITTLE)
    assert decode(little, raw[::-1]) == value


def test_a_coil_is_a_bool() -> None:
    coil = Words(Table.COIL, 3, WordType.BOOL)
    assert decode(coil, [True]) is True
    assert encode(coil, 0) == [False]


@pytest.mark.parametrize("bit", range(16))
def test_bit_0_is_the_least_significant(bit: int) -> None:
    assert decode(words(WordType.BOOL, bit=bit), [1 << bit]) is True
    assert decode(words(WordType.BOOL, bit=bit), [0xFFFF ^ (1 << bit)]) is False


def test_a_decimal_scale_gives_the_decimal_that_a_person_would_write() -> None:
    for raw in range(-300, 300):
        assert decode(words(WordType.INT16, scale=0.1), [raw & 0xFFFF]) == float(f"{raw}e-1")


def test_scale_and_offset_apply_in_this_order() -> None:
    assert decode(words(WordType.INT16, scale=2.0, offset=-10.0), [7]) == 4.0
    assert encode(words(WordType.INT16, scale=2.0, offset=-10.0), 4.0) == [7]


@pytest.mark.parametrize("sentinel", [0x8000, -0x8000])
def test_a_sentinel_may_be_given_signed_or_unsigned(sentinel: int) -> None:
    with pytest.raises(NoValue, match="0x8000"):
        decode(words(WordType.INT16, invalid=(sentinel,)), [0x8000])


@pytest.mark.parametrize("kind", [WordType.FLOAT32, WordType.FLOAT64])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_not_a_number_and_infinity_are_no_value(kind: WordType, number: float) -> None:
    code = ">f" if kind is WordType.FLOAT32 else ">d"
    octets = struct.pack(code, number)
    raw = list(struct.unpack(f">{len(octets) // 2}H", octets))
    with pytest.raises(NoValue):
        decode(words(kind), raw)


def test_a_scale_that_overflows_is_no_value() -> None:
    with pytest.raises(NoValue):
        decode(words(WordType.FLOAT64, scale=1e200), list(struct.unpack(">4H", struct.pack(">d", 1e200))))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (WordType.UINT16, -1),
        (WordType.UINT16, 65536),
        (WordType.INT16, 32768),
        (WordType.FLOAT32, 1e39),
        (WordType.FLOAT32, math.nan),
        (WordType.INT32, math.inf),
        (WordType.UINT32, "7"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(kind: WordType, value: float | str) -> None:
    with pytest.raises(NotEncodable):
        encode(words(kind), value)


@given(
    st.sampled_from(list(WordType)),
    st.sampled_from(list(WordOrder)),
    st.lists(st.integers(0, 65535), max_size=8),
)
def test_any_words_give_a_finite_value_or_none(kind: WordType, order: WordOrder, raw: list[int]) -> None:
    tag = words(kind, word_order=order)
    raw = (raw + [0] * 4)[: tag.count]
    try:
        value = decode(tag, raw)
    except NoValue:
        return
    assert math.isfinite(float(value))
    if kind is not WordType.BOOL:
        assert encode(tag, value) == raw


@given(
    st.sampled_from([kind for kind in NUMBERS if "int" in kind]), st.sampled_from(list(WordOrder)), st.data()
)
def test_what_is_encoded_is_decoded_again(kind: WordType, order: WordOrder, data: st.DataObject) -> None:
    bits = int(kind.removeprefix("u").removeprefix("int"))
    low, high = (0, 2**bits - 1) if kind.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    value = data.draw(st.integers(low, high))
    tag = words(kind, word_order=order)
    assert decode(tag, encode(tag, value)) == value


# --- requests ---------------------------------------------------------------------------------------------

ITEMS = st.lists(
    st.builds(
        Words,
        st.sampled_from([Table.HOLDING, Table.INPUT]),
        st.integers(0, 400),
        st.sampled_from([WordType.UINT16, WordType.UINT32, WordType.FLOAT64]),
    ),
    max_size=30,
)


@given(ITEMS, st.integers(0, 130))
def test_every_item_is_read_whole_once_within_the_limits(items: list[Words], max_gap: int) -> None:
    plan = plan_reads(items, max_gap)
    assert sorted(i for request in plan for i in request.items) == list(range(len(items)))
    for request in plan:
        assert 1 <= request.count <= request.table.max_read
        for i in request.items:
            assert items[i].table is request.table
            assert request.address <= items[i].address
            assert items[i].address + items[i].count <= request.address + request.count


@given(
    st.lists(st.tuples(st.integers(0, 260), st.sampled_from(list(WordType))), max_size=7), st.integers(0, 130)
)
def test_no_plan_needs_fewer_requests(where: list[tuple[int, WordType]], max_gap: int) -> None:
    items = [Words(Table.HOLDING, address, kind) for address, kind in where]
    assert len(plan_reads(items, max_gap)) == _fewest(items, max_gap)


def _fewest(items: Sequence[Words], max_gap: int) -> int:
    """By trying every way to divide the items into requests."""
    if not items:
        return 0
    best = len(items)
    first, rest = items[0], range(1, len(items))
    for size in range(len(items)):
        for others in combinations(rest, size):
            if _fits([first, *(items[i] for i in others)], max_gap):
                left = [items[i] for i in rest if i not in others]
                best = min(best, 1 + _fewest(left, max_gap))
    return best


def _fits(items: Sequence[Words], max_gap: int) -> bool:
    asked = {item.address + i for item in items for i in range(item.count)}
    ordered = sorted(asked)
    gaps = [b - a - 1 for a, b in pairwise(ordered)]
    return ordered[-1] - ordered[0] < 125 and max(gaps, default=0) <= max_gap


def test_neighbours_are_read_in_one_request_and_gaps_are_left_alone() -> None:
    items = [Words(Table.HOLDING, a, WordType.UINT16) for a in (0, 1, 2, 10)]
    assert plan_reads(items) == [
        ReadRequest(Table.HOLDING, 0, 3, (0, 1, 2)),
        ReadRequest(Table.HOLDING, 10, 1, (3,)),
    ]
    assert plan_reads(items, max_gap=7) == [ReadRequest(Table.HOLDING, 0, 11, (0, 1, 2, 3))]


@given(ITEMS.filter(lambda items: len(items) > 1), st.integers(0, 130))
def test_halving_a_request_reads_the_same_items(items: list[Words], max_gap: int) -> None:
    for request in plan_reads(items, max_gap):
        if len(request.items) > 1:
            halves = halve(request, items, max_gap)
            assert sorted(i for half in halves for i in half.items) == sorted(request.items)
            assert all(len(half.items) < len(request.items) for half in halves)


def test_neighbouring_registers_are_written_in_one_request_and_the_coil_after_them() -> None:
    block = [
        (Words(Table.HOLDING, 101, WordType.UINT16), 4),
        (Words(Table.HOLDING, 102, WordType.UINT16), 2),
        (Words(Table.HOLDING, 103, WordType.UINT32), 123456),
        (Words(Table.COIL, 0, WordType.BOOL), True),
    ]
    plan = plan_writes([(tag, encode(tag, value)) for tag, value in block])
    assert [(request.table, request.address, request.values) for request in plan] == [
        (Table.HOLDING, 101, (4, 2, 1, 57920)),
        (Table.COIL, 0, (True,)),
    ]


@given(st.lists(st.tuples(st.sampled_from([Table.HOLDING, Table.COIL]), st.integers(0, 300)), max_size=40))
def test_writes_keep_their_order(where: list[tuple[Table, int]]) -> None:
    items = [
        (Words(table, at, WordType.BOOL if table.is_bits else WordType.UINT16), [1 if table.is_bits else at])
        for table, at in where
    ]
    written = [
        (request.table, request.address + i)
        for request in plan_writes(items)
        for i in range(len(request.values))
    ]
    assert written == where
