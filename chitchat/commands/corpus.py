"""Corpora: prepared for training, and the vocabulary made from them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from chitchat.commands.shared import DEFAULT_VOCAB, AddCommand, resolve_all
from chitchat.config import PrepareConfig


def add(command: AddCommand) -> None:
    sub = command("prepare", "读入、清洗并切分语料（训练时会自动做）", _prepare, PrepareConfig, usage="FILE … ")
    sub.add_argument("files", nargs="+", type=Path, metavar="FILE", help="语料文件：txt、jsonl、json、csv、tsv，可 gzip")
    sub.add_argument("--vocab", default="", metavar="TEXT", help="vocab.txt 或模型文件夹；留空用自带词表")
    sub.add_argument("--workers", type=int, metavar="N", help="进程数；默认等于可用核数")

    sub = command("vocab", "由语料生成 BERT 格式的词表", _vocab, usage="FILE … --output vocab.txt ")
    sub.add_argument("files", nargs="+", type=Path, metavar="FILE", help="语料文件")
    sub.add_argument("--output", type=Path, required=True, metavar="FILE", help="写到哪个 vocab.txt")
    sub.add_argument("--size", type=int, default=7000, metavar="N", help="token 数上限（默认 7000）")
    sub.add_argument("--min-count", type=int, default=2, metavar="N", help="出现次数更少的字不收（默认 2）")


def _prepare(args: argparse.Namespace) -> None:
    (config,) = resolve_all(args, PrepareConfig)
    from chitchat.prepare import prepare
    from chitchat.tokenization.tokenizer import DialogueTokenizer

    tokenizer = DialogueTokenizer.load(args.vocab or DEFAULT_VOCAB)
    for path in args.files:
        store = prepare(path, config, tokenizer, workers=args.workers, show_progress=sys.stderr.isatty())
        counts = "{dialogues} 段对话，{messages} 条消息，{tokens} 个 token".format_map(store.meta)
        print(f"{path}：{counts} → {store.folder}")
        if store.meta["dropped"]:
            from chitchat.corpus.cleaning import DESCRIPTIONS

            print(
                "  未采用："
                + "，".join(f"{DESCRIPTIONS.get(name, name)} {count}" for name, count in store.meta["dropped"].items())
            )


def _vocab(args: argparse.Namespace) -> None:
    from chitchat.corpus.cleaning import normalise
    from chitchat.corpus.readers import read_dialogues
    from chitchat.files import atomic_write
    from chitchat.tokenization.tokenizer import DialogueTokenizer, build_vocabulary

    messages = (normalise(m) for path in args.files for dialogue in read_dialogues(path) for m in dialogue.messages)
    vocab = build_vocabulary(messages, size=args.size, min_count=args.min_count)
    DialogueTokenizer(vocab)  # the round-trip check, before anything is written
    with atomic_write(args.output) as stream:
        stream.write("\n".join(vocab) + "\n")
    print(f"{args.output}：{len(vocab)} 个 token")
