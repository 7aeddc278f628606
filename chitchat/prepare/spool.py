"""The work folder of one preparation: each run's results appended to flat files, so that a killed preparation goes on.

What counts as written stands in `progress.json`; whatever the files hold beyond that is cut off when they are opened again.
Files are read with `read`, never mapped: mapped pages would count as this process's memory.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from chitchat.corpus.minhash import BANDS, SLOTS
from chitchat.files import atomic_write
from chitchat.prepare.runs import Run, Tally

ARRAYS = {
    "ids": "uint16",
    "message_tokens": "int32",
    "message_chars": "int32",
    "dialogue_messages": "int32",
    "hashes": "uint64",
    "splits": "uint8",
    "lines": "int64",
}
SIGNATURE_ARRAYS = {"signatures": "uint8", "shingles": "uint8"} | {f"band{band}": "uint32" for band in range(BANDS)}
_COUNTED = {"ids": "tokens", "message_tokens": "messages", "message_chars": "messages"}
"""What an array has a value for, unless that is a dialogue."""
_BYTES = ("text", "rejected")
_EXTENTS = ("dialogues", "messages", "tokens", "text", "rejected")
_COMMIT_RUNS = 16


@dataclass(frozen=True, slots=True)
class SpooledRun:
    """A run read back.

    `start` is the index of its first dialogue; see `ARRAYS` and `runs.Run` for the rest.
    """

    start: int
    arrays: dict[str, NDArray[Any]]
    texts: bytes
    rejected: bytes

    @property
    def messages(self) -> list[str]:
        return self.texts.decode("utf-8", "surrogatepass").split("\n")[:-1]

    def spans(self) -> list[slice]:
        """Where each dialogue's messages stand among the run's."""
        ends = np.cumsum(self.arrays["dialogue_messages"]).tolist()
        return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


class Spool:
    """Appended to, then read; use as a context manager.

    Attributes:
        tally: what the runs counted, together.
        num_dialogues: dialogues in it.
        is_complete: True when the whole corpus is in it.
    """

    def __init__(self, folder: Path, *, with_signatures: bool) -> None:
        self.folder = folder
        self.tally = Tally()
        self.is_complete = False
        self._types = ARRAYS | (SIGNATURE_ARRAYS if with_signatures else {})
        self._extents: list[tuple[int, ...]] = []
        self._committed = 0
        self._files = ExitStack()
        folder.mkdir(parents=True, exist_ok=True)
        self._recover()
        self._streams: dict[str, BinaryIO] = {
            name: self._files.enter_context(open(self._path(name), "ab")) for name in (*self._types, *_BYTES)
        }

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # what is still buffered is beyond the last commit, so a disk too full for it is no second error
        with suppress(OSError):
            self._files.close()

    @property
    def num_dialogues(self) -> int:
        return sum(extents[0] for extents in self._extents)

    @property
    def num_runs(self) -> int:
        return len(self._extents)

    def append(self, run: Run) -> None:
        arrays = dict(run.arrays)
        if (bands := arrays.pop("bands", None)) is not None:
            arrays |= {f"band{band}": keys for band, keys in enumerate(bands)}
        for name, array in arrays.items():
            self._streams[name].write(array.astype(self._types[name], copy=False).tobytes())
        self._streams["text"].write(run.texts)
        self._streams["rejected"].write(run.rejected)
        sizes = (len(arrays["hashes"]), len(arrays["message_tokens"]), len(arrays["ids"]), len(run.texts), len(run.rejected))
        self._extents.append(sizes)
        self.tally.add(run.tally)
        if self.num_runs - self._committed >= _COMMIT_RUNS:
            self._commit()

    def complete(self) -> None:
        """Says that the corpus is at its end; a small one is done again sooner than its progress is written down."""
        self.is_complete = True
        for stream in self._streams.values():
            stream.flush()
        if self._committed:
            self._commit()

    def column(self, name: str, block: int) -> Iterator[NDArray[Any]]:
        """An array's values in blocks."""
        with open(self._path(name), "rb") as stream:
            while len(values := np.fromfile(stream, dtype=self._types[name], count=block)):
                yield values

    def rows(self, name: str, indices: NDArray[np.integer[Any]], width: int = 1) -> NDArray[Any]:
        """(indices, width) rows of an array, wherever they stand."""
        size = np.dtype(self._types[name]).itemsize * width
        wanted, places = np.unique(indices, return_inverse=True)
        descriptor = os.open(self._path(name), os.O_RDONLY)
        try:
            found = b"".join([os.pread(descriptor, size, index * size) for index in wanted.tolist()])
        finally:
            os.close(descriptor)
        return np.frombuffer(found, dtype=self._types[name]).reshape(-1, width)[places]

    def signatures(self, indices: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """(indices, SLOTS)"""
        return self.rows("signatures", indices, SLOTS)

    def runs(self) -> Iterator[SpooledRun]:
        """The runs, in order, without their signatures."""
        starts = [0] * len(_EXTENTS)
        for extents in self._extents:
            yield self._run(starts, extents)
            starts = [start + extent for start, extent in zip(starts, extents, strict=True)]

    def dialogue(self, index: int) -> tuple[int, str]:
        """Line and text of one dialogue, its messages a line each."""
        starts = np.cumsum([(0,) * len(_EXTENTS), *self._extents], axis=0)
        number = int(np.searchsorted(starts[:, 0], index, side="right")) - 1
        run = self._run(starts[number].tolist(), self._extents[number])
        place = index - run.start
        return int(run.arrays["lines"][place]), "\n".join(run.messages[run.spans()[place]])

    def _run(self, starts: Sequence[int], extents: Sequence[int]) -> SpooledRun:
        """The run that begins at these places and is so long, both as in `_EXTENTS`."""
        arrays = {}
        for name, kind in ARRAYS.items():
            place = _EXTENTS.index(_COUNTED.get(name, "dialogues"))
            offset = starts[place] * np.dtype(kind).itemsize
            arrays[name] = np.fromfile(self._path(name), kind, extents[place], offset=offset)
        texts, rejected = (self._bytes(name, starts, extents) for name in _BYTES)
        return SpooledRun(starts[0], arrays, texts, rejected)

    def _bytes(self, name: str, starts: Sequence[int], extents: Sequence[int]) -> bytes:
        place = _EXTENTS.index(name)
        with open(self._path(name), "rb") as stream:
            stream.seek(starts[place])
            return stream.read(extents[place])

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.bin"

    def _commit(self) -> None:
        for stream in self._streams.values():  # not synced: after a power cut the files are too short, and the work starts anew
            stream.flush()
        tally = {name: getattr(self.tally, name) for name in ("read", "dropped", "changed", "examples")}
        state = {"extents": self._extents, "tally": tally, "complete": self.is_complete}
        with atomic_write(self.folder / "progress.json") as file:
            json.dump(state, file, ensure_ascii=False)
        self._committed = self.num_runs

    def _recover(self) -> None:
        """Takes up what the last commit holds, and cuts off what came after."""
        try:
            state = json.loads((self.folder / "progress.json").read_text(encoding="utf-8"))
            tally = state["tally"]
            extents = [tuple(sizes) for sizes in state["extents"]]
            self._cut(extents)
        except (OSError, ValueError, KeyError, TypeError):
            self._cut([])
            return
        self._extents, self._committed, self.is_complete = extents, len(extents), state["complete"]
        self.tally = Tally(Counter(tally["read"]), Counter(tally["dropped"]), Counter(tally["changed"]), tally["examples"])

    def _cut(self, extents: list[tuple[int, ...]]) -> None:
        """Cuts every file to the runs given; raises ValueError when one is shorter than that."""
        totals = dict(zip(_EXTENTS, np.array([(0,) * len(_EXTENTS), *extents]).sum(axis=0).tolist(), strict=True))
        sizes = {name: totals[name] for name in _BYTES}
        for name, kind in self._types.items():
            width = SLOTS if name == "signatures" else 1
            sizes[name] = totals[_COUNTED.get(name, "dialogues")] * width * np.dtype(kind).itemsize
        for name, size in sizes.items():
            with open(self._path(name), "ab") as stream:
                if stream.tell() < size:
                    raise ValueError(f"{name} is shorter than its progress says")
                stream.truncate(size)
