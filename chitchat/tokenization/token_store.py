"""Tokenised dialogues on disk, read through memory maps.

A folder of flat arrays: `ids` holds every message's tokens, each message closed with `[SEP]`; `message_ends` says where each
message ends in `ids`, `dialogue_ends` where each dialogue ends in `message_ends`. Nothing is padded, nothing is cut.
"""

from __future__ import annotations

import json
import mmap
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from chitchat.errors import CorpusError
from chitchat.files import atomic_write

_ARRAYS = {
    "ids": "uint16",
    "message_ends": "int64",
    "message_chars": "uint16",
    "dialogue_ends": "int64",
    "dialogue_hashes": "uint64",
    "splits": "uint8",
}


@dataclass(frozen=True)
class EncodedDialogues:
    """A run of dialogues on their way into a store; lengths count from the run's own start."""

    ids: NDArray[np.uint16]
    """(tokens,)"""
    message_tokens: NDArray[np.int64]
    """(messages,) tokens of each message, `[SEP]` included"""
    message_chars: NDArray[np.uint16]
    """(messages,) characters of each message, for perplexity per character"""
    dialogue_messages: NDArray[np.int64]
    """(dialogues,) messages of each dialogue"""
    hashes: NDArray[np.uint64]
    """(dialogues,) content hashes"""
    splits: NDArray[np.uint8]
    """(dialogues,) see `corpus.splitting.Split`"""


class TokenStoreWriter:
    """Appends runs of dialogues; the store counts as written once `finish` has put `meta.json` beside the arrays."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._files = ExitStack()
        self._streams: dict[str, BinaryIO] = {
            name: self._files.enter_context(open(folder / f"{name}.bin", "wb")) for name in _ARRAYS
        }
        self.num_tokens = self.num_messages = self.num_dialogues = 0

    def __enter__(self) -> TokenStoreWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._files.close()

    def append(self, run: EncodedDialogues) -> None:
        arrays: dict[str, NDArray[Any]] = {
            "ids": run.ids,
            "message_ends": np.cumsum(run.message_tokens) + self.num_tokens,
            "message_chars": run.message_chars,
            "dialogue_ends": np.cumsum(run.dialogue_messages) + self.num_messages,
            "dialogue_hashes": run.hashes,
            "splits": run.splits,
        }
        for name, array in arrays.items():
            self._streams[name].write(array.astype(_ARRAYS[name], copy=False).tobytes())
        self.num_tokens += len(run.ids)
        self.num_messages += len(run.message_tokens)
        self.num_dialogues += len(run.dialogue_messages)

    def finish(self, meta: dict[str, Any]) -> None:
        self._files.close()
        counts = {"tokens": self.num_tokens, "messages": self.num_messages, "dialogues": self.num_dialogues}
        with atomic_write(self.folder / "meta.json") as stream:
            json.dump({**meta, **counts}, stream, ensure_ascii=False, indent=2)


class TokenStore:
    """A finished store.

    Attributes:
        meta: what prepared it: source file, options, counts.
        ids: (tokens,) uint16, memory-mapped.
        message_ends: (messages,) int64, exclusive ends in `ids`.
        message_chars: (messages,) uint16.
        dialogue_ends: (dialogues,) int64, exclusive ends in `message_ends`.
        hashes: (dialogues,) uint64, content hashes.
        splits: (dialogues,) uint8.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self.meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise CorpusError(folder, None, "不是完整的预处理结果（缺少 meta.json）；请重新运行 chitchat prepare") from None
        self.folder = folder
        self.ids = self._map("ids")
        self.message_ends = self._map("message_ends")
        self.message_chars = self._map("message_chars")
        self.dialogue_ends = self._map("dialogue_ends")
        self.hashes = self._map("dialogue_hashes")
        self.splits = self._map("splits")

    def __len__(self) -> int:
        return len(self.dialogue_ends)

    def message(self, index: int) -> NDArray[np.uint16]:
        """Ids of one message, closed with `[SEP]`."""
        start = self.message_ends[index - 1] if index else 0
        return self.ids[start : self.message_ends[index]]

    def dialogue(self, index: int) -> range:
        """Indices of one dialogue's messages."""
        return range(int(self.dialogue_ends[index - 1]) if index else 0, int(self.dialogue_ends[index]))

    def of_split(self, split: int) -> NDArray[np.int64]:
        """Indices of the dialogues of one split."""
        return np.flatnonzero(self.splits == split)

    def release(self) -> None:
        """Gives back the memory of what was read so far; reading goes on as before."""
        for array in (self.ids, self.message_ends, self.message_chars, self.dialogue_ends, self.hashes, self.splits):
            if isinstance(array, np.memmap):
                array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]  # NumPy has no public way

    def report(self) -> dict[str, Any]:
        """What preparing it found: the figures of `chitchat prepare --report`."""
        report: dict[str, Any] = json.loads((self.folder / "report.json").read_text(encoding="utf-8"))
        return report

    def _map(self, name: str) -> NDArray[Any]:
        path = self.folder / f"{name}.bin"
        if not path.stat().st_size:  # an empty file cannot be mapped
            return np.zeros(0, dtype=_ARRAYS[name])
        return np.memmap(path, dtype=_ARRAYS[name], mode="r")
