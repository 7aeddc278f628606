"""How fast a file of 10,000 (context, reply) rows is scored with both models, how much memory that takes, how right it is.

    OMP_NUM_THREADS=1 python benchmarks/score.py --json score.json

Rows are made of data/dialogues.txt: contexts of 1 to 5 messages, `--candidates` replies to each, the true one first. Measured:

1. Rates at one thread, round after round: Hugging Face float32 one row at a time, the same in padded batches of 32, and
   `score_file`, the library behind `chitchat score`, in int8 and float32. The baselines score few rows a round, ours one run of
   rows; rates a row follow. `score_file` also reads, ranks and writes, and computes log P(reply) without context; "log P alone"
   is the baselines' work and no more. The baselines live in a process of their own, without our allocator settings.
2. `chitchat score` in a process of its own: seconds and peak memory with 1,000 and all rows, and with two processes.
3. Agreement with plain float32 transformers: over pairs of candidates for one context that differ by more than 0.1 nat a token,
   how many come in the same order; and the mean difference a token.

Where other programs keep the cores busy, go by processor time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from classic import PlainModel, Score
from rich.console import Console
from rich.table import Table

from chitchat.backends.ctranslate2_local import CTranslate2Model
from chitchat.backends.model_folder import ModelFolder
from chitchat.checkpoint import Direction
from chitchat.corpus.reading.readers import read_dialogues
from chitchat.engine.reranking import Ranker
from chitchat.evaluation.batch_score import BATCH_ROWS, score_file

ROOT = Path(__file__).resolve().parents[1]
DIRECTIONS: tuple[Direction, Direction] = ("forward", "reverse")
COLUMNS = {"forward": ("forward_log_prob", "forward_tokens"), "reverse": ("mmi_log_prob", "mmi_tokens")}
PADDED_BATCH = 32
MAX_CONTEXT_MESSAGES = 5
CLEAR_DIFFERENCE = 0.1
"""Nats a token above which the order of two candidates should hold."""
ONE_BY_ONE, PADDED = "HF one by one", f"HF padded batches of {PADDED_BATCH}"
OURS, OURS_ALONE, OURS_FLOAT = "ours, int8, file to file", "ours, int8, log P alone", "ours, float32, file to file"

Pair = tuple[list[str], str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "xiaoxu", help="模型文件夹")
    parser.add_argument("--rows", type=int, default=10_000, help="行数")
    parser.add_argument("--candidates", type=int, default=4, help="每个上下文几个回复")
    parser.add_argument("--rounds", type=int, default=5, help="轮流测几遍")
    parser.add_argument("--baseline-rows", type=int, default=128, help="每轮用多少行测两个基线")
    parser.add_argument("--agreement-rows", type=int, default=1000, help="用多少行对照 float32 transformers")
    parser.add_argument("--json", type=Path, help="结果也写成 JSON")
    args = parser.parse_args()
    pairs = sample_pairs(args.rows, args.candidates)
    folder = ModelFolder.open(args.model / "forward", direction="forward")
    lengths = [len(folder.scored(context, reply).ids) for context, reply in pairs]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=load_plain, initargs=(args.model,)) as plain:
        result: dict[str, Any] = {
            "rows": len(pairs),
            "tokens_a_row": {"mean": round(statistics.mean(lengths), 1), "max": max(lengths)},
            "rates": measure_rates(args.model, plain, pairs, args.rounds, args.baseline_rows),
            "programs": measure_programs(args.model, pairs),
            "agreement": measure_agreement(args.model, plain, pairs[: args.agreement_rows], args.candidates),
        }
    if args.json:
        args.json.write_text(json.dumps(result, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    show(result)


def sample_pairs(count: int, candidates: int) -> list[Pair]:
    """`count` rows; each context is followed by its true reply and by replies from elsewhere."""
    rng = random.Random(0)
    dialogues = [d.messages for d in read_dialogues(ROOT / "data" / "dialogues.txt")]
    replies = [message for messages in dialogues for message in messages[1::2]]
    pairs: list[Pair] = []
    while len(pairs) < count:
        messages = rng.choice(dialogues)
        end = rng.randrange(1, len(messages))
        context = list(messages[max(0, end - rng.randint(1, MAX_CONTEXT_MESSAGES)) : end])
        pairs += [(context, reply) for reply in (messages[end], *rng.sample(replies, candidates - 1))]
    return pairs[:count]


# Rates -----------------------------------------------------------------------------------------------------------------------


_plain: dict[Direction, PlainModel] = {}


def load_plain(model: Path) -> None:
    torch.set_num_threads(1)
    _plain.update({d: PlainModel(model / d, d) for d in DIRECTIONS})


def plain_scores(name: str, pairs: Sequence[Pair]) -> dict[Direction, list[Score]]:
    if name == ONE_BY_ONE:
        return {d: p.score_one_by_one(p.sequences(pairs)) for d, p in _plain.items()}
    return {d: p.score_padded(p.sequences(pairs), PADDED_BATCH) for d, p in _plain.items()}


def timed_plain(name: str, pairs: Sequence[Pair]) -> tuple[float, float]:
    return timed(lambda: plain_scores(name, pairs), len(pairs))


def timed(run: Callable[[], object], rows: int) -> tuple[float, float]:
    """Milliseconds a row of the clock and of processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return 1e3 * (time.perf_counter() - wall) / rows, 1e3 * (time.process_time() - cpu) / rows


def measure_rates(
    model: Path, plain: ProcessPoolExecutor, pairs: Sequence[Pair], rounds: int, baseline_rows: int
) -> dict[str, Any]:
    """Milliseconds a row, both directions, of each engine: medians over rounds, each on other rows."""
    int8, float32 = load(model, "int8"), load(model, "float32")
    ranker = Ranker.load(model)
    milliseconds: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "in.jsonl", Path(folder) / "out.jsonl"

        def from_file_to_file(models: dict[str, CTranslate2Model]) -> object:
            return score_file(source, output, forward=models["forward"], reverse=models["reverse"], ranker=ranker)

        def log_probs_alone(rows: Sequence[Pair]) -> object:
            return [scorer.score(rows) for scorer in int8.values()]

        for round_ in range(rounds):
            rows = rotated(pairs, round_ * BATCH_ROWS)[:BATCH_ROWS]
            write_rows(source, rows)
            for name in (ONE_BY_ONE, PADDED):
                milliseconds[name].append(plain.submit(timed_plain, name, rows[:baseline_rows]).result())
            milliseconds[OURS].append(timed(partial(from_file_to_file, int8), len(rows)))
            milliseconds[OURS_ALONE].append(timed(partial(log_probs_alone, rows), len(rows)))
            milliseconds[OURS_FLOAT].append(timed(partial(from_file_to_file, float32), len(rows)))
    rates: dict[str, Any] = {
        name: {
            "ms_a_row": round(statistics.median(wall for wall, _ in taken), 3),
            "cpu_ms_a_row": round(statistics.median(cpu for _, cpu in taken), 3),
        }
        for name, taken in milliseconds.items()
    }
    for name in (OURS, OURS_ALONE, OURS_FLOAT):
        for baseline in (ONE_BY_ONE, PADDED):
            for figure in ("ms_a_row", "cpu_ms_a_row"):
                rates[name][f"{baseline}: {figure}"] = round(rates[baseline][figure] / rates[name][figure], 2)
    return rates


def load(model: Path, compute_type: str) -> dict[str, CTranslate2Model]:
    return {d: CTranslate2Model(model / d, direction=d, compute_type=compute_type) for d in DIRECTIONS}


def rotated(pairs: Sequence[Pair], start: int) -> list[Pair]:
    start %= len(pairs)
    return [*pairs[start:], *pairs[:start]]


def write_rows(path: Path, pairs: Sequence[Pair]) -> None:
    with open(path, "w", encoding="utf-8") as stream:
        for context, reply in pairs:
            stream.write(json.dumps({"context": context, "reply": reply}, ensure_ascii=False) + "\n")


# Programs --------------------------------------------------------------------------------------------------------------------


MEASURED = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], check=True)
seconds = time.perf_counter() - started
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
cpu = usage.ru_utime + usage.ru_stime
print(json.dumps({"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "peak_mb": round(usage.ru_maxrss / 1024, 1)}))
"""
"""A small process that starts the measured one: Linux counts the memory of the starting process into a child's peak."""


def measure_programs(model: Path, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """`chitchat score` from start to end: seconds, processor seconds, peak memory of the largest process, rows a second."""
    runs = []
    for rows, workers in ((1000, 1), (len(pairs), 1), (len(pairs), 2)):
        with tempfile.TemporaryDirectory() as folder:
            write_rows(Path(folder) / "in.jsonl", pairs[:rows])
            command = [sys.executable, "-m", "chitchat", "score", f"{folder}/in.jsonl", "--output", f"{folder}/out.jsonl"]
            command += ["--model", str(model), "--compute-type", "int8", "--workers", str(workers)]
            done = subprocess.run([sys.executable, "-c", MEASURED, *command], stdout=subprocess.PIPE, text=True, check=True)
        usage = json.loads(done.stdout)
        runs.append({"rows": rows, "workers": workers, **usage, "rows_a_second": round(rows / usage["seconds"], 1)})
    return runs


# Agreement -------------------------------------------------------------------------------------------------------------------


def measure_agreement(
    model: Path, plain: ProcessPoolExecutor, pairs: Sequence[Pair], candidates: int
) -> dict[str, dict[str, Any]]:
    """For each number type and direction: order kept, pairs that count, mean absolute difference (nats a token)."""
    scores = plain.submit(plain_scores, ONE_BY_ONE, pairs).result()
    exact = {direction: [value / count for value, count in found] for direction, found in scores.items()}
    found = {}
    for compute_type in ("int8", "float32"):
        with tempfile.TemporaryDirectory() as folder:
            source, output = Path(folder) / "in.jsonl", Path(folder) / "out.jsonl"
            write_rows(source, pairs)
            models = load(model, compute_type)
            score_file(source, output, forward=models["forward"], reverse=models["reverse"], ranker=Ranker.load(model))
            rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
        for direction in DIRECTIONS:
            value, count = COLUMNS[direction]
            ours = [row[value] / row[count] for row in rows]
            found[f"{compute_type} {direction}"] = agreement(exact[direction], ours, candidates)
    return found


def agreement(exact: Sequence[float], ours: Sequence[float], candidates: int) -> dict[str, Any]:
    """Of values a token; runs of `candidates` belong to one context."""
    clear = kept = 0
    for start in range(0, len(exact), candidates):
        for a, b in combinations(range(start, min(start + candidates, len(exact))), 2):
            if abs(exact[a] - exact[b]) > CLEAR_DIFFERENCE:
                clear += 1
                kept += (exact[a] > exact[b]) == (ours[a] > ours[b])
    difference = statistics.mean(abs(a - b) for a, b in zip(exact, ours, strict=True))
    return {"same_order": round(kept / clear, 4), "pairs": clear, "mean_difference": round(difference, 5)}


def show(result: dict[str, Any]) -> None:
    console = Console(width=120)
    rates = result["rates"]
    tokens = result["tokens_a_row"]
    title = f"{result['rows']} rows, {tokens['mean']} tokens on average, {tokens['max']} at most; one thread"
    table = Table("", "ms a row", "CPU ms a row", "x one by one", "x padded", title=title, caption="ratios: wall / CPU")
    for name, row in rates.items():
        ratios = [
            f"{row[f'{b}: ms_a_row']:.1f} / {row[f'{b}: cpu_ms_a_row']:.1f}" if f"{b}: ms_a_row" in row else ""
            for b in (ONE_BY_ONE, PADDED)
        ]
        table.add_row(name, f"{row['ms_a_row']:.2f}", f"{row['cpu_ms_a_row']:.2f}", *ratios)
    console.print(table)
    for title, rows in (
        ("chitchat score, int8", result["programs"]),
        ("against plain float32 transformers", [{"": name, **row} for name, row in result["agreement"].items()]),
    ):
        table = Table(*rows[0], title=title)
        for row in rows:
            table.add_row(*map(str, row.values()))
        console.print(table)
    _, one, two = result["programs"]
    console.print(f"two processes: {one['seconds'] / two['seconds']:.2f}x one")


if __name__ == "__main__":
    main()
