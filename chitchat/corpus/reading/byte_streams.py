"""The bytes of a corpus file: opened, gzip undone, counted, cut short or written in UTF-8, and what may go wrong on the way."""

from __future__ import annotations

import codecs
import errno
import gzip
import io
import lzma
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, TypeAlias

from chitchat.corpus.reading.encodings import MARK_UNREADABLE
from chitchat.errors import CorpusError

GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGIC = b"PK\x03\x04"
CHUNK_BYTES = 256 * 1024
Opened: TypeAlias = AbstractContextManager[IO[bytes]]

READ_ERRORS = (EOFError, zlib.error, lzma.LZMAError, OSError, zipfile.BadZipFile, RuntimeError)
"""What reading compressed bytes raises; RuntimeError is zipfile's for a password or a method it does not know."""


_OS_FAULTS = {
    errno.ENOENT: "文件不存在；请检查路径",
    errno.EISDIR: "这是文件夹，应为一个语料文件；请写出其中文件的路径",
    errno.EACCES: "没有读取权限；请用 chmod +r 放开，或换一个用户运行",
    errno.EPERM: "没有读取权限；请用 chmod +r 放开，或换一个用户运行",
    errno.ENAMETOOLONG: "文件名太长；请检查路径",
    errno.ENOTDIR: "路径中间有一段不是文件夹；请检查路径",
    errno.ELOOP: "符号链接绕成了圈；请检查路径",
}


class Transcoded(io.RawIOBase):
    """A stream of another encoding read as UTF-8; NUL stands where bytes could not be decoded."""

    def __init__(self, stream: IO[bytes], codec: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(codec)(MARK_UNREADABLE)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        raw = b"start"
        while raw and not self._rest:
            raw = self._stream.read(CHUNK_BYTES)
            self._rest = self._decoder.decode(raw, final=not raw).encode("utf-8")
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


class TrackedFile(io.FileIO):
    """A file that tells how far it has been read, which a decompressor on top of it does not."""

    on_bytes: Callable[[int], None] | None = None

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        count = super().readinto(buffer) or 0
        if self.on_bytes is not None:
            self.on_bytes(self.tell())
        return count


class ReadLimit:
    """At most so many bytes of a text, for a look at its beginning; `is_reached` tells afterwards that there was more."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.is_reached = False


class Beginning(io.RawIOBase):
    def __init__(self, stream: IO[bytes], limit: ReadLimit) -> None:
        self._stream, self._limit, self._left = stream, limit, limit.max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        raw = self._stream.read(min(len(buffer), self._left + 1))
        self._limit.is_reached |= len(raw) > self._left
        raw = raw[: self._left]
        self._left -= len(raw)
        buffer[: len(raw)] = raw
        return len(raw)


@contextmanager
def open_file(path: Path, on_bytes: Callable[[int], None] | None = None) -> Iterator[IO[bytes]]:
    """A file's bytes, gzip undone; raises CorpusError when it cannot be opened."""
    with open_raw(path) as file:
        file.on_bytes = on_bytes
        buffered = io.BufferedReader(file, CHUNK_BYTES)
        if buffered.peek(2)[:2] == GZIP_MAGIC:
            # The outer buffer makes readline about three times as fast as GzipFile's own.
            yield io.BufferedReader(gzip.GzipFile(fileobj=buffered, mode="rb"), CHUNK_BYTES)
        else:
            yield buffered


def open_raw(path: Path) -> TrackedFile:
    """The file as it is on disk; raises CorpusError when it cannot be opened."""
    try:
        # Checked before opening: opening a named pipe would wait for ever, and a device has no end.
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "")
        if not stat.S_ISREG(mode):
            raise CorpusError(path, None, "不是普通文件（是管道或设备）；请先存成文件再读")
        return TrackedFile(path)
    except OSError as error:
        raise CorpusError(path, None, _os_fault(error)) from None
    except ValueError:  # a NUL or a lone surrogate in the path
        raise CorpusError(path, None, "路径里有不能用的字符；请检查路径") from None


def read_fault(path: Path, line: int | None, error: Exception) -> CorpusError:
    """What reading raised, as a CorpusError at the line that was being read."""
    if isinstance(error, zipfile.BadZipFile | RuntimeError | ValueError):
        return CorpusError(path, line, "zip 数据已损坏，或用了不认得的压缩方法；请重新下载或解压后再读，可用 unzip -t 检查")
    if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
        return CorpusError(path, line, _os_fault(error))
    kind = "不完整（提前结束）" if isinstance(error, EOFError) else "已损坏"
    return CorpusError(path, line, f"压缩数据{kind}；请重新下载或重新压缩，可用 gzip -t 或 unzip -t 检查")


def _os_fault(error: OSError) -> str:
    return _OS_FAULTS.get(error.errno or 0) or f"读不了文件：{error.strerror or error}；请检查磁盘与路径"
