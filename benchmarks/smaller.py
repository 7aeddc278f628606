"""What making a pair smaller saves and what it costs: int8, a trimmed vocabulary, dropped layers without and with repair.

    python benchmarks/smaller.py --json smaller.json

The classic 21128-token vocabulary is made by padding the given pair's with tokens that no text contains: 99 `[unusedN]` and
`##` pieces of Han characters, as BERT's own has. Their rows lie close to that of `[MASK]`, which no text contains either: that is
what training makes of a token it never sees. Replies are timed in turn, one of every model for each context.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from safetensors.numpy import load_file, save_file

from chitchat.backends.base import LogProb
from chitchat.backends.conversion import convert
from chitchat.backends.ctranslate2_local import CTranslate2Model
from chitchat.checkpoint import Direction, read_config, read_manifest
from chitchat.cli import main as chitchat
from chitchat.config import DecodingConfig, PrepareConfig, TrainConfig, read_yaml
from chitchat.convert import convert_model
from chitchat.corpus.splitting import Split
from chitchat.dialogue import Candidate
from chitchat.engine.decoding import derived_seed
from chitchat.engine.scoring import scored
from chitchat.evaluation.fit_ranking import candidate_sets, split_pairs
from chitchat.evaluation.metrics import Estimate, average, rank_of_first
from chitchat.prepare import WeightedCorpus
from chitchat.tokenization.tokenizer import DialogueTokenizer

ROOT = Path(__file__).resolve().parents[1]
DIRECTIONS: tuple[Direction, Direction] = ("forward", "reverse")
CLASSIC_VOCABULARY = 21128
CLEAR_DIFFERENCE = 0.1
"""Nats per token; the order of candidates that are closer does not matter."""
REPAIR = "--tokens-per-step 4096 --warmup-steps 10 --muon-learning-rate 0.012 --learning-rate 1.8e-3 --compile off --threads 1"
"""Smaller and bolder steps than the configuration's: a few minutes are only some dozens of them."""
DECODING = DecodingConfig(num_candidates=16, max_new_tokens=20)
HISTORY = 5


@dataclass
class Pair:
    """A pair of models in one numeric type, and what was measured of it."""

    name: str
    folder: Path
    compute_type: str
    forward: CTranslate2Model
    reverse: CTranslate2Model
    stored_mb: float
    """The safetensors of both."""
    loaded_mb: float
    """The files that CTranslate2 reads, of both."""
    milliseconds: list[float] = field(default_factory=list)

    @classmethod
    def load(cls, name: str, folder: Path, compute_type: str, work: Path) -> Pair:
        models = [CTranslate2Model(folder / d, direction=d, compute_type=compute_type) for d in DIRECTIONS]
        loaded = 0.0
        for direction in DIRECTIONS:
            with tempfile.TemporaryDirectory(dir=work) as output:
                convert(folder / direction, Path(output), compute_type=compute_type)
                loaded += _megabytes(Path(output), "*")
        stored = sum(_megabytes(folder / d, "*.safetensors") for d in DIRECTIONS)
        return cls(name, folder, compute_type, models[0], models[1], stored, loaded)

    def reply(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
        """Different candidates with their log-probabilities, as a turn of talk has them."""
        texts = dict.fromkeys(c.text for c in self.forward.generate(context, decoding) if c.text)
        return scored([Candidate(text) for text in texts], [context] * len(texts), self.forward, self.reverse)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "xiaoxu", help="模型文件夹，含 forward/ 与 reverse/")
    parser.add_argument("--held-out", type=Path, default=ROOT / "data" / "dialogues.txt", help="语料；只用其测试划分")
    own = [ROOT / "data" / "dialogues.txt", ROOT / "data" / "intents.jsonl"]
    parser.add_argument("--trim-vocab", type=Path, nargs="+", default=own, help="裁剪词表所依据的语料；只数训练划分")
    parser.add_argument("--forward-layers", type=int, default=4, help="正向模型留几层")
    parser.add_argument("--reverse-layers", type=int, default=3, help="反向模型留几层")
    parser.add_argument("--repair-minutes", type=float, default=3.0, help="去层之后每个模型再训练几分钟，0 为不训练")
    parser.add_argument("--repair-config", default=str(ROOT / "configs" / "xiaoxu_3_{direction}.yaml"), help="再训练的配置")
    parser.add_argument("--contexts", type=int, default=200, help="打分用的上下文数")
    parser.add_argument("--replies", type=int, default=50, help="计时与比较次序用的上下文数")
    parser.add_argument("--work", type=Path, help="中间结果放在这里并留下；再次运行时不重做已训练的模型")
    parser.add_argument("--json", type=Path, help="结果也写成 JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work: Path = args.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        os.environ["CHITCHAT_CACHE"] = str(work / "cache")
        rows = measure(args, work)
    if args.json:
        args.json.write_text(json.dumps(rows, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    show(rows)


def measure(args: argparse.Namespace, work: Path) -> list[dict[str, Any]]:
    """One row for each model and numeric type; the first, the given pair in float32, is what the others are held to."""
    folders = smaller_pairs(args, work)
    pairs = [Pair.load(name, folder, kind, work) for name, folder in folders.items() for kind in ("float32", "int8")]
    shuffler = random.Random(0)
    turns = list(split_pairs(args.held_out, Split.TEST, HISTORY))
    shuffler.shuffle(turns)
    sets = candidate_sets(turns, args.contexts, shuffler)
    contexts = [context for context, _ in sets[: args.replies]]
    written = [
        [c.text for c in pairs[0].reply(context, replace(DECODING, seed=derived_seed(0, number)))]
        for number, context in enumerate(contexts)
    ]
    for context in contexts:
        for pair in shuffler.sample(pairs, len(pairs)):
            started = time.perf_counter()
            pair.reply(context, DECODING)
            pair.milliseconds.append(1000 * (time.perf_counter() - started))
    reference = _Judged(pairs[0], sets, contexts, written)
    return [_row(_Judged(pair, sets, contexts, written), reference, pairs) for pair in pairs]


# The smaller pairs -----------------------------------------------------------------------------------------------------------


def smaller_pairs(args: argparse.Namespace, work: Path) -> dict[str, Path]:
    """The given pair and what is made of it, by name."""
    classic, trimmed, dropped, repaired = (work / name for name in ("classic", "trimmed", "dropped", "repaired"))
    with_vocabulary(args.model, classic, CLASSIC_VOCABULARY)
    convert_model(classic, trimmed, trim_vocab=args.trim_vocab, overwrite=True)
    layers = {"forward": args.forward_layers, "reverse": args.reverse_layers}
    for direction in DIRECTIONS:
        convert_model(args.model / direction, dropped / direction, max_layers=layers[direction], overwrite=True)
    pairs = {"原样": args.model, f"词表补到 {CLASSIC_VOCABULARY}": classic, "再裁剪词表": trimmed}
    pairs[f"去层（{layers['forward']}+{layers['reverse']} 层）"] = dropped
    if args.repair_minutes:
        for direction in DIRECTIONS:
            if not (repaired / direction / "config.json").is_file():
                repair(direction, dropped, repaired, args.repair_config, args.repair_minutes)
        pairs[f"去层后再训练 {args.repair_minutes:g} 分钟"] = repaired
    return pairs


def with_vocabulary(source: Path, output: Path, size: int) -> None:
    """The pair with its vocabulary padded to `size` tokens; `[PAD]` alone keeps its id, as all move in BERT's own."""
    for direction in DIRECTIONS:
        folder = output / direction
        shutil.copytree(source / direction, folder, dirs_exist_ok=True)
        tensors = load_file(folder / "model.safetensors")
        tensors.pop("lm_head.weight", None)
        table = tensors["transformer.wte.weight"]
        tokens = DialogueTokenizer.load(folder).tokens
        pieces = [t for t in (f"##{chr(code)}" for code in range(0x4E00, 0x9FFF)) if t not in set(tokens)]
        new = [f"[unused{n}]" for n in range(1, 100)] + pieces[: size - len(tokens) - 99]
        noise = np.random.default_rng(0).normal(0, 0.02, (len(new), table.shape[1]))
        rows = (table[tokens.index("[MASK]")] + noise).astype(table.dtype)
        tensors["transformer.wte.weight"] = np.concatenate([table[:1], rows, table[1:]])
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        tokenizer = DialogueTokenizer([*tokens[:1], *new, *tokens[1:]])
        tokenizer.save(folder)
        config = read_config(folder) | {"vocab_size": tokenizer.vocab_size}
        (folder / "config.json").write_text(json.dumps(config))
        if (manifest := read_manifest(folder, direction)) is not None:
            replace(manifest, vocab_fingerprint=tokenizer.fingerprint).save(folder)


def repair(direction: Direction, source: Path, output: Path, config: str, minutes: float) -> None:
    """Trains a model a little further, on those corpora of a configuration that are at hand."""
    file = config.format(direction=direction)
    named = read_yaml(Path(file), {"train": TrainConfig, "prepare": PrepareConfig})["train"]["data"]
    data = [str(d) for d in named if WeightedCorpus.parse(str(d)).path.exists()]
    options = ["--init-from", str(source), "--model", str(output), "--max-minutes", str(minutes), *REPAIR.split()]
    if code := chitchat(["train", direction, "--config", file, *options, "--data", *data]):
        sys.exit(code)


# What is measured ------------------------------------------------------------------------------------------------------------


class _Judged:
    """The figures of one pair.

    Attributes:
        perplexity: per character of the true replies, each `[SEP]` counted to its message.
        unknown: share of the true replies' tokens that are `[UNK]`.
        hits: whether the true reply has the best reverse score of twenty.
        per_token: by direction, nats per token of the candidates the reference pair wrote, an array for each context.
    """

    def __init__(
        self,
        pair: Pair,
        sets: Sequence[tuple[list[str], list[str]]],
        contexts: Sequence[list[str]],
        written: Sequence[list[str]],
    ) -> None:
        self.pair = pair
        replies = [replies[0] for _, replies in sets]
        nats = -sum(s.value for s in pair.forward.score([(c, r[0]) for c, r in sets]))
        self.perplexity = math.exp(nats / sum(map(len, replies)))
        tokenizer = pair.forward.folder.tokenizer
        ids = [i for reply in replies for i in tokenizer.encode(reply)]
        self.unknown = ids.count(tokenizer.unk_id) / len(ids)
        self.hits = average(float(rank_of_first(_scores(pair.reverse, c, r).tolist()) == 1) for c, r in sets)
        self.per_token = {
            model.folder.direction: [_scores(model, c, texts) for c, texts in zip(contexts, written, strict=True)]
            for model in (pair.forward, pair.reverse)
        }

    def same_order(self, reference: _Judged, direction: Direction) -> float:
        """Share of the candidate pairs that clearly differ for the reference and have the same order here."""
        same = total = 0
        for mine, theirs in zip(self.per_token[direction], reference.per_token[direction], strict=True):
            first, second = np.triu_indices(len(theirs), 1)
            difference = theirs[first] - theirs[second]
            clear = np.abs(difference) > CLEAR_DIFFERENCE
            same += int((np.sign(mine[first] - mine[second]) == np.sign(difference))[clear].sum())
            total += int(clear.sum())
        return same / total


def _scores(model: CTranslate2Model, context: list[str], replies: Sequence[str]) -> NDArray[np.float64]:
    """Nats per token of each reply in the model's direction."""
    found: list[LogProb] = model.score([(context, reply) for reply in replies])
    return np.array([s.value / s.num_tokens for s in found])


def _row(judged: _Judged, reference: _Judged, pairs: Sequence[Pair]) -> dict[str, Any]:
    pair = judged.pair
    ratios = [mine / first for mine, first in zip(pair.milliseconds, pairs[0].milliseconds, strict=True)]
    config = [read_config(pair.folder / direction) for direction in DIRECTIONS]
    return {
        "name": pair.name,
        "compute_type": pair.compute_type,
        "tokens": config[0]["vocab_size"],
        "layers": [c["n_layer"] for c in config],
        "stored_mb": pair.stored_mb,
        "loaded_mb": pair.loaded_mb,
        "reply_ms": statistics.median(pair.milliseconds),
        "reply_ms_p95": float(np.quantile(pair.milliseconds, 0.95)),
        "reply_ratio": statistics.median(ratios),
        "perplexity_per_char": judged.perplexity,
        "unknown": judged.unknown,
        "hits_at_1": _with_interval(judged.hits.estimate()),
        "hits_at_1_difference": _with_interval(judged.hits.minus(reference.hits)),
        "same_order": {direction: judged.same_order(reference, direction) for direction in DIRECTIONS},
    }


def _with_interval(estimate: Estimate) -> list[float | None]:
    return [estimate.value, estimate.low, estimate.high]


def _megabytes(folder: Path, pattern: str) -> float:
    return sum(p.stat().st_size for p in folder.glob(pattern)) / 1e6


# What is shown ---------------------------------------------------------------------------------------------------------------

COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "模型": lambda r: str(r["name"]),
    "类型": lambda r: str(r["compute_type"]),
    "词表": lambda r: str(r["tokens"]),
    "层": lambda r: "+".join(map(str, r["layers"])),
    "存盘 MB": lambda r: f"{r['stored_mb']:.1f}",
    "载入 MB": lambda r: f"{r['loaded_mb']:.1f}",
    "毫秒/回复": lambda r: f"{r['reply_ms']:.0f}",
    "相对": lambda r: f"{r['reply_ratio']:.2f}",
    "困惑度/字": lambda r: f"{r['perplexity_per_char']:.2f}",
    "未知字": lambda r: f"{100 * r['unknown']:.2f}%",
    "Hits@1/20 反向": lambda r: f"{r['hits_at_1'][0]:.3f}",
    "与首行之差": lambda r: "{:+.3f} [{:+.2f}, {:+.2f}]".format(*r["hits_at_1_difference"]),
    "同序 正向": lambda r: f"{100 * r['same_order']['forward']:.1f}%",
    "同序 反向": lambda r: f"{100 * r['same_order']['reverse']:.1f}%",
}


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Prints the table and what its columns mean."""
    table = Table()
    for heading in COLUMNS:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(*(column(row) for column in COLUMNS.values()))
    console = Console(width=180)
    console.print(table)
    console.print(
        f"毫秒/回复：写 {DECODING.num_candidates} 个候选（至多 {DECODING.max_new_tokens} 个 token）并双向打分，一个线程，中位数；"
        f"相对：同一上下文与首行之比的中位数。\n"
        f"同序：首行写的候选两两相比，每 token 相差超过 {CLEAR_DIFFERENCE} 的，次序与首行相同的比例。\n"
        f"{CLASSIC_VOCABULARY} 词表是补出来的：多出的 token 不在任何文本里出现，行取 [MASK] 的行加小的随机数。"
    )


if __name__ == "__main__":
    main()
