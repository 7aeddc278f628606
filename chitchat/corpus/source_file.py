"""A corpus file on disk as numbered lines of text.

Knows gzip, UTF-8 and what a file that is neither looks like; knows nothing of dialogues. Whatever is wrong with the bytes
becomes a `CorpusError` here, so that the readers see only text.
"""

from __future__ import annotations

import errno
import gzip
import io
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from chitchat.errors import CorpusError

GZIP_MAGIC = b"\x1f\x8b"
MAX_LINE_BYTES = 16 * 1024 * 1024
"""Far beyond any dialogue; keeps a gzip bomb or a disk image from filling the memory."""
HEAD_BYTES = 64 * 1024
_CHUNK_BYTES = 256 * 1024

_BINARY_MAGIC = {
    b"\x89PNG": "PNG 图片",
    b"\xff\xd8\xff": "JPEG 图片",
    b"GIF8": "GIF 图片",
    b"PK\x03\x04": "zip 压缩包（xlsx、docx 也是）",
    b"%PDF-": "PDF",
    b"PAR1": "Parquet 表",
    b"BZh": "bzip2 压缩文件",
    b"\xfd7zXZ\x00": "xz 压缩文件",
    b"7z\xbc\xaf\x27\x1c": "7z 压缩包",
    b"Rar!\x1a": "RAR 压缩包",
    b"\x28\xb5\x2f\xfd": "zstd 压缩文件",
    b"SQLite format 3\x00": "SQLite 数据库",
    GZIP_MAGIC: "压缩了两次的 gzip 文件",
}
_UTF16_OR_32 = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_OS_FAULTS = {
    errno.ENOENT: "文件不存在；请检查路径",
    errno.EISDIR: "这是文件夹，应为一个语料文件；请写出其中文件的路径",
    errno.EACCES: "没有读取权限；请用 chmod +r 放开，或换一个用户运行",
    errno.EPERM: "没有读取权限；请用 chmod +r 放开，或换一个用户运行",
    errno.ENAMETOOLONG: "文件名太长；请检查路径",
    errno.ENOTDIR: "路径中间有一段不是文件夹；请检查路径",
    errno.ELOOP: "符号链接绕成了圈；请检查路径",
}


class Line(NamedTuple):
    """One line without its line end, and its 1-based number."""

    number: int
    text: str


class _CountedFile(io.FileIO):
    """A file that knows how many of its bytes on disk were read, which a decompressor on top of it does not."""

    consumed = 0

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        count = super().readinto(buffer) or 0
        self.consumed += count
        return count


def read_head(path: Path) -> bytes:
    """The first 64 KiB after decompression; raises CorpusError for a file that cannot be text."""
    with _opened(path) as (stream, _):
        try:
            head = stream.read(HEAD_BYTES)
        except _READ_ERRORS as error:
            raise _read_fault(path, None, error) from None
    if head.startswith(_UTF16_OR_32):
        raise CorpusError(path, None, "像是 UTF-16/32 编码，应为 UTF-8；请先转换，例如：iconv -f UTF-16 -t UTF-8 旧文件 > 新文件")
    for magic, kind in _BINARY_MAGIC.items():
        if head.startswith(magic):
            raise CorpusError(
                path, None, f"文件是 {kind}，应为 UTF-8 文本（可用 gzip 压缩）；请先转成 txt、jsonl、json、csv 或 tsv"
            )
    if len(head) < HEAD_BYTES and not head.strip(b"\xef\xbb\xbf \t\r\n"):
        raise CorpusError(path, None, "文件是空的，应至少有一段对话；请检查它是否写完整")
    return head


def read_lines(path: Path, on_bytes: Callable[[int], None] | None = None, *, limited: bool = True) -> Iterator[Line]:
    """The file's lines, decompressed and decoded, one at a time.

    Lines end in LF, CRLF or CR, and nowhere else: U+2028 is text. `limited=False` allows lines of any length (a JSON file on
    one line). Raises CorpusError with the line of the first byte that is not UTF-8 text.
    """
    number = 0
    reported = -1
    with _opened(path) as (stream, file):
        while True:
            try:
                raw = stream.readline(MAX_LINE_BYTES if limited else -1)
            except _READ_ERRORS as error:
                raise _read_fault(path, number + 1, error) from None
            if on_bytes is not None and file.consumed != reported:
                on_bytes(reported := file.consumed)
            if not raw:
                return
            if limited and len(raw) == MAX_LINE_BYTES:
                raise CorpusError(path, number + 1, f"这一行超过 {MAX_LINE_BYTES >> 20} MB，不像对话；请检查文件格式与换行符")
            raw = raw.rstrip(b"\r\n") if raw.endswith(b"\n") else raw
            for part in raw.split(b"\r") if b"\r" in raw else (raw,):
                number += 1
                yield Line(number, _decode(path, number, part))


def _decode(path: Path, number: int, raw: bytes) -> str:
    if b"\0" in raw:
        advice = "应为 UTF-8 文本；请先转换，例如：iconv -f UTF-16 -t UTF-8"
        raise CorpusError(path, number, f"含有 NUL 字节，像是二进制文件或 UTF-16，{advice}")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        place = f"第 {error.start + 1} 个字节（0x{raw[error.start]:02x}）不是合法的 UTF-8"
        raise CorpusError(path, number, f"{place}；请先转换编码，例如：iconv -f GB18030 -t UTF-8 旧文件 > 新文件") from None
    return text.removeprefix("\ufeff") if number == 1 else text


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], _CountedFile]]:
    try:
        # Checked before opening: opening a named pipe would wait for ever, and a device has no end.
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "")
        if not stat.S_ISREG(mode):
            raise CorpusError(path, None, "不是普通文件（是管道或设备）；请先存成文件再读")
        file = _CountedFile(path)
    except OSError as error:
        raise CorpusError(path, None, _os_fault(error)) from None
    except ValueError:  # a NUL or a lone surrogate in the path
        raise CorpusError(path, None, "路径里有不能用的字符；请检查路径") from None
    with file:
        buffered = io.BufferedReader(file, _CHUNK_BYTES)
        if buffered.peek(2)[:2] == GZIP_MAGIC:
            # The outer buffer makes readline about three times as fast as GzipFile's own.
            yield io.BufferedReader(gzip.GzipFile(fileobj=buffered, mode="rb"), _CHUNK_BYTES), file
        else:
            yield buffered, file


_READ_ERRORS = (EOFError, zlib.error, OSError)


def _read_fault(path: Path, line: int | None, error: Exception) -> CorpusError:
    """What reading raised, as a CorpusError at the line that was being read."""
    if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
        return CorpusError(path, line, _os_fault(error))
    kind = "不完整（提前结束）" if isinstance(error, EOFError) else "已损坏"
    return CorpusError(path, line, f"gzip 数据{kind}；请重新下载或重新压缩，可用 gzip -t 检查")


def _os_fault(error: OSError) -> str:
    return _OS_FAULTS.get(error.errno or 0) or f"读不了文件：{error.strerror or error}；请检查磁盘与路径"
