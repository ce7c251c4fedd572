"""Words of a Modbus device to values and back, and which requests to make for them. Pure: no connection here.

A register is 16 bits; wider numbers take several, in the order `word_order` says (the MODBUS application
protocol V1.1b3 fixes only the byte order within one register: most significant byte first).
"""

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from drivers.reading import TagValue

MAX_READ_REGISTERS = 125
MAX_READ_BITS = 2000
MAX_WRITE_REGISTERS = 123
MAX_WRITE_BITS = 1968
"""Per request: MODBUS application protocol V1.1b3, sections 6.1 to 6.4, 6.11 and 6.12."""


class Table(StrEnum):
    """The four address spaces of a device."""

    HOLDING = "holding"
    INPUT = "input"
    COIL = "coil"
    DISCRETE = "discrete"

    @property
    def is_bits(self) -> bool:
        """Whether an address of this table is one bit instead of one register."""
        return self in {Table.COIL, Table.DISCRETE}

    @property
    def max_read(self) -> int:
        """Most addresses that one request may read."""
        return MAX_READ_BITS if self.is_bits else MAX_READ_REGISTERS

    @property
    def max_write(self) -> int:
        """Most addresses that one request may write."""
        return MAX_WRITE_BITS if self.is_bits else MAX_WRITE_REGISTERS


class WordType(StrEnum):
    """How the words of one tag are to be read."""

    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BOOL = "bool"


class WordOrder(StrEnum):
    """Which word of a wide number comes first: big is the most significant one."""

    BIG = "big"
    LITTLE = "little"


_FORMATS = {
    WordType.INT16: ">h",
    WordType.UINT16: ">H",
    WordType.INT32: ">i",
    WordType.UINT32: ">I",
    WordType.INT64: ">q",
    WordType.UINT64: ">Q",
    WordType.FLOAT32: ">f",
    WordType.FLOAT64: ">d",
    WordType.BOOL: ">H",
}


@dataclass(frozen=True, slots=True)
class Words:
    """Where a tag lies in a device and how its words become a value.

    value = raw * scale + offset. `bit` (0 is the least significant) picks one bit of a register. `invalid`
    are raw bit patterns by which the device says that it has no value, as signed or unsigned numbers.
    """

    table: Table
    address: int
    type: WordType
    word_order: WordOrder = WordOrder.BIG
    scale: float = 1.0
    offset: float = 0.0
    bit: int | None = None
    invalid: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """Addresses that it covers."""
        return 1 if self.table.is_bits else struct.calcsize(_FORMATS[self.type]) // 2


class NoValue(ValueError):
    """The words stand for no usable value; the message is the status of the reading."""


class NotEncodable(ValueError):
    """The value does not fit into the words; the message says why."""


# --- words to values and back -----------------------------------------------------------------------------


def decode(words: Words, raw: Sequence[int] | Sequence[bool]) -> TagValue:
    """The value that `raw` (registers, or one bit) stands for.

    Raises:
        NoValue: for a sentinel of the device, and for NaN and infinity.
    """
    if words.table.is_bits:
        return bool(raw[0])
    ordered = raw if words.word_order is WordOrder.BIG else raw[::-1]
    octets = struct.pack(f">{len(raw)}H", *ordered)
    _refuse_sentinels(words, octets)
    number: int | float = struct.unpack(_FORMATS[words.type], octets)[0]
    if words.bit is not None:
        return bool(int(number) >> words.bit & 1)
    if words.type is WordType.BOOL:
        return number != 0
    value = _scaled(number, words.scale, words.offset)
    if isinstance(value, float) and not math.isfinite(value):
        raise NoValue(f"not a finite number ({value})")
    return value


def _refuse_sentinels(words: Words, octets: bytes) -> None:
    if not words.invalid:
        return
    pattern = int.from_bytes(octets)
    mask = (1 << 8 * len(octets)) - 1
    if any(sentinel & mask == pattern for sentinel in words.invalid):
        raise NoValue(f"the device's sign for no value (0x{octets.hex()})")


def _scaled(number: float, scale: float, offset: float) -> int | float:
    if scale == 1 and offset == 0:
        return number
    inverse = round(1 / scale)
    # 3 * 0.1 is 0.30000000000000004 and 3 / 10 is 0.3: a decimal scale is a division
    value = number / inverse if inverse and 1 / inverse == scale else number * scale
    return value + offset


def encode(words: Words, value: TagValue) -> list[int] | list[bool]:
    """The registers, or the one bit, that stand for `value`.

    Raises:
        NotEncodable: if it is no finite number or lies outside what the words can hold.
    """
    if isinstance(value, str):
        raise NotEncodable(f"{value!r} is a text, not a number")
    if words.table.is_bits or words.type is WordType.BOOL:
        return [bool(value)] if words.table.is_bits else [int(bool(value))]
    if not math.isfinite(value):
        raise NotEncodable(f"{value} is not a finite number")
    number = value if words.scale == 1 and words.offset == 0 else (value - words.offset) / words.scale
    code = _FORMATS[words.type]
    try:
        octets = struct.pack(code, number if code[1] in "fd" else round(number))
    except (struct.error, OverflowError) as error:
        raise NotEncodable(f"{value} does not fit into {words.type}") from error
    registers = list(struct.unpack(f">{len(octets) // 2}H", octets))
    return registers if words.word_order is WordOrder.BIG else registers[::-1]


# --- requests ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """One request: `count` addresses of `table` from `address` on; `items` are the positions it serves."""

    table: Table
    address: int
    count: int
    items: tuple[int, ...]


def plan_reads(items: Sequence[Words], max_gap: int = 0) -> list[ReadRequest]:
    """The fewest requests that read all items, each item whole in one of them.

    A request spans at most `max_gap` addresses at a stretch that nobody asked for: many devices refuse a
    request that touches an address which they do not have.
    """
    order = sorted(range(len(items)), key=lambda i: (items[i].table, items[i].address, items[i].count))
    requests: list[ReadRequest] = []
    for i in order:
        item, last = items[i], requests[-1] if requests else None
        end = item.address + item.count
        if last is None or not _joins(last, item, max_gap):
            requests.append(ReadRequest(item.table, item.address, item.count, (i,)))
        else:
            count = max(last.count, end - last.address)
            requests[-1] = ReadRequest(last.table, last.address, count, (*last.items, i))
    return requests


def halve(request: ReadRequest, items: Sequence[Words], max_gap: int = 0) -> list[ReadRequest]:
    """The requests that read the first and the second half of what `request` serves.

    A device refuses a whole request for one address that it does not have: halving finds that address.
    """
    middle = len(request.items) // 2
    found = []
    for half in (request.items[:middle], request.items[middle:]):
        for part in plan_reads([items[i] for i in half], max_gap):
            served = tuple(half[i] for i in part.items)
            found.append(ReadRequest(part.table, part.address, part.count, served))
    return found


def _joins(request: ReadRequest, item: Words, max_gap: int) -> bool:
    return (
        request.table is item.table
        and item.address <= request.address + request.count + max_gap
        and item.address + item.count - request.address <= item.table.max_read
    )


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """One request: `values` into `table` from `address` on; `items` are the positions it serves."""

    table: Table
    address: int
    values: tuple[int, ...] | tuple[bool, ...]
    items: tuple[int, ...]


def plan_writes(items: Iterable[tuple[Words, list[int] | list[bool]]]) -> list[WriteRequest]:
    """The requests that write all items in the order given, neighbours in one request."""
    requests: list[WriteRequest] = []
    for i, (words, raw) in enumerate(items):
        last = requests[-1] if requests else None
        if (
            last is not None
            and last.table is words.table
            and last.address + len(last.values) == words.address
            and len(last.values) + len(raw) <= words.table.max_write
        ):
            requests[-1] = WriteRequest(last.table, last.address, (*last.values, *raw), (*last.items, i))
        else:
            requests.append(WriteRequest(words.table, words.address, tuple(raw), (i,)))
    return requests
