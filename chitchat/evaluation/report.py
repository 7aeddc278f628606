"""One evaluation as a whole: run it for one model or two, show it as tables, write it as JSON, replies and pictures."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chitchat.backends.retrieval import MANIFEST
from chitchat.checkpoint import model_folders
from chitchat.config import ChatConfig, DecodingConfig, PrepareConfig
from chitchat.errors import ConfigError
from chitchat.evaluation.evaluate import (
    POOLED,
    QUESTIONS,
    EvaluationData,
    ModelResult,
    Progress,
    evaluate_model,
    load_data,
)
from chitchat.evaluation.metrics import BOOTSTRAP_ROUNDS, CONFIDENCE, FIGURES, Estimate, Figure
from chitchat.files import atomic_folder, sha256_of

if TYPE_CHECKING:
    from rich.console import Console

REPORT, REPLIES = "report.json", "replies.jsonl"
FORMAT = 1
_PICTURES = ("perplexity.png", "ranking.png", "replies.png")
_PACKAGES = ("chitchat", "ctranslate2", "numpy", "rouge-chinese", "sacrebleu", "tokenizers", "torch", "transformers")
_SCOPES_ACROSS = 4
_NOT_SPOKEN = ("training", "README.md")
"""What lies in a model folder and changes nothing it says."""


Estimates = Mapping[str, Mapping[str, Estimate]]
"""By scope, then by figure."""


@dataclass(frozen=True)
class ModelReport:
    """One model's figures, the files they belong to (relative path to sha256), and what went wrong.

    `skipped` also tells of figures that are not to be trusted.
    """

    path: str
    files: Mapping[str, str]
    estimates: Estimates
    failures: Mapping[str, Sequence[Mapping[str, Any]]]
    skipped: Sequence[str]


@dataclass(frozen=True)
class Report:
    """All there is to tell of one evaluation; `differences` are the first model less the second, on the same contexts."""

    settings: Mapping[str, Any]
    models: tuple[ModelReport, ...]
    differences: Estimates | None
    replies: Sequence[Mapping[str, Any]]
    """Each answered context with the human reply and the models'."""


def run_evaluation(
    files: Sequence[Path],
    chat: ChatConfig,
    decoding: DecodingConfig,
    *,
    sets: Path,
    compare: str = "",
    contexts: int = 200,
    every_dialogue: bool = False,
    quick: bool = False,
    on_progress: Progress = lambda what, done, total: None,
) -> Report:
    """The report of the model in `chat`, beside `compare` when it is given; `decoding.seed` (0 without one) seeds everything.

    Raises:
        CheckpointError: for a folder that is no model.
        ConfigError: when only one of two models has a reverse model, besides what `load_data` raises.
    """
    from chitchat.engine.build import load_chatbot

    seed = decoding.seed or 0
    configs = [chat, replace(chat, model=compare)] if compare else [chat]
    _check_same_kind([config.model for config in configs])
    data = load_data(
        files,
        sets,
        contexts=contexts,
        every_dialogue=every_dialogue,
        quick=quick,
        seed=seed,
        max_history_messages=chat.max_history_messages,
    )
    chatbots = [load_chatbot(config, decoding) for config in configs]
    generic = {reply for chatbot in chatbots for reply in chatbot.ranker.generic}  # one yardstick for both
    results = [
        evaluate_model(chatbot, data, safety=chatbots[0].safety, known_generic=generic, seed=seed, on_progress=on_progress)
        for chatbot in chatbots
    ]
    models = tuple(
        _model_report(config.model, result, seed, spoilt=indexed_files(config, data, every_dialogue=every_dialogue))
        for config, result in zip(configs, results, strict=True)
    )
    differences = None
    if compare:
        first, second = (result.measures for result in results)
        differences = {
            scope: {key: measure.minus(second[scope][key], seed) for key, measure in measures.items()}
            for scope, measures in first.items()
        }
    settings = _settings(chat, decoding, data, seed=seed, every_dialogue=every_dialogue, quick=quick)
    return Report(settings, models, differences, list(_replies(results)))


@contextmanager
def progress_bar(show: bool) -> Iterator[Progress]:
    """A bar on stderr for each thing that is done, with the time left; nothing when not `show`."""
    if not show:
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("剩余"), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=None)

        def advance(what: str, done: int, total: int) -> None:
            if progress.tasks[task].description != what:
                progress.reset(task, description=what)
            progress.update(task, completed=done, total=total)

        yield advance


def _check_same_kind(models: Sequence[str]) -> None:
    """Raises CheckpointError for what is no model, ConfigError for a pair beside a lone forward model."""
    has_reverse = [model_folders(Path(model).expanduser())[1] is not None for model in models]
    if len(set(has_reverse)) > 1:
        lone = models[has_reverse.index(False)]
        raise ConfigError(f"{lone} 没有 reverse 模型，另一个有，两者的排序无从比较；请补上 {lone}/reverse，或分开评测")


def _model_report(model: str, result: ModelResult, seed: int, *, spoilt: Sequence[str]) -> ModelReport:
    estimates = {scope: {key: m.estimate(seed) for key, m in of.items()} for scope, of in result.measures.items()}
    notes = list(result.skipped)
    if spoilt:
        known = f"{model} 的检索库里就有 {'、'.join(spoilt)} 的这些对话"
        notes.append(f"{known}，它的 BLEU、ROUGE、chrF 虚高，不能与别的模型比；请加 --no-retrieval，或用没有收进去的文件")
    return ModelReport(model, _fingerprints(Path(model).expanduser()), estimates, result.failures, notes)


def indexed_files(config: ChatConfig, data: EvaluationData, *, every_dialogue: bool) -> list[str]:
    """The files whose dialogues stand in the model's own retrieval index, so that it finds the true replies there."""
    manifest = Path(config.model).expanduser() / "retrieval" / MANIFEST
    if not config.retrieval or not manifest.is_file():
        return []
    index = json.loads(manifest.read_text(encoding="utf-8"))
    if index.get("excludes_held_out") and not every_dialogue:
        return []
    sources = {source["sha256"] for source in index.get("sources", ())}
    return [file.name for file in data.files if file.sha256 in sources]


def _fingerprints(model: Path) -> dict[str, str]:
    """sha256 of every file of a model folder that can change what it says."""
    files = sorted(p for p in model.rglob("*") if p.is_file() and p.relative_to(model).parts[0] not in _NOT_SPOKEN)
    return {path.relative_to(model).as_posix(): sha256_of(path) for path in files}


def _settings(
    chat: ChatConfig, decoding: DecodingConfig, data: EvaluationData, *, seed: int, every_dialogue: bool, quick: bool
) -> dict[str, Any]:
    """All that is needed to run the same evaluation again."""
    options = PrepareConfig()
    return {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "seed": seed,
        "quick": quick,
        "split": "all" if every_dialogue else {"name": "test", "fraction": options.test_fraction},
        "bootstrap": {"rounds": BOOTSTRAP_ROUNDS, "confidence": CONFIDENCE},
        "chat": asdict(chat),
        "decoding": asdict(decoding),
        "files": {
            file.name: {
                "sha256": file.sha256,
                "held_out_dialogues": file.num_held_out,
                "scored_dialogues": len(file.dialogues),
                "answered_contexts": len(file.turns),
            }
            for file in data.files
        },
        "sets": {name: {"sha256": s.sha256, "lines": len(s.questions)} for name, s in data.sets.items()},
        "versions": {"python": platform.python_version(), **dict(_versions())},
        "platform": platform.platform(),
    }


def _versions() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        try:
            yield package, metadata.version(package)
        except metadata.PackageNotFoundError:
            continue


def _replies(results: Sequence[ModelResult]) -> Iterator[Mapping[str, Any]]:
    for file, said in results[0].said.items():
        for number, first in enumerate(said):
            answers = [result.said[file][number] for result in results]
            yield {
                "file": file,
                "context": list(first.context),
                "reference": first.reference,
                "replies": [{"text": answer.text, "source": answer.source} for answer in answers],
            }


# Tables ----------------------------------------------------------------------------------------------------------------------


def print_report(report: Report, console: Console) -> None:
    """Tables of a report: one model's scopes side by side, or for each scope two models side by side."""
    from rich.text import Text

    if report.differences is None:
        scopes = list(report.models[0].estimates)
        for start in range(0, len(scopes), _SCOPES_ACROSS):
            console.print(_table_of_one(report.models[0], scopes[start : start + _SCOPES_ACROSS]))
    else:
        for scope in report.models[0].estimates:
            console.print(_table_of_two(report, scope))
        console.print(Text("差为 A − B，在相同的上下文上成对自助抽样；区间不含 0 的标 ✓（A 更好）、✗（B 更好）或 *"))
    console.print(Text(f"方括号内为 {100 * CONFIDENCE:.0f} % 自助区间；↑ 越大越好，↓ 越小越好；定义见 docs/evaluation.md"))
    for note in dict.fromkeys(note for model in report.models for note in model.skipped):
        console.print(Text(f"注意：{note}"))


def _table_of_one(model: ModelReport, scopes: Sequence[str]) -> Any:
    table = _new_table(model.path, scopes)
    columns = [model.estimates[scope] for scope in scopes]
    for key, figure in FIGURES.items():
        if any(key in column for column in columns):
            table.add_row(_label(figure), *(_cell(figure, column[key]) if key in column else "" for column in columns))
    table.add_row("回复数", *(str(column["distinct_1"].count) if "distinct_1" in column else "" for column in columns))
    return table


def _table_of_two(report: Report, scope: str) -> Any:
    first, second = report.models
    table = _new_table(scope, [f"A {first.path}", f"B {second.path}", "差", ""])
    differences = (report.differences or {})[scope]
    for key, figure in FIGURES.items():
        if key not in differences:
            continue
        difference = differences[key]
        cells = [_cell(figure, model.estimates[scope][key]) for model in report.models]
        table.add_row(_label(figure), *cells, _cell(figure, difference), _marker(figure, difference))
    return table


def _new_table(title: str, columns: Sequence[str]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(Text(column), justify="right")
    return table


def _label(figure: Figure) -> str:
    return f"{figure.chinese} {('', '↑', '↓')[figure.better]}".rstrip()


def _cell(figure: Figure, estimate: Estimate) -> Any:
    from rich.text import Text

    if estimate.low is None or estimate.high is None:
        return Text(figure.text(estimate.value))
    return Text(f"{figure.text(estimate.value)} [{figure.text(estimate.low)}, {figure.text(estimate.high)}]")


def _marker(figure: Figure, difference: Estimate) -> str:
    if not difference.excludes_zero:
        return ""
    return "*" if figure.better == 0 else "✓" if difference.value * figure.better > 0 else "✗"


# Files -----------------------------------------------------------------------------------------------------------------------


def check_output(folder: Path) -> None:
    """Raises ConfigError when `folder` holds anything but an earlier report, which a new one would replace."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"--output {folder} 已有同名的文件；请换一个文件夹")
    strangers = sorted(p.name for p in folder.iterdir() if p.name not in (REPORT, REPLIES, *_PICTURES))
    if strangers:
        raise ConfigError(f"--output {folder} 里有别的东西（{strangers[0]}），不能覆盖；请换一个新的文件夹")


def write_report(report: Report, folder: Path) -> None:
    """Writes report.json, replies.jsonl and the pictures; the folder appears whole or not at all."""
    check_output(folder)
    with atomic_folder(folder) as temporary:
        data = {
            "format": FORMAT,
            **report.settings,
            "models": [
                {
                    "path": model.path,
                    "files": model.files,
                    "figures": _plain(model.estimates),
                    "failures": model.failures,
                    "skipped": model.skipped,
                }
                for model in report.models
            ],
            "differences": None if report.differences is None else _plain(report.differences, is_difference=True),
        }
        text = json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False)
        (temporary / REPORT).write_text(text + "\n", encoding="utf-8")
        lines = (json.dumps(reply, ensure_ascii=False) for reply in report.replies)
        (temporary / REPLIES).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        draw_pictures(report, temporary)


def _plain(estimates: Estimates, *, is_difference: bool = False) -> dict[str, dict[str, dict[str, Any]]]:
    return {
        scope: {
            key: asdict(estimate) | ({"excludes_zero": estimate.excludes_zero} if is_difference else {})
            for key, estimate in of.items()
        }
        for scope, of in estimates.items()
    }


def draw_pictures(report: Report, folder: Path) -> None:
    """perplexity.png, ranking.png and replies.png; labels are English where no Chinese font is installed."""
    import matplotlib

    font = _chinese_font()
    # a Chinese font often lacks the real minus sign
    settings: dict[Any, Any] = {"font.family": [font, "DejaVu Sans"], "axes.unicode_minus": False} if font else {}
    with matplotlib.rc_context(settings):
        for name, keys in zip(_PICTURES, _PICTURED, strict=True):
            _draw(report, keys, folder / name, chinese=font is not None)


_ENGLISH_SCOPES = {POOLED: "all", QUESTIONS: "question sets"}
_PICTURED = (
    ("perplexity_per_char", "dialogue_perplexity_per_char"),
    ("hits_at_1/gpt2_chitchat", "hits_at_1/forward", "hits_at_1/reverse", "hits_at_1/fitted"),
    ("distinct_1", "distinct_2", "generic", "repetition", "source/retrieval", "source/fallback", "persona_consistent"),
)


def _draw(report: Report, keys: Sequence[str], picture: Path, *, chinese: bool) -> None:
    """A panel for each scope, in it a group of bars for each figure and a bar with its interval for each model."""
    from matplotlib.figure import Figure as Canvas

    scopes = [scope for scope, estimates in report.models[0].estimates.items() if any(key in estimates for key in keys)]
    across = min(len(scopes), _SCOPES_ACROSS)
    down = -(-len(scopes) // across)
    size = (3.6 * across + 1.5, (0.4 * len(keys) * len(report.models) + 1.2) * down + 0.4)
    canvas = Canvas(figsize=size, layout="constrained")
    panels = canvas.subplots(down, across, sharex=True, sharey=True, squeeze=False).flat
    shown = [key for key in keys if any(key in estimates for estimates in report.models[0].estimates.values())]
    height = 0.8 / len(report.models)
    for panel, scope in zip(panels, scopes, strict=False):
        for number, model in enumerate(report.models):
            found = [(place, model.estimates[scope][key]) for place, key in enumerate(shown) if key in model.estimates[scope]]
            panel.barh(
                [place + (number - (len(report.models) - 1) / 2) * height for place, _ in found],
                [estimate.value for _, estimate in found],
                height=0.9 * height,
                xerr=[[_reach(e, e.low) for _, e in found], [_reach(e, e.high) for _, e in found]],
                capsize=2,
                label=f"{'AB'[number]} {model.path}",
            )
        panel.set_title(scope if chinese else _ENGLISH_SCOPES.get(scope, scope), fontsize=10)
        panel.grid(axis="x", alpha=0.3)
    labels = [FIGURES[key].chinese if chinese else FIGURES[key].english for key in shown]
    panels[0].set_yticks(range(len(shown)), labels)
    panels[0].invert_yaxis()
    for unused in panels[len(scopes) :]:
        unused.set_visible(False)
    if len(report.models) > 1:
        canvas.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", fontsize=8)
    canvas.savefig(picture, dpi=120)


def _reach(estimate: Estimate, end: float | None) -> float:
    return 0.0 if end is None else abs(end - estimate.value)


def _chinese_font() -> str | None:
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    wanted = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "Microsoft YaHei", "PingFang SC", "SimHei")
    return next((name for name in wanted if name in installed), None)
