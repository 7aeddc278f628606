"""A file of (context, reply) rows to the same file with scores: the library behind `chitchat score`.

Text is scored as given, without the normalisation that talking applies, so that recomputing with plain transformers gives the
same numbers. Memory does not grow with the number of rows. What a row looks like is the business of `rows`.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from chitchat.backends.base import Scorer
from chitchat.dialogue import Candidate, as_context
from chitchat.engine.reranking import Ranker
from chitchat.engine.scoring import scored
from chitchat.errors import BackendError, ConfigError, CorpusError
from chitchat.evaluation.rows import BadRow, Row, Table, Values, open_table
from chitchat.files import atomic_write

logger = logging.getLogger(__name__)

COLUMNS = ("forward_log_prob", "forward_tokens", "mmi_log_prob", "mmi_tokens", "score")
"""What is added to each row, in this order; where the input has such a column, it is overwritten in place."""
MAX_REPORTED_ROWS = 20
_DECIMALS = 6

_Bar: TypeAlias = Callable[[str, int, "int | None"], None]
"""Told the stage, the rows done and the rows in all (None: not known)."""


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """How many rows were written, how many were left out as bad, and how many had their context shortened to fit the model."""

    rows: int
    bad: int
    truncated: int


def score_file(
    source: Path | str,
    output: Path | str,
    *,
    forward: Scorer,
    reverse: Scorer | None,
    ranker: Ranker,
    format_name: str | None = None,
    skip_bad: bool = False,
    batch_rows: int = 256,
    show_progress: bool = False,
) -> ScoreSummary:
    """Writes the rows of `source` with `COLUMNS` added to `output`, in order and in the same format.

    Log-probabilities are sums of natural logs, `[SEP]` included, to six decimals. The mmi columns are empty (JSON: null)
    without a reverse model; for a row without context `mmi_log_prob` is empty and `mmi_tokens` 0.

    A file is read through once before anything is scored, so that a bad row near its end costs no hours and the bar knows the
    time left. From standard input rows are checked as they come.

    Args:
        source: JSONL, CSV or TSV, plain or gzipped; "-" for standard input.
        output: appears whole or not at all, folders made as needed; may be `source` itself; "-" for standard output.
        reverse: None leaves the mmi columns empty.
        format_name: "jsonl", "csv" or "tsv"; None lets the content decide.
        skip_bad: leaves bad rows out, reporting and counting them, instead of stopping.
        batch_rows: rows read and scored at a time; the scores do not depend on it.

    Raises:
        CorpusError: the input is no such table, or has a bad row and `skip_bad` is off. `output` is then as it was before;
            on standard output the rows before the bad one may stand already.
        ConfigError: `output` cannot be written, or the format is unknown.
    """
    check_paths(source, output, format_name=format_name)
    from_file = str(source) != "-"
    work = _Work(forward, reverse, ranker)
    bad = _BadRows(skip_bad, quiet=from_file)
    with _progress(show_progress and from_file) as bar:
        total = _survey(source, format_name, skip_bad, bar) if from_file else None
        with open_table(source, COLUMNS, format_name) as table, _writer(output) as write:
            bar("打分", 0, total)
            write(table.header)
            for rows in _chunks(table, bad, batch_rows):
                write("".join(work.scored(rows)))
                bar("打分", work.rows, total)
            bad.close(table.name, work.rows)
    if work.truncated:
        logger.warning("%d 行的上文超过模型的长度，打分时略去了最早的几句（文件里的内容不变）", work.truncated)
    return ScoreSummary(work.rows, bad.count, work.truncated)


def check_paths(source: Path | str, output: Path | str, *, format_name: str | None = None) -> None:
    """Raises for paths that cannot work, without reading rows or loading anything: cheap enough to call before a model is."""
    if str(source) != "-":
        with open_table(source, COLUMNS, format_name):
            pass
    if str(output) == "-":
        if sys.stdout is None:
            raise ConfigError("标准输出没有打开；请用 --output 写出文件的路径")
        return
    try:
        mode = os.stat(output).st_mode
        if stat.S_ISDIR(mode):
            raise ConfigError(f"--output {output} 是文件夹，应为文件；请写出文件名，例如 {Path(output) / 'scores.jsonl'}")
        if not stat.S_ISREG(mode):
            # Renaming a new file over /dev/null or a pipe would replace it.
            raise ConfigError(f"--output {output} 不是普通文件；要写到标准输出请用 -")
        if not os.access(output, os.W_OK):
            raise PermissionError(errno.EACCES, "")
    except FileNotFoundError:
        if not str(output):
            raise ConfigError("--output 是空的；请写出文件名，或用 - 写到标准输出") from None
    except (OSError, ValueError) as error:
        raise ConfigError(_unwritable(output, error)) from None


class _Work:
    """Scores runs of rows and counts them."""

    def __init__(self, forward: Scorer, reverse: Scorer | None, ranker: Ranker) -> None:
        self._forward = forward
        self._reverse = reverse
        self._ranker = ranker
        self.rows = 0
        self.truncated = 0

    def scored(self, rows: Sequence[Row]) -> list[str]:
        """The output lines of `rows`; each scorer is called once."""
        candidates = scored([Candidate(r.reply) for r in rows], [r.context for r in rows], self._forward, self._reverse)
        lines = []
        for row, candidate in zip(rows, candidates, strict=True):
            lines.append(row.written(self._values(row, candidate)))
            self.rows += 1
            self.truncated += candidate.is_truncated
        return lines

    def _values(self, row: Row, candidate: Candidate) -> Values:
        (ranked,) = self._ranker.rank([candidate], as_context(row.context))
        mmi = candidate.reverse_log_prob
        numbers = (
            _rounded(candidate.forward_log_prob, row),
            candidate.num_tokens,
            _rounded(mmi, row),
            None if self._reverse is None else candidate.num_context_tokens,
            _rounded(ranked.score, row),
        )
        return dict(zip(COLUMNS, numbers, strict=True))


def _rounded(value: float | None, row: Row) -> float | None:
    if value is None:
        return None
    if not math.isfinite(value):
        raise BackendError(f"第 {row.line} 行：模型给出的分数是 {value}，不是有限的数；请检查模型的权重是否损坏")
    return round(value, _DECIMALS) + 0.0  # no -0.0


class _BadRows:
    """Counts bad rows and reports each, up to a limit; `quiet` when they have been reported before."""

    def __init__(self, skip: bool, *, quiet: bool = False) -> None:
        self.skip = skip
        self.quiet = quiet
        self.count = 0
        self._first: BadRow | None = None

    def met(self, name: str, row: BadRow) -> None:
        self.count += 1
        self._first = self._first or row
        # Without `skip` the first one is told by the error that ends the run.
        if not self.quiet and self.count <= MAX_REPORTED_ROWS and (self.skip or self.count > 1):
            logger.warning("%s:%d: %s", name, row.line, row.fault)

    def close(self, name: str, good: int) -> None:
        """The closing word; raises CorpusError when bad rows may not be skipped, or when there was no good one."""
        if self._first is not None and not self.skip:
            others = f"（共 {self.count} 行坏行）" if self.count > 1 else ""
            raise CorpusError(name, self._first.line, f"{self._first.fault}{others}。请改正，或加 --skip-bad 略过坏行")
        if self.count and not self.quiet:
            listed = f"，只列出前 {MAX_REPORTED_ROWS} 行" if self.count > MAX_REPORTED_ROWS else ""
            logger.warning("%s：略过坏行 %d 行%s", name, self.count, listed)
        if not good:
            found = f"{self.count} 行都不能用" if self.count else "表头之后没有任何行"
            raise CorpusError(name, None, f"{found}；每行应有 context 与 reply，请检查文件的格式与编码")


def _survey(source: Path | str, format_name: str | None, skip_bad: bool, bar: _Bar) -> int:
    """The number of good rows of a file; every bad one is reported before CorpusError is raised for the first."""
    bad = _BadRows(skip_bad)
    good = 0
    with open_table(source, COLUMNS, format_name) as table:
        for row in table.rows:
            if isinstance(row, BadRow):
                bad.met(table.name, row)
                continue
            good += 1
            if good % 1000 == 0:
                bar("检查", good, None)
        bad.close(table.name, good)
    return good


def _chunks(table: Table, bad: _BadRows, size: int) -> Iterator[list[Row]]:
    """Good rows, `size` at a time; what stands before an error is handed on before it is raised."""
    rows: list[Row] = []
    try:
        for row in table.rows:
            if isinstance(row, BadRow):
                bad.met(table.name, row)
                if not bad.skip:
                    bad.close(table.name, len(rows))
                continue
            rows.append(row)
            if len(rows) == size:
                yield rows
                rows = []
    except CorpusError:
        if rows:
            yield rows
        raise
    if rows:
        yield rows


@contextmanager
def _writer(output: Path | str) -> Iterator[Callable[[str], object]]:
    """Writes UTF-8 to a file that appears at the end, or to standard output at once; ends quietly when nobody reads that."""
    if str(output) != "-":
        try:
            # Resolved, so that a symbolic link stays one.
            with atomic_write(Path(output).resolve(), "wb") as stream:
                yield lambda text: stream.write(text.encode("utf-8"))
        except OSError as error:  # nothing else in a run touches the disk unchecked
            raise ConfigError(_unwritable(output, error)) from None
        return
    try:
        yield _write_stdout
    except OSError as error:
        # What is still buffered would fail once more when the interpreter ends.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise ConfigError(f"写不了标准输出：{error.strerror or error}") from None


def _write_stdout(text: str) -> None:
    sys.stdout.buffer.write(text.encode("utf-8"))
    sys.stdout.buffer.flush()


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


@contextmanager
def _progress(show: bool) -> Iterator[_Bar]:
    """A bar on stderr with the rows done and the time left."""
    if not show:
        yield lambda stage, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("行  剩余"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("检查", total=None)
        yield lambda stage, done, total: progress.update(task, description=stage, completed=done, total=total)
