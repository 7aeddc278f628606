"""Where scored rows go: standard output, or a file that appears whole and whose writing survives a kill.

While a file is written its rows stand in `OUTPUT.partial`, and `OUTPUT.partial.json` tells how far they are good and of which
run. A kill between the two leaves rows that are cut off and scored again, never half a row. A lock on `OUTPUT.partial` keeps a
second run away.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from chitchat.errors import ConfigError
from chitchat.files import atomic_write

logger = logging.getLogger(__name__)

_COMPRESSED = frozenset({".gz", ".zip", ".bz2", ".xz", ".zst", ".7z"})


class ScoreOutput(Protocol):
    """Takes scored rows; `rows` and `truncated` count those taken, an earlier run's among them."""

    rows: int
    truncated: int

    def append(self, text: str, *, rows: int = 0, truncated: int = 0) -> None:
        """Adds whole lines, with how many rows they are and how many of those had their context shortened."""
        ...


@contextmanager
def open_output(output: Path | str, *, run: Mapping[str, str] | None = None, resume: bool = False) -> Iterator[ScoreOutput]:
    """The file at `output`, or standard output for "-"; the latter ends quietly when nobody reads it.

    Args:
        run: what tells this run from others, by its Chinese name: input, models, options. None: cannot be continued.
        resume: goes on with what an interrupted run of the same kind has left, if there is anything.

    Raises ConfigError when it cannot be written, holds the rows of another run, or another run is writing it.
    """
    if str(output) == "-":
        with _standard_output() as stream:
            yield stream
        return
    try:
        # Resolved, so that a symbolic link stays one.
        with _partial_file(Path(output).resolve(), run, resume) as file:
            yield file
    except OSError as error:  # nothing else in a run touches the disk unchecked
        raise ConfigError(_unwritable(output, error)) from None


def check_output(output: Path | str, *, resume: bool = False) -> None:
    """Raises ConfigError for an output that cannot work, that an interrupted run has left or that another is writing.

    Writes nothing.
    """
    if str(output) == "-":
        if resume:
            raise ConfigError("--resume 只用于写成文件的结果；请用 --output 写出文件的路径")
        if sys.stdout is None:
            raise ConfigError("标准输出没有打开；请用 --output 写出文件的路径")
        return
    if Path(output).suffix.lower() in _COMPRESSED:
        raise ConfigError(f"--output {output}：结果不压缩；请去掉后缀 {Path(output).suffix}，写完再用 gzip 之类的压缩")
    try:
        _check_file(output)
        partial, state_file = _names(Path(output).resolve())
        with suppress(FileNotFoundError), open(partial, "rb") as stream:
            _lock(stream, partial)
        if not resume and (state := _read_state(partial, state_file)):
            fault = f"{partial} 是上次没有写完的结果（{state['rows']} 行）"
            raise ConfigError(f"{fault}；加 --resume 接着打分，或删去它重新开始")
    except (OSError, ValueError) as error:
        raise ConfigError(_unwritable(output, error)) from None


def _check_file(output: Path | str) -> None:
    try:
        mode = os.stat(output).st_mode
    except FileNotFoundError:
        if not str(output):
            raise ConfigError("--output 是空的；请写出文件名，或用 - 写到标准输出") from None
        return
    if stat.S_ISDIR(mode):
        raise ConfigError(f"--output {output} 是文件夹，应为文件；请写出文件名，例如 {Path(output) / 'scores.jsonl'}")
    if not stat.S_ISREG(mode):
        # Renaming a new file over /dev/null or a pipe would replace it.
        raise ConfigError(f"--output {output} 不是普通文件；要写到标准输出请用 -")
    if not os.access(output, os.W_OK):
        raise PermissionError(errno.EACCES, "")


class _PartialFile:
    def __init__(self, stream: BinaryIO, path: Path, run: Mapping[str, str] | None, resume: bool) -> None:
        self._stream = stream
        self._path = path
        self._partial, self._state_file = _names(path)
        self._run = run
        state = _read_state(self._partial, self._state_file) if resume else None
        if resume and state is None:
            logger.warning("没有 %s 的未完成结果，从头开始打分", path)
        if state and (changed := [name for name, value in (run or {}).items() if state["run"].get(name) != value]):
            fault = f"{self._partial} 是另一次打分的结果（{'、'.join(changed)}变了），不能接着写"
            raise ConfigError(f"{fault}；请删去它重新开始，或换一个 --output")
        if state is None:
            self._state_file.unlink(missing_ok=True)
        self.rows: int = state["rows"] if state else 0
        self.truncated: int = state["truncated"] if state else 0
        self._stream.truncate(state["bytes"] if state else 0)
        self._stream.seek(0, os.SEEK_END)

    def append(self, text: str, *, rows: int = 0, truncated: int = 0) -> None:
        self._stream.write(text.encode("utf-8"))
        self.rows += rows
        self.truncated += truncated
        if rows and self._run is not None:
            self._sync()
            state = {"run": self._run, "rows": self.rows, "truncated": self.truncated, "bytes": self._stream.tell()}
            with atomic_write(self._state_file) as stream:
                json.dump(state, stream, ensure_ascii=False)

    def finish(self) -> None:
        self._sync()
        os.replace(self._partial, self._path)
        self._state_file.unlink(missing_ok=True)

    def _sync(self) -> None:
        self._stream.flush()
        os.fsync(self._stream.fileno())


@contextmanager
def _partial_file(path: Path, run: Mapping[str, str] | None, resume: bool) -> Iterator[_PartialFile]:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, state_file = _names(path)
    with _locked(partial) as stream:
        try:
            file = _PartialFile(stream, path, run, resume)
            yield file
            file.finish()
        except BaseException:
            with suppress(OSError):  # a full disk, of which the error on its way tells
                if not state_file.exists():  # nothing that a later run could go on with
                    partial.unlink(missing_ok=True)
                stream.close()
            raise


@contextmanager
def _locked(partial: Path) -> Iterator[BinaryIO]:
    """The file to append to, to oneself until it has its final name or is gone."""
    while True:
        with open(partial, "ab") as stream:
            _lock(stream, partial)
            # a run that ended between the two lines above has given the file its final name, or removed it
            if _is_at(stream, partial):
                yield stream
                return


def _lock(stream: BinaryIO, partial: Path) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fault = f"另一个打分正在写 --output {partial.with_suffix('')}"
        raise ConfigError(f"{fault}；请等它做完，或换一个 --output") from None


def _is_at(stream: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _names(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.name}.partial"), path.with_name(f"{path.name}.partial.json")


def _read_state(partial: Path, state_file: Path) -> dict[str, Any] | None:
    """How far an interrupted run has come, or None when it has left nothing."""
    try:
        state: dict[str, Any] = json.loads(state_file.read_text(encoding="utf-8"))
        size = partial.stat().st_size
        if size == 0:  # as good as removed by hand
            return None
        if size >= state["bytes"] and state["rows"] >= 0 and state["truncated"] >= 0 and isinstance(state["run"], dict):
            return state
        fault = f"应有 {state['bytes']} 字节，只有 {size}"
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        fault = f"{state_file.name} 读不了：{error!r}"
    raise ConfigError(f"{partial} 已损坏（{fault}）；请删去它与 {state_file.name}，重新开始")


class _StandardOutput:
    rows = 0
    truncated = 0

    def append(self, text: str, *, rows: int = 0, truncated: int = 0) -> None:
        sys.stdout.buffer.write(text.encode("utf-8"))
        sys.stdout.buffer.flush()
        self.rows += rows
        self.truncated += truncated


@contextmanager
def _standard_output() -> Iterator[_StandardOutput]:
    try:
        yield _StandardOutput()
    except OSError as error:
        # What is still buffered would fail once more when the interpreter ends.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise ConfigError(f"写不了标准输出：{error.strerror or error}") from None


def _unwritable(output: Path | str, error: Exception) -> str:
    reason = (_OUTPUT_FAULTS.get(error.errno or 0) or error.strerror) if isinstance(error, OSError) else "路径里有不能用的字符"
    shown = str(output).encode("utf-8", "replace").decode("utf-8").replace("\0", "\\0")
    return f"写不了 --output {shown}：{reason}；原有的文件没有改动，请换一个位置"


_OUTPUT_FAULTS = {
    errno.EACCES: "没有写入权限",
    errno.EPERM: "没有写入权限",
    errno.EROFS: "所在的磁盘是只读的",
    errno.ENOSPC: "磁盘已满",
    errno.EDQUOT: "磁盘配额已用完",
    errno.ENAMETOOLONG: "文件名太长",
    errno.ENOTDIR: "路径中间有一段不是文件夹",
    errno.EEXIST: "路径中间有一段不是文件夹",
    errno.ELOOP: "符号链接绕成了圈",
}
