"""Corpus files to token stores, in three passes: clean and tokenise, find duplicates, write what is left.

The cache key holds the file's content, the options, the vocabulary and the code's version, never the file's name, so that
changed data is never trained on stale. The same key gives the same bytes, whatever the engine, the number of workers and how
often the work was killed and started again.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from chitchat.config import PrepareConfig
from chitchat.corpus.cleaning import Rejected, read_drop_words
from chitchat.corpus.reading.readers import file_kind, read_dialogues
from chitchat.corpus.report import rule_description
from chitchat.corpus.rules.personal_data import redact
from chitchat.errors import CacheError, ConfigError, CorpusError
from chitchat.files import atomic_folder, sha256_of
from chitchat.prepare.assembly import write_store
from chitchat.prepare.cache import PARTIAL_SUFFIX, prepared_folder
from chitchat.prepare.duplicates import find_duplicates
from chitchat.prepare.engines import ENGINES, Work, open_engine
from chitchat.prepare.runs import UNREADABLE, Encoder, raw_runs
from chitchat.prepare.spool import Spool
from chitchat.tokenization.token_store import TokenStore
from chitchat.tokenization.tokenizer import DialogueTokenizer

log = logging.getLogger(__name__)

VERSION = 3
"""Raise when the same input and options should give another store."""
_SMALL_FILE_BYTES = 4_000_000


@dataclass(frozen=True)
class WeightedCorpus:
    """A corpus file and how often each of its samples is seen in an epoch."""

    path: Path
    weight: float = 1.0

    @classmethod
    def parse(cls, text: str) -> WeightedCorpus:
        """From `FILE` or `FILE@WEIGHT`; raises ConfigError for a weight that is not a positive number."""
        name, at, weight = text.rpartition("@")
        if not at or Path(text).exists():
            return cls(Path(text))
        try:
            value = float(weight)
        except ValueError:
            return cls(Path(text))
        if not 0 < value <= 1000:
            raise ConfigError(f"语料 {text}：权重应在 0 到 1000 之间，得到 {weight}")
        return cls(Path(name), value)


def prepare(
    path: Path,
    config: PrepareConfig,
    tokenizer: DialogueTokenizer,
    *,
    engine: str = "local",
    workers: int | None = None,
    show_progress: bool = False,
) -> TokenStore:
    """The token store of one corpus file, made now, continued where it was interrupted, or taken from the cache.

    `engine` is one of `engines.ENGINES`; `workers` None takes every core.

    Raises CorpusError for a file that cannot be read or holds no usable dialogue, and CacheError for a cache that cannot be
    written; what was in the cache stays as it was.
    """
    if engine not in ENGINES:
        raise ConfigError(f"engine 应为 {' / '.join(ENGINES)} 之一，得到 {engine!r}")
    if tokenizer.vocab_size > np.iinfo(np.uint16).max:
        raise ConfigError(f"词表有 {tokenizer.vocab_size} 个 token，上限 65535")
    words = read_drop_words(Path(config.drop_words)) if config.drop_words else frozenset()
    kind = file_kind(path)  # first: it refuses what is no regular file
    stamp, sha256 = _stamp(path), sha256_of(path)
    key = hashlib.sha256(
        json.dumps([VERSION, sha256, asdict(config), sorted(words), tokenizer.fingerprint], sort_keys=True).encode()
    ).hexdigest()[:24]
    folder = prepared_folder() / key
    if _is_finished(folder):
        log.info("%s：使用已有的预处理结果 %s", path, folder)
        return TokenStore(folder)
    partial = folder.with_name(f"{key}{PARTIAL_SUFFIX}")
    source = {
        "name": path.name,
        "sha256": sha256,
        "bytes": stamp[0],
        "format": kind.format,
        "encoding": kind.encoding,
        "options": asdict(config),
        "vocab": tokenizer.fingerprint,
    }
    try:
        with _locked(partial):
            if not _is_finished(folder):  # by the process that held the lock
                _clear_leftovers(folder)
                try:
                    with Spool(partial, with_signatures=bool(config.near_duplicates)) as spool:
                        if not spool.is_complete:
                            encoder = Encoder(config, words, tokenizer)
                            with open_engine(engine, encoder, workers, is_small=stamp[0] < _SMALL_FILE_BYTES) as work:
                                _encode(path, config, spool, work, show_progress=show_progress)
                            if _stamp(path) != stamp:
                                raise CorpusError(path, None, "文件在处理的过程中变了；请等它写完，再运行一次")
                            spool.complete()
                        if show_progress:
                            log.info("%s：在 %d 段对话里找重复的，然后写入", path.name, spool.num_dialogues)
                        _assemble(folder, path, config, tokenizer, spool, source)
                except CorpusError as error:  # the same file will fail again, so nothing of it is worth keeping
                    shutil.rmtree(partial)
                    if error.line is None or config.skip_bad:
                        raise
                    advice = "坏的不多时，可用 --skip-bad 跳过并记下它们"
                    raise CorpusError(error.path, error.line, f"{error.message}；{advice}") from None
            shutil.rmtree(partial)
    except OSError as error:
        raise _cache_fault(error, partial) from None
    return TokenStore(folder)


def _encode(path: Path, config: PrepareConfig, spool: Spool, work: Work, *, show_progress: bool) -> None:
    """The first pass: from where the spool ends to the end of the file."""
    bad: list[Rejected] = []

    def on_bad(error: CorpusError, text: str) -> None:
        bad.append(Rejected(UNREADABLE, error.line or 0, redact(text)))

    with _progress(path, show_progress) as on_bytes:
        dialogues = read_dialogues(path, on_bytes=on_bytes, on_bad=on_bad if config.skip_bad else None)
        if done := spool.tally.read["dialogues"]:
            log.info("%s：接着上次的预处理，已完成 %d 段", path, done)
            next(islice(dialogues, done - 1, None))
            # found among the dialogues done; the reader is not ahead of its last one
            bad.clear()
        for run in work(raw_runs(dialogues, bad)):
            spool.append(run)


def _assemble(
    folder: Path, path: Path, config: PrepareConfig, tokenizer: DialogueTokenizer, spool: Spool, source: dict[str, Any]
) -> None:
    """The second pass and the third: find duplicates, write what is left."""
    original = find_duplicates(spool, config.near_duplicates)
    with atomic_folder(folder) as temporary:
        if not write_store(temporary, spool, original, config, tokenizer, source):
            dropped = "，".join(f"{rule_description(rule)} {count}" for rule, count in spool.tally.dropped.items())
            fault = f"没有一段可用的对话（丢弃：{dropped or '无'}）"
            raise CorpusError(path, None, f"{fault}；每段至少要两句，见 data/README.md 的格式说明")


def _is_finished(folder: Path) -> bool:
    return (folder / "meta.json").is_file()


def _stamp(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change, by which a file that is still being written is known."""
    try:
        status = path.stat()
    except OSError as error:
        raise CorpusError(path, None, f"读不了文件（{error.strerror}）；请检查路径与权限") from None
    return status.st_size, status.st_mtime_ns


@contextmanager
def _locked(partial: Path) -> Iterator[None]:
    """The work folder to oneself: of two processes that want the same store one works and the other waits."""
    while True:
        partial.mkdir(parents=True, exist_ok=True)
        with open(partial / "lock", "wb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("另一个进程正在预处理同一个文件，等它完成……")
                fcntl.flock(stream, fcntl.LOCK_EX)
            # the process before may have removed the folder, and the lock with it
            if _is_same_file(stream, partial / "lock"):
                yield
                return


def _is_same_file(stream: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _clear_leftovers(folder: Path) -> None:
    """What a killed third pass left beside the folder."""
    for leftover in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _cache_fault(error: OSError, partial: Path) -> CacheError:
    place = f"缓存文件夹 {partial.parent}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "请腾出空间，或用环境变量 CHITCHAT_CACHE 换一个地方，再运行一次；已完成的部分会接着用"
        return CacheError(f"{place}：磁盘已满；约需语料大小的三到四倍。{advice}")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return CacheError(f"{place}：不可写（{error.strerror}）；请检查权限，或用环境变量 CHITCHAT_CACHE 换一个地方")
    return CacheError(f"{place}：{error.strerror or error}；请检查磁盘，或用环境变量 CHITCHAT_CACHE 换一个地方")


@contextmanager
def _progress(path: Path, show: bool) -> Iterator[Callable[[int], None]]:
    """A bar on stderr over the bytes of the file, with the time left."""
    if not show:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("剩余"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(f"预处理 {path.name}", total=path.stat().st_size)
        yield lambda count: progress.update(task, completed=count)
        progress.update(task, completed=path.stat().st_size)
