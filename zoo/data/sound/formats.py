"""Files of sound: their headers, and their samples.

WAV files are read here, so that a damaged one is named: libraries read what is left of it without a word. FLAC, Ogg
and other formats are read by soundfile, the extra `sound`.
"""

import functools
import importlib.util
import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".wave", ".oga", ".opus")
EXTRA = "pip install 'keras-compression-zoo[sound]'"
# First bytes of a frame of layer III in MPEG-1, MPEG-2 and MPEG-2.5, without and with a checksum (ISO/IEC 11172-3).
_MP3 = (b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"\xff\xf2", b"\xff\xe3", b"\xff\xe2")
# First bytes of the formats that soundfile reads.
_OTHERS = (b"fLaC", b"OggS", b"ID3", *_MP3, b"FORM")
HEADER = 1 << 12  # bytes in which the chunks before the samples are looked for first
# Rates that microphones and files have, in Hz. Others are damage.
LOWEST, HIGHEST = 1_000, 768_000
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_CODECS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "ADPCM", 85: "MP3"}


class Unreadable(ValueError):
    """A file that is not sound, or is damaged or empty; the message says why."""


@dataclass(frozen=True)
class Header:
    """What the header of a file of sound says.

    Args:
        rate: Samples in a second.
        channels: Number of channels.
        frames: Number of samples of each channel.
        type: Type of the samples: u8, i16, i24, i32, f32 or f64; "coded" for files that soundfile reads.
        begin: First byte of the samples.
    """

    rate: int
    channels: int
    frames: int
    type: str
    begin: int = 0

    @property
    def seconds(self) -> float:
        return self.frames / self.rate


_BYTES = {"u8": 1, "i16": 2, "i24": 3, "i32": 4, "f32": 4, "f64": 8}


def is_sound(path: Path) -> bool:
    """Return whether a file is one of sound by its first bytes, whatever it is named."""
    try:
        with path.open("rb") as file:
            begin = file.read(12)
    except OSError:
        return False
    return (begin[:4] in (b"RIFF", b"RF64") and begin[8:] == b"WAVE") or begin.startswith(_OTHERS)


def header(path: Path) -> Header:
    """Return the header of a file; the samples are not read.

    Raises:
        Unreadable: The file is no sound, damaged, or needs the extra `sound`.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            begin = file.read(HEADER)
            if begin[:4] in (b"RIFF", b"RF64"):
                while len(begin) < min(size, 1 << 24):  # other chunks, such as pictures, may stand before the samples
                    try:
                        return _checked(_of_wav(begin, size))
                    except EOFError:
                        begin += file.read(len(begin))
                return _checked(_of_wav(begin, size))
    except EOFError:
        raise Unreadable("it ends within its header") from None
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None
    return _checked(_of_other(begin, path))


def samples(content: bytes) -> tuple[np.ndarray, Header]:
    """Return the samples of a file as float32 (frames, channels), from -1 to 1, and its header.

    Raises:
        Unreadable: The file is no sound, damaged, or needs the extra `sound`.
    """
    if content[:4] not in (b"RIFF", b"RF64"):
        return _decoded(content)
    try:
        found = _checked(_of_wav(content, len(content)))
    except EOFError:
        raise Unreadable("it ends within its header") from None
    if found.type == "coded":
        return _decoded(content)
    end = found.begin + found.frames * found.channels * _BYTES[found.type]
    if any(name == b"data" for name, _, _ in _chunks(content, end + end % 2)):
        raise Unreadable("it has several chunks of samples, of which players may play one or all: store it anew")
    values = _numbers(content[found.begin : end], found.type)
    if not np.isfinite(values).all():
        raise Unreadable("expected finite samples, received NaN or infinite ones")
    return values.reshape(-1, found.channels), found


def _numbers(content: bytes, kind: str) -> np.ndarray:
    if kind == "u8":
        return (np.frombuffer(content, np.uint8).astype(np.float32) - 128) / 128
    if kind == "i24":
        bytes_ = np.frombuffer(content, np.uint8).reshape(-1, 3).astype(np.int32)
        return ((bytes_[:, 0] << 8 | bytes_[:, 1] << 16 | bytes_[:, 2] << 24) / np.float64(1 << 31)).astype(np.float32)
    if kind in ("i16", "i32"):
        bits = 8 * _BYTES[kind] - 1
        return (np.frombuffer(content, f"<i{_BYTES[kind]}") / np.float64(1 << bits)).astype(np.float32)
    return np.frombuffer(content, f"<f{_BYTES[kind]}").astype(np.float32)


def _of_wav(content: bytes, size: int) -> Header:
    """Return the header in the first bytes of a WAV file of some size.

    Raises:
        EOFError: The bytes end before the samples begin.
        Unreadable: The file is damaged.
    """
    if content[8:12] != b"WAVE":
        raise Unreadable("it begins as RIFF and is no WAV file")
    form = None
    for name, begin, length in _chunks(content):
        if name == b"fmt ":
            if length < 16:
                raise Unreadable(f"expected a format of 16 bytes or more, received {length}")
            form = _format(content[begin : begin + length])
        elif name == b"data":
            if form is None:
                raise Unreadable("its samples stand before their format")
            kind, channels, rate, block = form
            if length == 0xFFFFFFFF or content[:4] == b"RF64":  # written into a pipe, or over 4 GB
                length = size - begin
            if begin + length > size:
                raise Unreadable(f"it is cut off: {length:,} bytes of samples are promised, {size - begin:,} are there")
            return Header(rate, channels, length // block, kind, begin)
    raise EOFError


def _chunks(content: bytes, place: int = 12) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, first byte and length of each chunk from a place on."""
    while place + 8 <= len(content):
        name, length = content[place : place + 4], struct.unpack_from("<I", content, place + 4)[0]
        yield name, place + 8, length
        place += 8 + length + length % 2


def _format(content: bytes) -> tuple[str, int, int, int]:
    """Return type, channels, rate and bytes of a frame."""
    if len(content) < 16:
        raise EOFError
    code, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", content)
    if code == _EXTENSIBLE and len(content) >= 26:
        code = struct.unpack_from("<H", content, 24)[0]
    width = block // channels if channels else 0
    kinds = {(_PCM, 1): "u8", (_PCM, 2): "i16", (_PCM, 3): "i24", (_PCM, 4): "i32", (_FLOAT, 4): "f32",
             (_FLOAT, 8): "f64"}  # fmt: skip
    kind = kinds.get((code, width), "coded" if code in _CODECS else "")
    if not kind or not block:
        raise Unreadable(f"expected samples of 8, 16, 24 or 32 bits, received format {code} with {bits} bits")
    return kind, channels, rate, block


def _of_other(begin: bytes, path: Path) -> Header:
    if not begin:
        raise Unreadable("it is empty")
    if not begin.startswith(_OTHERS):
        raise Unreadable("it is not a sound in the format WAV, FLAC, Ogg, MP3 or AIFF")
    soundfile = _soundfile()
    try:
        found = soundfile.info(str(path))
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise Unreadable(" ".join(str(error).split())[:200]) from None
    return Header(found.samplerate, found.channels, found.frames, "coded")


def _decoded(content: bytes) -> tuple[np.ndarray, Header]:
    if not content:
        raise Unreadable("it is empty")
    if not content.startswith((*_OTHERS, b"RIFF")):
        raise Unreadable("it is not a sound in the format WAV, FLAC, Ogg, MP3 or AIFF")
    soundfile = _soundfile()
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            promised = file.frames
            values = file.read(dtype="float32", always_2d=True)
            found = Header(file.samplerate, file.channels, len(values), "coded")
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise Unreadable(" ".join(str(error).split())[:200]) from None
    if len(values) < promised:
        raise Unreadable(f"it is cut off: its header promises {promised:,} samples, {len(values):,} are left")
    return values, _checked(found)


def _checked(found: Header) -> Header:
    if not 1 <= found.channels <= 256 or not LOWEST <= found.rate <= HIGHEST:
        raise Unreadable(f"it promises {found.channels} channels at {found.rate:,} Hz")
    if found.frames < 1:
        raise Unreadable("it has no samples")
    return found


@functools.cache
def _soundfile() -> Any:
    if importlib.util.find_spec("soundfile") is None:
        raise Unreadable(f"files other than WAV with whole or floating samples need soundfile: {EXTRA}")
    import soundfile

    return soundfile
