"""The wire format of Protocol Buffers, as far as it takes to walk through a message that nobody vouches for.

Source: protobuf.dev/programming-guides/encoding.  Groups, which no current schema has, are refused.
"""

from collections.abc import Iterator

from redoubt.supply.flaw import Damaged

Field = tuple[int, int | memoryview]
"""Number, and a whole number (wire type 0) or bytes (types 1, 2 and 5)."""


def fields(raw: memoryview, place: str) -> Iterator[Field]:
    """The fields of one message, in order.

    Raises:
        Damaged: it is no message.
    """
    at, end = 0, len(raw)
    while at < end:
        key, at = _varint(raw, at, place)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise Damaged(place, "has a field with the number 0")
        if kind == 0:
            value, at = _varint(raw, at, place)
            yield number, value
            continue
        if kind == 2:
            size, at = _varint(raw, at, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise Damaged(place, f"has a field of wire type {kind}")
        if size > end - at:
            raise Damaged(place, f"speaks of {size} bytes that are not there")
        yield number, raw[at : at + size]
        at += size


def text_of(value: int | memoryview, place: str) -> str:
    """A field's text.

    Raises:
        Damaged: it is none.
    """
    if isinstance(value, int):
        raise Damaged(place, "has a number where a text should be")
    return bytes(value).decode("utf-8", "backslashreplace")


def message_of(value: int | memoryview, place: str) -> memoryview:
    """A field's message.

    Raises:
        Damaged: it is none.
    """
    if isinstance(value, int):
        raise Damaged(place, "has a number where a message should be")
    return value


def numbers_of(value: int | memoryview, place: str) -> list[int]:
    """Whole numbers, packed or alone.

    Raises:
        Damaged: they are none.
    """
    if isinstance(value, int):
        return [value]
    found, at = [], 0
    while at < len(value):
        number, at = _varint(value, at, place)
        found.append(number)
    return found


def _varint(raw: memoryview, at: int, place: str) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(raw):
            raise Damaged(place, "ends within a number")
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
    raise Damaged(place, "has a number of more than 64 bits")
