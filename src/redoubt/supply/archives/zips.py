"""Zip archives, read so strictly that every other reader must see the same members in them.

Readers differ in what they believe: the local headers or the central directory, the first or the last of two entries
with one name, the beginning or the end of a file that is two archives.  Who prepares a file for a scanner and another
for the loader lives on that.  So the whole file must be accounted for: local header, data, descriptor, one after the
other from the first byte to the central directory, which must say the same, and the end record as the last bytes.

Source: PKWARE APPNOTE 6.3.10, sections 4.3 to 4.5.  Not covered: archives of several disks, encryption, methods other
than stored and deflated; they are refused.
"""

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from redoubt.supply.findings import Kind
from redoubt.supply.flaw import Damaged, Flaw, shown

LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_END64, _LOCATOR64, _DESCRIPTOR = b"PK\x06\x06", b"PK\x06\x07", b"PK\x07\x08"
MOST_ENTRIES = 200_000
MOST_INFLATED = 8 * 2**30  # bytes, of all deflated members together
FREE_INFLATED = 64 * 2**20  # bytes that deflated members may always have: arrays of zeros do deflate a thousandfold
MOST_RATIO = 1100  # of unpacked to packed beyond that: deflate itself ends at 1032
_BIG32, _BIG16 = 0xFFFFFFFF, 0xFFFF


@dataclass(frozen=True)
class Member:
    """One entry of an archive: its name, method (0 or 8), sizes in bytes, and where its data begin."""

    name: str
    method: int
    packed: int
    size: int
    crc: int
    start: int
    mode: int


class Zip:
    """A strict look at an archive in memory.

    Args:
        raw: the whole file.

    Raises:
        Damaged: it is no archive, or not one that every reader would read alike.

    Attributes:
        members: in the order of the file; names may still be bad, see `flaws`.
    """

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        start, size, count = self._end()
        self.members = self._members(start, size, count)

    def flaws(self) -> Iterator[Flaw]:
        """What is wrong with names, kinds and sizes of members."""
        seen: dict[str, str] = {}
        for member in self.members:
            yield from _name_flaws(member)
            folded = member.name.casefold()
            if folded in seen:
                yield Flaw(
                    Kind.DECEIVES,
                    shown(member.name),
                    f"has the name of another member, '{shown(seen[folded])}': readers differ in which they take",
                    "write the archive again",
                )
            seen.setdefault(folded, member.name)
        inflated = sum(m.size for m in self.members if m.method)
        packed = sum(m.packed for m in self.members if m.method)
        if inflated > MOST_INFLATED or inflated > FREE_INFLATED + MOST_RATIO * packed:
            yield Flaw(
                Kind.BOMB, "", f"unpacks {packed} bytes to {inflated}", "ask for the file in another form, uncompressed"
            )

    def names(self) -> list[str]:
        """Names of all members."""
        return [member.name for member in self.members]

    def read(self, name: str, most: int = 2**31) -> bytes:
        """A member's bytes.

        Raises:
            Damaged: no such member, more than `most` bytes, or its data are not what its header says.
        """
        member = next((member for member in self.members if member.name == name), None)
        if member is None:
            raise Damaged(shown(name), "is not in the archive")
        return self.unpack(member, most)

    def unpack(self, member: Member, most: int = 2**31) -> bytes:
        """A member's bytes, checked against size and checksum.

        Raises:
            Damaged: more than `most` bytes, or the data are not what the header says.
        """
        here = shown(member.name)
        if member.size > most:
            raise Damaged(here, f"has {member.size} bytes; at most {most} are read", Kind.BOMB)
        packed = self._raw[member.start : member.start + member.packed]
        if member.method == 0:
            content = packed
        else:
            inflater = zlib.decompressobj(-15)
            try:
                content = inflater.decompress(packed, member.size + 1)
            except zlib.error as error:
                raise Damaged(here, f"cannot be unpacked: {error}") from None
            if not inflater.eof or inflater.unused_data or inflater.unconsumed_tail:
                raise Damaged(here, "unpacks to another size than its header says", Kind.DECEIVES)
        if len(content) != member.size:
            raise Damaged(here, "unpacks to another size than its header says", Kind.DECEIVES)
        if zlib.crc32(content) != member.crc:
            raise Damaged(here, "is not what its checksum says; readers differ in whether they look at that")
        return content

    def _end(self) -> tuple[int, int, int]:
        """Start, size and number of entries of the central directory."""
        raw = self._raw
        at = len(raw) - 22
        if at < 0 or raw[at : at + 4] != END:
            if END in raw[-65557:]:
                raise Damaged(
                    "", "has a comment, or bytes after its end, in which another archive can hide", Kind.DECEIVES
                )
            raise Damaged("", "has no end record of a zip archive")
        disk, first, here, count, size, start, comment = struct.unpack_from("<4H2LH", raw, at + 4)
        if comment:
            raise Damaged("", "its end record speaks of a comment that is not there")
        ends = at
        if raw[at - 20 : at - 16] == _LOCATOR64 and at >= 76:
            disk64, where, disks = struct.unpack_from("<LQL", raw, at - 16)
            if where != at - 76 or raw[where : where + 4] != _END64 or disks > 1 or disk64:
                raise Damaged("", "its two end records do not fit together", Kind.DECEIVES)
            length, _, _, d1, d2, here64, count64, size64, start64 = struct.unpack_from("<Q2H2L4Q", raw, where + 4)
            said = ((here, here64, _BIG16), (count, count64, _BIG16), (size, size64, _BIG32), (start, start64, _BIG32))
            if length != 44 or d1 or d2 or any(short not in (full, big) for short, full, big in said):
                raise Damaged("", "its two end records do not say the same", Kind.DECEIVES)
            here, count, size, start, ends = here64, count64, size64, start64, where
        if disk or first or here != count:
            raise Damaged("", "is one part of an archive on several disks")
        if start + size != ends:
            raise Damaged(
                "",
                "its central directory is not where its end record says: bytes stand before or between",
                Kind.DECEIVES,
            )
        if count > MOST_ENTRIES:
            raise Damaged("", f"has {count} entries; at most {MOST_ENTRIES} are read", Kind.BOMB)
        return start, size, count

    def _members(self, start: int, size: int, count: int) -> list[Member]:
        raw, at, end = self._raw, start, start + size
        found: list[tuple[int, Member]] = []
        for _ in range(count):
            if at + 46 > end or raw[at : at + 4] != CENTRAL:
                raise Damaged("", f"its central directory is cut short at byte {at}")
            fields = struct.unpack_from("<6H3L5H2L", raw, at + 4)
            flags, method, crc, packed, plain, names, extras, comments = (fields[i] for i in (2, 3, 6, 7, 8, 9, 10, 11))
            made_by, disk, outer, offset = fields[0], fields[12], fields[14], fields[15]
            after = at + 46 + names + extras + comments
            if after > end:
                raise Damaged("", f"an entry at byte {at} reaches beyond the central directory")
            name = _text(raw[at + 46 : at + 46 + names], flags)
            extra = raw[at + 46 + names : at + 46 + names + extras]
            plain, packed, offset = _zip64(extra, (plain, packed, offset), shown(name))
            if disk or comments:
                raise Damaged(shown(name), "has a comment or stands on another disk", Kind.DECEIVES)
            mode = outer >> 16 if made_by >> 8 in (0, 3) else 0
            _check_flags(flags, method, shown(name))
            found.append((offset, self._local(offset, name, flags, method, crc, packed, plain, mode)))
            at = after
        if at != end:
            raise Damaged("", "its central directory has bytes that belong to no entry", Kind.DECEIVES)
        self._contiguous(found, start)
        return [member for _, member in sorted(found, key=lambda pair: pair[0])]

    def _local(
        self, offset: int, name: str, flags: int, method: int, crc: int, packed: int, plain: int, mode: int
    ) -> Member:
        raw, here = self._raw, shown(name)
        if raw[offset : offset + 4] != LOCAL or offset + 30 > len(raw):
            raise Damaged(here, f"has no local header at byte {offset}", Kind.DECEIVES)
        fields = struct.unpack_from("<5H3L2H", raw, offset + 4)
        its_flags, its_method, its_crc, its_packed, its_plain, names, extras = (
            fields[i] for i in (1, 2, 5, 6, 7, 8, 9)
        )
        its_name = _text(raw[offset + 30 : offset + 30 + names], its_flags)
        extra = raw[offset + 30 + names : offset + 30 + names + extras]
        its_plain, its_packed, _ = _zip64(extra, (its_plain, its_packed, 0), here)
        if its_name != name:
            raise Damaged(
                here,
                f"is called '{shown(its_name)}' in its local header: readers differ in which they believe",
                Kind.DECEIVES,
            )
        later = bool(flags & 8)
        same = (its_crc, its_packed, its_plain) == (crc, packed, plain)
        if its_method != method or its_flags != flags or not (same or (later and not its_crc | its_packed | its_plain)):
            raise Damaged(here, "has a local header that says otherwise than the central directory", Kind.DECEIVES)
        return Member(name, method, packed, plain, crc, offset + 30 + names + extras, mode)

    def _contiguous(self, found: list[tuple[int, Member]], start: int) -> None:
        """Refuse bytes that belong to nothing, and entries that share bytes."""
        at = 0
        for offset, member in sorted(found, key=lambda pair: pair[0]):
            if offset != at:
                what = (
                    "shares bytes with the entry before"
                    if offset < at
                    else "has bytes before it that belong to no entry"
                )
                raise Damaged(shown(member.name), what, Kind.BOMB if offset < at else Kind.DECEIVES)
            at = self._after(member)
        if at != start:
            raise Damaged("", "bytes between the last entry and the central directory belong to nothing", Kind.DECEIVES)

    def _after(self, member: Member) -> int:
        """Where the member's data and its descriptor, if it has one, end."""
        raw, at = self._raw, member.start + member.packed
        for mark in (_DESCRIPTOR, b""):
            for form in ("<LLL", "<LQQ"):
                whole = mark + struct.pack(form, member.crc, *_fit(form, member))
                if (
                    raw[at : at + len(whole)] == whole
                    and raw[at + len(whole) : at + len(whole) + 3] in (LOCAL[:3], CENTRAL[:3])
                ) or (raw[at : at + len(whole)] == whole and mark):
                    return at + len(whole)
        return at


def tail_is_zip(raw: bytes) -> bool:
    """Whether a reader of archives, who begins at the end, would find one in these bytes."""
    at = raw.rfind(END, max(0, len(raw) - 65557))
    while at >= 0 and at + 22 <= len(raw):
        size, start = struct.unpack_from("<2L", raw, at + 12)
        directory = at - size
        if directory >= 0 and raw[directory : directory + 4] == CENTRAL and size:
            return True
        if start == _BIG32 and raw[at - 20 : at - 16] == _LOCATOR64:
            return True
        at = raw.rfind(END, max(0, len(raw) - 65557), at)
    return False


def _fit(form: str, member: Member) -> tuple[int, int]:
    mask = _BIG32 if form == "<LLL" else 2**64 - 1
    return member.packed & mask, member.size & mask


def _text(raw: bytes, flags: int) -> str:
    try:
        return raw.decode("utf-8" if flags & 0x800 else "cp437")
    except UnicodeDecodeError:
        raise Damaged(shown(raw), "is a name that is no text", Kind.DECEIVES) from None


def _check_flags(flags: int, method: int, here: str) -> None:
    if flags & ~(0x8 | 0x800 | 0x6):
        what = "is encrypted" if flags & 0x2041 else f"has flags {flags:#06x}, which are not read here"
        raise Damaged(here, what, Kind.DECEIVES)
    if method not in (0, 8):
        raise Damaged(here, f"is packed by method {method}; only stored and deflated are read", Kind.UNKNOWN_FORMAT)


def _zip64(extra: bytes, values: tuple[int, int, int], here: str) -> tuple[int, int, int]:
    """Sizes and offset with their 64-bit forms in place of those that are marked; other extra fields mean nothing."""
    at, result, seen = 0, list(values), False
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        body = extra[at + 4 : at + 4 + length]
        if len(body) != length:
            break
        if kind == 0x7075:
            raise Damaged(here, "has a second name in an extra field", Kind.DECEIVES)
        if kind == 1:
            if seen:
                raise Damaged(here, "has two 64-bit extra fields", Kind.DECEIVES)
            seen, place = True, 0
            for index in range(3):
                if values[index] == _BIG32:
                    if place + 8 > length:
                        raise Damaged(here, "has a 64-bit extra field that is cut short")
                    result[index] = struct.unpack_from("<Q", body, place)[0]
                    place += 8
        at += 4 + length
    return result[0], result[1], result[2]


def _name_flaws(member: Member) -> Iterator[Flaw]:
    name, here = member.name, shown(member.name)
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or (len(name) > 1 and name[1] == ":"):
        yield Flaw(
            Kind.LEADS_OUTSIDE,
            here,
            "would be unpacked outside the folder it is unpacked in, over whatever lies there",
            "do not unpack it; ask its author for an archive without such names",
        )
    elif not name or "\0" in name or "\\" in name or any(not c.isprintable() for c in name):
        yield Flaw(Kind.DECEIVES, here, "has a name that systems read differently", "write the archive again")
    if stat.S_ISLNK(member.mode):
        yield Flaw(
            Kind.LEADS_OUTSIDE,
            here,
            "is a symbolic link, by which the next member is written elsewhere",
            "do not unpack it; ask its author for an archive of plain files",
        )
    if name.endswith("/") and member.size:
        yield Flaw(Kind.DECEIVES, here, "is a folder with contents of its own", "write the archive again")
