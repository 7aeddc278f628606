"""What became of a corpus on its way to training: one HTML page that can be sent to anybody, and its figures as JSON beside it.

The figures are those `prepare` leaves in a store's `report.json`; nothing is counted here.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from chitchat.corpus.cleaning import DESCRIPTIONS
from chitchat.corpus.report_page import Bar, bar_chart, columns, escaped, folded, page, section, share_bar, table, tiles
from chitchat.errors import ConfigError
from chitchat.files import atomic_write

Figures: TypeAlias = Mapping[str, Any]
"""A store's `report.json`."""

_SPLITS = {"train": "训练", "validation": "验证", "test": "测试"}
_RULES = {
    "duplicate": "与前面的对话一字不差",
    "near_duplicate": "与别的对话近似",
    "same_reply": "回复已出现太多次",
    "unreadable": "读不懂的记录",
}
_MOST_BARS = 30
_SHOWN_REPLIES = 20


def check_report_path(path: Path) -> None:
    """Raises ConfigError for a name that is no page's; asked before hours of work."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--report {path}：文件名应以 .html 结尾；同名的 .json 会写在旁边")


def write_report(path: Path, reports: Sequence[Figures]) -> None:
    """Writes the page of one or several corpora to `path` and its figures beside it as `.json`, each whole or not at all."""
    check_report_path(path)
    shown = report_page(reports)
    with atomic_write(path.with_suffix(".json")) as stream:
        json.dump({"corpora": list(reports)}, stream, ensure_ascii=False, indent=1)
        stream.write("\n")
    with atomic_write(path) as stream:
        stream.write(shown)


def report_page(reports: Sequence[Figures]) -> str:
    """The page as HTML."""
    names = [report["name"] for report in reports]
    body = [f"<h1>语料报告</h1><p class='source'>{escaped('、'.join(names))}</p>"]
    if len(reports) > 1:
        body.append(_overview(reports))
    for number, report in enumerate(reports):
        if len(reports) > 1:
            body.append(f'<h2 id="corpus-{number}">{escaped(report["name"])}</h2>')
        body.extend(_corpus(report))
    body.append("<footer>对话是成段的话，消息是其中一句；“读入”是清洗之前，“留下”是清洗与去重之后。</footer>")
    return page(f"语料报告 {'、'.join(names)}", "\n".join(body))


def _overview(reports: Sequence[Figures]) -> str:
    rows = [
        [
            f'<a href="#corpus-{number}">{escaped(report["name"])}</a>',
            _number(report["read"]["dialogues"]),
            _number(report["kept"]["dialogues"]),
            _number(report["kept"]["messages"]),
            _number(report["kept"]["tokens"]),
            _percent(report["unknown_tokens"], report["kept"]["tokens"]),
        ]
        for number, report in enumerate(reports)
    ]
    return section("总览", table(["语料", "读入对话#", "留下对话#", "消息#", "token#", "[UNK]#"], rows))


def _corpus(report: Figures) -> Iterator[str]:
    """All cards of one corpus, what is most asked for first."""
    source = [
        report.get("format"),
        report.get("encoding"),
        f"{report['bytes'] / 1e6:,.2f} MB",
        f"SHA-256 {report['sha256'][:12]}",
    ]
    yield f"<p class='source'>{escaped(' · '.join(str(part) for part in source if part))}</p>"
    read, kept = report["read"], report["kept"]
    duplicates = report["duplicates"]
    yield tiles(
        [
            ("留下的对话", _number(kept["dialogues"]), f"读入 {_number(read['dialogues'])}"),
            ("消息", _number(kept["messages"]), f"平均每段 {_ratio(kept['messages'], kept['dialogues'])} 句"),
            ("字", _number(kept["chars"]), f"平均每句 {_ratio(kept['chars'], kept['messages'])} 个"),
            ("token", _number(kept["tokens"]), f"平均每句 {_ratio(kept['tokens'], kept['messages'])} 个"),
            ("[UNK]", _percent(report["unknown_tokens"], kept["tokens"]), f"{_number(report['unknown_tokens'])} 个"),
            ("重复", _number(duplicates["exact"] + duplicates["near"]), f"其中近似 {_number(duplicates['near'])}"),
        ]
    )
    if notices := list(_notices(report)):
        items = "".join(f"<li>{escaped(notice)}</li>" for notice in notices)
        yield f'<section class="notices"><h3>值得留意</h3><ul>{items}</ul></section>'
    yield _rules(report)
    yield _lengths(report)
    yield _characters(report)
    yield _replies(report)
    yield _duplicates(report)
    yield _splits(report)
    options = json.dumps(report["options"], ensure_ascii=False, indent=2)
    yield section("选项", folded("预处理用的全部选项", f"<pre>{html.escape(options)}</pre>"))


def _notices(report: Figures) -> Iterator[str]:
    """What a person should look at before training."""
    kept, read = report["kept"], report["read"]
    if report["unknown_tokens"] > 0.01 * kept["tokens"]:
        yield f"{_percent(report['unknown_tokens'], kept['tokens'])} 的 token 是 [UNK]：考虑用 chitchat vocab 由这份语料生成词表"
    if kept["dialogues"] < 0.5 * read["dialogues"]:
        yield f"只留下 {_percent(kept['dialogues'], read['dialogues'])} 的对话：看看下面各规则的例子，是不是丢得太多"
    if bad := read.get("bad"):
        yield f"有 {_number(bad)} 条记录读不懂，已跳过"
    top = report["replies"]["top"]
    if top and top[0][1] > 0.01 * report["replies"]["total"]:
        yield f"最常见的回复占 {_percent(top[0][1], report['replies']['total'])}：模型会爱说它"
    leakage = report["leakage"]
    if leakage["exact"] or (leakage["near"] or 0) > 0.005 * max(leakage["near_checked"], 1):
        yield "留出的对话有一些在训练集里有相同或近似的：验证与测试的分数会偏高"
    if not report["splits"]["validation"]["dialogues"]:
        yield "没有验证对话：训练没法选出最好的一步，请增加语料或调大 --validation-fraction"


def _rules(report: Figures) -> str:
    dropped, changed = (_rule_table(report[kind], report["examples"]) for kind in ("dropped", "changed"))
    body = dropped or "<p>什么也没有丢掉。</p>"
    if changed:
        body = columns(["<h4>丢掉的</h4>" + body, "<h4>改写的消息</h4>" + changed])
    note = "点开一条规则看例子；丢掉的每一处都记在预处理结果的 rejected.jsonl.gz 里，带规则名与行号。"
    return section("清洗", body, note)


def _rule_table(counts: Mapping[str, int], examples: Mapping[str, Sequence[Figures]]) -> str:
    """Rules by how often each was used, those with examples to be unfolded; empty when there are none."""
    rows = []
    for rule, count in sorted(counts.items(), key=lambda item: -item[1]):
        name = f"{escaped(rule_description(rule))} <small>{escaped(rule)}</small>"
        if shown := "".join(map(_example, examples.get(rule, []))):
            name = folded(name, f'<ul class="examples">{shown}</ul>')
        rows.append([name, share_bar(count / max(counts.values())), _number(count)])
    return table(["规则", "", "次数#"], rows) if rows else ""


def _example(example: Figures) -> str:
    place = f"第 {example['line']} 行"
    if original := example.get("of_line"):
        place += f" ≈ 第 {original} 行"
    if (similarity := example.get("similarity")) is not None:
        place += f"（相似度 {similarity:.2f}）"
    return f"<li><em>{escaped(place)}</em>{_text(example['text'])}</li>"


def _lengths(report: Figures) -> str:
    charts = []
    for title, unit, key in (
        ("每条消息的字数", "字", "message_chars_histogram"),
        ("每段对话的句数", "句", "dialogue_messages_histogram"),
    ):
        histogram = [(int(size), int(count)) for size, count in report[key]]
        middle, long = (_quantile(histogram, share) for share in (0.5, 0.95))
        caption = f"中位 {middle} {unit}，95% 不超过 {long} {unit}，最长 {histogram[-1][0] if histogram else 0} {unit}"
        chart = bar_chart(histogram_bars(histogram, unit), f"{title}：{caption}")
        charts.append(f'<h4>{title}</h4>{chart}<p class="note">{caption}</p>')
    return section("长短", columns(charts))


def histogram_bars(histogram: Sequence[tuple[int, int]], unit: str) -> list[Bar]:
    """(size, count) pairs in at most thirty bars of equal width; the last one takes the longest half percent."""
    if not histogram:
        return []
    first, last = histogram[0][0], _quantile(histogram, 0.995)
    width = -(-(last - first + 1) // _MOST_BARS)
    counts = [0] * -(-(last - first + 1) // width)
    for size, count in histogram:
        counts[min((size - first) // width, len(counts) - 1)] += count
    every = -(-len(counts) // 8)
    total = sum(counts)
    bars = []
    for number, count in enumerate(counts):
        low, high = first + number * width, first + (number + 1) * width - 1
        is_last = number == len(counts) - 1 and histogram[-1][0] > high
        span = f"{low}" if low == high else f"{low}–{high}"
        name = f"{low} {unit}以上" if is_last else f"{span} {unit}"
        label = f"{low}" if number % every == 0 else ""
        bars.append(Bar(count, label, f"{name}：{_number(count)}（{_percent(count, total)}）"))
    return bars


def _characters(report: Figures) -> str:
    characters = report["characters"]
    coverage = table(
        ["最常用的字", "", "占全文#"],
        [[f"前 {_number(count)} 个", share_bar(share), f"{share:.2%}"] for count, share in characters["coverage"]],
    )
    unknown = (
        f'<h4>词表里没有的字</h4><p class="note">{_number(characters["unknown_distinct"])} 种，'
        f"共出现 {_number(characters['unknown_total'])} 次；出现最多的：</p>" + _chips(characters["worst"], code_points=True)
        if characters["unknown_distinct"]
        else "<h4>词表里没有的字</h4><p>没有，每个字都写得出来。</p>"
    )
    common = folded("最常用的 100 个字", _chips(characters["common"]))
    note = f"共 {_number(characters['distinct'])} 种字，不计空白。"
    return section("用字", columns([coverage + common, unknown]), note)


def _chips(counts: Sequence[tuple[str, int]], *, code_points: bool = False) -> str:
    chips = []
    for character, count in counts:
        title = " ".join(f"U+{ord(c):04X}" for c in character) if code_points else ""
        chips.append(f'<span title="{title}">{_text(character)}<small>{_number(count)}</small></span>')
    return f'<div class="chips">{"".join(chips)}</div>'


def _replies(report: Figures) -> str:
    replies = report["replies"]
    top = replies["top"][:_SHOWN_REPLIES]
    if not top:
        return section("最泛的回复", "<p>没有回复。</p>")
    most = top[0][1]
    rows = [[_text(text), share_bar(count / most), _number(count), _percent(count, replies["total"])] for text, count in top]
    half = -(-len(rows) // 2)
    head = ["回复", "", "次数#", "占比#"]
    body = columns([table(head, part) for part in (rows[:half], rows[half:]) if part])
    exact = "" if replies.get("exact", True) else "语料太大，次数是下限。"
    return section("最泛的回复", body, f"哪句话都能接的回复太多，模型也会这样说。共 {_number(replies['total'])} 条回复。{exact}")


def _duplicates(report: Figures) -> str:
    duplicates = report["duplicates"]
    near = f"相似度不低于 {duplicates['threshold']:g} 的算近似" if duplicates["threshold"] else "没有查近似的"
    note = f"一字不差 {_number(duplicates['exact'])} 段，近似 {_number(duplicates['near'])} 段，都只留一份；{near}。"
    rows = [[_text(entry["text"]), _number(entry["line"]), _number(entry["copies"])] for entry in duplicates["largest"]]
    body = table(["重复最多的对话", "行#", "另有几份#"], rows) if rows else "<p>没有重复的对话。</p>"
    return section("重复", body, note)


def _splits(report: Figures) -> str:
    splits = report["splits"]
    total = sum(splits[split]["dialogues"] for split in _SPLITS)
    bar = "".join(
        f'<i style="flex:{splits[split]["dialogues"]}" title="{name}"></i>'
        for split, name in _SPLITS.items()
        if splits[split]["dialogues"]
    )
    rows = [
        [
            name,
            _number(splits[split]["dialogues"]),
            _percent(splits[split]["dialogues"], total),
            _number(splits[split]["messages"]),
            _number(splits[split]["tokens"]),
        ]
        for split, name in _SPLITS.items()
    ]
    sizes = f'<div class="split">{bar}</div>' + table(["", "对话#", "占比#", "消息#", "token#"], rows)
    leakage = report["leakage"]
    lines = [f"验证与测试的对话里，{_number(leakage['exact'])} 段与训练对话一字不差。"]
    if leakage["near"] is None:
        lines.append("没有查近似的（near_duplicates 为 0）。")
    else:
        lines.append(
            f"查了 {_number(leakage['near_checked'])} 段，{_number(leakage['near'])} 段在训练集里有近似的"
            f"（相似度不低于 {leakage['threshold']:g}）。"
        )
    examples = "".join(
        f"<li>第 {_number(e['held_out_line'])} 行 ≈ 第 {_number(e['train_line'])} 行（相似度 {e['similarity']:.2f}）</li>"
        for e in leakage["examples"]
    )
    check = "<h4>泄漏检查</h4>" + "".join(f"<p>{escaped(line)}</p>" for line in lines)
    check += f'<ul class="examples">{examples}</ul>' if examples else ""
    return section("划分", columns([sizes, check]), "按对话内容的哈希划分：同一段对话在哪个文件里都落在同一份。")


def rule_description(rule: str) -> str:
    """What a rule of `dropped` or `changed` does, in Chinese; its name when nothing is known of it."""
    return DESCRIPTIONS.get(rule) or _RULES.get(rule, rule)


def _text(text: str) -> str:
    """A corpus's own words; isolated, so that right-to-left characters do not turn what stands around them."""
    return f"<bdi>{escaped(text)}</bdi>"


def _quantile(histogram: Sequence[tuple[int, int]], share: float) -> int:
    """The least size that `share` of all are not above."""
    wanted = share * sum(count for _, count in histogram)
    reached = 0
    for size, count in histogram:
        reached += count
        if reached >= wanted:
            return size
    return 0


def _number(value: float) -> str:
    return f"{value:,}"


def _ratio(value: float, of: float) -> str:
    return f"{value / of:.1f}" if of else "0"


def _percent(part: float, of: float) -> str:
    share = part / of if of else 0.0
    return f"{share:.1%}" if share >= 0.1 or not share else f"{share:.2%}"
