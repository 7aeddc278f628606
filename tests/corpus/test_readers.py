"""What a user gets from a corpus file: its dialogues, or one sentence saying what is wrong where."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chitchat.corpus.reading.readers import READERS, detect_format, read_dialogues
from chitchat.corpus.reading.source_file import MAX_LINE_BYTES
from chitchat.errors import CorpusError

PAIR = ("你好", "你好呀")
FIXTURES = Path(__file__).parent / "fixtures"


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def messages(path: Path) -> list[tuple[str, ...]]:
    return [dialogue.messages for dialogue in read_dialogues(path)]


def jsonl(records: Iterable[Any]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


# The formats ---------------------------------------------------------------------------------------------------------------

GOOD: dict[str, tuple[str, str | bytes, list[tuple[str, ...]]]] = {
    "text": ("train.txt", "你好\n你好呀\n\n早\n早啊\n吃了吗\n", [PAIR, ("早", "早啊", "吃了吗")]),
    "text crlf bom blanks": ("a.txt", "\ufeff\r\n你好\r\n 你好呀 \r\n\r\n \t　\r\n\r\n早\r\n早啊", [PAIR, ("早", "早啊")]),
    "text cr": ("a.txt", "你好\r你好呀\r\r早\r早啊\r", [PAIR, ("早", "早啊")]),
    "text u2028 is text": ("a.txt", "你\u2028好\n早\n", [("你\u2028好", "早")]),
    "text sticker": ("a.txt", "[捂脸] 你好\n[[微笑]]\n", [("[捂脸] 你好", "[[微笑]]")]),
    "text without a name": ("corpus", "你好\n你好呀\n", [PAIR]),
    "conv": ("a.conv", "E\nM 你好\nM 你好呀\nE\nM 早\nM 早啊\n", [PAIR, ("早", "早啊")]),
    "conv as txt": ("a.txt", "E\r\nM 你好\r\nM 你好呀\r\nE", [PAIR]),
    "turns": ("a.jsonl", jsonl([{"turns": PAIR}, {"turns": ["早 ", " 早啊"], "id": 3}]), [PAIR, ("早", "早啊")]),
    "turns as txt": ("a.txt", jsonl([{"turns": PAIR}]), [PAIR]),
    "turns as json": ("a.json", jsonl([{"turns": PAIR}, {"turns": PAIR}]), [PAIR, PAIR]),
    "turns bom blank lines": ("a.jsonl", "\ufeff\n" + jsonl([{"turns": PAIR}]) + "\n\n", [PAIR]),
    "empty turn stays for cleaning": ("a.jsonl", jsonl([["你好", " ", "早"]]), [("你好", "", "早")]),
    "messages": (
        "a.jsonl",
        jsonl(
            [
                {
                    "messages": [
                        {"role": "system", "content": "你是小叙"},
                        {"role": "user", "content": "你好"},
                        {"role": "user", "content": "在吗"},
                        {"role": "assistant", "content": "在。"},
                        {"role": "assistant", "content": "怎么啦"},
                    ]
                }
            ]
        ),
        [("你好，在吗", "在。怎么啦")],
    ),
    "message parts": (
        "a.jsonl",
        jsonl(
            [
                {
                    "messages": [
                        {
                            "role": "user",
                            "content": [{"type": "text", "text": "看"}, {"type": "image_url"}, {"type": "text", "text": "图"}],
                        },
                        {"role": "assistant", "content": "好看"},
                    ]
                }
            ]
        ),
        [("看图", "好看")],
    ),
    "sharegpt": (
        "a.json",
        json.dumps(
            [
                {"conversations": [{"from": "human", "value": "你好"}, {"from": "gpt", "value": "你好呀"}]},
                {
                    "conversations": [
                        {"from": "system", "value": "x"},
                        {"from": "user", "value": "早"},
                        {"from": "assistant", "value": "早啊"},
                    ]
                },
            ],
            indent=2,
        ),
        [PAIR, ("早", "早啊")],
    ),
    "sharegpt jsonl": (
        "a.jsonl",
        jsonl([{"conversations": [{"from": "human", "value": "你好"}, {"from": "gpt", "value": "你好呀"}]}]),
        [PAIR],
    ),
    "lccc jsonl": (
        "a.jsonl",
        jsonl([["你 好", "你 好 呀"], ["火锅 我 在 重庆 成都 吃 了 七八 顿 火锅", "哈哈哈哈 ！ 那 我 的 嘴巴"]]),
        [PAIR, ("火锅我在重庆成都吃了七八顿火锅", "哈哈哈哈！那我的嘴巴")],
    ),
    "lccc json": ("a.json", json.dumps([["你 好", "你 好 呀"], ["早", "早 啊 ！"]]), [PAIR, ("早", "早啊！")]),
    "lccc json as txt": ("a.txt", json.dumps([["你好", "你好呀"]]), [PAIR]),
    "lccc splits": ("a.json", json.dumps({"train": [PAIR], "valid": [["早", "早啊"]]}), [PAIR, ("早", "早啊")]),
    "lccc splits indented": (
        "a.json",
        json.dumps({"train": [PAIR], "valid": [["早", "早啊"]]}, indent=1),
        [PAIR, ("早", "早啊")],
    ),
    "list of turns": ("a.json", json.dumps([{"turns": PAIR}]), [PAIR]),
    "one object": ("a.json", json.dumps({"turns": PAIR}, indent=2), [PAIR]),
    "one long json line": ("a.json", json.dumps([PAIR] * 9000), [PAIR] * 9000),
    "one long splits line": ("a.json", json.dumps({"train": [PAIR] * 9000}), [PAIR] * 9000),
    "one long jsonl line": ("a.jsonl", jsonl([{"turns": ["好" * 90000, "早"]}, PAIR]), [("好" * 90000, "早"), PAIR]),
    "intents": (
        "a.jsonl",
        jsonl([{"intent": "问候", "user": ["你好", "嗨"], "reply": ["你好呀", "在呢"]}]),
        [("你好", "你好呀"), ("你好", "在呢"), ("嗨", "你好呀"), ("嗨", "在呢")],
    ),
    "csv": ("a.csv", "你好,你好呀\n早,早啊\n", [PAIR, ("早", "早啊")]),
    "csv header": ("a.csv", "id,Question,score,Answer\r\n1,你好,0.5,你好呀\r\n\r\n", [PAIR]),
    "csv chinese header": ("a.csv", "\ufeff回答,问题\n你好呀,你好\n", [PAIR]),
    "csv header again": ("a.csv", "问,答\n你好,你好呀\n问,答\n早,早啊\n", [PAIR, ("早", "早啊")]),
    "csv quotes": ("a.csv", '问,答\n"你好,""朋友""","两\n行"\n早,早啊\n', [('你好,"朋友"', "两\n行"), ("早", "早啊")]),
    "csv several turns": ("a.csv", "context,reply\n你好[SEP]你好呀 [SEP] 早,早啊\n", [("你好", "你好呀", "早", "早啊")]),
    "csv columns are turns": ("a.csv", "你好,你好呀,再见\n", [("你好", "你好呀", "再见")]),
    "csv as txt": ("a.txt", "context,reply\n你好,你好呀\n", [PAIR]),
    "csv with tabs": ("a.csv", "你好\t你好呀\n", [PAIR]),
    "tsv": ("a.tsv", '你好\t你好呀\n"引\t"早啊"\n', [PAIR, ('"引', "早啊")]),
    "tsv as txt": ("a.txt", "你好\t你好呀\n早\t早啊\n", [PAIR, ("早", "早啊")]),
    "tsv header": ("a.tsv", "post\tresponse\n你好\t你好呀\n", [PAIR]),
    "gbk": ("a.txt", "ok\n你好\n".encode("gbk"), [("ok", "你好")]),
    "gbk json": ("a.json", '[\n["a", "b"],\n["你好", "早"]\n]'.encode("gbk"), [("a", "b"), ("你好", "早")]),
    "gbk csv": ("a.csv", "问,答\n你好,早\n".encode("gbk"), [("你好", "早")]),
    "utf-16": ("a.txt", "你好\n你好呀\n".encode("utf-16"), [PAIR]),
    "utf-16 without bom": ("a.txt", "上上\r\n你好呀\r\n".encode("utf-16-le"), [("上上", "你好呀")]),
    "utf-16 big-endian jsonl": ("a.jsonl", jsonl([["你好", "你好呀"]]).encode("utf-16-be"), [PAIR]),
}


@pytest.mark.parametrize("case", GOOD)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_reads(tmp_path: Path, case: str, packed: bool) -> None:
    name, content, expected = GOOD[case]
    raw = content if isinstance(content, bytes) else content.encode("utf-8")
    path = written(tmp_path, name + ".gz" if packed else name, gzip.compress(raw) if packed else raw)
    assert messages(path) == expected


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    assert messages(written(tmp_path, "a.jsonl", gzip.compress(jsonl([PAIR]).encode()))) == [PAIR]
    assert messages(written(tmp_path, "a.jsonl.gz", jsonl([PAIR]))) == [PAIR]


def test_dialogues_know_their_line_or_item(tmp_path: Path) -> None:
    def lines(name: str, content: str) -> list[int]:
        return [d.line for d in read_dialogues(written(tmp_path, name, content))]

    assert lines("a.txt", "\n你好\n早\n\n\n早\n早\n") == [2, 6]
    assert lines("a.jsonl", "\n" + jsonl([PAIR, PAIR])) == [2, 3]
    assert lines("a.json", json.dumps([PAIR, PAIR])) == [1, 2]
    assert lines("a.csv", '问,答\n"两\n行",好\n早,早啊\n') == [2, 4]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_progress_reaches_the_size_on_disk(tmp_path: Path, name: str) -> None:
    raw = b"".join(f"你好{i}\n早{i * 7919}\n\n".encode() for i in range(60000))
    path = written(tmp_path, name, gzip.compress(raw, 1) if name.endswith("gz") else raw)
    seen: list[int] = []
    assert sum(1 for _ in read_dialogues(path, on_bytes=seen.append)) == 60000
    assert len(seen) > 1 and seen == sorted(seen) and seen[-1] == path.stat().st_size


def test_text_is_streamed(tmp_path: Path) -> None:
    """The first dialogue comes before a fault further down is met."""
    path = written(tmp_path, "a.txt", "你好\n早\n\n".encode() * 200000 + b"\xff")
    assert next(read_dialogues(path)).messages == ("你好", "早")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("你 好 啊", "你好啊"),
        ("哈 哈 ！", "哈哈！"),
        ("i love you 哈 哈", "i love you 哈哈"),
        ("好的 再见", "好的 再见"),
        ("哈哈 好的 再见", "哈哈 好的 再见"),
        ("see you 明天", "see you 明天"),
        ("我 3 月 走", "我3月走"),
    ],
)
def test_tokeniser_spaces(tmp_path: Path, before: str, after: str) -> None:
    assert messages(written(tmp_path, "a.jsonl", jsonl([[before, "嗯"]]))) == [(after, "嗯")]


def test_detected_formats_are_all_readable(tmp_path: Path) -> None:
    found = {detect_format(written(tmp_path, name, content)) for name, content, _ in GOOD.values()}
    assert found | {detect_format(path) for path in FIXTURES.iterdir()} == set(READERS)


# The faults ----------------------------------------------------------------------------------------------------------------

OK = jsonl([PAIR])
DEEP = "[" * 100_000
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"

BAD: dict[str, tuple[str, str | bytes, int | None]] = {
    "empty": ("a.txt", "", None),
    "only blank": ("a.txt", " \n\r\n\t\n", None),
    "only wide blank": ("a.txt", "　\n　\n", None),
    "only bom": ("a.jsonl", "\ufeff", None),
    "empty gz": ("a.txt.gz", gzip.compress(b""), None),
    "no items": ("a.json", "[]", None),
    "no splits": ("a.json", "{}", None),
    "header only": ("a.csv", "context,reply\n", None),
    "png": ("a.txt", PNG, None),
    "jpeg": ("a.jsonl", b"\xff\xd8\xff\xe0" + b"0" * 9, None),
    "zip": ("a.csv", b"PK\x03\x04" + b"\0" * 40, None),
    "pdf": ("a.txt", b"%PDF-1.7\n", None),
    "web page": ("a.txt", "\n<!DOCTYPE html>\n<html><p>404</p></html>\n", None),
    "gz twice": ("a.txt.gz", gzip.compress(gzip.compress(b"x")), None),
    "gz cut": ("a.jsonl.gz", gzip.compress(OK.encode())[:-9], None),
    "gz header only": ("a.jsonl.gz", b"\x1f\x8b", None),
    "gz corrupt": ("a.jsonl.gz", gzip.compress(OK.encode())[:12] + b"\xff" * 30, None),
    "gz wrong crc": ("a.jsonl.gz", gzip.compress(OK.encode())[:-8] + b"\0" * 8, None),
    "gz trailing": ("a.jsonl.gz", gzip.compress(OK.encode()) + b"trailing", None),
    "gbk jsonl": ("a.jsonl", OK.encode() + OK.encode("gbk"), 2),
    "byte ff": ("a.txt", b"ok\n\nok\xff\n", 3),
    "surrogate bytes": ("a.txt", b"\xed\xa0\x80\n", 1),
    "cut character": ("a.txt", "好".encode()[:2], 1),
    "nul": ("a.csv", b"a,b\nc\0,d\n", 2),
    "long line": ("a.txt", b"a\n" + b"x" * (MAX_LINE_BYTES + 5), 2),
    "no blank lines": ("a.txt", "好\n" * 10_001, 1),
    "conv line": ("a.conv", "E\nM 你好\n你好呀\n", 3),
    "conv without messages": ("a.conv", "E\nE\n", None),
    "not json": ("a.jsonl", "你好\n你好呀\n", 1),
    "cut json": ("a.jsonl", OK + '{"turns": ["a", "b"', 2),
    "trailing comma": ("a.jsonl", OK + '["a", "b"],\n', 2),
    "first line with comma": ("a.txt", '{"turns": ["a", "b"]},\n', 1),
    "two values on a line": ("a.jsonl", OK + '["a"] ["b"]\n', 2),
    "single quotes": ("a.jsonl", OK + "{'turns': ['a']}\n", 2),
    "raw control character": ("a.jsonl", OK + '["a\tb"]\n', 2),
    "bad escape": ("a.jsonl", OK + '["\\x"]\n', 2),
    "number line": ("a.jsonl", OK + "123\n", 2),
    "string line": ("a.jsonl", OK + '"你好"\n', 2),
    "null line": ("a.jsonl", OK + "null\n", 2),
    "NaN line": ("a.jsonl", OK + "NaN\n", 2),
    "infinite turn": ("a.jsonl", OK + '["a", Infinity]\n', 2),
    "number turn": ("a.jsonl", OK + '{"turns": ["a", 1]}\n', 2),
    "null turn": ("a.jsonl", OK + '{"turns": ["a", null]}\n', 2),
    "bool turn": ("a.jsonl", OK + '{"turns": [true, "a"]}\n', 2),
    "object turn": ("a.jsonl", OK + '{"turns": [{"text": "a"}]}\n', 2),
    "huge number": ("a.jsonl", OK + "[" + "9" * 5000 + "]\n", 2),
    "big number": ("a.jsonl", OK + "[" + "9" * 500 + "]\n", 2),
    "nested list": ("a.jsonl", OK + '[["a", "b"]]\n', 2),
    "nested turns": ("a.jsonl", '{"turns": [["a"]]}\n' + OK, 1),
    "turns string": ("a.jsonl", OK + '{"turns": "a"}\n', 2),
    "turns object": ("a.jsonl", OK + '{"turns": {}}\n', 2),
    "no turns": ("a.jsonl", OK + '{"turns": []}\n', 2),
    "empty turns": ("a.jsonl", OK + '{"turns": ["", " "]}\n', 2),
    "empty list": ("a.jsonl", OK + "[]\n", 2),
    "empty object": ("a.jsonl", OK + "{}\n", 2),
    "unknown keys": ("a.jsonl", '{"prompt": "a", "\\ud800": "b"}\n', 1),
    "lone surrogate": ("a.jsonl", OK + '["\\ud800", "a"]\n', 2),
    "deep line": ("a.jsonl", OK + DEEP + "\n", 2),
    "deep balanced": ("a.jsonl", OK + '{"turns":' + "[" * 900 + "]" * 900 + "}\n", 2),
    "messages string": ("a.jsonl", OK + '{"messages": "a"}\n', 2),
    "messages strings": ("a.jsonl", OK + '{"messages": ["a"]}\n', 2),
    "no content": ("a.jsonl", OK + '{"messages": [{"role": "user"}]}\n', 2),
    "null content": ("a.jsonl", OK + '{"messages": [{"role": "user", "content": null}]}\n', 2),
    "unknown role": ("a.jsonl", OK + '{"messages": [{"role": "x", "content": "a"}]}\n', 2),
    "list role": ("a.jsonl", OK + '{"messages": [{"role": [], "content": "a"}]}\n', 2),
    "only system": ("a.jsonl", OK + '{"messages": [{"role": "system", "content": "a"}]}\n', 2),
    "string part": ("a.jsonl", OK + '{"messages": [{"role": "user", "content": ["a"]}]}\n', 2),
    "part without text": ("a.jsonl", OK + '{"messages": [{"role": "user", "content": [{"type": "text"}]}]}\n', 2),
    "part of unhashable type": ("a.jsonl", OK + '{"messages": [{"role": "user", "content": [{"type": {}}]}]}\n', 2),
    "sharegpt without value": ("a.jsonl", OK + '{"conversations": [{"from": "human"}]}\n', 2),
    "sharegpt number": ("a.jsonl", OK + '{"conversations": [{"from": "human", "value": 1}]}\n', 2),
    "intent without reply": ("a.jsonl", OK + '{"intent": "a", "user": ["b"]}\n', 2),
    "intent string": ("a.jsonl", OK + '{"intent": "a", "user": "b", "reply": ["c"]}\n', 2),
    "intent empty": ("a.jsonl", OK + '{"intent": "a", "user": [], "reply": ["c"]}\n', 2),
    "intent number": ("a.jsonl", OK + '{"intent": 1, "user": ["b"], "reply": ["c"]}\n', 2),
    "json syntax": ("a.json", '[\n["a", "b"],\n["c" "d"]\n]', 3),
    "json cut": ("a.json", '[\n["a", "b"],\n', 2),
    "json text": ("a.json", "你好\n你好呀\n", 1),
    "json deep": ("a.json", DEEP, None),
    "json number": ("a.json", "123", None),
    "json strings over lines": ("a.json", '[\n"a",\n"b"\n]', 1),
    "json item number": ("a.json", '[["a", "b"], 5]', 2),
    "json item turn": ("a.json", '[["a", "b"], ["c", 1], 5]', 2),
    "json split number": ("a.json", '{"train": 5}', None),
    "json split item": ("a.json", '{"train": [["a", "b"]], "valid": [["a", "b"], {"x": 1}]}', 2),
    "json surrogate split": ("a.json", '{"\\udc00": 5}', None),
    "csv one column": ("a.csv", "你好\n", 1),
    "csv width": ("a.csv", "a,b\nc,d,e\n", 2),
    "csv narrow": ("a.csv", "问,答\na,b\n\nc\n", 4),
    "csv open quote": ("a.csv", '问,答\na,b\n"c,d\ne,f\n', 3),
    "csv text after quote": ("a.csv", '问,答\n"a"b,c\n', 2),
    "csv long cell": ("a.csv", "问,答\na," + "x" * 140_000 + "\n", 2),
    "csv both empty": ("a.csv", "问,答\na,b\n , \n", 3),
    "csv half a header": ("a.csv", "question,text\na,b\n", 1),
    "csv numbered, no header": ("a.csv", "1,你好,你好呀\n", 1),
    "tsv width": ("a.tsv", "a\tb\nc\n", 2),
    "tsv one column": ("a.tsv", "你好 你好呀\n", 1),
}


@pytest.mark.parametrize("case", BAD)
def test_malformed_file_is_named_with_its_line(tmp_path: Path, case: str) -> None:
    name, content, line = BAD[case]
    path = written(tmp_path, name, content)
    with pytest.raises(CorpusError) as caught:
        messages(path)
    assert (caught.value.path, caught.value.line) == (path, line)
    said = str(caught.value).removeprefix(str(path) if line is None else f"{path}:{line}").removeprefix(": ")
    assert any("\u4e00" <= character <= "\u9fff" for character in said)
    assert len(said) < 400
    said.encode("utf-8")


@pytest.mark.parametrize("name", ["missing.txt", "folder", "x" * 300, "file.txt/inner.txt", "nul\0.txt", "loop"])
def test_unreadable_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    written(tmp_path, "file.txt", "a")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(CorpusError) as caught:
        messages(tmp_path / name)
    assert caught.value.line is None


def test_named_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CorpusError, match="普通文件"):
        messages(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission(tmp_path: Path) -> None:
    path = written(tmp_path, "a.txt", "你好\n")
    path.chmod(0)
    with pytest.raises(CorpusError, match="权限"):
        messages(path)


_NAMES = st.sampled_from(["a.txt", "a.jsonl", "a.json", "a.csv", "a.tsv", "a", "a.jsonl.gz"])
_PIECES = st.sampled_from(
    ['{"turns": ', '["a", "b"]', "[", "]", "}", "{", '"', ",", "\t", "\n", "\r\n", "\\ud800", "你好", " ", "E\nM ", "问,答"]
    + [
        '{"messages": [{"role": "user", "content": ',
        "NaN",
        "1",
        "null",
        "\x00",
        "\ufeff",
        "[SEP]",
        ":",
        '"intent": 1',
        '"user": ["a"]',
    ]
    + ["。", "\\"]
)
_CONTENT = st.binary(max_size=200) | st.lists(_PIECES, max_size=25).map(lambda pieces: "".join(pieces).encode())


@settings(max_examples=300, deadline=None)
@given(name=_NAMES, content=_CONTENT, packed=st.booleans())
def test_any_bytes_are_dialogues_or_a_corpus_error(name: str, content: bytes, packed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), name, gzip.compress(content) if packed else content)
        try:
            found = messages(path)
        except CorpusError as error:
            str(error).encode("utf-8")
        else:
            assert found and all(isinstance(message, str) for dialogue in found for message in dialogue)
