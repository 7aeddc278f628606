"""The rows of a Parquet table as records, a batch at a time. Needs pyarrow, which chatting does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chitchat.corpus.reading.byte_streams import READ_ERRORS
from chitchat.corpus.reading.source_file import SourceText
from chitchat.errors import CorpusError

_BATCH_ROWS = 256


def read_rows(text: SourceText) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each row with its 1-based number, as a mapping of column names to plain values.

    Damage ends the table, for what follows it cannot be found. Raises CorpusError when pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise CorpusError(text.path, None, "读 Parquet 需要 pyarrow；请运行 pip install -e '.[prepare]'") from None
    number = 0
    try:
        # Mapped, not read: a damaged page that claims to be a gigabyte long would be given a gigabyte of memory.
        with pa.memory_map(str(text.path)) as file:
            # Not pre-buffered: a row group may be gigabytes as well.
            for batch in pq.ParquetFile(file, pre_buffer=False).iter_batches(_BATCH_ROWS, use_threads=False):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {name: _as_text(value) for name, value in row.items()}
    except (pa.ArrowException, *READ_ERRORS, ValueError, TypeError) as error:
        reason = str(error).split("\n")[0][:80]
        place = f"第 {number + 1} 行起" if number else ""
        text.bad(None, f"Parquet 表{place}读不了（{reason}）；请检查它是否完整，压缩的请先解压")


def _as_text(value: Any) -> Any:
    """A string where Spark and Hive wrote its bytes without saying that they are text."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value
    return value
