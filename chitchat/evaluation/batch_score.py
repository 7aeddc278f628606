"""A file of (context, reply) rows to the same file with scores: the library behind `chitchat score`.

Text is scored as given, without the normalisation that talking applies, so that recomputing with plain transformers gives the
same numbers. Memory does not grow with the number of rows. What a row looks like is the business of `rows`; how the output
survives a kill, that of `score_output`.
"""

from __future__ import annotations

import hashlib
import logging
import math
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

from chitchat.backends.base import Encoder, Scorer
from chitchat.dialogue import Candidate, as_context
from chitchat.engine.reranking import Ranker
from chitchat.engine.scoring import scored
from chitchat.errors import BackendError, ConfigError, CorpusError
from chitchat.evaluation.rows import BadRow, Row, Table, Values, open_table
from chitchat.evaluation.score_output import check_output, open_output
from chitchat.files import sha256_of

logger = logging.getLogger(__name__)

COLUMNS = ("forward_log_prob", "forward_tokens", "mmi_log_prob", "mmi_tokens", "score")
"""What is added to each row, in this order; where the input has such a column, it is overwritten in place.

`score` is the ranking's of a reply that nobody retrieved: what only retrieval, the acts and the reward model know of a candidate
counts for nothing, so it is not the score that a reply has in a talk.
"""
BATCH_ROWS = 1024
"""Enough for rows of like length and equal replies to meet; a kill loses no more than these, 5 s of a small model's time."""
MAX_REPORTED_ROWS = 20
_DECIMALS = 6
_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv"}

Bar: TypeAlias = Callable[[str, int, "int | None"], None]
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
    encoder: Encoder | None = None,
    ranker: Ranker,
    format_name: str | None = None,
    skip_bad: bool = False,
    batch_rows: int = BATCH_ROWS,
    workers: int = 1,
    resume: bool = False,
    models: str = "",
    show_progress: bool = False,
    on_progress: Bar | None = None,
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
        encoder: takes part in the score, as far as the ranking weighs it.
        format_name: "jsonl", "csv" or "tsv"; None lets the content decide.
        skip_bad: leaves bad rows out, reporting and counting them, instead of stopping.
        batch_rows: rows read and scored at a time; int8 scores depend on it in their last digits.
        workers: processes, each with models of its own; scorers must then be picklable. The output is the same for any number.
        resume: goes on where an interrupted run of the same input, models and options has stopped.
        models: names the models' content and number type; a run with others is not resumed.
        on_progress: told how far the work has come, in place of the bar that `show_progress` draws.

    Raises:
        CorpusError: the input is no such table, or has a bad row and `skip_bad` is off. `output` is then as it was before;
            on standard output the rows before the bad one may stand already.
        ConfigError: `output` cannot be written, or is named as another format; the format is unknown; an interrupted run has left
            rows and `resume` is off, or they are another run's.
        BackendError: a worker process died.
    """
    check_paths(source, output, format_name=format_name, resume=resume)
    from_file = str(source) != "-"
    work = _Work(forward, reverse, encoder, ranker)
    bad = _BadRows(skip_bad, quiet=from_file)
    with _progress(show_progress and from_file) if on_progress is None else nullcontext(on_progress) as bar:
        total = _survey(source, format_name, skip_bad, bar) if from_file else None
        run = None
        if from_file:
            options = f"{format_name} {skip_bad} {reverse is not None}"
            run = {"输入文件": sha256_of(Path(source)), "模型": work.fingerprint(models), "选项": options}
        with (
            _table(source, output, format_name) as table,
            open_output(output, run=run, resume=resume) as out,
            _scoring(work, workers) as results,
        ):
            bar("打分", out.rows, total)
            if not out.rows:
                out.append(table.header)
            for rows, found in results(_chunks(table, bad, batch_rows, skip=out.rows)):
                lines = (row.written(scores.values) for row, scores in zip(rows, found, strict=True))
                out.append("".join(lines), rows=len(rows), truncated=sum(scores.truncated for scores in found))
                bar("打分", out.rows, total)
            bad.close(table.name, out.rows)
    if out.truncated:
        logger.warning("%d 行的上文超过模型的长度，打分时略去了最早的几句（文件里的内容不变）", out.truncated)
    return ScoreSummary(out.rows, bad.count, out.truncated)


def check_paths(source: Path | str, output: Path | str, *, format_name: str | None = None, resume: bool = False) -> None:
    """Raises for paths that cannot work, without reading rows or loading anything: cheap enough to call before a model is."""
    if str(source) != "-":
        with _table(source, output, format_name):
            pass
    elif resume:
        raise ConfigError("--resume 要从头重读输入，标准输入做不到；请写出输入文件的路径")
    check_output(output, resume=resume)


@contextmanager
def _table(source: Path | str, output: Path | str, format_name: str | None) -> Iterator[Table]:
    """The input; raises ConfigError for an output named as another format than its rows will have, unless the input is so too."""
    with open_table(source, COLUMNS, format_name) as table:
        suffix, of_source = (Path(str(path).removesuffix(".gz")).suffix.lower() for path in (output, source))
        if suffix != of_source and _SUFFIXES.get(suffix, table.format) != table.format:
            fault = f"--output {output} 的后缀是 {suffix}，而输入是 {table.format.upper()}，结果与输入同一种格式"
            raise ConfigError(f"{fault}；请把后缀改成 .{table.format}")
        yield table


class _Asked(NamedTuple):
    """What a scorer needs of a row, small enough to send to another process."""

    line: int
    context: tuple[str, ...]
    reply: str


class _Scores(NamedTuple):
    values: Values
    truncated: bool


class _Work:
    """Scores runs of rows; picklable when its scorers are."""

    def __init__(self, forward: Scorer, reverse: Scorer | None, encoder: Encoder | None, ranker: Ranker) -> None:
        self._forward = forward
        self._reverse = reverse
        self._encoder = encoder
        self._ranker = ranker

    def __call__(self, rows: Sequence[_Asked]) -> list[_Scores]:
        """The scores of `rows`; each scorer is called once."""
        replies, contexts = [Candidate(r.reply) for r in rows], [r.context for r in rows]
        candidates = scored(replies, contexts, self._forward, self._reverse, encoder=self._encoder)
        return [_Scores(self._values(r, c), c.is_truncated) for r, c in zip(rows, candidates, strict=True)]

    def fingerprint(self, models: str) -> str:
        """Differs when the ranking or what `models` names does."""
        ranking = (sorted(self._ranker.weights.items()), sorted(self._ranker.generic.items()))
        return hashlib.sha256(repr((models, ranking)).encode()).hexdigest()

    def _values(self, row: _Asked, candidate: Candidate) -> Values:
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


def _rounded(value: float | None, row: _Asked) -> float | None:
    if value is None:
        return None
    if not math.isfinite(value):
        raise BackendError(f"第 {row.line} 行：模型给出的分数是 {value}，不是有限的数；请检查模型的权重是否损坏")
    return round(value, _DECIMALS) + 0.0  # no -0.0


_Results: TypeAlias = Callable[[Iterable[list[Row]]], Iterator[tuple[list[Row], list[_Scores]]]]
"""Runs of rows to the same runs with their scores, in order."""


@contextmanager
def _scoring(work: _Work, workers: int) -> Iterator[_Results]:
    """Scores in this process, or in `workers` others."""
    if workers == 1:
        yield lambda runs: ((rows, work(_asked(rows))) for rows in runs)
        return
    # spawn, not fork: the threads of loaded models do not survive a fork
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(work,)) as pool:
        try:
            yield lambda runs: _in_workers(pool, runs, workers)
        except BrokenProcessPool:
            raise BackendError("打分的进程意外结束，多半是内存不足；请减小 --workers，再加 --resume 接着打分") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _in_workers(pool: ProcessPoolExecutor, runs: Iterable[list[Row]], workers: int) -> Iterator[tuple[list[Row], list[_Scores]]]:
    pending: deque[tuple[list[Row], Future[list[_Scores]]]] = deque()

    def oldest() -> tuple[list[Row], list[_Scores]]:
        rows, future = pending.popleft()
        return rows, future.result()

    try:
        for rows in runs:
            pending.append((rows, pool.submit(_score_in_worker, _asked(rows))))
            if len(pending) > workers + 1:  # one more than are at work, so that none waits for the file
                yield oldest()
    except CorpusError:
        while pending:  # what stands before a bad row is handed on
            yield oldest()
        raise
    while pending:
        yield oldest()


def _asked(rows: Sequence[Row]) -> list[_Asked]:
    return [_Asked(row.line, row.context, row.reply) for row in rows]


_worker: _Work


def _start_worker(work: _Work) -> None:
    global _worker
    _worker = work
    # Ctrl-C reaches the whole group; the parent decides. A parent that is killed cannot: nobody would end its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _score_in_worker(rows: list[_Asked]) -> list[_Scores]:
    return _worker(rows)


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


def _survey(source: Path | str, format_name: str | None, skip_bad: bool, bar: Bar) -> int:
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


def _good_rows(table: Table, bad: _BadRows) -> Iterator[Row]:
    for row in table.rows:
        if isinstance(row, BadRow):
            bad.met(table.name, row)
            if not bad.skip:
                bad.close(table.name, 0)  # raises
        else:
            yield row


def _chunks(table: Table, bad: _BadRows, size: int, *, skip: int) -> Iterator[list[Row]]:
    """Good rows after the first `skip`, `size` at a time; what stands before an error is handed on before it is raised."""
    rows: list[Row] = []
    try:
        for row in islice(_good_rows(table, bad), skip, None):
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
def _progress(show: bool) -> Iterator[Bar]:
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
