"""How fast a corpus file becomes a token store: megabytes of its text a second and core, and where the time goes.

    OMP_NUM_THREADS=1 python benchmarks/prepare.py corpus.jsonl.gz --json prepare.json
    python benchmarks/prepare.py --generate big.txt --megabytes 5000

Megabytes are bytes of uncompressed UTF-8 in the file. Without a file one is made of our own dialogues, again and again, each time
with other characters, numbers and careless punctuation, so that hardly a dialogue is dropped as a duplicate; `--generate` only
writes such a file. All is measured in turn, round after round, with an empty cache; the medians are shown. Where other programs
keep the cores busy, the figure by processor time is the one to go by.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from chitchat.config import PrepareConfig
from chitchat.corpus.cleaning import clean_dialogues
from chitchat.corpus.minhash import band_keys, signatures
from chitchat.corpus.normalisation import normalise_all
from chitchat.corpus.reading.readers import read_dialogues
from chitchat.corpus.reading.source_file import GZIP_MAGIC
from chitchat.corpus.splitting import content_hash, split_of
from chitchat.files import atomic_folder
from chitchat.prepare import prepare
from chitchat.tokenization.token_store import EncodedDialogues, TokenStoreWriter
from chitchat.tokenization.tokenizer import DialogueTokenizer

ROOT = Path(__file__).resolve().parents[1]
STAGES = {
    "read": "读取",
    "normalise": "规范化",
    "clean": "清洗",
    "hash": "哈希与划分",
    "sign": "相似签名",
    "encode": "编码",
    "write": "写入",
}
CARELESS = str.maketrans("，？！：", ",?!:")
CARELESS_SHARE = 0.1
"""Of messages; in LCCC a tenth is changed by normalising."""
CONFIG = PrepareConfig()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path, nargs="*", help="语料文件；不给则由自带对话生成一个")
    parser.add_argument("--megabytes", type=float, default=8.0, help="生成的文件有多大（MB）")
    parser.add_argument("--vocab", type=Path, default=ROOT / "data" / "vocab.txt", help="词表")
    parser.add_argument("--rounds", type=int, default=5, help="轮流测几遍")
    parser.add_argument("--json", type=Path, help="结果也写成 JSON")
    parser.add_argument("--generate", type=Path, metavar="FILE", help="只生成一个语料文件")
    args = parser.parse_args()
    if args.generate:
        generated(args.generate, args.megabytes)
        return
    tokenizer = DialogueTokenizer.load(args.vocab)
    with tempfile.TemporaryDirectory() as work:
        corpora = args.corpora or [generated(Path(work) / "generated.txt", args.megabytes)]
        rows = measure(corpora, tokenizer, args.rounds, Path(work))
    if args.json:
        args.json.write_text(json.dumps(rows, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    show(rows)


def generated(path: Path, megabytes: float) -> Path:
    """A text corpus of about that size, at least one copy of our own dialogues."""
    rng = random.Random(0)
    text = (ROOT / "data" / "dialogues.txt").read_text(encoding="utf-8")
    characters = re.findall(r"[\u4e00-\u9fff]", text)
    size = 0
    with open(path, "w", encoding="utf-8") as stream:
        while size < megabytes * 1e6:
            lines = [_varied(line, characters, rng) if line else "" for line in text.split("\n")]
            size += len("\n".join(lines).encode())
            stream.write("\n".join(lines) + "\n\n")
    return path


def _varied(line: str, characters: list[str], rng: random.Random) -> str:
    place = rng.randrange(len(line))
    line = line[:place] + rng.choice(characters) + line[place:]
    if rng.random() < CARELESS_SHARE:
        line = line.translate(CARELESS) + rng.choice(("...", "。。", "哈哈哈哈哈哈哈哈", str(rng.randrange(1000)), "ok 😂"))
    return line


def measure(corpora: list[Path], tokenizer: DialogueTokenizer, rounds: int, work: Path) -> list[dict[str, Any]]:
    """Median figures of each file."""
    figures: list[dict[str, list[float]]] = [defaultdict(list) for _ in corpora]
    for _ in range(rounds):
        for path, figure in zip(corpora, figures, strict=True):
            for workers in (1, 2):
                wall, processor = prepare_seconds(path, tokenizer, workers, work)
                figure[f"seconds_{workers}"].append(wall)
                if workers == 1:
                    figure["processor_seconds"].append(processor)
            for stage, seconds in stage_seconds(path, tokenizer, work).items():
                figure[stage].append(seconds)
    rows = []
    for path, figure in zip(corpora, figures, strict=True):
        median = {name: statistics.median(values) for name, values in figure.items()}
        megabytes = text_bytes(path) / 1e6
        total = sum(median[stage] for stage in STAGES)
        rows.append(
            {
                "corpus": path.name,
                "megabytes": round(megabytes, 2),
                "mb_per_second": round(megabytes / median["seconds_1"], 2),
                "mb_per_processor_second": round(megabytes / median["processor_seconds"], 2),
                "two_workers_speedup": round(median["seconds_1"] / median["seconds_2"], 2),
                "shares": {stage: round(median[stage] / total, 3) for stage in STAGES},
                "rounds": rounds,
            }
        )
    return rows


def prepare_seconds(path: Path, tokenizer: DialogueTokenizer, workers: int, work: Path) -> tuple[float, float]:
    """Seconds by the clock, and of this process's processor time, from file to token store."""
    with tempfile.TemporaryDirectory(dir=work) as cache:
        os.environ["CHITCHAT_CACHE"] = cache
        wall, processor = time.perf_counter(), time.process_time()
        prepare(path, CONFIG, tokenizer, workers=workers)
        return time.perf_counter() - wall, time.process_time() - processor


def stage_seconds(path: Path, tokenizer: DialogueTokenizer, work: Path) -> dict[str, float]:
    """Processor seconds of each stage, done as `prepare` does them but one after another for each run of dialogues."""
    seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        started = time.process_time()
        yield
        seconds[stage] += time.process_time() - started

    cleaning = replace(CONFIG, normalise=False)
    dialogues = read_dialogues(path)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        with atomic_folder(Path(folder) / "store") as temporary, TokenStoreWriter(temporary) as writer:
            while True:
                with timed("read"):
                    run = list(islice(dialogues, 2000))
                if not run:
                    break
                with timed("normalise"):
                    lines = iter(normalise_all([message for dialogue in run for message in dialogue.messages]))
                    run = [replace(dialogue, messages=tuple(islice(lines, len(dialogue.messages)))) for dialogue in run]
                with timed("clean"):
                    kept = [piece.messages for piece in clean_dialogues(run, cleaning).dialogues]
                with timed("hash"):
                    hashes = [content_hash(messages) for messages in kept]
                    splits = [split_of(hash_, CONFIG.validation_fraction, CONFIG.test_fraction) for hash_ in hashes]
                with timed("sign"):
                    band_keys(signatures(kept)[0])
                with timed("encode"):
                    ids, message_tokens = tokenizer.encode_all(list(chain.from_iterable(kept)))
                with timed("write"):
                    writer.append(
                        EncodedDialogues(
                            ids=ids.astype(np.uint16),
                            message_tokens=message_tokens,
                            message_chars=np.array([len(message) for messages in kept for message in messages], dtype=np.uint16),
                            dialogue_messages=np.array([len(messages) for messages in kept]),
                            hashes=np.array(hashes, dtype=np.uint64),
                            splits=np.array(splits, dtype=np.uint8),
                        )
                    )
    return seconds


def text_bytes(path: Path) -> int:
    """Bytes of the file's text, uncompressed."""
    raw = path.read_bytes()
    return len(gzip.decompress(raw) if raw.startswith(GZIP_MAGIC) else raw)


def show(rows: list[dict[str, Any]]) -> None:
    table = Table("语料", "MB", "MB/秒", "MB/处理器秒", "两个进程", *STAGES.values())
    for row in rows:
        table.add_row(
            row["corpus"],
            f"{row['megabytes']:.1f}",
            f"{row['mb_per_second']:.2f}",
            f"{row['mb_per_processor_second']:.2f}",
            f"{row['two_workers_speedup']:.2f} 倍",
            *(f"{share:.0%}" for share in row["shares"].values()),
        )
    Console().print(table)
    Console().print("前两个速度用一个进程；小于 4 MB 的文件总是只用一个进程。右边六列是各阶段占的处理器时间。")


if __name__ == "__main__":
    main()
