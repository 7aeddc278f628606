"""A corpus file on disk as texts, and a text as numbered lines or as pieces.

Knows encodings and what a file that holds no text looks like; knows nothing of dialogues. Whatever is wrong with the bytes
becomes a `CorpusError` here, so that the readers see only text.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias

from chitchat.corpus.reading.byte_streams import (
    CHUNK_BYTES,
    READ_ERRORS,
    ZIP_MAGIC,
    Beginning,
    Opened,
    ReadLimit,
    Transcoded,
    open_file,
    read_fault,
)
from chitchat.corpus.reading.byte_streams import GZIP_MAGIC as GZIP_MAGIC
from chitchat.corpus.reading.encodings import (
    BYTE_ENCODINGS,
    CODECS,
    MARK_UNREADABLE,
    NO_CHINESE,
    OTHER_ENCODING,
    UNREADABLE,
    decode_line,
    detect_encoding,
)
from chitchat.errors import CorpusError

PARQUET_MAGIC = b"PAR1"
MAX_LINE_BYTES = 16 * 1024 * 1024
"""Far beyond any dialogue; keeps a gzip bomb or a disk image from filling the memory."""
HEAD_BYTES = 64 * 1024
MAX_RAW_CHARS = 500
"""How much of an unreadable record is handed on."""

OnBad: TypeAlias = Callable[[CorpusError, str], None]
"""Told of a record that cannot be read: the error, and the beginning of its text."""

_BINARY_MAGIC = {
    b"\x89PNG": "PNG 图片",
    b"\xff\xd8\xff": "JPEG 图片",
    b"GIF8": "GIF 图片",
    ZIP_MAGIC: "zip 压缩包（xlsx、docx 也是）",
    b"%PDF-": "PDF",
    PARQUET_MAGIC: "Parquet 表",
    b"BZh": "bzip2 压缩文件",
    b"\xfd7zXZ\x00": "xz 压缩文件",
    b"7z\xbc\xaf\x27\x1c": "7z 压缩包",
    b"Rar!\x1a": "RAR 压缩包",
    b"\x28\xb5\x2f\xfd": "zstd 压缩文件",
    b"SQLite format 3\x00": "SQLite 数据库",
    GZIP_MAGIC: "压缩了两次的 gzip 文件",
}
_UTF32_BOMS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_UTF16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Line(NamedTuple):
    """One line without its line end, and its 1-based number; `UNREADABLE` in place of one that was reported as bad."""

    number: int
    text: str


class SourceText:
    """One text of a corpus file: the file itself, or a member of a zip archive.

    Args:
        path: what messages call it.
        opened: opens its bytes, decompressed.
        on_bad: told of what cannot be read, and reading goes on; without it the first fault is raised.
        limit: how much of it `lines` and `pieces` read.
        encoding: a key of `encodings.CODECS`; detected from the beginning by default.
        may_be_empty: whether a text without anything in it is one.

    Raises CorpusError for bytes that cannot be text.
    """

    def __init__(
        self,
        path: Path,
        opened: Callable[[], Opened],
        *,
        on_bad: OnBad | None = None,
        limit: ReadLimit | None = None,
        encoding: str | None = None,
        may_be_empty: bool = False,
    ) -> None:
        self.path, self.open, self._on_bad, self._limit = path, opened, on_bad, limit
        with opened() as stream:
            try:
                self.head = stream.read(HEAD_BYTES)
            except READ_ERRORS as error:
                raise read_fault(path, None, error) from None
        self.is_parquet = self.head.startswith(PARQUET_MAGIC)
        if not self.is_parquet:
            _check_is_text(path, self.head)
            if not may_be_empty and len(self.head) < HEAD_BYTES and not self.head.strip(b"\xef\xbb\xbf \t\r\n"):
                raise CorpusError(path, None, "文件是空的，应至少有一段对话；请检查它是否写完整")
        self.encoding = encoding or detect_encoding(self.head)
        self._is_ascii_so_far = encoding is None and self.head.isascii()

    def bad(self, line: int | None, fault: str, raw: str = "") -> None:
        """Reports a fault and returns when reading shall go on; raises it as CorpusError otherwise."""
        self._report(CorpusError(self.path, line, fault), raw)

    def _report(self, error: CorpusError, raw: str = "") -> None:
        if self._on_bad is None:
            raise error from None
        self._on_bad(error, raw[:MAX_RAW_CHARS])

    def head_lines(self) -> list[str]:
        """The lines at the beginning that are not blank and, when there are several, whole."""
        head = self.head.decode(CODECS[self.encoding], "ignore").removeprefix("\ufeff")
        lines = head.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if len(self.head) == HEAD_BYTES and len(lines) > 1:
            del lines[-1]
        return [line for line in lines if line.strip()]

    def lines(self) -> Iterator[Line]:
        """The text's lines, one at a time.

        They end in LF, CRLF or CR, and nowhere else: U+2028 is text.
        """
        number = 0
        with self._opened_text(for_lines=True) as stream:
            while True:
                try:
                    raw = stream.readline(MAX_LINE_BYTES)
                    is_too_long = len(raw) == MAX_LINE_BYTES
                    if is_too_long:
                        number += 1
                        self._bad_line(number, raw, f"这一行超过 {MAX_LINE_BYTES >> 20} MB，不像对话；请检查文件格式与换行符")
                        while raw and not raw.endswith(b"\n"):
                            raw = stream.readline(MAX_LINE_BYTES)
                except READ_ERRORS as error:
                    self._report(read_fault(self.path, number + 1, error))
                    return
                if is_too_long:
                    yield Line(number, UNREADABLE)
                    continue
                if not raw:
                    return
                raw = raw.rstrip(b"\r\n") if raw.endswith(b"\n") else raw
                for part in raw.split(b"\r") if b"\r" in raw else (raw,):
                    number += 1
                    try:
                        text = decode_line(part, self.encoding) if self.encoding in BYTE_ENCODINGS else part.decode()
                    except UnicodeDecodeError as error:
                        text = self._otherwise_decoded(number, part, error)
                    else:
                        if "\0" in text:
                            text = self._bad_line(number, part, self._nul_fault())
                    yield Line(number, text.removeprefix("\ufeff") if number == 1 else text)

    def _otherwise_decoded(self, number: int, raw: bytes, error: UnicodeDecodeError) -> str:
        """The first line that is not ASCII tells the encoding, where the beginning of the text could not."""
        if self._is_ascii_so_far and (found := detect_encoding(raw)) in BYTE_ENCODINGS:
            self.encoding, self._is_ascii_so_far = found, False
            return decode_line(raw, found)
        return self._bad_line(number, raw, _undecodable(error, self.encoding))

    def _nul_fault(self) -> str:
        if self.encoding.startswith("UTF-16"):
            return f"有解不出的字节（按 {self.encoding}）；请检查这一行，或重新导出"
        return "含有 NUL 字节，像是二进制文件或 UTF-16，应为文本；请重新导出，或先用 iconv 转换编码"

    def _bad_line(self, number: int, raw: bytes, fault: str) -> str:
        codec = CODECS[self.encoding] if self.encoding in BYTE_ENCODINGS else "utf-8"
        self.bad(number, fault, raw[: 4 * MAX_RAW_CHARS].decode(codec, "replace"))
        return UNREADABLE

    def pieces(self) -> Iterator[str]:
        """The text in pieces of any length, `UNREADABLE` standing where bytes could not be decoded."""
        decoder = codecs.getincrementaldecoder(CODECS[self.encoding])(MARK_UNREADABLE)
        is_first = True
        with self._opened_text(for_lines=False) as stream:
            while True:
                try:
                    raw = stream.read(CHUNK_BYTES)
                except READ_ERRORS as error:
                    self._report(read_fault(self.path, None, error))
                    raw = b""
                text = decoder.decode(raw, final=not raw)
                if text:
                    yield text.removeprefix("\ufeff") if is_first else text
                    is_first = False
                if not raw:
                    return

    @contextmanager
    def _opened_text(self, *, for_lines: bool) -> Iterator[IO[bytes]]:
        with self.open() as stream:
            if self._limit is not None:
                stream = io.BufferedReader(Beginning(stream, self._limit), CHUNK_BYTES)
            if for_lines and self.encoding.startswith("UTF-16"):
                # In UTF-16 the byte 0x0A is in 上 as well, so that only a decoded text has lines.
                stream = io.BufferedReader(Transcoded(stream, CODECS[self.encoding]), CHUNK_BYTES)
            yield stream


def read_head(path: Path) -> bytes:
    """The first 64 KiB after decompression; raises CorpusError for a file that cannot be UTF-8 text."""
    head = SourceText(path, lambda: open_file(path), encoding="UTF-8").head
    if head.startswith(PARQUET_MAGIC):
        raise _binary(path, PARQUET_MAGIC)
    if head.startswith(_UTF16_BOMS):
        raise CorpusError(path, None, "像是 UTF-16 编码，应为 UTF-8；请先转换，例如：iconv -f UTF-16 -t UTF-8 旧文件 > 新文件")
    return head


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a UTF-8 file, plain or gzipped, one at a time; raises CorpusError at the first that is no text."""
    return SourceText(path, lambda: open_file(path), encoding="UTF-8", may_be_empty=True).lines()


def _check_is_text(path: Path, head: bytes) -> None:
    if head.startswith(_UTF32_BOMS):
        raise CorpusError(path, None, "像是 UTF-32 编码；请先转换，例如：iconv -f UTF-32 -t UTF-8 旧文件 > 新文件")
    for magic in _BINARY_MAGIC:
        if head.startswith(magic):
            raise _binary(path, magic)
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        raise CorpusError(path, None, "这是网页（HTML），可能是下载失败的提示页；请检查来源，或导出为 txt、csv 再读")


def _binary(path: Path, magic: bytes) -> CorpusError:
    advice = "应为文本（可用 gzip 或 zip 压缩）；请先转成 txt、jsonl、json、csv 或 tsv"
    return CorpusError(path, None, f"文件是 {_BINARY_MAGIC[magic]}，{advice}")


def _undecodable(error: UnicodeDecodeError, encoding: str) -> str:
    apart = "请把两种编码的部分分开，各存一个文件"
    if error.reason == OTHER_ENCODING:
        return f"这一行是 UTF-8，而文件是 {encoding}；{apart}"
    if encoding == "UTF-8" and (other := detect_encoding(error.object)) in BYTE_ENCODINGS:
        return f"这一行像是 {other}，不是合法的 UTF-8，而文件是 UTF-8；{apart}"
    if error.reason == NO_CHINESE:
        return f"这一行按 {encoding} 解出来不成文字；请检查它，或先转换编码"
    place = f"第 {error.start + 1} 个字节（0x{error.object[error.start]:02x}）不是合法的 {encoding}"
    # a file all in GB18030 or Big5 is known as such and never comes here
    advice = "；整个文件都这样，就不是文本，或是认不出的编码，请重新导出为 UTF-8" if encoding == "UTF-8" else ""
    return f"{place}；请检查这一行{advice}"
