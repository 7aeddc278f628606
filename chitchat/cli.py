"""The command line: `chitchat chat | web | serve | train | prepare | vocab | index | acts | fit-ranking | score | evaluate |
arena | convert`.

Each subcommand imports what it needs when it runs, so `--help` and mistakes answer at once. This is the one place that
turns errors into text and exit codes: 2 for the user's mistakes, 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from chitchat.config import ChatConfig, DecodingConfig, ModelConfig, PrepareConfig, TrainConfig, add_flags, read_yaml, resolve
from chitchat.engine.decoding import PRESETS
from chitchat.errors import ChitchatError, ConfigError

if TYPE_CHECKING:
    from chitchat.backends.base import Scorer

_DEFAULT_VOCAB = Path(__file__).resolve().parents[1] / "data" / "vocab.txt"
_EVALUATION_SETS = Path(__file__).resolve().parents[1] / "data" / "evaluation"
_SECTIONS: dict[str, type] = {
    "prepare": PrepareConfig,
    "model": ModelConfig,
    "train": TrainConfig,
    "decoding": DecodingConfig,
    "chat": ChatConfig,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand and returns the process's exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 0
    chatty = args.command in ("prepare", "train", "vocab")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("chitchat").setLevel(logging.INFO if chatty else logging.WARNING)
    # the libraries call home unless told not to
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        run: Callable[[argparse.Namespace], int | None] = args.run
        return run(args) or 0
    except ChitchatError as error:
        print(f"错误：{error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "chitchat":
            raise
        print(f"错误：没有安装 {error.name}。请运行 {_install_command(args.command)}", file=sys.stderr)
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # the reader has gone (| head): say nothing, and keep the interpreter from flushing into the closed pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"错误：{error.strerror or error}" + (f"：{error.filename}" if error.filename else ""), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if args.command == "train":
            print("\n已停止并保存。用同样的命令加 --resume 继续。", file=sys.stderr)
        elif args.command == "score" and "-" not in (args.file, args.output):
            print("\n已停止，打好的分留着。用同样的命令加 --resume 继续。", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    """argparse with Chinese headings and errors."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(add_help=False, allow_abbrev=False, **kwargs)
        self._positionals.title, self._optionals.title = "参数", "选项"
        self.add_argument("-h", "--help", action="help", help="显示这份帮助")

    def format_usage(self) -> str:
        return super().format_usage().replace("usage:", "用法：", 1)

    def format_help(self) -> str:
        return super().format_help().replace("usage:", "用法：", 1)

    def error(self, message: str) -> NoReturn:
        for english, chinese in _ARGPARSE_CHINESE:
            message = message.replace(english, chinese)
        print(f"{self.format_usage()}错误：{message}\n用 {self.prog} --help 查看全部选项", file=sys.stderr)
        sys.exit(2)


_SCORE_OUTPUT_HELP = (
    "结果文件，- 为标准输出；每行加上 forward_log_prob、forward_tokens、mmi_log_prob、mmi_tokens、score，已有的同名列就地覆盖"
)
_ARGPARSE_CHINESE = (
    ("the following arguments are required: ", "缺少参数 "),
    ("unrecognized arguments: ", "未知的参数 "),
    ("expected one argument", "后面要跟一个值"),
    ("expected at least one argument", "后面至少要跟一个值"),
    ("invalid choice: ", "不可用的值 "),
    ("(choose from ", "（可用："),
    ("invalid int value: ", "应为整数，得到 "),
    ("invalid float value: ", "应为数字，得到 "),
    ("argument ", "参数 "),
)


def _parser() -> _Parser:
    parser = _Parser(prog="chitchat", description="中文闲聊机器人：聊天、训练、打分")
    commands = parser.add_subparsers(dest="command", title="命令", metavar="命令", parser_class=_Parser)

    def command(
        name: str, help: str, run: Callable[[argparse.Namespace], int | None], *configs: type, usage: str = ""
    ) -> _Parser:
        sub = commands.add_parser(name, help=help, description=help, usage=f"chitchat {name} {usage}[选项]")
        sub.set_defaults(run=run)
        if configs:
            sub.add_argument("--config", type=Path, metavar="FILE.yaml", help="YAML 配置文件；命令行选项优先于它")
        for cls in configs:
            add_flags(sub, cls)
        return sub

    command("chat", "在终端里聊天", _chat, ChatConfig, DecodingConfig)

    sub = command("web", "打开聊天网页", _web, ChatConfig, DecodingConfig)
    sub.add_argument("--host", default="127.0.0.1", help="监听地址（默认 127.0.0.1，只有本机能访问）")
    sub.add_argument("--port", type=int, default=7860, metavar="N", help="端口（默认 7860）")

    sub = command("serve", "打开 OpenAI 兼容的接口", _serve, ChatConfig, DecodingConfig)
    sub.add_argument("--host", default="127.0.0.1", help="监听地址（默认 127.0.0.1，只有本机能访问）")
    sub.add_argument("--port", type=int, default=8000, metavar="N", help="端口（默认 8000）")
    sub.add_argument(
        "--api-key",
        default=os.environ.get("CHITCHAT_API_KEY", ""),
        metavar="KEY",
        help="请求须带的密钥；也可用环境变量 CHITCHAT_API_KEY，不会出现在进程列表里",
    )
    sub.add_argument(
        "--max-queue", type=int, default=128, metavar="N", help="处理中与排队的请求最多多少个，再多答 429（默认 128）"
    )

    sub = command(
        "train",
        "训练正向或反向（MMI）模型",
        _train,
        TrainConfig,
        ModelConfig,
        PrepareConfig,
        usage="{forward,reverse} --data FILE … --model DIR ",
    )
    sub.add_argument(
        "direction", choices=("forward", "reverse"), help="forward：由上文写回复；reverse：由回复推上文，用于 MMI 重排"
    )
    sub.add_argument("--resume", action="store_true", help="从上次中断处继续")
    sub.add_argument("--overwrite", action="store_true", help="已有模型时重新开始并覆盖它")

    sub = command("prepare", "读入、清洗并切分语料（训练时会自动做）", _prepare, PrepareConfig, usage="FILE … ")
    sub.add_argument("files", nargs="+", type=Path, metavar="FILE", help="语料文件：txt、jsonl、json、csv、tsv，可 gzip")
    sub.add_argument("--vocab", default="", metavar="TEXT", help="vocab.txt 或模型文件夹；留空用自带词表")
    sub.add_argument("--workers", type=int, metavar="N", help="进程数；默认等于可用核数")

    sub = command("vocab", "由语料生成 BERT 格式的词表", _vocab, usage="FILE … --output vocab.txt ")
    sub.add_argument("files", nargs="+", type=Path, metavar="FILE", help="语料文件")
    sub.add_argument("--output", type=Path, required=True, metavar="FILE", help="写到哪个 vocab.txt")
    sub.add_argument("--size", type=int, default=7000, metavar="N", help="token 数上限（默认 7000）")
    sub.add_argument("--min-count", type=int, default=2, metavar="N", help="出现次数更少的字不收（默认 2）")

    sub = command("index", "由语料生成检索库，聊天时用来提议人写的回复", _index, usage="FILE … --model DIR ")
    sub.add_argument("files", nargs="+", type=Path, metavar="FILE", help="语料文件（用户先说、轮流说话）或话题文件")
    sub.add_argument("--model", type=Path, metavar="DIR", help="模型文件夹；写到其中的 retrieval/，聊天时自动使用")
    sub.add_argument("--output", type=Path, metavar="DIR", help="改写到这个文件夹；已有的检索库会被替换")
    sub.add_argument("--exclude-held-out", action="store_true", help="不收验证与测试对话，评测时用")

    sub = command("acts", "由按对话行为分好的消息与回复做成承接库，检索不到时用", _acts, usage="FILE --model DIR ")
    sub.add_argument("file", type=Path, metavar="FILE", help="JSONL，一行一种行为，如 data/acts.jsonl")
    sub.add_argument("--model", required=True, type=Path, metavar="DIR", help="模型文件夹；写到其中的 acts/，聊天时自动使用")

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

    sub = command("convert", "把模型变小：裁剪词表、去掉几层、存成半精度", _convert, usage="SOURCE --output DIR ")
    sub.add_argument("source", type=Path, metavar="SOURCE", help="模型文件夹，或单个 GPT-2 文件夹（如 GPT2-chitchat 的检查点）")
    sub.add_argument("--output", type=Path, required=True, metavar="DIR", help="写到哪个文件夹")
    sub.add_argument(
        "--trim-vocab",
        nargs="+",
        type=Path,
        default=[],
        metavar="CORPUS",
        help="词表只留这些语料的训练对话里有的 token；特殊 token、ASCII 与标点总是留下",
    )
    sub.add_argument("--min-count", type=int, default=1, metavar="N", help="出现次数更少的 token 不留（默认 1）")
    sub.add_argument("--keep-layers", type=_layer_numbers, metavar="0,1,3,5", help="只留这些层，从 0 数起")
    sub.add_argument("--layers", type=int, metavar="N", help="每个模型至多留 N 层：前 N-1 层与最后一层")
    sub.add_argument("--dtype", default="float16", choices=("float16", "float32"), help="权重存成什么（默认 float16）")
    sub.add_argument("--overwrite", action="store_true", help="覆盖已有的模型文件夹")

    sub = command("fit-ranking", "用验证对话拟合排序权重，写入模型的 ranker.json", _fit_ranking, usage="FILE … --model DIR ")
    sub.add_argument("files", nargs="+", type=Path, metavar="FILE", help="训练用过的语料；只取按内容哈希留出的对话")
    sub.add_argument("--model", required=True, metavar="DIR", help="模型文件夹")
    sub.add_argument("--contexts", type=int, default=400, metavar="N", help="每个文件最多用多少个上下文（默认 400）")
    sub.add_argument("--sampled", type=int, default=0, metavar="N", help="拟合时每个上下文再加几个模型自己写的回复（默认 0）")
    sub.add_argument(
        "--judgements",
        type=Path,
        metavar="FILE",
        help="人评过分的候选，再用它拟合检索与承接的权重，如 data/evaluation/judgements.jsonl",
    )
    return parser


def _chat(args: argparse.Namespace) -> int:
    chat, decoding = _resolve_all(args, ChatConfig, DecodingConfig)
    from chitchat.engine.build import load_chatbot
    from chitchat.frontends.terminal import run_terminal
    from chitchat.sessions.session import Session

    return run_terminal(Session(load_chatbot(chat, decoding)))


def _web(args: argparse.Namespace) -> None:
    chat, decoding = _resolve_all(args, ChatConfig, DecodingConfig)
    if not 0 < args.port < 65536:
        raise ConfigError(f"--port 应在 1 到 65535 之间，得到 {args.port}")
    from chitchat.engine.build import load_chatbot
    from chitchat.frontends.web_page import build_page, launch

    launch(build_page(load_chatbot(chat, decoding), decoding=decoding), host=args.host, port=args.port)


def _serve(args: argparse.Namespace) -> None:
    chat, decoding = _resolve_all(args, ChatConfig, DecodingConfig)
    if not 0 < args.port < 65536:
        raise ConfigError(f"--port 应在 1 到 65535 之间，得到 {args.port}")
    if args.max_queue < 1:
        raise ConfigError(f"--max-queue 应不小于 1，得到 {args.max_queue}")
    _require("fastapi", "uvicorn", command="serve")
    from chitchat.checkpoint import model_folders
    from chitchat.engine.build import load_chatbot
    from chitchat.frontends.api import build_api, serve
    from chitchat.tokenization.tokenizer import DialogueTokenizer

    if not args.api_key and args.host not in ("127.0.0.1", "localhost", "::1"):
        print("注意：没有设密钥，能连到这个地址的人都能用；可用环境变量 CHITCHAT_API_KEY 设一个", file=sys.stderr)
    folder = Path(chat.model).expanduser()
    chatbot = load_chatbot(chat, decoding)
    tokenizer = DialogueTokenizer.load(model_folders(folder)[0])
    app = build_api(
        chatbot,
        model_name=folder.resolve().name,
        count_tokens=lambda text: len(tokenizer.encode(text)),
        api_key=args.api_key,
        max_queue=args.max_queue,
    )
    serve(app, host=args.host, port=args.port)


def _train(args: argparse.Namespace) -> None:
    train_config, model_config, prepare_config = _resolve_all(args, TrainConfig, ModelConfig, PrepareConfig)
    if not train_config.data:
        raise ConfigError("没有语料：用 --data FILE 指定一个或几个语料文件")
    if not train_config.model:
        raise ConfigError("没有输出文件夹：用 --model DIR 指定，如 --model models/mine")
    _require("torch", "transformers", "accelerate", "tensorboard", "matplotlib", command="train")
    from chitchat.prepare import WeightedCorpus, prepare
    from chitchat.tokenization.tokenizer import DialogueTokenizer

    for config in (train_config, prepare_config) if train_config.init_from else (train_config, model_config, prepare_config):
        print(f"{type(config).__name__}: {dataclasses.asdict(config)}", file=sys.stderr)
    start = Path(train_config.init_from) if train_config.init_from else None
    inherited = (
        next((p for p in (start / args.direction, start) if (p / "config.json").is_file()), start) if start else _DEFAULT_VOCAB
    )
    tokenizer = DialogueTokenizer.load(Path(train_config.vocab) if train_config.vocab else inherited)
    corpora = []
    for text in train_config.data:
        corpus = WeightedCorpus.parse(text)
        corpora.append((prepare(corpus.path, prepare_config, tokenizer, show_progress=sys.stderr.isatty()), corpus.weight))

    from chitchat.training.loop import train

    train(
        args.direction,
        train_config,
        model_config,
        corpora,
        tokenizer,
        prepare_config=prepare_config,
        resume=args.resume,
        overwrite=args.overwrite,
    )


def _prepare(args: argparse.Namespace) -> None:
    (config,) = _resolve_all(args, PrepareConfig)
    from chitchat.prepare import prepare
    from chitchat.tokenization.tokenizer import DialogueTokenizer

    tokenizer = DialogueTokenizer.load(args.vocab or _DEFAULT_VOCAB)
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


def _index(args: argparse.Namespace) -> None:
    if args.model is None and args.output is None:
        raise ConfigError("写到哪里？用 --model DIR 写进模型文件夹，或用 --output DIR")
    folder = args.output or args.model / "retrieval"
    if folder.exists() and not (folder / "index.json").is_file():
        raise ConfigError(f"{folder} 已经存在，而且不是检索库；请换一个 --output")
    _require("sklearn", command="train")
    from chitchat.index import build_index

    report = build_index(args.files, folder, exclude_held_out=args.exclude_held_out)
    print(f"{folder}：{report.num_contexts} 个上下文，{report.num_replies} 条回复，{report.num_bytes / 1e6:.1f} MB")


def _acts(args: argparse.Namespace) -> None:
    _require("sklearn", command="train")
    from chitchat.acts import build_acts

    report = build_acts(args.file, args.model / "acts")
    shown = f"{report.num_acts} 种行为，{report.num_messages} 条消息，五折交叉验证认对 {report.accuracy:.1%}"
    print(f"{args.model / 'acts'}：{shown}")


def _score(args: argparse.Namespace) -> None:
    for flag in ("threads", "workers"):
        if getattr(args, flag) < 1:
            raise ConfigError(f"--{flag} 应不小于 1，得到 {getattr(args, flag)}")
    from chitchat.checkpoint import model_folders, weights_hash
    from chitchat.engine.reranking import Ranker
    from chitchat.evaluation.batch_score import check_paths, score_file

    check_paths(args.file, args.output, format_name=args.format, resume=args.resume)
    config = ChatConfig(model=args.model, compute_type=args.compute_type, threads=args.threads)
    forward, reverse = _scorers(config)
    score_file(
        args.file,
        args.output,
        forward=forward,
        reverse=reverse,
        ranker=Ranker.load(Path(config.model)),
        format_name=args.format,
        skip_bad=args.skip_bad,
        workers=args.workers,
        resume=args.resume,
        models=" ".join([args.compute_type, *(weights_hash(folder) for folder in model_folders(Path(args.model)) if folder)]),
        show_progress=sys.stderr.isatty(),
    )


def _evaluate(args: argparse.Namespace) -> None:
    chat, decoding = _resolve_all(args, ChatConfig, DecodingConfig)
    _require("sacrebleu", "rouge_chinese", "matplotlib", command="train")
    from rich.console import Console

    from chitchat.evaluation.report import check_output, print_report, progress_bar, run_evaluation, write_report

    check_output(args.output)
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
    from chitchat.frontends.arena_terminal import ArenaTerminal

    terminal = ArenaTerminal()
    if args.summary:
        votes = [vote for path in args.summary for vote in read_votes(path)]
    else:
        contexts = read_prompts(args.prompts) if args.prompts else None
        kept = VoteFile(args.output)
        bots = {model: load_chatbot(ChatConfig(model=model)) for model in dict.fromkeys((args.a, args.b))}
        one, two = (chatbot_contestant(f"{m}:{p}", bots[m], PRESETS[p], seed=args.seed) for m, p in pairs)
        arena = Arena((one, two), terminal, kept, seed=args.seed)
        if contexts is None:
            terminal.note("说一句话，再选哪个回复好；/reset 另起一段，Ctrl-D 结束")
            arena.vote_live()
        else:
            arena.vote_on(contexts, limit=args.limit)
        votes = kept.votes
    terminal.table(HEADINGS, table(votes), remarks(votes))


def _convert(args: argparse.Namespace) -> None:
    from chitchat.convert import convert_model

    conversions = convert_model(
        args.source,
        args.output,
        trim_vocab=args.trim_vocab,
        min_count=args.min_count,
        keep_layers=args.keep_layers,
        max_layers=args.layers,
        dtype=args.dtype,
        overwrite=args.overwrite,
    )
    for c in conversions:
        (tokens, left), (layers, kept), (before, after) = c.tokens, c.layers, c.weight_bytes
        print(f"{c.folder}：词表 {tokens} → {left}，{layers} → {kept} 层，权重 {before / 1e6:.1f} → {after / 1e6:.1f} MB")
    if any(kept < layers for layers, kept in (c.layers for c in conversions)):
        print(f"去掉层的模型要再训练一会儿才好用：chitchat train … --init-from {args.output}")


def _layer_numbers(text: str) -> list[int]:
    """The type of `--keep-layers`."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"应为逗号隔开的层号，如 0,1,3,5，得到 {text!r}") from None


def _fit_ranking(args: argparse.Namespace) -> None:
    _require("sklearn", command="train")
    from chitchat.evaluation.fit_ranking import fit_ranking, save_report
    from chitchat.evaluation.judgements import fit_judged, read_judgements

    if args.contexts < 40:
        raise ConfigError(f"--contexts 应不小于 40，得到 {args.contexts}")
    forward, reverse = _scorers(ChatConfig(model=args.model, compute_type="int8"))
    judgements = read_judgements(args.judgements) if args.judgements else []
    report = fit_ranking(args.files, forward, reverse, num_contexts=args.contexts, num_sampled=args.sampled)
    judged = fit_judged(judgements, report.ranker, forward, reverse) if judgements else None
    save_report(report, Path(args.model), judged)
    for file, found in report.hits.items():
        print(f"{file}（{report.num_contexts[file]} 个未参与拟合的上下文）Hits@1/20：")
        for name, hits in found.items():
            print(f"  {name:28} {hits.value:6.3f}  [{hits.low:.3f}, {hits.high:.3f}]")
    ranker = judged.ranker if judged else report.ranker
    if judged:
        print(f"{args.judgements}（{judged.num_contexts} 个上下文）排第一的候选的平均评分，0 到 2：")
        for name, grade in judged.chosen.items():
            print(f"  {name:28} {grade.value:6.3f}  [{grade.low:.3f}, {grade.high:.3f}]")
    weights = "，".join(f"{name} {value:.3f}" for name, value in ranker.weights.items())
    print(f"权重：{weights}\n万能回复：{len(report.ranker.generic)} 条 → {args.model}")


def _scorers(config: ChatConfig) -> tuple[Scorer, Scorer | None]:
    """The forward scorer of a model, and its reverse scorer when it has a reverse model."""
    from chitchat.checkpoint import model_folders
    from chitchat.engine.build import load_model

    forward, reverse = model_folders(Path(config.model))
    return load_model(forward, "forward", config), load_model(reverse, "reverse", config) if reverse else None


def _resolve_all(args: argparse.Namespace, *classes: type) -> tuple[Any, ...]:
    """The configurations of a subcommand: defaults, then the YAML file, then flags."""
    sections = read_yaml(args.config, _SECTIONS) if args.config else {}
    names = {cls: name for name, cls in _SECTIONS.items()}
    return tuple(resolve(cls, yaml_values=sections.get(names[cls]), args=args) for cls in classes)


def _require(*modules: str, command: str) -> None:
    """Raises ConfigError naming what is not installed, before any work is done."""
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    if missing:
        raise ConfigError(f"没有安装 {'、'.join(missing)}。请运行 {_install_command(command)}")


def _install_command(command: str) -> str:
    extra = {"web": "[web]", "serve": "[serve]", "chat": "", "score": "", "arena": ""}.get(command, "[train]")
    return f"pip install -e '.{extra}'"


if __name__ == "__main__":
    sys.exit(main())
