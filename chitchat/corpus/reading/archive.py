"""The texts a corpus file holds: itself, or the members of a zip archive one after another."""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from chitchat.corpus.reading.byte_streams import (
    CHUNK_BYTES,
    READ_ERRORS,
    ZIP_MAGIC,
    Opened,
    ReadLimit,
    open_file,
    open_raw,
    read_fault,
)
from chitchat.corpus.reading.source_file import OnBad, SourceText
from chitchat.errors import CorpusError

log = logging.getLogger(__name__)

_CORPUS_SUFFIXES = frozenset(".txt .jsonl .ndjson .json .csv .tsv .conv .yml .yaml .parquet".split())
_ARCHIVE_SUFFIXES = frozenset(".zip .gz .tgz .tar .bz2 .xz .7z .rar .zst".split())
_ABOUT = ("readme", "license", "licence", ".")


def open_texts(
    path: Path,
    *,
    on_bytes: Callable[[int], None] | None = None,
    on_bad: OnBad | None = None,
    limit: ReadLimit | None = None,
    tell_unread: bool = True,
) -> Iterator[SourceText]:
    """Each text of a file; one must be read before the next is taken. `on_bad` and `limit` are those of `SourceText`.

    With `tell_unread` the number of an archive's members that are left out is logged.

    Raises CorpusError for a file that cannot be opened, and, without `on_bad`, for an archive member that cannot be read.
    """
    if on_bytes is not None:
        on_bytes = _increasing(on_bytes)
    with open_raw(path) as file:
        if file.read(4) != ZIP_MAGIC:
            yield SourceText(path, partial(open_file, path, on_bytes), on_bad=on_bad, limit=limit)
            return
        file.seek(0)
        with io.BufferedReader(file, CHUNK_BYTES) as buffered:
            try:
                archive = zipfile.ZipFile(buffered)
            except (*READ_ERRORS, ValueError) as error:
                raise read_fault(path, None, error) from None
            with archive:
                file.on_bytes = on_bytes
                for member in _members(path, archive, tell_unread=tell_unread):
                    try:
                        yield _text(path / _readable_name(member), archive, member, on_bad, limit)
                    except CorpusError as error:
                        if on_bad is None:
                            raise
                        on_bad(error, "")


def _text(
    path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, on_bad: OnBad | None, limit: ReadLimit | None
) -> SourceText:
    if PurePosixPath(member.filename).suffix.lower() in _ARCHIVE_SUFFIXES:
        raise CorpusError(path, None, "压缩包里还有压缩包；请先解压，再读其中的文件")
    if member.flag_bits & 1:
        raise CorpusError(path, None, "压缩包设了密码；请先用密码解压，再读其中的文件")
    text = SourceText(path, _opener(path, archive, member), on_bad=on_bad, limit=limit)
    if text.is_parquet:
        raise CorpusError(path, None, "压缩包里的 Parquet 表不能就地读；请先解压，再读这个文件")
    return text


def _opener(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Callable[[], Opened]:
    def opened() -> Opened:
        try:
            return io.BufferedReader(archive.open(member), CHUNK_BYTES)  # type: ignore[type-var]
        except (*READ_ERRORS, ValueError) as error:
            raise read_fault(path, None, error) from None

    return opened


def _members(path: Path, archive: zipfile.ZipFile, *, tell_unread: bool) -> list[zipfile.ZipInfo]:
    """The members that may hold dialogues, or an archive; pictures, read-me files and the like are left out."""
    files = [member for member in archive.infolist() if not member.filename.endswith("/")]
    known = _CORPUS_SUFFIXES | _ARCHIVE_SUFFIXES
    chosen = [
        member
        for member in files
        if PurePosixPath(member.filename).suffix.lower() in known
        and not PurePosixPath(member.filename).name.lower().startswith(_ABOUT)
        and "__macosx/" not in member.filename.lower()
    ]
    if not chosen:
        suffixes = " ".join(sorted(_CORPUS_SUFFIXES))
        raise CorpusError(path, None, f"zip 压缩包（xlsx、docx 也是）里没有语料文件，应有 {suffixes} 之一；请检查内容")
    if tell_unread and len(chosen) < len(files):
        log.info("%s：只读其中的 %d 个语料文件，另 %d 个文件（图片、说明等）不读", path, len(chosen), len(files) - len(chosen))
    return chosen


def _readable_name(member: zipfile.ZipInfo) -> str:
    """A member's name; Chinese Windows writes it in GBK without saying so, which zipfile takes for code page 437."""
    name = member.filename
    if not member.flag_bits & 0x800:
        try:
            name = name.encode("cp437").decode("gb18030")
        except UnicodeError:
            pass
    return name.encode("utf-8", "replace").decode("utf-8").replace("\0", "").lstrip("/")


def _increasing(on_bytes: Callable[[int], None]) -> Callable[[int], None]:
    """Tells only of what is new: a file is opened twice, for its beginning first."""
    furthest = 0

    def tell(position: int) -> None:
        nonlocal furthest
        if position > furthest:
            furthest = position
            on_bytes(position)

    return tell
