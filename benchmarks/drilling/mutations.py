"""Damage to files, drawn from a seed: what disks, networks, editors and attackers do to them."""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from random import Random

Mutation = Callable[[Random, bytes], bytes]

# Whole numbers at the borders of the types that lengths and offsets have.
BORDERS = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
# Pieces of text that readers of text stumble over.
PIECES = (
    *(b"\0", b"\r", b"\n", b"\r\n", b'"', b"'", b",", b"\t", b"\\", b"{", b"}", b"[", b"]", b":", b"=", b"#", b"\x1a"),
    *(b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", "\u2028\u0085\u202e".encode(), b"\x85"),
    *(
        b"\\ud800",
        b'"\\udfff"',
        b"\\u0000",
        b"NaN",
        b"-Infinity",
        b"1e400",
        b"-1e-400",
        b"null",
        b"true",
        b"0x10",
        b"--5",
    ),
    *(b"9" * 5000, b"-" + b"1" * 4301, b"0." + b"3" * 5000, b"1e" + b"9" * 30, b"9223372036854775808", b"4294967296"),
    *(b"[" * 2000, b"[" * 100_000, b'{"a":' * 50_000, b"a." * 2000, b"a" * 300_000, b'"' + b"," * 1000, b"\n" * 5000),
    *(
        b"0x" + b"f" * 5000,
        b"1979-13-45",
        b"[[a]]\n",
        b"../" * 400,
        b"[1, [2, {}]]",
        b"{}",
        b"[]",
        b"false",
        b"-1",
        b"2.5",
    ),
)


# Characters between words.
BORDER = re.compile(rb'[ ,:\t\n="]')


def flipped(rng: Random, content: bytes) -> bytes:
    """Flip one to eight bits."""
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if found:
            found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def cut(rng: Random, content: bytes) -> bytes:
    """Cut the end off, or a block out of the middle."""
    start, end = sorted((rng.randint(0, len(content)), rng.randint(0, len(content))))
    return content[:start] if rng.random() < 0.5 else content[:start] + content[end:]


def repeated(rng: Random, content: bytes) -> bytes:
    """Repeat a block, once or a hundred times."""
    start = rng.randint(0, len(content))
    block = content[start : start + rng.choice((1, 4, 64, 1024, len(content)))]
    times = rng.choice((1, 2, 100)) if len(block) < 2000 else 1
    return content[:start] + block * times + content[start:]


def moved(rng: Random, content: bytes) -> bytes:
    """Write one block of the file over another, or exchange two."""
    size = rng.choice((1, 4, 16, 256))
    a, b = (rng.randrange(max(len(content) - size, 1)) for _ in range(2))
    found = bytearray(content)
    found[a : a + size] = content[b : b + size]
    if rng.random() < 0.5:
        found[b : b + size] = content[a : a + size]
    return bytes(found)


def zeroed(rng: Random, content: bytes) -> bytes:
    """Overwrite a block with zeros, with ones or with noise, as a lost page of a disk."""
    start, size = rng.randint(0, len(content)), rng.choice((1, 16, 512, 4096))
    block = rng.choice((b"\0" * size, b"\xff" * size, rng.randbytes(size)))
    return content[:start] + block[: len(content) - start] + content[start + size :]


def bordered(rng: Random, content: bytes) -> bytes:
    """Overwrite a number, at an aligned place or not, with one at the border of a type."""
    form = rng.choice(("<H", "<I", "<i", "<Q", ">H", ">I", ">Q"))
    size = struct.calcsize(form)
    value = rng.choice((*BORDERS, len(content), len(content) - 1, rng.randrange(256)))
    found = bytearray(content)
    if len(found) > size:
        place = rng.randrange(len(found) - size)
        place -= place % rng.choice((1, 4))
        found[place : place + size] = struct.pack(form.upper(), value % 256**size)
    return bytes(found)


def pieced(rng: Random, content: bytes) -> bytes:
    """Put a piece of text that is hard to read somewhere, or in the place of a word."""
    start, piece = rng.randint(0, len(content)), rng.choice(PIECES)
    if rng.random() < 0.5:
        return content[:start] + piece + content[start:]
    begin, end = (found.start() if (found := BORDER.search(content, i)) else len(content) for i in (start, start + 2))
    return content[: begin + 1] + piece + content[max(end, begin + 1) :]


BYTES: tuple[Mutation, ...] = (flipped, cut, repeated, moved, zeroed, bordered)


def in_bytes(rng: Random, content: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Damage a binary file one to three times, or splice it with another."""
    if others and rng.random() < 0.1:
        other = rng.choice(others)
        return content[: rng.randint(0, len(content))] + other[rng.randint(0, len(other)) :]
    for _ in range(rng.choice((1, 1, 2, 3))):
        content = rng.choice(BYTES)(rng, content)
    return content


def in_text(rng: Random, content: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Damage a text file: as a binary one, or with pieces that are hard to read."""
    if rng.random() < 0.3:
        return in_bytes(rng, content, others)
    for _ in range(rng.choice((1, 1, 2, 3))):
        content = pieced(rng, content)
    return content


# Headers of .npy that promise much, nest deeply, name other types or are no headers.
DESCRS = (
    *("'<f4'", "'<f8'", "'|O'", "'<i8'", "'<u8'", "'|b1'", "'<c16'", "'<M8[ns]'", "'|V8'", "'<U3'", "'<U0'", "'>f2'"),
    *(
        "'<U99999999999'",
        "'|S5'",
        "'<g'",
        "'f4,i4'",
        "'(2,3)f4'",
        "[('a', '<f4'), ('b', '|O')]",
        "[('a', '<f4', (99,))]",
    ),
    *(
        "5",
        "None",
        "'nonsense'",
        "''",
        "'<f4'*9",
        "{'a': 1}",
        "'<i4\\0'",
        "('<f4', (2, 3))",
        "'<f16'",
        "'|b7'",
        "'<i4'",
    ),
)
SHAPES = (
    *(
        "()",
        "(0,)",
        "(5,)",
        "(5, 4)",
        "(-1,)",
        "(2**40,)",
        "(1099511627776,)",
        "(4294967296, 4294967296)",
        "(3.0,)",
        "5",
    ),
    *(
        "(True,)",
        "(5, 'a')",
        "(" + "1, " * 70 + ")",
        "(" * 200 + ")" * 200,
        "(" + "9" * 5000 + ",)",
        "(20000, 20000, 3)",
    ),
    *("(6, 8, 8)", "(6, 1)", "(0, 8, 8)", "(6, 0)", "(6, 2, 2, 2)", "(6, 1, 1, 1, 1)", "(64, 6)"),
)


def header(rng: Random) -> bytes:
    """Return a .npy header that may be anything."""
    text = f"{{'descr': {rng.choice(DESCRS)}, 'fortran_order': {rng.choice(('False', 'True', '1', 'None'))}, 'shape':"
    text = rng.choice(
        (f"{text} {rng.choice(SHAPES)}, }}", f"{text} {rng.choice(SHAPES)}", "[" * 3000, "{}", "", "\0 \x85")
    )
    version = rng.choice((1, 1, 1, 2, 3, 9))
    content = text.encode("latin-1")
    length = rng.choice((len(content), len(content), len(content), *BORDERS[:9]))
    packed = struct.pack("<H", length % 2**16) if version == 1 else struct.pack("<I", length % 2**32)
    return b"\x93NUMPY" + bytes((version, 0)) + packed + content


def in_npz(rng: Random, content: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Damage an .npz file: its bytes, the bytes or the header of a member, its directory, or its compression."""
    if rng.random() < 0.3:
        return in_bytes(rng, content, others)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    choice = rng.randrange(6)
    if choice == 0:
        members[name] = in_bytes(rng, members[name])
    elif choice == 1:
        members[name] = header(rng) + rng.randbytes(rng.choice((0, 24, 1536)))
    elif choice == 2:  # a header's text alone
        members[name] = members[name][:10] + in_text(rng, members[name][10:128]) + members[name][128:]
    elif choice == 3:
        other = rng.choice(
            ("x.npy", "y.npy", "x_train.npy", "class_names.npy", "../x.npy", "x", "x.npy/", "\ud7ff.npy")
        )
        members[other] = members.pop(name)
    made = io.BytesIO()
    forms = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    with zipfile.ZipFile(made, "w", rng.choice(forms[:2] if choice < 4 else forms)) as archive:
        for name, inside in members.items():
            archive.writestr(name, inside)
        if choice == 4:
            with_twice = rng.choice(list(members))
            archive.writestr(zipfile.ZipInfo(with_twice), in_bytes(rng, members[with_twice]))
    found = bytearray(made.getvalue())
    if choice == 5:  # flags, compression and sizes in the local or the central directory
        mark = rng.choice((b"PK\x01\x02", b"PK\x03\x04"))
        places = [i for i in range(len(found)) if found[i : i + 4] == mark]
        field = rng.choice(places) + rng.choice((6, 8, 10, 16, 20, 24, 28, 30, 42))
        found[field : field + 4] = struct.pack("<I", rng.choice(BORDERS) % 2**32)
    return bytes(found)


def in_png(rng: Random, content: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Damage an image: its bytes or, in a PNG file, a chunk whose checksum is then made right."""
    if not content.startswith(b"\x89PNG") or rng.random() < 0.4:
        return in_bytes(rng, content, others)
    found, place, chunks = bytearray(content[:8]), 8, []
    while place + 12 <= len(content):
        size = struct.unpack(">I", content[place : place + 4])[0]
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    index = rng.randrange(len(chunks))
    kind, inside = chunks[index]
    if kind == b"IHDR" and rng.random() < 0.7:
        size = struct.pack(">II", rng.choice(BORDERS[:9]) % 2**32, rng.choice(BORDERS[:9]) % 2**32)
        inside = size + bytes((rng.choice((1, 2, 8, 16, 99)), rng.choice((0, 2, 3, 4, 6, 7)), 0, 0, rng.randrange(3)))
    else:
        inside = in_bytes(rng, inside)
    extra = rng.choice((b"tEXt", b"zTXt", b"iTXt", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"eXIf", b"iCCP", b"sBIT"))
    chunks[index] = (kind, inside)
    if rng.random() < 0.2:
        chunks.insert(index, (extra, rng.choice((b"", b"a\0\0" + zlib.compress(b"a" * 10**6), rng.randbytes(40)))))
    for kind, inside in chunks:
        found += struct.pack(">I", len(inside)) + kind + inside + struct.pack(">I", zlib.crc32(kind + inside))
    return bytes(found)
