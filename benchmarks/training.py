"""How fast a forward model is trained: tokens that count a second, beside the classic loop and the machine's matrix rate.

    python benchmarks/training.py data/dialogues.txt corpora/lccc.jsonl.gz --threads 2 --json training.json

The classic loop is that of the projects before this one: float32, batches of eight dialogues padded to the longest, dropout,
one (tokens, vocab) tensor of logits for the whole batch, AdamW. Ours is `training.loop`'s step: packed rows, bfloat16 autocast,
chunked cross-entropy, a compiled body, Muon. Both train a new model of the shipped size on the same store. Every measurement
runs in a process of its own, in turn, round after round, because memory is part of the answer; medians are shown. A token counts
when it is learnt: padding and the first token of a dialogue do not.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CLASSIC_BATCH = 8
MATRIX = (4096, 256, 1024)
"""Rows, width and width of the feed-forward layer: the product that training does most of."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, default=[ROOT / "data" / "dialogues.txt"])
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "xiaoxu_1_forward.yaml")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement, without warming up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--engine", choices=sorted(ENGINES), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.engine:
        print(json.dumps(ENGINES[args.engine](args)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ENGINES}
    for _ in range(args.rounds):
        for name in ENGINES:
            found[name].append(_in_process(name, args))
            print(f"{name:8} {found[name][-1]}", file=sys.stderr)
    medians = {name: {k: statistics.median(r[k] for r in runs) for k in runs[0]} for name, runs in found.items()}
    ours, classic, matrix = medians["ours"], medians["classic"], medians["matrix"]
    result = {
        "threads": args.threads,
        "medians": medians,
        "speed_ratio": ours["tokens_per_second"] / classic["tokens_per_second"],
        "memory_ratio": ours["peak_mb"] / classic["peak_mb"],
        "share_of_matrix_rate": ours["gflops"] / matrix["gflops"],
    }
    print(f"classic  {classic['tokens_per_second']:8.0f} tokens/s  {classic['peak_mb']:6.0f} MB")
    print(f"ours     {ours['tokens_per_second']:8.0f} tokens/s  {ours['peak_mb']:6.0f} MB")
    print(f"ratio    {result['speed_ratio']:8.1f} x         {result['memory_ratio']:6.2f} x")
    print(f"matrix products: {ours['gflops']:.0f} of {matrix['gflops']:.0f} GFLOP/s, {result['share_of_matrix_rate']:.0%}")
    print(f"the classic loop: {classic['gflops']:.0f} of {matrix['float32_gflops']:.0f} GFLOP/s in float32")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _in_process(engine: str, args: argparse.Namespace) -> dict[str, float]:
    large = str(4 << 30)  # freed memory is kept for the next step instead of being given back and zeroed anew
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "PYTHONPATH": str(ROOT)}
    if engine == "ours":
        environment |= {f"MALLOC_{name}_": large for name in ("MMAP_THRESHOLD", "TRIM_THRESHOLD")}
    options = ["--engine", engine, "--threads", str(args.threads), "--seconds", str(args.seconds), "--config", str(args.config)]
    command = [sys.executable, __file__, *options, *map(str, args.files)]
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    measured: dict[str, float] = json.loads(output.splitlines()[-1])
    return measured


def _measure_classic(args: argparse.Namespace) -> dict[str, float]:
    import torch

    model, stores, tokenizer, _ = _setup(args)
    model.config.resid_pdrop = model.config.embd_pdrop = model.config.attn_pdrop = 0.1
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    dialogues = _dialogues(stores, tokenizer.cls_id, model.config.n_positions)

    def step() -> int:
        batch = [next(dialogues) for _ in range(CLASSIC_BATCH)]
        ids = torch.full((CLASSIC_BATCH, max(map(len, batch))), tokenizer.pad_id)
        for row, dialogue in zip(ids, batch, strict=True):
            row[: len(dialogue)] = torch.from_numpy(dialogue.astype(np.int64))
        known = ids != tokenizer.pad_id
        logits = model(input_ids=ids, attention_mask=known.long()).logits
        labels = ids[:, 1:].masked_fill(~known[:, 1:], -100)
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return int(known[:, 1:].sum())

    return _timed(step, args.seconds, model)


def _measure_ours(args: argparse.Namespace) -> dict[str, float]:
    import torch

    from chitchat.tokenization.batching import BatchStream
    from chitchat.tokenization.samples import Samples
    from chitchat.training.model import PackedLoss, batch_tensors
    from chitchat.training.optimizer import Optimizer

    model, stores, tokenizer, config = _setup(args)
    positions = model.config.n_positions
    sources = [
        (Samples(s, s.of_split(0).tolist(), reverse=False, max_tokens=positions, cls_id=tokenizer.cls_id), 1.0) for s in stores
    ]
    stream = BatchStream(sources, rows_per_batch=config.rows_per_batch, row_tokens=positions, pad_id=tokenizer.pad_id, seed=0)
    optimizer = Optimizer(model, config)
    loss_module = PackedLoss(model)
    loss_module.compile_body()
    micro_batches = config.tokens_per_step // (config.rows_per_batch * positions)

    def step() -> int:
        batches = [next(stream) for _ in range(micro_batches)]
        num_targets = sum(batch.num_targets for batch in batches)
        for batch in batches:
            with torch.autocast("cpu", torch.bfloat16):
                loss = loss_module(*batch_tensors(batch, "cpu")) / num_targets
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(0.1)
        optimizer.zero_grad()
        return num_targets

    return _timed(step, args.seconds, model)


def _measure_matrix(args: argparse.Namespace) -> dict[str, float]:
    """The machine's rates in bfloat16 and float32, the mean of a product and of the two that its gradients take."""
    import torch

    torch.set_num_threads(args.threads)
    rows, width, inner = MATRIX
    rates = {}
    for name, dtype in (("gflops", torch.bfloat16), ("float32_gflops", torch.float32)):
        x, w, y = (torch.randn(*shape, dtype=dtype) for shape in ((rows, width), (width, inner), (rows, inner)))
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < min(args.seconds, 5):
            x @ w, y @ w.T, x.T @ y
            count += 1
        rates[name] = 6 * rows * width * inner * count / (time.perf_counter() - started) / 1e9
    return rates


ENGINES: dict[str, Callable[[argparse.Namespace], dict[str, float]]] = {
    "matrix": _measure_matrix,
    "classic": _measure_classic,
    "ours": _measure_ours,
}


def _setup(args: argparse.Namespace) -> tuple[Any, list[Any], Any, Any]:
    import torch

    from chitchat.config import ModelConfig, PrepareConfig, TrainConfig, from_mapping, read_yaml
    from chitchat.prepare import prepare
    from chitchat.tokenization.tokenizer import DialogueTokenizer
    from chitchat.training.model import new_model

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    classes: dict[str, type] = {"prepare": PrepareConfig, "model": ModelConfig, "train": TrainConfig}
    sections = read_yaml(args.config, classes)
    where = str(args.config)
    prepare_config, model_config, train_config = (
        from_mapping(cls, sections.get(name, {}), where=where) for name, cls in classes.items()
    )
    tokenizer = DialogueTokenizer.load(ROOT / train_config.vocab)
    stores = [prepare(path, prepare_config, tokenizer) for path in args.files]
    return new_model(model_config, tokenizer), stores, tokenizer, train_config


def _dialogues(stores: list[Any], cls_id: int, positions: int) -> Iterator[np.ndarray]:
    """Whole dialogues in random order, cut at the model's length, for ever."""
    random = np.random.default_rng(0)
    while True:
        store = stores[random.integers(len(stores))]
        messages = store.dialogue(int(random.integers(len(store))))
        yield np.concatenate([[cls_id], *(store.message(i) for i in messages)])[:positions]


def _timed(step: Callable[[], int], seconds: float, model: Any) -> dict[str, float]:
    for _ in range(3):
        step()
    started, tokens = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        tokens += step()
    speed = tokens / (time.perf_counter() - started)
    # forward and backward: six operations a token for each weight of a matrix, the vocabulary's once (it is tied)
    weights = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and "wpe" not in name)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"tokens_per_second": speed, "peak_mb": peak, "gflops": 6 * weights * speed / 1e9}


if __name__ == "__main__":
    main()
