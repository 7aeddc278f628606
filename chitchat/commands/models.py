"""Models: trained, given written replies, fitted, made smaller."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from chitchat.checkpoint import Task, model_folders, start_folder
from chitchat.commands.shared import (
    DEFAULT_VOCAB,
    AddCommand,
    load_encoder,
    load_scorers,
    require,
    resolve_all,
    warn_of_learnt_dialogues,
)
from chitchat.config import ChatConfig, ModelConfig, PrepareConfig, TrainConfig
from chitchat.errors import ConfigError

_ENCODER_RECIPE = "configs/xiaoxu_encoder.yaml"


def add(command: AddCommand) -> None:
    sub = command(
        "train",
        "训练正向、反向（MMI）模型或双编码器",
        _train,
        TrainConfig,
        ModelConfig,
        PrepareConfig,
        usage="{forward,reverse,encoder} --data FILE … --model DIR ",
    )
    sub.add_argument(
        "direction",
        choices=("forward", "reverse", "encoder"),
        help="forward：由上文写回复；reverse：由回复推上文，用于 MMI 重排；"
        "encoder：双编码器，学哪句回复答哪个上文，用于检索与初选",
    )
    sub.add_argument("--resume", action="store_true", help="从上次中断处继续")
    sub.add_argument("--overwrite", action="store_true", help="已有模型时重新开始并覆盖它")

    sub = command("index", "由语料生成检索库，聊天时用来提议人写的回复", _index, usage="FILE … --model DIR ")
    sub.add_argument("files", nargs="+", type=Path, metavar="FILE", help="语料文件（用户先说、轮流说话）或话题文件")
    sub.add_argument("--model", type=Path, metavar="DIR", help="模型文件夹；写到其中的 retrieval/，聊天时自动使用")
    sub.add_argument("--output", type=Path, metavar="DIR", help="改写到这个文件夹；已有的检索库会被替换")
    sub.add_argument("--exclude-held-out", action="store_true", help="不收验证与测试对话，评测时用")

    sub = command("acts", "由按对话行为分好的消息与回复做成承接库，检索不到时用", _acts, usage="FILE --model DIR ")
    sub.add_argument("file", type=Path, metavar="FILE", help="JSONL，一行一种行为，如 data/acts.jsonl")
    sub.add_argument("--model", required=True, type=Path, metavar="DIR", help="模型文件夹；写到其中的 acts/，聊天时自动使用")

    sub = command("fit-ranking", "用验证对话拟合排序权重，写入模型的 ranker.json", _fit_ranking, usage="FILE … --model DIR ")
    sub.add_argument("files", nargs="+", type=Path, metavar="FILE", help="训练用过的语料；只取按内容哈希留出的对话")
    sub.add_argument("--model", required=True, metavar="DIR", help="模型文件夹")
    sub.add_argument("--contexts", type=int, default=400, metavar="N", help="每个文件最多用多少个上下文（默认 400）")
    sub.add_argument("--sampled", type=int, default=0, metavar="N", help="拟合时每个上下文再加几个模型自己写的回复（默认 0）")
    sub.add_argument(
        "--judgements",
        type=Path,
        metavar="FILE",
        help="人评过分的候选，由它学评分模型（写到 reward/），再拟合检索与承接的权重，如 data/evaluation/judgements.jsonl",
    )

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

    sub = command("average", "把同一个模型接着训出来的几份权重取平均，常比哪一份都好", _average, usage="DIR DIR … --output DIR ")
    sub.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="单个模型的文件夹，如 models/a/forward；按训练先后写")
    sub.add_argument("--output", type=Path, required=True, metavar="DIR", help="写到哪个文件夹，如 models/mine/forward")
    sub.add_argument("--overwrite", action="store_true", help="覆盖已有的文件夹")


def _train(args: argparse.Namespace) -> None:
    train_config, model_config, prepare_config = resolve_all(args, TrainConfig, ModelConfig, PrepareConfig)
    if not train_config.data:
        raise ConfigError("没有语料：用 --data FILE 指定一个或几个语料文件")
    if not train_config.model:
        raise ConfigError("没有输出文件夹：用 --model DIR 指定，如 --model models/mine")
    require("torch", "transformers", "accelerate", "tensorboard", "matplotlib", command="train")
    from chitchat.prepare import WeightedCorpus, prepare
    from chitchat.tokenization.tokenizer import DialogueTokenizer

    for config in (train_config, prepare_config) if train_config.init_from else (train_config, model_config, prepare_config):
        print(f"{type(config).__name__}: {dataclasses.asdict(config)}", file=sys.stderr)
    tokenizer = DialogueTokenizer.load(_vocabulary(args.direction, train_config))
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
    steps = "".join(f"\n  {step}" for step in _next_steps(args.direction, train_config))
    print(f"接下来依次运行，回复才好（FILE 是语料，其余选项与这次的相同）：{steps}", file=sys.stderr)


def _next_steps(trained: Task, config: TrainConfig) -> list[str]:
    """The commands from here to a bot with all its parts; what was made with the model just trained is to be made again."""
    from chitchat.engine.reranking import RANKER

    model = config.model
    start = f" --init-from {config.init_from}" if config.init_from else ""
    steps = {
        "forward": f"chitchat train forward --data FILE --model {model}{start}",
        "reverse": f"chitchat train reverse --data FILE --model {model}{start}",
        "encoder": f"chitchat train encoder --config {_ENCODER_RECIPE} --data FILE --model {model}{start} --max-minutes 10",
        "retrieval": f"chitchat index FILE --model {model}",
        "acts": f"chitchat acts data/acts.jsonl --model {model}",
        RANKER: f"chitchat fit-ranking FILE --model {model} --judgements data/evaluation/judgements.jsonl",
    }
    again = {RANKER, "retrieval"} if trained == "encoder" else {RANKER}
    todo = [step for part, step in steps.items() if part in again or not (Path(model) / part).exists()]
    return [*todo, f"chitchat chat --model {model}"]


def _vocabulary(task: Task, config: TrainConfig) -> Path:
    """What holds the vocabulary of a run: as told, that of the model it goes on with or belongs to, or our own."""
    if config.vocab:
        return Path(config.vocab)
    if config.init_from:
        return start_folder(Path(config.init_from), task)
    beside = Path(config.model) / "forward"
    return beside if task == "encoder" and (beside / "config.json").is_file() else DEFAULT_VOCAB


def _index(args: argparse.Namespace) -> None:
    if args.model is None and args.output is None:
        raise ConfigError("写到哪里？用 --model DIR 写进模型文件夹，或用 --output DIR")
    if args.model is not None:
        model_folders(args.model)
    folder = args.output or args.model / "retrieval"
    if folder.exists() and not (folder / "index.json").is_file():
        raise ConfigError(f"{folder} 已经存在，而且不是检索库；请换一个 --output")
    require("sklearn", command="train")
    from chitchat.index import build_index

    encoder = load_encoder(ChatConfig(model=str(args.model))) if args.model else None
    report = build_index(args.files, folder, encoder=encoder, exclude_held_out=args.exclude_held_out)
    print(f"{folder}：{report.num_contexts} 个上下文，{report.num_replies} 条回复，{report.num_bytes / 1e6:.1f} MB")


def _acts(args: argparse.Namespace) -> None:
    model_folders(args.model)
    require("sklearn", command="train")
    from chitchat.acts import build_acts

    report = build_acts(args.file, args.model / "acts")
    shown = f"{report.num_acts} 种行为，{report.num_messages} 条消息，五折交叉验证认对 {report.accuracy:.1%}"
    print(f"{args.model / 'acts'}：{shown}")


def _fit_ranking(args: argparse.Namespace) -> None:
    require("sklearn", command="train")
    from chitchat.evaluation.fit_judged import fit_judged
    from chitchat.evaluation.fit_ranking import fit_ranking, save_report
    from chitchat.evaluation.judgements import read_judgements

    if args.contexts < 40:
        raise ConfigError(f"--contexts 应不小于 40，得到 {args.contexts}")
    config = ChatConfig(model=args.model, compute_type="int8")
    forward, reverse = load_scorers(config)
    warn_of_learnt_dialogues(args.model)
    judgements = read_judgements(args.judgements) if args.judgements else []
    encoder = load_encoder(config)
    report = fit_ranking(args.files, forward, reverse, encoder, num_contexts=args.contexts, num_sampled=args.sampled)
    judged = fit_judged(judgements, report.ranker, forward, reverse, encoder) if judgements else None
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


def _average(args: argparse.Namespace) -> None:
    from chitchat.average import average_models

    direction: Task = "reverse" if args.folders[-1].resolve().name == "reverse" else "forward"
    average_models(args.folders, direction, args.output, overwrite=args.overwrite)
    print(f"{len(args.folders)} 份权重的平均 → {args.output}")


def _layer_numbers(text: str) -> list[int]:
    """The type of `--keep-layers`."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"应为逗号隔开的层号，如 0,1,3,5，得到 {text!r}") from None
