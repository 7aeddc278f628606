"""The tab that scores a file of replies: uploaded or pasted rows to the same rows with scores, their spread and a download."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from chitchat.errors import ChitchatError, ConfigError
from chitchat.evaluation.batch_score import COLUMNS, Bar, score_file
from chitchat.evaluation.rows import BadRow, open_table
from chitchat.frontends.presentation import one_line
from chitchat.frontends.web.html import hint, scroll_table, text
from chitchat.frontends.web.site import Site
from chitchat.frontends.web.text import Translate
from chitchat.frontends.web.told import told

MAX_ROWS = 2000
"""A minute's work for the shipped pair; longer files are for `chitchat score`."""
_MAX_PASTED_CHARS = 200_000
_BATCH_ROWS = 32
"""Few at a time, so that those who talk meanwhile need not wait."""
_SHOWN_ROWS = 50
_SHOWN_FAULTS = 5
_BINS = 24
_EXAMPLE = """\
context,reply
今天好累啊,辛苦了，早点休息吧。
今天好累啊,我也不知道。
周末去哪玩好呢,去爬山吧，空气好。
周末去哪玩好呢,哈哈哈哈哈哈哈
"""


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """What is shown of a row; log-probabilities are means a token, None where there is none."""

    context: str
    reply: str
    forward: float | None
    reverse: float | None
    score: float | None


def add_scoring_tab(site: Site, t: Translate) -> None:
    """The tab's components and events."""
    with gr.Row(elem_id="scoring"):
        with gr.Column(min_width=300):
            what = t("给每一对上文与回复打分：正向（通不通顺）、反向（MMI，对不对题）与排序分。")
            form = t("CSV、TSV 或 JSONL，要有 context 与 reply 两列，上文各句用 [SEP] 隔开；最多 {rows} 行。")
            plain: dict[str, Any] = {"js_on_load": None, "apply_default_css": False}
            gr.HTML(f"<p>{text(what)}</p>{hint(form.format(rows=MAX_ROWS))}", **plain)
            pasted = gr.Textbox(label=t("粘贴在这里"), lines=9, max_lines=14, max_length=_MAX_PASTED_CHARS, elem_id="score-text")
            with gr.Row():
                example = gr.Button(t("放入示例"), size="md")
                start = gr.Button(t("打分"), variant="primary", size="md", elem_id="score-start")
            # not gr.File: its own words follow the browser's language, not the page's
            upload = gr.UploadButton(t("或上传文件来打分"), size="md", elem_id="score-file")
        with gr.Column(min_width=300):
            result = gr.HTML(hint(t("结果会显示在这里。")), elem_id="score-result", **plain)
            download = gr.DownloadButton(t("下载结果"), visible=False, elem_id="score-download")

    def run(source: str, is_path: bool, progress: gr.Progress) -> Iterator[tuple[Any, Any]]:
        def on_progress(stage: str, done: int, total: int | None) -> None:
            progress((done, total or done), desc=t(stage), unit=t("行"))

        with told(t) as faults, TemporaryDirectory(prefix="chitchat-score-") as folder:
            path = Path(source) if is_path else _pasted(source, Path(folder))
            shown, output = _score(site, t, path, Path(folder), on_progress)
            # Gradio copies the file when it is yielded, and drops the copy after `delete_cache` seconds
            yield shown, gr.update(value=str(output), visible=True)
            return
        # the notice goes; what was scored before must not stand there as the answer
        yield "".join(f'<p class="fault" role="alert">{text(fault)}</p>' for fault in faults), gr.update(visible=False)

    def run_pasted(words: str, progress: gr.Progress = gr.Progress()) -> Iterator[tuple[Any, Any]]:  # noqa: B008
        yield from run(words or "", False, progress)

    def run_uploaded(path: str, progress: gr.Progress = gr.Progress()) -> Iterator[tuple[Any, Any]]:  # noqa: B008
        yield from run(path, True, progress)

    alone: dict[str, Any] = {"api_visibility": "private", "concurrency_id": "score", "concurrency_limit": 1}
    alone |= {"show_progress_on": result}
    example.click(lambda: _EXAMPLE, None, pasted, api_visibility="private", show_progress="hidden")
    start.click(run_pasted, pasted, [result, download], **alone)
    upload.upload(run_uploaded, upload, [result, download], **alone)


def _pasted(words: str, folder: Path) -> Path:
    if not words.strip():
        raise ConfigError("没有可以打分的内容：请上传文件，或粘贴几行")
    path = folder / "pasted.txt"
    path.write_text(words, encoding="utf-8", errors="replace")
    return path


def _score(site: Site, t: Translate, source: Path, folder: Path, on_progress: Bar) -> tuple[str, Path]:
    """What is shown of the scored rows of a file, and the file in `folder` that holds them."""
    chatbot = site.models.first.chatbot
    if chatbot.forward_scorer is None:
        raise ConfigError("这个模型不能打分：它没有正向模型")
    good, output = folder / "good" / source.name.removesuffix(".gz"), folder / f"scored-{source.name.removesuffix('.gz')}"
    try:
        faults, delimiter = _sift(source, good)
        summary = score_file(
            good,
            output,
            forward=chatbot.forward_scorer,
            reverse=chatbot.reverse_scorer,
            encoder=chatbot.encoder,
            ranker=chatbot.ranker,
            batch_rows=_BATCH_ROWS,
            on_progress=on_progress,
        )
    except ChitchatError as error:
        # where files lie on the server is nobody's business, and the page has no options
        fault = str(error).replace(str(source), source.name).replace(str(good), source.name)
        raise ConfigError(re.sub("，或(?=用 --|加 --).*", "", fault)) from None
    return _result_html(read_scores(output, delimiter), faults, summary.truncated, t), output


def _sift(source: Path, good: Path) -> tuple[list[BadRow], str]:
    """Copies the rows that can be scored to `good`; returns the others, and the table's delimiter ("" for JSONL).

    Raises ConfigError for too many rows, and when none can be scored.
    """
    faults: list[BadRow] = []
    number = 0
    good.parent.mkdir()
    with open_table(source, COLUMNS) as table, open(good, "w", encoding="utf-8", newline="\n") as stream:
        stream.write(table.header)
        for number, row in enumerate(table.rows, start=1):
            if number > MAX_ROWS:
                raise ConfigError(f"行数太多：这里最多 {MAX_ROWS} 行；更大的文件请用 chitchat score")
            if isinstance(row, BadRow):
                faults.append(row)
            else:
                stream.write(row.written({}))
        if faults and len(faults) == number:
            raise ConfigError(f"{source.name}:{faults[0].line}: {faults[0].fault}（没有一行能打分）")
        return faults, "" if not table.header else "\t" if "\t" in table.header else ","


def read_scores(path: Path, delimiter: str) -> list[ScoredRow]:
    """The rows of a scored file; `delimiter` is "" for JSONL."""
    with open(path, encoding="utf-8", newline="") as stream:
        records = csv.DictReader(stream, delimiter=delimiter) if delimiter else map(json.loads, stream)
        return [_scored_row(record) for record in records]


def _scored_row(record: dict[str, Any]) -> ScoredRow:
    lower = {key.strip().lower(): value for key, value in record.items() if key}
    context = lower["context"]
    return ScoredRow(
        context=" / ".join(context) if isinstance(context, list) else str(context).replace("[SEP]", " / "),
        reply=str(lower["reply"]),
        forward=_mean(lower, "forward_log_prob", "forward_tokens"),
        reverse=_mean(lower, "mmi_log_prob", "mmi_tokens"),
        score=_number(lower["score"]),
    )


def _mean(record: dict[str, Any], log_prob: str, tokens: str) -> float | None:
    total, count = _number(record[log_prob]), _number(record[tokens])
    return None if total is None or not count else total / count


def _number(value: Any) -> float | None:
    return None if value in ("", None) else float(value)


def _result_html(rows: Sequence[ScoredRow], faults: Sequence[BadRow], num_truncated: int, t: Translate) -> str:
    parts = [f'<p role="status">{text(t("打好了 {count} 行。").format(count=len(rows)))}</p>']
    if faults:
        listed = "".join(
            f"<li>{text(t('第 {line} 行').format(line=f.line))}：{text(t(f.fault))}</li>" for f in faults[:_SHOWN_FAULTS]
        )
        parts.append(f'{hint(t("略过 {count} 行坏行：").format(count=len(faults)))}<ul class="faults">{listed}</ul>')
    if num_truncated:
        parts.append(hint(t("{count} 行的上文太长，打分时略去了最早的几句。").format(count=num_truncated)))
    columns = (("得分", [r.score for r in rows]), ("正向", [r.forward for r in rows]), ("反向", [r.reverse for r in rows]))
    charts = [histogram_svg(t(name), [v for v in values if v is not None]) for name, values in columns]
    parts.append(f'<div class="charts">{"".join(charts)}</div>')
    best = sorted(rows, key=lambda r: -(r.score if r.score is not None else float("-inf")))[:_SHOWN_ROWS]
    head = "".join(f'<th scope="col">{text(t(h))}</th>' for h in ("上文", "回复", "得分", "正向", "反向"))
    parts.append(scroll_table(t("打分结果"), f"<tr>{head}</tr>", "".join(map(_row_html, best))))
    if len(rows) > _SHOWN_ROWS:
        parts.append(hint(t("只列出得分最高的 {count} 行，全部在下载的文件里。").format(count=_SHOWN_ROWS)))
    parts.append(hint(t("正向、反向（MMI）是每个 token 的平均对数概率，越大越好。")))
    return "".join(parts)


def _row_html(row: ScoredRow) -> str:
    words = "".join(f'<td class="words">{text(one_line(w))}</td>' for w in (row.context, row.reply))
    numbers = "".join(f"<td>{'—' if v is None else f'{v:.2f}'}</td>" for v in (row.score, row.forward, row.reverse))
    return f"<tr>{words}{numbers}</tr>"


def histogram_svg(name: str, values: Sequence[float]) -> str:
    """How many values lie where, as a picture that takes its colours from the page."""
    if not values:
        return ""
    low, high = min(values), max(values)
    width = (high - low) / _BINS or 1.0
    counts = [0] * _BINS
    for value in values:
        counts[min(int((value - low) / width), _BINS - 1)] += 1
    tallest = max(counts)
    bars = "".join(
        f'<rect x="{10 * n + 1}" y="{70 - 66 * count / tallest:.1f}" width="8" height="{66 * count / tallest:.1f}" rx="1"/>'
        for n, count in enumerate(counts)
        if count
    )
    mean = sum(values) / len(values)
    scale = f'<text x="0" y="87">{low:.2f}</text><text x="120" y="87" text-anchor="middle">x̄ {mean:.2f}</text>'
    scale += f'<text x="240" y="87" text-anchor="end">{high:.2f}</text><line x1="0" y1="70" x2="240" y2="70"/>'
    label = text(f"{name}: {low:.2f} – {high:.2f}, x̄ {mean:.2f}")
    picture = f'<svg viewBox="0 0 240 90" role="img" aria-label="{label}">{bars}{scale}</svg>'
    return f"<figure><figcaption>{text(name)}</figcaption>{picture}</figure>"
