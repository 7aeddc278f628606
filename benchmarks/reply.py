"""How long one reply takes: 40 tokens of context, 16 candidates of 20 tokens, ranked with the reverse model; one thread each.

    OMP_NUM_THREADS=1 python benchmarks/reply.py --json reply.json

Our backend (CTranslate2, int8) against the classic loop and Hugging Face `generate` of classic.py: same weights, same length.
Ours computes every log-probability that the ranking looks at, the others the reverse one alone; a line with ours doing no more
than that stands below. `[SEP]` is forbidden, so that every engine writes exactly 20 tokens a candidate. All take turns; the
baselines live in a process of their own, so that neither side sees the other's threads and allocator settings. Each round
measures a baseline once and ours `--repeat` times. Besides the shipped pair one of 12 layers x 768 with random weights is
measured. The clock says what a user waits; where other programs keep the cores busy, processor time is the one to go by.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from classic import Classic, HuggingFace, PlainModel
from rich.console import Console
from rich.table import Table
from transformers import GPT2Config, GPT2LMHeadModel

from chitchat.backends.base import Scorer
from chitchat.backends.ctranslate2_local import CTranslate2Model
from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate, as_context
from chitchat.engine.reranking import Ranker
from chitchat.engine.scoring import scored
from chitchat.tokenization.tokenizer import DialogueTokenizer

ROOT = Path(__file__).resolve().parents[1]
CONTEXT = ("今天被老师当着全班表扬了", "真不错呀说说是因为什么事", "老师说我的字写得特别好看")
"""Three messages of 12 characters: 40 tokens with [CLS] and [SEP]."""
CONTEXT_TOKENS = 40
DECODING = DecodingConfig(num_candidates=16, max_new_tokens=20)
OURS, OURS_5, OURS_MMI = "ours, 16 candidates", "ours, 5 candidates", "ours, 16 candidates, reverse score alone"
HF, CLASSIC = "HF generate + padded scoring", "classic loop"
PARTS = ("  of it writing", "  of it forward scores and priors", "  of it reverse scores")
BASELINES = (HF, CLASSIC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "xiaoxu", help="模型文件夹")
    parser.add_argument("--rounds", type=int, default=7, help="自带模型轮流测几遍")
    parser.add_argument("--large-rounds", type=int, default=3, help="12 x 768 轮流测几遍，0 为不测")
    parser.add_argument("--repeat", type=int, default=8, help="每轮我们的引擎测几次")
    parser.add_argument("--json", type=Path, help="结果也写成 JSON")
    args = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as work:
        os.environ["CHITCHAT_CACHE"] = work
        results.append({"model": args.model.name, **measure(args.model, args.rounds, args.repeat)})
        if args.large_rounds:
            large = random_pair(Path(work) / "large", layers=12, width=768, heads=12)
            results.append({"model": "12 x 768", **measure(large, args.large_rounds, args.repeat)})
    if args.json:
        args.json.write_text(json.dumps(results, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    for result in results:
        show(result)


def random_pair(folder: Path, *, layers: int, width: int, heads: int) -> Path:
    """A model folder with random weights and the shipped vocabulary."""
    tokenizer = DialogueTokenizer.load(ROOT / "data" / "vocab.txt")
    ends = {"bos_token_id": tokenizer.cls_id, "eos_token_id": tokenizer.sep_id}
    shape = {"n_positions": 256, "n_embd": width, "n_layer": layers, "n_head": heads}
    config = GPT2Config(vocab_size=tokenizer.vocab_size, **shape, **ends)
    for seed, direction in enumerate(("forward", "reverse")):
        torch.manual_seed(seed)
        GPT2LMHeadModel(config).save_pretrained(folder / direction)
        tokenizer.save(folder / direction)
    return folder


def measure(model: Path, rounds: int, repeat: int) -> dict[str, Any]:
    """Milliseconds of each engine, and how many times ours is as fast."""
    engines = our_engines(model)
    times: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for run in engines.values():
        run()  # first use: buffers, kernels made for this processor
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=load_baselines, initargs=(model,)) as baselines:
        for _ in range(rounds):
            for name in BASELINES:
                times[name].append(baselines.submit(timed_baseline, name).result())
            for name, run in engines.items():
                times[name] += [timed(run) for _ in range(repeat)]
    found: dict[str, Any] = {
        name: {
            "p50_ms": percentile([wall for wall, _ in taken], 0.5),
            "p95_ms": percentile([wall for wall, _ in taken], 0.95),
            "cpu_p50_ms": percentile([cpu for _, cpu in taken], 0.5),
            "runs": len(taken),
        }
        for name, taken in times.items()
    }
    for figure in ("p50_ms", "cpu_p50_ms"):
        found[f"ratios_{figure}"] = {
            "classic / ours": found[CLASSIC][figure] / found[OURS][figure],
            "HF / ours": found[HF][figure] / found[OURS][figure],
            "classic / ours at equal work": found[CLASSIC][figure] / found[OURS_MMI][figure],
            "HF / ours at equal work": found[HF][figure] / found[OURS_MMI][figure],
            "ours: 16 / 5 candidates": found[OURS][figure] / found[OURS_5][figure],
        }
    found["ours: p95 / p50"] = found[OURS]["p95_ms"] / found[OURS]["p50_ms"]
    return found


_baselines: dict[str, Callable[[], object]] = {}


def load_baselines(model: Path) -> None:
    torch.set_num_threads(1)
    forward, reverse = PlainModel(model / "forward", "forward"), PlainModel(model / "reverse", "reverse")
    forbidden = [*forward.folder.unspeakable_ids, forward.folder.tokenizer.sep_id]
    classic, hugging_face = Classic(forward, reverse, forbidden), HuggingFace(forward, reverse, forbidden)
    _baselines[CLASSIC] = lambda: classic.reply(CONTEXT, DECODING)
    _baselines[HF] = lambda: hugging_face.reply(CONTEXT, DECODING)
    _baselines[HF]()


def timed_baseline(name: str) -> tuple[float, float]:
    return timed(_baselines[name])


def our_engines(model: Path) -> dict[str, Callable[[], object]]:
    """What is measured of ours, by name; one call is one reply, or a part of one."""
    forward = CTranslate2Model(model / "forward", direction="forward")
    reverse = CTranslate2Model(model / "reverse", direction="reverse")
    # No option of the program: nobody wants replies without an end.
    forward._suppressed.append([str(forward.folder.tokenizer.sep_id)])
    ranker = Ranker.load(model)
    prompt, _ = forward.folder.prompt(list(CONTEXT), DECODING.max_new_tokens)
    assert len(prompt) == CONTEXT_TOKENS

    messages = as_context(CONTEXT)

    def written(decoding: DecodingConfig) -> list[Candidate]:
        return [replace(c, rejected=None) for c in forward.generate(CONTEXT, decoding)]

    def ours(decoding: DecodingConfig, forward_scorer: Scorer | None = forward) -> object:
        candidates = written(decoding)
        return ranker.rank(scored(candidates, [CONTEXT] * len(candidates), forward_scorer, reverse), messages)

    some = written(DECODING)
    parts: tuple[Callable[[], object], ...] = (
        lambda: written(DECODING),
        lambda: scored(some, [CONTEXT] * len(some), forward, None),
        lambda: scored(some, [CONTEXT] * len(some), None, reverse),
    )
    return {
        OURS: lambda: ours(DECODING),
        **dict(zip(PARTS, parts, strict=True)),
        OURS_MMI: lambda: ours(DECODING, None),
        OURS_5: lambda: ours(replace(DECODING, num_candidates=5)),
    }


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of wall clock and of processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)


def percentile(values: Sequence[float], share: float) -> float:
    """The middle one for a share of 0.5; of few values the 95th percentile is about the largest."""
    if share == 0.5:
        return statistics.median(values)
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def show(result: dict[str, Any]) -> None:
    console = Console(width=110)
    table = Table("", "p50 (ms)", "p95 (ms)", "CPU p50 (ms)", "runs", title=str(result["model"]))
    for name in (OURS, *PARTS, OURS_MMI, OURS_5, *BASELINES):
        row = result[name]
        table.add_row(name, *(f"{row[key]:.1f}" for key in ("p50_ms", "p95_ms", "cpu_p50_ms")), str(row["runs"]))
    console.print(table)
    for figure, name in (("p50_ms", "wall clock"), ("cpu_p50_ms", "processor time")):
        shown = ", ".join(f"{what} {value:.1f}x" for what, value in result[f"ratios_{figure}"].items())
        console.print(f"{name}: {shown}")
    console.print(f"ours: p95 / p50 {result['ours: p95 / p50']:.2f}")


if __name__ == "__main__":
    main()
