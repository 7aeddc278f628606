"""The report a person opens in a browser: complete, self-contained, and nothing of the corpus is taken for HTML."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from chitchat.config import PrepareConfig
from chitchat.corpus.report import histogram_bars, report_page, write_report
from chitchat.errors import ConfigError

FIGURES: dict[str, Any] = {
    "name": "微博.jsonl",
    "sha256": "0f" * 32,
    "bytes": 2_500_000,
    "format": "jsonl",
    "encoding": None,
    "options": {"near_duplicates": 0.8, "normalise": True},
    "read": {"dialogues": 1300, "messages": 3000, "chars": 40_000, "bad": 0},
    "kept": {"dialogues": 1234, "messages": 2900, "tokens": 38_000, "chars": 35_000, "replies": 1666},
    "dropped": {"too_long": 7, "near_duplicate": 3, "a_rule_of_tomorrow": 1},
    "changed": {"urls": 5},
    "examples": {
        "too_long": [{"line": 17, "text": "<img src=x onerror=alert(1)>太长了"}],
        "near_duplicate": [{"line": 40, "text": "你好\n在的", "of_line": 12, "similarity": 0.91}],
    },
    "message_chars_histogram": [[1, 100], [5, 2000], [40, 799], [199, 1]],
    "dialogue_messages_histogram": [[2, 900], [3, 334]],
    "characters": {
        "distinct": 2000,
        "total": 35_000,
        "unknown_distinct": 2,
        "unknown_total": 9,
        "worst": [["嗳", 6], ["\u202e", 3]],
        "common": [["我", 900], ["的", 800]],
        "coverage": [[100, 0.581], [500, 0.85]],
    },
    "unknown_tokens": 9,
    "replies": {"total": 1666, "exact": True, "top": [["嗯嗯", 12], ["<b>哈哈</b>", 4]]},
    "duplicates": {"exact": 0, "near": 3, "threshold": 0.8, "largest": [{"line": 12, "text": "你好\n在的", "copies": 3}]},
    "splits": {
        "train": {"dialogues": 1200, "messages": 2800, "tokens": 37_000},
        "validation": {"dialogues": 20, "messages": 60, "tokens": 600},
        "test": {"dialogues": 14, "messages": 40, "tokens": 400},
    },
    "leakage": {"exact": 0, "near": 0, "near_checked": 34, "threshold": 0.8, "examples": []},
}


class Page(HTMLParser):
    """The page's text and tags; fails on a tag that is closed in the wrong place."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "line"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def changed(**figures: Any) -> dict[str, Any]:
    return copy.deepcopy(FIGURES) | figures


def test_page_tells_the_figures() -> None:
    text = Page(report_page([FIGURES])).text
    for shown in ("微博.jsonl", "1,234", "读入 1,300", "消息太长", "a_rule_of_tomorrow", "第 17 行", "≈ 第 12 行（相似度 0.91）"):
        assert shown in text
    for shown in ("中位 5 字", "最长 199 字", "58.10%", "嗯嗯", "0.72%", "验证", "查了 34 段，0 段", "near_duplicates"):
        assert shown in text
    assert "值得留意" not in text


def test_nothing_in_the_corpus_is_taken_for_html() -> None:
    evil = changed(name='<script>alert(1)</script>".jsonl', encoding="<i>", options={"drop_words": "</pre><script>"})
    page = Page(report_page([evil, FIGURES]))
    assert not {"script", "img", "i>"} & {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    for shown in ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>太长了", "<b>哈哈</b>"):
        assert shown in page.text
    assert "\u202e" not in page.text and "\\u202e" in page.text, "a character that turns the line is written out"


def test_page_asks_nothing_of_the_network() -> None:
    html = report_page([FIGURES, FIGURES])
    attributes = [value for _, of_tag in Page(html).tags for name, value in of_tag.items() if name in ("src", "href", "action")]
    assert attributes == ["#corpus-0", "#corpus-1"]
    assert not re.search(r"url\(|@import|https?:", html)
    assert "default-src 'none'" in html


@pytest.mark.parametrize(
    ("figures", "notice"),
    [
        ({"unknown_tokens": 1000}, "[UNK]：考虑用 chitchat vocab"),
        ({"read": FIGURES["read"] | {"dialogues": 9000}}, "只留下"),
        ({"read": FIGURES["read"] | {"bad": 4}}, "4 条记录读不懂"),
        ({"replies": FIGURES["replies"] | {"top": [["嗯嗯", 500]]}}, "最常见的回复占 30.0%"),
        ({"leakage": FIGURES["leakage"] | {"near": 9}}, "分数会偏高"),
        ({"leakage": FIGURES["leakage"] | {"exact": 1}}, "分数会偏高"),
        ({"splits": FIGURES["splits"] | {"validation": {"dialogues": 0, "messages": 0, "tokens": 0}}}, "没有验证对话"),
    ],
)
def test_what_deserves_a_look_is_said_at_the_top(figures: dict[str, Any], notice: str) -> None:
    text = Page(report_page([changed(**figures)])).text
    assert notice in text[text.index("值得留意") : text.index("清洗")]


def test_figures_that_were_not_asked_for_are_said_to_be_missing() -> None:
    figures = changed(
        dropped={},
        changed={},
        leakage=FIGURES["leakage"] | {"near": None, "near_checked": 0},
        duplicates=FIGURES["duplicates"] | {"threshold": 0, "near": 0, "largest": []},
        replies={"total": 9, "exact": False, "top": []},
    )
    text = Page(report_page([figures])).text
    for shown in ("什么也没有丢掉", "没有查近似的", "没有重复的对话", "没有回复"):
        assert shown in text


def test_bars_hold_every_message_and_the_last_one_the_tail() -> None:
    bars = histogram_bars([(1, 500), (2, 300), (60, 200), (5000, 1)], "字")
    assert sum(bar.value for bar in bars) == 1001
    assert len(bars) <= 30 and bars[0].value == 800 and bars[-1].value == 201
    assert bars[-1].title.startswith("59 字以上：201")
    assert histogram_bars([], "字") == []
    assert [bar.title for bar in histogram_bars([(2, 3), (3, 1)], "句")] == ["2 句：3（75.0%）", "3 句：1（25.0%）"]


def test_page_and_figures_are_written_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "out" / "report.html"
    write_report(path, [FIGURES])
    assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["corpora"] == [FIGURES]
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    before = path.read_bytes()
    with pytest.raises(KeyError):
        write_report(path, [{"name": "a"}])
    assert path.read_bytes() == before and sorted(p.name for p in path.parent.iterdir()) == ["report.html", "report.json"]


def test_a_name_that_is_no_pages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="html"):
        write_report(tmp_path / "report.json", [FIGURES])


def test_what_prepare_leaves_can_be_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chitchat.prepare import prepare
    from chitchat.tokenization.tokenizer import DialogueTokenizer

    monkeypatch.setenv("CHITCHAT_CACHE", str(tmp_path / "cache"))
    corpus = tmp_path / "a.txt"
    corpus.write_text(
        "你好\n在的\n\n吃了吗\n吃了𰻝\n\n你好\n在的\n\n----\n\n" + "\n\n".join(f"第{n}句\n好的" for n in range(50)), "utf-8"
    )
    tokenizer = DialogueTokenizer.load(Path(__file__).parents[2] / "data" / "vocab.txt")
    store = prepare(corpus, PrepareConfig(), tokenizer)
    text = Page(report_page([store.report()])).text
    assert "与前面的对话一字不差" in text and "𰻝" in text and "好的" in text
