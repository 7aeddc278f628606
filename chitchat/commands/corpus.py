"""Corpora: prepared for training, and the vocabulary made from them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from chitchat.commands.shared import DEFAULT_VOCAB, AddCommand, resolve_all
from chitchat.config import PrepareConfig
from chitchat.errors import ConfigError

if TYPE_CHECKING:
    from chitchat.tokenization.token_store import TokenStore


def add(command: AddCommand) -> None:
    sub = command("prepare", "读入、清洗、去重并切分语料（训练时会自动做）", _prepare, PrepareConfig, usage="FILE … ")
    sub.add_argument("files", nargs="*", type=Path, metavar="FILE", help="语料文件，格式与编码自动识别，可 gzip 或 zip")
    sub.add_argument("--vocab", default="", metavar="TEXT", help="vocab.txt 或模型文件夹；留空用自带词表")
    sub.add_argument("--dry-run", action="store_true", help="只看开头：读到的前五段，以及会丢弃什么；什么也不写")
    sub.add_argument("--report", type=Path, metavar="FILE.html", help="把语料报告写成一个网页，旁边另有同名的 .json")
    sub.add_argument("--workers", type=int, metavar="N", help="进程数；默认等于可用核数，每个约需 80 MB 内存")
    sub.add_argument(
        "--engine", default="local", choices=("local", "ray"), help="在哪里做：local 本机的进程，ray 一个 Ray 集群（默认 local）"
    )
    sub.add_argument("--list-cache", action="store_true", help="列出已预处理的语料与占用的磁盘")
    sub.add_argument(
        "--clear-cache",
        choices=("partial", "all"),
        help="清理磁盘：partial 删去没有做完的（不能再接着做），all 连做完的一起删",
    )

    sub = command("vocab", "由语料生成 BERT 格式的词表", _vocab, usage="FILE … --output vocab.txt ")
    sub.add_argument("files", nargs="+", type=Path, metavar="FILE", help="语料文件")
    sub.add_argument("--output", type=Path, required=True, metavar="FILE", help="写到哪个 vocab.txt")
    sub.add_argument("--size", type=int, default=7000, metavar="N", help="token 数上限（默认 7000）")
    sub.add_argument("--min-count", type=int, default=2, metavar="N", help="出现次数更少的字不收（默认 2）")


def _prepare(args: argparse.Namespace) -> None:
    (config,) = resolve_all(args, PrepareConfig)
    if args.list_cache or args.clear_cache:
        _tidy_cache(args.clear_cache)
        return
    if not args.files:
        raise ConfigError("没有语料文件；用法：chitchat prepare FILE …")
    if args.workers is not None and args.workers < 1:
        raise ConfigError(f"--workers 应不小于 1，得到 {args.workers}")
    if args.dry_run:
        _preview(args.files, config)
        return
    if args.report:
        from chitchat.corpus.report import check_report_path

        check_report_path(args.report)
    from chitchat.prepare import prepare
    from chitchat.tokenization.tokenizer import DialogueTokenizer

    tokenizer = DialogueTokenizer.load(args.vocab or DEFAULT_VOCAB)
    stores = []
    for path in args.files:
        store = prepare(path, config, tokenizer, engine=args.engine, workers=args.workers, show_progress=sys.stderr.isatty())
        stores.append(store)
        _tell(path, store)
    if args.report:
        from chitchat.corpus.report import write_report

        write_report(args.report, [store.report() for store in stores])
        print(f"报告：{args.report}")


def _tell(path: Path, store: TokenStore) -> None:
    from chitchat.corpus.report import rule_description

    counts = "{dialogues} 段对话，{messages} 条消息，{tokens} 个 token".format_map(store.meta)
    print(f"{path}：{counts} → {store.folder}")
    for title, rules in (("未采用", store.meta["dropped"]), ("改写", store.meta["changed"])):
        if rules:
            print(f"  {title}：" + "，".join(f"{rule_description(rule)} {count}" for rule, count in rules.items()))
    if store.meta["dropped"]:
        print(f"  每一条及其原因：{store.folder / 'rejected.jsonl.gz'}")


def _preview(files: list[Path], config: PrepareConfig) -> None:
    from chitchat.corpus.cleaning import read_drop_words
    from chitchat.corpus.preview import described, preview

    words = read_drop_words(Path(config.drop_words)) if config.drop_words else frozenset()
    for path in files:
        print(described(preview(path, config, words)))


def _tidy_cache(clear: str | None) -> None:
    from chitchat.prepare.cache import cache_entries, clear_cache, prepared_folder

    if clear is None:
        entries = cache_entries()
        for entry in entries:
            state = entry.name if entry.is_finished else "没有做完"
            print(f"{entry.num_bytes / 1e6:10.1f} MB  {entry.folder.name}  {state}")
        print(f"共 {len(entries)} 个，{sum(entry.num_bytes for entry in entries) / 1e6:.1f} MB：{prepared_folder()}")
        return
    removed, busy = clear_cache(finished=clear == "all")
    print(f"删去 {len(removed)} 个，腾出 {sum(entry.num_bytes for entry in removed) / 1e6:.1f} MB")
    if busy:
        print(f"{len(busy)} 个正在处理，没有删")


def _vocab(args: argparse.Namespace) -> None:
    from chitchat.corpus.cleaning import normalise
    from chitchat.corpus.reading.readers import read_dialogues
    from chitchat.files import atomic_write
    from chitchat.tokenization.tokenizer import DialogueTokenizer, build_vocabulary

    messages = (normalise(m) for path in args.files for dialogue in read_dialogues(path) for m in dialogue.messages)
    vocab = build_vocabulary(messages, size=args.size, min_count=args.min_count)
    DialogueTokenizer(vocab)  # the round-trip check, before anything is written
    with atomic_write(args.output) as stream:
        stream.write("\n".join(vocab) + "\n")
    print(f"{args.output}：{len(vocab)} 个 token")
