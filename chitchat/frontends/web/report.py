"""The tab with an evaluation: the tables and pictures that `chitchat evaluate` wrote."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from chitchat.errors import ConfigError
from chitchat.evaluation.metrics import FIGURES, Figure
from chitchat.evaluation.report import FORMAT, REPORT
from chitchat.frontends.web.html import hint, scroll_table, text
from chitchat.frontends.web.site import Site
from chitchat.frontends.web.text import Translate

PICTURES: Mapping[str, str] = {"perplexity": "困惑度", "ranking": "排序", "replies": "回复"}
"""Name of a picture's file, without .png, to what it shows."""


def add_report_tab(tab: gr.Tab, site: Site, t: Translate, *, chinese: bool) -> None:
    """The tab's one component, read anew each time the tab is opened."""
    shown = gr.HTML(js_on_load=None, apply_default_css=False, elem_id="report")
    tab.select(
        lambda: report_html(site.report, t, chinese=chinese), None, shown, api_visibility="private", show_progress="hidden"
    )


def report_html(folder: Path, t: Translate, *, chinese: bool) -> str:
    """A report as HTML, or how to make one where there is none."""
    path = folder / REPORT
    if not path.is_file():
        command = "chitchat evaluate data/dialogues.txt --output evaluation"
        how = t("还没有评测报告。先在终端里运行下面的命令，再刷新这一页（换文件夹用 --report）：")
        return f"{hint(how)}<pre>{text(command)}</pre>"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["format"] != FORMAT:
            raise ConfigError(t("格式是 {format}，本程序只认 {known}").format(format=report["format"], known=FORMAT))
        parts = [_heading(report, t), *_tables(report, t, chinese=chinese), _pictures(folder, t), _remarks(report, t)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        fault = str(error) if isinstance(error, ConfigError) else repr(error)
        return hint(t("这份报告读不了，请重新评测：") + fault)
    return "".join(parts)


def _heading(report: Mapping[str, Any], t: Translate) -> str:
    names = " · ".join(f"{letter} {model['path']}" for letter, model in zip("AB", report["models"], strict=False))
    contexts = sum(file["answered_contexts"] for file in report["files"].values())
    facts = t("{date}，{contexts} 个上下文，种子 {seed}").format(
        date=report["date"][:16].replace("T", " "), contexts=contexts, seed=report["seed"]
    )
    return (
        f"<h2>{text(names if len(report['models']) > 1 else report['models'][0]['path'])}</h2><p class='hint'>{text(facts)}</p>"
    )


def _tables(report: Mapping[str, Any], t: Translate, *, chinese: bool) -> Iterable[str]:
    """One model: its scopes side by side. Two: a table for each scope, with the difference."""
    models = [model["figures"] for model in report["models"]]
    differences = report["differences"]
    if differences is None:
        scopes = list(models[0])
        yield _table([t(s) for s in scopes], lambda key: [models[0][s].get(key) for s in scopes], t, chinese=chinese)
        return
    for scope in models[0]:
        columns = [*(model[scope] for model in models), differences[scope]]
        yield f"<h3>{text(t(scope))}</h3>"
        yield _table(["A", "B", t("差 A − B")], lambda key, c=columns: [of.get(key) for of in c], t, chinese=chinese)


def _table(heads: Sequence[str], row: Any, t: Translate, *, chinese: bool) -> str:
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in heads)
    lines = []
    for key, figure in FIGURES.items():
        cells = row(key)
        if any(cells):
            label = (figure.chinese if chinese else figure.english) + ("", " ↑", " ↓")[figure.better]
            lines.append(f'<tr><th scope="row">{text(label)}</th>{"".join(_cell(figure, c) for c in cells)}</tr>')
    return scroll_table(t("评测结果"), f"<tr><td></td>{head}</tr>", "".join(lines))


def _cell(figure: Figure, estimate: Mapping[str, Any] | None) -> str:
    if not estimate:
        return "<td></td>"
    interval = ""
    if estimate["low"] is not None and estimate["high"] is not None:
        interval = f"<small>{figure.text(estimate['low'])} – {figure.text(estimate['high'])}</small>"
    kind = ""
    if estimate.get("excludes_zero"):
        kind = ' class="better"' if estimate["value"] * figure.better > 0 else ' class="worse"' if figure.better else ""
    return f"<td{kind}>{figure.text(estimate['value'])}{interval}</td>"


def _pictures(folder: Path, t: Translate) -> str:
    found = [(name, label) for name, label in PICTURES.items() if (folder / f"{name}.png").is_file()]
    return (
        '<div class="pictures">'
        + "".join(f'<img src="/report/{name}.png" alt="{text(t(label))}" loading="lazy">' for name, label in found)
        + "</div>"
    )


def _remarks(report: Mapping[str, Any], t: Translate) -> str:
    notes = [t("小字是 95 % 自助区间；↑ 越大越好，↓ 越小越好；定义见 docs/evaluation.md。"), *report["models"][0]["skipped"]]
    return "".join(map(hint, notes))
