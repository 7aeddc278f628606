"""Writing files so that a kill or a full disk never leaves half of one."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomic_write(path: Path, mode: str = "w", *, permissions: int = 0o644) -> Iterator[IO[Any]]:
    """A file that appears at `path` whole, or not at all: temp file in the same folder, fsync, rename.

    Text is UTF-8 with `\\n` line ends. Anything raised inside leaves the old file as it was. Only its owner can
    read it before it has its name, and from then on whom `permissions` let.
    """
    with _faults_name(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with _faults_name(path), os.fdopen(handle, mode, **text) as stream:  # type: ignore[call-overload]
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, permissions)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A folder that appears at `path` whole, or not at all; an old one there is replaced.

    The old folder is renamed aside before the new one takes its name, and deleted after.
    """
    import shutil

    with _faults_name(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    aside = temporary.with_suffix(".old")
    try:
        with _faults_name(path):
            yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with open(file, "rb") as stream:
                    os.fsync(stream.fileno())
        os.chmod(temporary, 0o755)
        try:
            with suppress(FileNotFoundError):
                os.replace(path, aside)
            os.replace(temporary, path)
        except BaseException:
            # not when another program has put its own there meanwhile
            if aside.exists() and not path.exists():
                os.replace(aside, path)
            raise
        _sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _faults_name(path: Path) -> Iterator[None]:
    """Lets what cannot be written be told by the name its user gave, not by that of the temporary beside it or none at all."""
    try:
        yield
    except OSError as error:
        if error.errno is None and " requested and " in str(error):  # NumPy's word for a disk that is full
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
        is_temporary = str(error.filename).startswith(str(path.parent / f".{path.name}."))
        if error.errno is not None and (not error.filename or is_temporary):
            error.filename = str(path)
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cache_folder() -> Path:
    """Where things that can be made again are kept; `CHITCHAT_CACHE` moves it."""
    if override := os.environ.get("CHITCHAT_CACHE"):
        return Path(override)
    import platformdirs

    return Path(platformdirs.user_cache_dir("chitchat"))


def sha256_of(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
