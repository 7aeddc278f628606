"""`chitchat score` as a library: numbers anyone can recompute, rows kept, faults told, output whole or not at all."""

from __future__ import annotations

import csv
import fcntl
import gzip
import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chitchat.backends.base import LogProb, Vectors
from chitchat.backends.ctranslate2_local import CTranslate2Model
from chitchat.engine.reranking import Ranker
from chitchat.errors import BackendError, ConfigError, CorpusError
from chitchat.evaluation.batch_score import COLUMNS, ScoreSummary, score_file

ROWS: list[dict[str, Any]] = [
    {"id": 1, "context": ["你好"], "reply": "你好呀，今天过得怎么样？"},
    {"id": 2, "context": ["你好", "你好呀，今天过得怎么样？", "还不错"], "reply": "那就好，有什么开心的事吗？"},
    {"id": 3, "context": ["你好"], "reply": "嗯"},
    {"id": 4, "context": [], "reply": "晚安"},
    {"id": 5, "context": ["ABC 你好", ""], "reply": "龘 1 2"},
]
GOOD = '{"context": ["你好"], "reply": "早"}\n'
BAD = '{"context": ["你好"]}\n'


class FakeScorer:
    """Minus the characters scored; the number of pairs of each call is kept."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        self.calls.append(len(pairs))
        return [LogProb(-float(len(r)), len(r) + 1, sum(map(len, c)) > 50) for c, r in pairs]


def run(source: Path | str, output: Path | str, **options: Any) -> ScoreSummary:
    models = {"forward": FakeScorer(), "reverse": FakeScorer(), "ranker": Ranker()}
    return score_file(source, output, **{**models, **options})


def jsonl(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def loaded(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def models(tiny_model: Path) -> dict[str, Any]:
    return {
        "forward": CTranslate2Model(tiny_model / "forward", direction="forward", compute_type="float32"),
        "reverse": CTranslate2Model(tiny_model / "reverse", direction="reverse", compute_type="float32"),
        "ranker": Ranker.load(tiny_model),
    }


@pytest.fixture()
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Sets what comes from standard input."""
    return lambda content: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


class Shorter:
    """An encoder by which a reply of n characters matches 1/n."""

    fingerprint = "shorter"

    def contexts(self, contexts: Sequence[Sequence[str]]) -> Vectors:
        return np.ones((len(contexts), 1), np.float32)

    def replies(self, replies: Sequence[str]) -> Vectors:
        return np.array([[1 / len(reply)] for reply in replies], np.float32)


# The numbers -----------------------------------------------------------------------------------------------------------------


def by_hand(folder: Path, given: Sequence[str], target: Sequence[str]) -> tuple[float, int]:
    """log P of the target messages, each closed by [SEP], after [CLS] and the given ones: transformers and nothing of ours."""
    import torch
    from transformers import AutoTokenizer, GPT2LMHeadModel

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = GPT2LMHeadModel.from_pretrained(folder).eval()

    def ids(messages: Sequence[str]) -> list[int]:
        closed = [[*tokenizer.encode(m, add_special_tokens=False), tokenizer.sep_token_id] for m in messages]
        return [i for message in closed for i in message]

    prompt = [tokenizer.cls_token_id, *ids(given)]
    sequence = torch.tensor([prompt + ids(target)])
    with torch.inference_mode():
        log_probs = torch.log_softmax(model(sequence).logits[0, :-1].double(), -1)
    picked = log_probs.gather(1, sequence[0, 1:, None])[len(prompt) - 1 :]
    return float(picked.sum()), len(picked)


def test_numbers_equal_plain_transformers(tiny_model: Path, models: dict[str, Any], tmp_path: Path) -> None:
    source = written(tmp_path / "in.jsonl", jsonl(ROWS))
    assert score_file(source, tmp_path / "out.jsonl", **models) == ScoreSummary(rows=5, bad=0, truncated=0)
    for row, scored in zip(ROWS, loaded(tmp_path / "out.jsonl"), strict=True):
        assert list(scored) == [*row, *COLUMNS]
        assert {key: scored[key] for key in row} == row
        value, tokens = by_hand(tiny_model / "forward", row["context"], [row["reply"]])
        assert scored["forward_log_prob"] == pytest.approx(value, abs=2e-3)
        assert scored["forward_tokens"] == tokens
        if row["context"]:
            value, tokens = by_hand(tiny_model / "reverse", [row["reply"]], row["context"][::-1])
            assert scored["mmi_log_prob"] == pytest.approx(value, abs=2e-3)
            assert scored["mmi_tokens"] == tokens
        else:
            assert (scored["mmi_log_prob"], scored["mmi_tokens"]) == (None, 0)
    good, _, bland, *_ = loaded(tmp_path / "out.jsonl")
    assert good["score"] > bland["score"]
    weights = models["ranker"].weights
    mean = weights["forward"] * good["forward_log_prob"] / good["forward_tokens"]
    assert good["score"] != pytest.approx(mean)
    assert all(f"{scored[c]:.6f}" == f"{scored[c]}".ljust(len(f"{scored[c]:.6f}"), "0") for c in ("forward_log_prob", "score"))


def test_the_encoder_counts_as_the_ranking_weighs_it(tmp_path: Path) -> None:
    source = written(tmp_path / "in.jsonl", jsonl(ROWS[:4]))
    ranker = Ranker({"reply_match": 12.0})
    run(source, tmp_path / "with.jsonl", ranker=ranker, encoder=Shorter())
    run(source, tmp_path / "without.jsonl", ranker=ranker)
    first, second, third, alone = (row["score"] for row in loaded(tmp_path / "with.jsonl"))
    assert (first, second, third) == (pytest.approx(12 / 12), pytest.approx(12 / 13), pytest.approx(12.0))
    assert alone == 0.0, "a reply to nothing"
    assert [row["score"] for row in loaded(tmp_path / "without.jsonl")] == [0.0] * 4


def test_numbers_do_not_depend_on_the_batch(models: dict[str, Any], tmp_path: Path) -> None:
    source = written(tmp_path / "in.jsonl", jsonl(ROWS))
    for size in (1, 2, 256):
        score_file(source, tmp_path / f"{size}.jsonl", batch_rows=size, **models)
    one, two, all_at_once = (loaded(tmp_path / f"{size}.jsonl") for size in (1, 2, 256))
    for a, b, c in zip(one, two, all_at_once, strict=True):
        assert a == pytest.approx(b, abs=1e-4) and a == pytest.approx(c, abs=1e-4)


def test_long_context_is_shortened_counted_and_told_once(models: dict[str, Any], tmp_path: Path, caplog: Any) -> None:
    long = {"context": ["你好" * 20, "今天好累啊"], "reply": "辛苦了，早点休息吧。" * 2}
    source = written(tmp_path / "in.jsonl", jsonl([long, ROWS[0], long]))
    summary = score_file(source, tmp_path / "out.jsonl", batch_rows=1, **models)
    assert summary == ScoreSummary(rows=3, bad=0, truncated=2)
    assert [r.message for r in caplog.records] == ["2 行的上文超过模型的长度，打分时略去了最早的几句（文件里的内容不变）"]
    assert loaded(tmp_path / "out.jsonl")[0]["mmi_tokens"] == 6


# Formats and streams -----------------------------------------------------------------------------------------------------------


def as_table(delimiter: str, joiner: str) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter)
    writer.writerow(["id", "context", "reply"])
    writer.writerows([row["id"], joiner.join(row["context"]), row["reply"]] for row in ROWS[:4])
    return stream.getvalue()


@pytest.mark.parametrize(("delimiter", "joiner"), [(",", "\t"), (",", "[SEP]"), ("\t", "\\t"), ("\t", "[SEP]"), ("\t", "\t")])
def test_tables_score_as_jsonl_does(delimiter: str, joiner: str, models: dict[str, Any], tmp_path: Path) -> None:
    score_file(written(tmp_path / "in.jsonl", jsonl(ROWS[:4])), tmp_path / "out.jsonl", **models)
    score_file(written(tmp_path / "in.txt", as_table(delimiter, joiner)), tmp_path / "out.txt", **models)
    with open(tmp_path / "out.txt", encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream, delimiter=delimiter))
    for scored, cells, row in zip(loaded(tmp_path / "out.jsonl"), table, ROWS, strict=False):
        assert cells["context"] == joiner.join(row["context"])
        assert cells["reply"] == row["reply"]
        for column in COLUMNS:
            value = scored[column]
            assert cells[column] == ("" if value is None else f"{value:.6f}" if isinstance(value, float) else str(value))


def test_without_reverse_model_the_mmi_columns_are_empty(tmp_path: Path) -> None:
    run(written(tmp_path / "a.jsonl", GOOD), tmp_path / "out.jsonl", reverse=None)
    run(written(tmp_path / "a.csv", "context,reply\n你好,早\n"), tmp_path / "out.csv", reverse=None)
    [row] = loaded(tmp_path / "out.jsonl")
    assert row["mmi_log_prob"] is None and row["mmi_tokens"] is None
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("你好,早,-1.000000,2,,,")


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("content", [GOOD * 3, "context,reply\n你好,早\n", "context\treply\n你好\t早\n"])
def test_streams_equal_files(content: str, compress: Any, stdin: Any, capfdbinary: Any, tmp_path: Path) -> None:
    run(written(tmp_path / "in", compress(content.encode())), tmp_path / "out")
    stdin(compress(content.encode()))
    assert run("-", "-", batch_rows=2).rows == (3 if content.startswith("{") else 1)
    assert capfdbinary.readouterr().out == (tmp_path / "out").read_bytes()


@pytest.mark.parametrize(
    ("source", "content", "output", "said"),
    [
        ("a.csv", "context,reply\n你好,早\n", "o.jsonl", "后缀是 .jsonl，而输入是 CSV.*改成 .csv"),
        ("a.csv", "context,reply\n你好,早\n", "o.TSV", "改成 .csv"),
        ("a.jsonl", GOOD, "o.csv", "输入是 JSONL.*改成 .jsonl"),
        ("-", GOOD, "o.csv", "输入是 JSONL.*改成 .jsonl"),
        ("a.csv", "context\treply\n你好\t早\n", "o.tsv", ""),
        ("a.csv", "context\treply\n你好\t早\n", "o.csv", ""),  # named as the input is
        ("a.csv", "context,reply\n你好,早\n", "o.txt", ""),
        ("a.jsonl", GOOD, "o.json", ""),
        ("a.csv", "context,reply\n你好,早\n", "o.csv.gz", "结果不压缩.*去掉后缀 .gz"),
        ("-", GOOD, "o.jsonl.GZ", "结果不压缩.*去掉后缀 .GZ"),
    ],
)
def test_an_output_named_as_what_it_will_not_be_is_refused(
    source: str, content: str, output: str, said: str, stdin: Any, tmp_path: Path
) -> None:
    stdin(content.encode())
    path = "-" if source == "-" else written(tmp_path / source, content)
    before = os.listdir(tmp_path)
    if not said:
        assert run(path, tmp_path / output).rows == 1
        return
    with pytest.raises(ConfigError, match=said):
        run(path, tmp_path / output)
    assert os.listdir(tmp_path) == before


def test_given_format_holds_for_streams(stdin: Any) -> None:
    stdin("context,reply\n你好,早\n".encode())
    with pytest.raises(CorpusError, match="tsv 的表头"):
        run("-", "-", format_name="tsv")


def test_each_scorer_is_called_once_a_chunk_and_never_without_context(tmp_path: Path) -> None:
    source = written(tmp_path / "a.jsonl", jsonl(ROWS))
    forward, reverse = FakeScorer(), FakeScorer()
    run(source, tmp_path / "out.jsonl", forward=forward, reverse=reverse, batch_rows=2)
    # forward is asked twice a row: with its context and without
    assert (forward.calls, reverse.calls) == ([4, 4, 2], [2, 1, 1])


def test_output_may_be_the_input_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", jsonl(ROWS))
    run(path, path)
    once = path.read_bytes()
    run(path, path)
    assert path.read_bytes() == once
    assert os.listdir(tmp_path) == ["a.jsonl"]


def test_folders_are_made_and_a_link_stays_one(tmp_path: Path) -> None:
    source = written(tmp_path / "a.jsonl", GOOD)
    (tmp_path / "link").symlink_to(tmp_path / "new" / "out.jsonl")
    run(source, tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and len(loaded(tmp_path / "new" / "out.jsonl")) == 1


def test_progress_shows_rows_on_stderr_only(tmp_path: Path, capfd: Any) -> None:
    run(written(tmp_path / "a.jsonl", GOOD * 7), "-", show_progress=True)
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 7
    assert "打分" in err and "7/7" in err


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    import tracemalloc

    peaks = []
    row = jsonl([{**ROWS[1], "note": "注" * 300}])
    for rows in (200, 800):
        source = written(tmp_path / "a.jsonl", row * rows)
        tracemalloc.start()
        run(source, tmp_path / "out.jsonl", batch_rows=32)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2


# Bad rows ----------------------------------------------------------------------------------------------------------------------


def test_bad_rows_stop_the_run_before_anything_is_scored(tmp_path: Path, caplog: Any) -> None:
    source = written(tmp_path / "a.jsonl", GOOD + BAD + GOOD + "你好\n")
    output = written(tmp_path / "out.jsonl", "old")
    forward = FakeScorer()
    with pytest.raises(CorpusError, match=r"a\.jsonl:2: 缺少 reply.*共 2 行坏行.*--skip-bad") as caught:
        run(source, output, forward=forward)
    assert caught.value.line == 2
    assert [r.message.split(": ")[0] for r in caplog.records] == [f"{source}:4"]
    assert forward.calls == [] and output.read_text() == "old" and len(os.listdir(tmp_path)) == 2


def test_skip_bad_leaves_them_out_and_tells_each_once(tmp_path: Path, caplog: Any) -> None:
    source = written(tmp_path / "a.jsonl", GOOD + BAD + GOOD + "你好\n")
    assert run(source, tmp_path / "out.jsonl", skip_bad=True) == ScoreSummary(rows=2, bad=2, truncated=0)
    assert [r.message.split(": ")[0] for r in caplog.records] == [f"{source}:2", f"{source}:4", f"{source}：略过坏行 2 行"]
    assert len(loaded(tmp_path / "out.jsonl")) == 2


def test_many_bad_rows_are_counted_not_listed(tmp_path: Path, caplog: Any) -> None:
    source = written(tmp_path / "a.jsonl", GOOD + BAD * 500)
    assert run(source, tmp_path / "out.jsonl", skip_bad=True).bad == 500
    assert len(caplog.records) == 21
    assert "500 行，只列出前 20 行" in caplog.records[-1].message


@pytest.mark.parametrize("content", [BAD * 3, "context,reply\n,\n", "你好\n", jsonl(ROWS).encode("gbk"), "context,reply\n"])
@pytest.mark.parametrize("source", ["file.jsonl", "-"])
def test_no_good_row_at_all_is_an_error_even_with_skip_bad(content: Any, source: str, stdin: Any, tmp_path: Path) -> None:
    content = content if isinstance(content, bytes) else content.encode()
    stdin(content)
    path = "-" if source == "-" else written(tmp_path / source, content)
    with pytest.raises(CorpusError):
        run(path, tmp_path / "out", skip_bad=True)
    assert not (tmp_path / "out").exists()


def test_a_stream_stops_at_the_bad_row_with_the_rows_before_it_printed(
    stdin: Any, capfdbinary: Any, tmp_path: Path, caplog: Any
) -> None:
    content = (GOOD * 3 + BAD + GOOD).encode()
    stdin(content)
    with pytest.raises(CorpusError, match="标准输入:4: 缺少 reply"):
        run("-", "-", batch_rows=2)
    assert len(capfdbinary.readouterr().out.splitlines()) == 3
    stdin(content)
    with pytest.raises(CorpusError):
        run("-", tmp_path / "out.jsonl")
    assert os.listdir(tmp_path) == []
    stdin(content)
    assert run("-", "-", skip_bad=True) == ScoreSummary(rows=4, bad=1, truncated=0)
    assert [r.levelno for r in caplog.records] == [logging.WARNING] * 2


# Paths and disks ---------------------------------------------------------------------------------------------------------------

SOURCES = {
    "missing": "没有.jsonl",
    "folder": ".",
    "empty": "empty.csv",
    "picture": "a.png",
    "gbk": "gbk.csv",
    "wrong columns": "wrong.csv",
    "below a file": "a.png/x",
    "nul": "a\0b",
}
OUTPUTS = {
    "folder": ".",
    "below a file": "good.jsonl/x/out.jsonl",
    "long name": "x" * 300,
    "nearly long name": "x" * 250,
    "nul": "a\0b",
    "surrogate": "\ud800",
    "device": "/dev/null",
    "proc": "/proc/out.jsonl",
    "loop": "loop",
}


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    written(tmp_path / "good.jsonl", GOOD)
    written(tmp_path / "empty.csv", "")
    written(tmp_path / "a.png", b"\x89PNG\r\n")
    written(tmp_path / "gbk.csv", "上文,回复\n你好,早\n".encode("gbk"))
    written(tmp_path / "wrong.csv", "question,answer\n你好,早\n")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    return tmp_path


@pytest.mark.parametrize("name", SOURCES)
def test_unusable_source(name: str, folder: Path) -> None:
    before = sorted(os.listdir(folder))
    with pytest.raises(CorpusError):
        run(folder / SOURCES[name], folder / "out" / "out.jsonl", skip_bad=True)
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize("name", OUTPUTS)
def test_unusable_output(name: str, folder: Path) -> None:
    before = sorted(os.listdir(folder))
    forward = FakeScorer()
    with pytest.raises(ConfigError, match="--output") as caught:
        run(folder / "good.jsonl", folder / OUTPUTS[name], forward=forward)
    str(caught.value).encode("utf-8")
    assert forward.calls == []
    assert sorted(os.listdir(folder)) == before


def test_full_disk_leaves_the_old_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = written(folder / "out.jsonl", "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="磁盘已满"):
        run(folder / "good.jsonl", output)
    assert output.read_text() == "old"


def test_scores_that_are_no_numbers_are_refused(folder: Path) -> None:
    class Broken:
        def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
            return [LogProb(float("nan"), 1) for _ in pairs]

    with pytest.raises(BackendError, match="第 1 行"):
        run(folder / "good.jsonl", folder / "out.jsonl", forward=Broken())
    assert not (folder / "out.jsonl").exists()


SCRIPT = """
import sys
from chitchat.backends.base import LogProb
from chitchat.engine.reranking import Ranker
from chitchat.errors import ChitchatError
from chitchat.evaluation.batch_score import score_file
class Fake:
    def score(self, pairs):
        return [LogProb(-1.0, 1) for _ in pairs]
try:
    score_file(sys.argv[1], "-", forward=Fake(), reverse=None, ranker=Ranker(), batch_rows=8)
except ChitchatError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize(("sink", "code", "said"), [("head -n 1", 0, ""), ("true", 0, ""), ("cat > /dev/full", 0, "cat: ")])
def test_a_reader_that_leaves_early_ends_the_run_quietly(sink: str, code: int, said: str, folder: Path) -> None:
    source = written(folder / "many.jsonl", GOOD * 5000)
    command = f'"$0" -c "$1" "$2" | {sink}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command, sys.executable, SCRIPT, source], capture_output=True, text=True)
    assert done.returncode == code
    assert done.stderr.startswith(said) and "Error" not in done.stderr.replace("write error", "")


def test_full_standard_output_is_told_in_one_sentence(folder: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, folder / "good.jsonl"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr.startswith("写不了标准输出") and len(done.stderr.splitlines()) == 1


def test_closed_standard_input(folder: Path) -> None:
    done = subprocess.run(["bash", "-c", '"$0" -c "$1" - <&-', sys.executable, SCRIPT], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("标准输入: ") and len(done.stderr.splitlines()) == 1


# Interrupted and divided runs --------------------------------------------------------------------------------------------------

KILLED = """
import sys
from pathlib import Path
from chitchat.backends.ctranslate2_local import CTranslate2Model
from chitchat.engine.reranking import Ranker
from chitchat.evaluation.batch_score import score_file
if __name__ == "__main__":
    model, source, output, workers = sys.argv[1:]
    forward, reverse = (
        CTranslate2Model(Path(model) / d, direction=d, compute_type="float32") for d in ("forward", "reverse")
    )
    score_file(
        source, output, forward=forward, reverse=reverse, ranker=Ranker.load(Path(model)), batch_rows=16, workers=int(workers)
    )
"""


def many(count: int) -> list[dict[str, Any]]:
    return [{**ROWS[i % 5], "id": i, "reply": f"{ROWS[i % 5]['reply']}{i % 97}"} for i in range(count)]


class Counted:
    """A scorer that counts the pairs asked of another one."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.pairs = 0

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        self.pairs += len(pairs)
        scores: list[LogProb] = self.inner.score(pairs)
        return scores


@pytest.mark.parametrize(("format_name", "workers"), [("csv", 1), ("jsonl", 2)])
def test_a_killed_run_goes_on_where_it_stopped(
    format_name: str, workers: int, tiny_model: Path, models: dict[str, Any], tmp_path: Path
) -> None:
    lines = [f'"你好\t{i}\n{i}",早{i % 97}' for i in range(1000)]
    content = jsonl(many(1000)) if format_name == "jsonl" else "context,reply\n" + "\n".join(lines) + "\n"
    source = written(tmp_path / "in", content)
    (tmp_path / "killed.py").write_text(KILLED)
    output, partial, state = (tmp_path / name for name in ("out", "out.partial", "out.partial.json"))
    command = [sys.executable, tmp_path / "killed.py", tiny_model, source, output, str(workers)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, env=environment) as process:
        while not state.exists():
            assert process.poll() is None
            time.sleep(0.002)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGKILL)
    done = json.loads(state.read_text())["rows"]
    assert 0 < done < 1000 and not output.exists()
    with open(partial, "ab") as stream:
        stream.write(b"half a ro")  # a kill in the middle of a write leaves this
    with pytest.raises(ConfigError, match="没有写完的结果.*--resume"):
        score_file(source, output, batch_rows=16, **models)
    forward = Counted(models["forward"])
    summary = score_file(source, output, batch_rows=16, resume=True, **{**models, "forward": forward})
    assert summary.rows == 1000
    assert 1000 - done <= forward.pairs <= 2 * (1000 - done)  # a row and at most its prior: none of those done before
    score_file(source, tmp_path / "unbroken", batch_rows=16, **models)
    assert output.read_bytes() == (tmp_path / "unbroken").read_bytes()
    assert not partial.exists() and not state.exists()
    end = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children):  # no worker outlives its parent
        assert time.monotonic() < end
        time.sleep(0.02)


class Failing(FakeScorer):
    """Breaks off at its third call, as a user does with Ctrl-C."""

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        if len(self.calls) == 2:
            raise KeyboardInterrupt
        return super().score(pairs)


@pytest.fixture()
def interrupted(tmp_path: Path) -> Path:
    """The output of a run that has stopped after 4 of 10 rows."""
    source = written(tmp_path / "in.jsonl", jsonl(many(10)))
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "out.jsonl", forward=Failing(), batch_rows=2, models="a")
    assert len(loaded(tmp_path / "out.jsonl.partial")) == 4
    return tmp_path / "out.jsonl"


def test_resumed_run_scores_what_is_left_and_counts_all(interrupted: Path, caplog: Any) -> None:
    reverse = FakeScorer()
    summary = run(interrupted.with_name("in.jsonl"), interrupted, reverse=reverse, batch_rows=2, models="a", resume=True)
    assert summary == ScoreSummary(rows=10, bad=0, truncated=0)
    assert [row["id"] for row in loaded(interrupted)] == list(range(10))
    assert sum(reverse.calls) == 5  # of six rows one has no context
    assert sorted(os.listdir(interrupted.parent)) == ["in.jsonl", "out.jsonl"]


@pytest.mark.parametrize(
    ("change", "named"),
    [({"models": "b"}, "模型"), ({"ranker": Ranker({"forward": 1.0})}, "模型"), ({"reverse": None}, "选项"), ({}, "输入文件")],
)
def test_another_run_is_not_continued(change: dict[str, Any], named: str, interrupted: Path) -> None:
    source = interrupted.with_name("in.jsonl")
    if named == "输入文件":
        written(source, jsonl(many(11)))
    before = interrupted.with_name("out.jsonl.partial").read_bytes()
    with pytest.raises(ConfigError, match=f"（{named}变了）"):
        run(source, interrupted, resume=True, **{"models": "a", **change})
    assert interrupted.with_name("out.jsonl.partial").read_bytes() == before and not interrupted.exists()


def test_resume_without_anything_left_starts_and_says_so(tmp_path: Path, caplog: Any) -> None:
    assert run(written(tmp_path / "in.jsonl", GOOD * 3), tmp_path / "out.jsonl", resume=True).rows == 3
    assert "从头开始" in caplog.text


def test_damaged_remains_are_named(interrupted: Path) -> None:
    written(interrupted.with_name("out.jsonl.partial"), "short")
    with pytest.raises(ConfigError, match="只有 5.*请删去"):
        run(interrupted.with_name("in.jsonl"), interrupted, models="a", resume=True)
    written(interrupted.with_name("out.jsonl.partial.json"), "{")
    with pytest.raises(ConfigError, match="out.jsonl.partial.json 读不了"):
        run(interrupted.with_name("in.jsonl"), interrupted, models="a", resume=True)


class Meanwhile(FakeScorer):
    """While it scores, another run begins."""

    def __init__(self, another: Callable[[], Any]) -> None:
        super().__init__()
        self.another = another

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        with pytest.raises(ConfigError, match="另一个打分正在写.*out.jsonl；"):
            self.another()
        return super().score(pairs)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("checked", [True, False])
def test_two_runs_do_not_write_one_output(resume: bool, checked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, output = written(tmp_path / "in.jsonl", jsonl(many(10))), tmp_path / "out.jsonl"
    later = FakeScorer()
    if not checked:  # both began before either had a file to see
        monkeypatch.setattr("chitchat.evaluation.batch_score.check_output", lambda *_, **__: None)
    run(source, output, forward=Meanwhile(lambda: run(source, output, forward=later, resume=resume)), batch_rows=2)
    assert later.calls == []
    assert len(loaded(output)) == 10 and sorted(os.listdir(tmp_path)) == ["in.jsonl", "out.jsonl"]


def test_a_run_that_comes_as_another_ends_leaves_what_that_has_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, output = written(tmp_path / "in.jsonl", GOOD), tmp_path / "out.jsonl"
    ended = tmp_path / "ended"
    lock = fcntl.flock

    def late(stream: Any, operation: int) -> None:
        if not ended.exists():
            os.replace(tmp_path / "out.jsonl.partial", ended)
            ended.write_text("whole")
        lock(stream, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    run(source, output)
    assert ended.read_text() == "whole" and len(loaded(output)) == 1


@pytest.mark.parametrize(("source", "output"), [("-", "out.jsonl"), ("good.jsonl", "-")])
def test_streams_cannot_be_resumed(source: str, output: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match="--resume"):
        run(source if source == "-" else folder / source, output if output == "-" else folder / output, resume=True)


@pytest.mark.parametrize("compute_type", ["float32", "int8"])
def test_workers_write_the_same_bytes(compute_type: str, tiny_model: Path, tmp_path: Path) -> None:
    models = {
        direction: CTranslate2Model(tiny_model / direction, direction=direction, compute_type=compute_type)  # type: ignore[arg-type]
        for direction in ("forward", "reverse")
    }
    source = written(tmp_path / "in.jsonl", jsonl(many(150)))
    for workers in (1, 2):
        summary = score_file(source, tmp_path / f"{workers}", batch_rows=16, workers=workers, ranker=Ranker(), **models)
        assert summary.rows == 150
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert [row["id"] for row in loaded(tmp_path / "2")] == list(range(150))


def test_a_dying_worker_is_told(folder: Path) -> None:
    class Dying(FakeScorer):
        def __reduce__(self) -> Any:
            return os._exit, (1,)

    with pytest.raises(BackendError, match="意外结束.*--workers"):
        run(folder / "good.jsonl", folder / "out.jsonl", forward=Dying(), workers=2)
