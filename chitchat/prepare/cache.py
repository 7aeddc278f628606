"""What lies in the cache of prepared corpora, and how it goes away."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chitchat.files import cache_folder

PARTIAL_SUFFIX = ".partial"


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A folder of the cache."""

    folder: Path
    name: str
    """Of the corpus file it was made of; empty when that is not known any more."""
    num_bytes: int
    is_finished: bool


def prepared_folder() -> Path:
    """Where the stores lie, each in a folder named by its key; `KEY.partial` is the work folder of one not finished."""
    return cache_folder() / "prepared"


def cache_entries() -> list[CacheEntry]:
    """Every folder of the cache, by name; what a killed process left behind is among them."""
    return sorted(_entries(), key=lambda entry: entry.folder.name)


def clear_cache(*, finished: bool) -> tuple[list[CacheEntry], list[CacheEntry]]:
    """Removes what is not finished, and the finished stores too when asked; gives what it removed and what is being worked on."""
    removed: list[CacheEntry] = []
    busy: list[CacheEntry] = []
    for entry in cache_entries():
        if entry.is_finished and not finished:
            continue
        if _is_locked(entry.folder.parent / f"{_key(entry.folder)}{PARTIAL_SUFFIX}"):
            busy.append(entry)
        else:
            shutil.rmtree(entry.folder)
            removed.append(entry)
    return removed, busy


def _entries() -> Iterator[CacheEntry]:
    if not (root := prepared_folder()).is_dir():
        return
    for folder in root.iterdir():
        if folder.is_dir():
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            try:
                name = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["name"]
            except (OSError, ValueError, KeyError):
                name = ""
            # atomic_folder's temporary folders begin with a dot; one of them may hold a meta.json already
            yield CacheEntry(folder, name, size, bool(name) and not folder.name.startswith("."))


def _key(folder: Path) -> str:
    return folder.name.lstrip(".").split(".")[0]


def _is_locked(partial: Path) -> bool:
    try:
        with open(partial / "lock", "rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
