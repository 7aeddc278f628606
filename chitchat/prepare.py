"""Corpus files to token stores: read, clean, split and tokenise in one go, cached by content.

The cache key holds the file's content, the options, the vocabulary and the code's version, never the file's name, so that
changed data is never trained on stale.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

from chitchat.config import PrepareConfig
from chitchat.corpus.cleaning import clean_dialogue, read_drop_words
from chitchat.corpus.readers import read_dialogues
from chitchat.corpus.records import Messages
from chitchat.corpus.splitting import Split, content_hash, split_of
from chitchat.dialogue import Dialogue
from chitchat.errors import ConfigError, CorpusError
from chitchat.files import atomic_folder, cache_folder
from chitchat.tokenization.token_store import EncodedDialogues, TokenStore, TokenStoreWriter
from chitchat.tokenization.tokenizer import DialogueTokenizer

log = logging.getLogger(__name__)

VERSION = 2
"""Raise when the same input and options should give another store."""
_RUN_DIALOGUES = 2000
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
    path: Path, config: PrepareConfig, tokenizer: DialogueTokenizer, *, workers: int | None = None, show_progress: bool = False
) -> TokenStore:
    """The token store of one corpus file, made now or taken from the cache.

    Raises CorpusError for a file that cannot be read or holds no usable dialogue; the cache then stays as it was.
    """
    if tokenizer.vocab_size > np.iinfo(np.uint16).max:
        raise ConfigError(f"词表有 {tokenizer.vocab_size} 个 token，上限 65535")
    words = read_drop_words(Path(config.drop_words)) if config.drop_words else frozenset()
    content = _file_hash(path)
    key = hashlib.sha256(
        json.dumps([VERSION, content, asdict(config), sorted(words), tokenizer.fingerprint], sort_keys=True).encode()
    ).hexdigest()[:24]
    folder = cache_folder() / "prepared" / key
    if (folder / "meta.json").is_file():
        log.info("%s：使用已有的预处理结果 %s", path, folder)
        return TokenStore(folder)
    with atomic_folder(folder) as temporary:
        dropped: Counter[str] = Counter()
        with TokenStoreWriter(temporary) as writer, _progress(path, show_progress) as on_bytes:
            seen: set[int] = set()
            for run, run_dropped in _encoded_runs(path, config, words, tokenizer, on_bytes, workers):
                dropped.update(run_dropped)
                writer.append(_without_duplicates(run, seen, dropped))
            if not writer.num_dialogues:
                raise CorpusError(
                    path,
                    None,
                    f"没有一段可用的对话（丢弃：{dict(dropped) or '无'}）；每段至少要两句，见 data/README.md 的格式说明",
                )
            writer.finish(
                {
                    "name": path.name,
                    "sha256": content,
                    "options": asdict(config),
                    "vocab": tokenizer.fingerprint,
                    "dropped": dict(dropped),
                }
            )
        _ensure_validation(temporary, config)
    return TokenStore(folder)


class _Encoder:
    """Cleans, splits and tokenises a run of dialogues; picklable, so that worker processes can have one each."""

    def __init__(self, config: PrepareConfig, words: frozenset[str], vocab: Sequence[str]) -> None:
        self.config, self.words, self.vocab = config, words, list(vocab)
        self._tokenizer: DialogueTokenizer | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_tokenizer": None}

    def __call__(self, dialogues: Sequence[Messages]) -> tuple[EncodedDialogues, Counter[str]]:
        dropped: Counter[str] = Counter()
        kept: list[Messages] = []
        for messages in dialogues:
            cleaned = clean_dialogue(Dialogue(messages), self.config, self.words)
            kept.extend(piece.messages for piece in cleaned.dialogues)
            if cleaned.dropped:
                dropped.update(cleaned.dropped)
        return self._encoded(kept), dropped

    def _encoded(self, dialogues: Sequence[Messages]) -> EncodedDialogues:
        tokenizer = self._tokenizer = self._tokenizer or DialogueTokenizer(self.vocab)
        messages = list(chain.from_iterable(dialogues))
        ids, message_tokens = tokenizer.encode_all(messages)
        hashes = [content_hash(dialogue) for dialogue in dialogues]
        splits = [split_of(hash_, self.config.validation_fraction, self.config.test_fraction) for hash_ in hashes]
        return EncodedDialogues(
            ids=ids.astype(np.uint16),
            message_tokens=message_tokens,
            message_chars=np.minimum([len(message) for message in messages], 65535).astype(np.uint16),
            dialogue_messages=np.array([len(dialogue) for dialogue in dialogues], dtype=np.int64),
            hashes=np.array(hashes, dtype=np.uint64),
            splits=np.array(splits, dtype=np.uint8),
        )


def _encoded_runs(
    path: Path,
    config: PrepareConfig,
    words: frozenset[str],
    tokenizer: DialogueTokenizer,
    on_bytes: Callable[[int], None],
    workers: int | None,
) -> Iterator[tuple[EncodedDialogues, Counter[str]]]:
    encoder = _Encoder(config, words, tokenizer.tokens)
    # bare messages: a Dialogue takes six times as long to send to another process
    messages = (dialogue.messages for dialogue in read_dialogues(path, on_bytes=on_bytes))
    runs = _batched(messages, _RUN_DIALOGUES)
    workers = len(os.sched_getaffinity(0)) if workers is None else workers
    if workers <= 1 or path.stat().st_size < _SMALL_FILE_BYTES:
        yield from map(encoder, runs)
        return
    # spawn, not fork: the caller may have started torch's threads already
    with multiprocessing.get_context("spawn").Pool(workers, initializer=_start_worker, initargs=(encoder,)) as pool:
        yield from pool.imap(_encode_in_worker, runs)


_worker_encoder: _Encoder


def _start_worker(encoder: _Encoder) -> None:
    global _worker_encoder
    _worker_encoder = encoder


def _encode_in_worker(dialogues: list[Messages]) -> tuple[EncodedDialogues, Counter[str]]:
    return _worker_encoder(dialogues)


def _without_duplicates(run: EncodedDialogues, seen: set[int], dropped: Counter[str]) -> EncodedDialogues:
    """The run without dialogues seen before in this file, word for word."""
    fresh = []
    for hash_ in run.hashes.tolist():
        fresh.append(hash_ not in seen)
        seen.add(hash_)
    if all(fresh):
        return run
    keep = np.array(fresh)
    dropped["duplicate"] += int((~keep).sum())
    messages = np.repeat(keep, run.dialogue_messages)
    return EncodedDialogues(
        run.ids[np.repeat(messages, run.message_tokens)],
        run.message_tokens[messages],
        run.message_chars[messages],
        run.dialogue_messages[keep],
        run.hashes[keep],
        run.splits[keep],
    )


def _ensure_validation(folder: Path, config: PrepareConfig) -> None:
    """Gives a small corpus at least one validation dialogue and one training dialogue, chosen by hash."""
    splits = np.fromfile(folder / "splits.bin", dtype=np.uint8)
    hashes = np.fromfile(folder / "dialogue_hashes.bin", dtype=np.uint64)
    order = np.argsort(hashes)
    if not (splits == Split.TRAIN).any():
        splits[order[-1]] = Split.TRAIN
    elif config.validation_fraction and not (splits == Split.VALIDATION).any() and (splits == Split.TRAIN).sum() > 1:
        train = order[splits[order] == Split.TRAIN]
        splits[train[0]] = Split.VALIDATION
    splits.tofile(folder / "splits.bin")


def _file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise CorpusError(path, None, f"读不了文件（{error.strerror}）；请检查路径与权限") from None
    return digest.hexdigest()


@contextlib.contextmanager
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


def _batched(items: Iterable[Messages], size: int) -> Iterator[list[Messages]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
