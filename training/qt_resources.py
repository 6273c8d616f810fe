"""Read the files of a Qt resource collection (`.rcc`), in which GCompris ships its pictures."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

FOLDER, ZLIB, ZSTD = 2, 1, 4


def files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Each file's path inside the collection, and its bytes; `ValueError` where `path` is no such collection.

    The format is that of Qt's own reader (qresource.cpp): a header of big-endian numbers, and three tables, of
    data, of names and of nodes. The first node is the root; a folder's children are neighbours.
    """
    content = path.read_bytes()
    magic, version, nodes, data, names = struct.unpack_from(">4s4I", content)
    if magic != b"qres" or not 1 <= version <= 3:
        raise ValueError(f"{path}: not a resource collection of version 1 to 3")
    size = 14 if version == 1 else 22

    def name(offset: int) -> str:
        (length,) = struct.unpack_from(">H", content, names + offset)
        start = names + offset + 6
        return content[start : start + 2 * length].decode("utf-16-be")

    def walk(index: int, prefix: str) -> Iterator[tuple[str, bytes]]:
        at = nodes + index * size
        offset, flags = struct.unpack_from(">IH", content, at)
        own = prefix + name(offset) if index else prefix
        if flags & FOLDER:
            count, first = struct.unpack_from(">II", content, at + 6)
            for child in range(first, first + count):
                yield from walk(child, f"{own}/" if own else "")
            return
        (where,) = struct.unpack_from(">I", content, at + 10)
        (length,) = struct.unpack_from(">I", content, data + where)
        packed = content[data + where + 4 : data + where + 4 + length]
        if flags & ZLIB:
            packed = zlib.decompress(packed[4:])
        elif flags & ZSTD:
            raise ValueError(f"{path}: {own} is compressed with zstd")
        yield own, packed

    return walk(0, "")
