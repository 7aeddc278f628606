"""Judging: replies of a file, a model on held-out dialogues, two models by blind votes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from chitchat.commands.shared import AddCommand, load_encoder, load_scorers, require, resolve_all, warn_of_learnt_dialogues
from chitchat.config import ChatConfig, DecodingConfig
from chitchat.engine.decoding import PRESETS
from chitchat.errors import ConfigError

_EVALUATION_SETS = Path(__file__).resolve().parents[2] / "data" / "evaluation"
_SCORE_OUTPUT_HELP = (
    "结果文件，格式与输入相同、不压缩，- 为标准输出；"
    "每行加上 forward_log_prob、forward_tokens、mmi_log_prob、mmi_tokens、score，已有的同名列就地覆盖；"
    "score 当作模型自己写的回复来算，不计检索、承接与评分模型才知道的，所以与聊天时的得分不同"
)


def add(command: AddCommand) -> None:
    sub = command("score", "给一个文件里的回复打分（正向、MMI、排序分）", _score, usage="FILE --output OUT ")
    sub.add_argument("file", metavar="FILE", help="JSONL、CSV 或 TSV，含 context 与 reply；- 为标准输入")
    sub.add_argument("--output", required=True, metavar="FILE", help=_SCORE_OUTPUT_HELP)
    sub.add_argument("--model", default=ChatConfig().model, metavar="DIR", help="模型文件夹（默认 models/xiaoxu）")
    sub.add_argument(
        "--compute-type",
        default="float32",
        choices=("float32", "int8"),
        help="float32 与 transformers 的结果一致（默认），int8 更快",
    )
    sub.add_argument("--format", choices=("jsonl", "csv", "tsv"), help="输入格式；默认由内容判断")
    sub.add_argument("--threads", type=int, default=1, metavar="N", help="每个进程的线程数（默认 1）")
    sub.add_argument("--workers", type=int, default=1, metavar="N", help="进程数，每个核一个最快（默认 1）；结果与进程数无关")
    sub.add_argument("--resume", action="store_true", help="从上次中断处继续；输入、模型与选项须与上次相同")
    sub.add_argument("--skip-bad", action="store_true", help="跳过坏行（逐行报告）；否则遇到坏行就停，什么也不写")

    sub = command(
        "evaluate", "在留出的对话上评测一个模型，或比较两个", _evaluate, ChatConfig, DecodingConfig, usage="FILE … --model DIR "
    )
    sub.add_argument("files", nargs="+", type=Path, metavar="FILE", help="语料文件；默认只用测试划分里的对话")
    sub.add_argument("--compare", default="", metavar="DIR", help="另一个模型：同样的上下文与种子，并列给出差别")
    sub.add_argument(
        "--output", type=Path, default=Path("evaluation"), metavar="DIR", help="报告写到哪个文件夹（默认 evaluation）"
    )
    sub.add_argument("--contexts", type=int, default=200, metavar="N", help="每个文件最多用多少个上下文（默认 200）")
    sub.add_argument("--all", action="store_true", help="用文件里全部对话；只适合没有训练过的文件")
    sub.add_argument("--quick", action="store_true", help="一分钟左右的小评测")

    sub = command("arena", "盲评：两个模型或两种预设，看不到名字地比一比", _arena, usage="[PROMPTS.txt] --a DIR --b DIR ")
    sub.add_argument(
        "prompts",
        nargs="?",
        type=Path,
        metavar="PROMPTS.txt",
        help="一行一句开场白，或以空行分隔的对话（用户先说、用户结尾）；不给则自己边聊边投",
    )
    for side in "ab":
        sub.add_argument(f"--{side}", default=ChatConfig().model, metavar="DIR", help="选手的模型文件夹（默认 models/xiaoxu）")
        sub.add_argument(f"--preset-{side}", default="lively", choices=tuple(PRESETS), help="它的解码预设（默认 lively）")
    sub.add_argument(
        "--output", type=Path, default=Path("votes.jsonl"), metavar="FILE", help="投票文件，再次运行时接着投（默认 votes.jsonl）"
    )
    sub.add_argument("--seed", type=int, default=0, metavar="N", help="左右顺序与解码的随机种子（默认 0）")
    sub.add_argument("--limit", type=int, metavar="N", help="这次最多投几题")
    sub.add_argument("--summary", nargs="+", type=Path, metavar="FILE", help="只汇总这些投票文件，不投票")


def _score(args: argparse.Namespace) -> None:
    for flag in ("threads", "workers"):
        if getattr(args, flag) < 1:
            raise ConfigError(f"--{flag} 应不小于 1，得到 {getattr(args, flag)}")
    from chitchat.checkpoint import model_folders, weights_hash
    from chitchat.engine.reranking import Ranker
    from chitchat.evaluation.batch_score import check_paths, score_file

    check_paths(args.file, args.output, format_name=args.format, resume=args.resume)
    config = ChatConfig(model=args.model, compute_type=args.compute_type, threads=args.threads)
    forward, reverse = load_scorers(config)
    encoder = load_encoder(config)
    hashes = [weights_hash(folder) for folder in model_folders(Path(args.model)) if folder]
    score_file(
        args.file,
        args.output,
        forward=forward,
        reverse=reverse,
        encoder=encoder,
        ranker=Ranker.load(Path(config.model)),
        format_name=args.format,
        skip_bad=args.skip_bad,
        workers=args.workers,
        resume=args.resume,
        models=" ".join([args.compute_type, *hashes, *([encoder.fingerprint] if encoder else [])]),
        show_progress=sys.stderr.isatty(),
    )


def _evaluate(args: argparse.Namespace) -> None:
    chat, decoding = resolve_all(args, ChatConfig, DecodingConfig)
    require("sacrebleu", "rouge_chinese", "matplotlib", command="train")
    from rich.console import Console

    from chitchat.evaluation.report import check_output, print_report, progress_bar, run_evaluation, write_report

    check_output(args.output)
    if not args.all:
        for model in filter(None, (chat.model, args.compare)):
            warn_of_learnt_dialogues(model)
    with progress_bar(sys.stderr.isatty()) as on_progress:
        report = run_evaluation(
            args.files, chat, decoding, sets=_EVALUATION_SETS, compare=args.compare, contexts=args.contexts,
            every_dialogue=args.all, quick=args.quick, on_progress=on_progress,
        )  # fmt: skip
    write_report(report, args.output)
    print_report(report, Console(width=None if sys.stdout.isatty() else 130))
    print(f"报告：{args.output}/report.json")


def _arena(args: argparse.Namespace) -> None:
    if args.limit is not None and args.limit < 1:
        raise ConfigError(f"--limit 应不小于 1，得到 {args.limit}")
    pairs = ((args.a, args.preset_a), (args.b, args.preset_b))
    if not args.summary and pairs[0] == pairs[1]:
        raise ConfigError("两位选手是同一个模型、同一种预设：请用 --b 或 --preset-b 换一个")
    from chitchat.engine.build import load_chatbot
    from chitchat.evaluation.arena import Arena, VoteFile, chatbot_contestant, read_prompts, read_votes
    from chitchat.evaluation.standings import HEADINGS, remarks, table
    from chitchat.frontends.terminal.arena import ArenaTerminal

    terminal = ArenaTerminal()
    if args.summary:
        votes = [vote for path in args.summary for vote in read_votes(path)]
    else:
        contexts = read_prompts(args.prompts) if args.prompts else None
        bots = {model: load_chatbot(ChatConfig(model=model)) for model in dict.fromkeys((args.a, args.b))}
        kept = VoteFile(args.output)  # it makes the file, which a model that is none shall not leave behind
        one, two = (chatbot_contestant(f"{m}:{p}", bots[m], PRESETS[p], seed=args.seed) for m, p in pairs)
        arena = Arena((one, two), terminal, kept, seed=args.seed)
        if contexts is None:
            terminal.note("说一句话，再选哪个回复好；/reset 另起一段，Ctrl-D 结束")
            arena.vote_live()
        else:
            arena.vote_on(contexts, limit=args.limit)
        votes = kept.votes
    terminal.table(HEADINGS, table(votes), remarks(votes))
