"""Which rows come out of a table, how they are written back, and what is said of rows that cannot be used."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chitchat.corpus.reading.source_file import MAX_LINE_BYTES
from chitchat.errors import ConfigError, CorpusError
from chitchat.evaluation.rows import BadRow, Row, open_table

ADDED = ("score", "tokens")
VALUES = {"score": -1.5, "tokens": None}


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def read(path: Path, format_name: str | None = None) -> tuple[list[Row | BadRow], str]:
    """Every row, and the file that comes out when all good ones are written."""
    with open_table(path, ADDED, format_name) as table:
        rows = list(table.rows)
        return rows, table.header + "".join(row.written(VALUES) for row in rows if isinstance(row, Row))


def pairs(rows: list[Row | BadRow]) -> list[tuple[tuple[str, ...], str]]:
    assert all(isinstance(row, Row) for row in rows), rows
    return [(row.context, row.reply) for row in rows if isinstance(row, Row)]


# What a row means ------------------------------------------------------------------------------------------------------------

GREETING = (("你好", "你好呀"), "早")
GOOD: dict[str, tuple[str, list[tuple[tuple[str, ...], str]]]] = {
    "list": ('{"context": ["你好", "你好呀"], "reply": "早"}', [GREETING]),
    "list as it is": ('{"context": [" 你", "", "[SEP]"], "reply": " 早 "}', [((" 你", "", "[SEP]"), " 早 ")]),
    "string with tab": ('{"context": "你好\\t你好呀", "reply": "早"}', [GREETING]),
    "string with SEP": ('{"context": "你好[SEP] 你好呀[SEP]", "reply": "早"}', [GREETING]),
    "no context": ('{"context": [], "reply": "早"}\n{"context": "", "reply": "早"}', [((), "早"), ((), "早")]),
    "crlf bom blank": (
        '\ufeff\r\n{"context": [], "reply": "早"}\r\n\r\n{"context": ["嗨"], "reply": "早"}',
        [((), "早"), (("嗨",), "早")],
    ),
    "u2028 is no line end": ('{"context": ["你\u2028好"], "reply": "早"}', [(("你\u2028好",), "早")]),
    "csv": ("context,reply\n你好[SEP]你好呀,早\n", [GREETING]),
    "csv tab": ("context,reply\n你好\t你好呀,早\n", [GREETING]),
    "csv literal tab": ("context,reply\n你好\\t你好呀,早\n", [GREETING]),
    "csv bom crlf": ("\ufeffcontext,reply\r\n你好[SEP]你好呀,早\r\n\r\n", [GREETING]),
    "csv header in capitals": (" Context ,REPLY\n你好[SEP]你好呀,早", [GREETING]),
    "csv quoting": ('reply,context\n"早,""啊""","你\n好"\n', [(("你\n好",), '早,"啊"')]),
    "tsv": ("context\treply\n你好[SEP]你好呀\t早\n", [GREETING]),
    "tsv literal tab": ("context\treply\n你好\\t你好呀\t早\n", [GREETING]),
    "tsv quoted tab": ('context\treply\n"你好\t你好呀"\t早\n', [GREETING]),
    "tsv quoted line end": ('context\treply\n"你\n好"\t早\n', [(("你\n好",), "早")]),
    "tsv quoted line end at the end": ('context\treply\n你好\t"早\n啊"\n嗨\t好\n', [(("你好",), "早\n啊"), (("嗨",), "好")]),
    "tsv stray quotes that pair up": ('context\treply\n你好\t"早\n嗨\t好"\n', [(("你好",), '"早'), (("嗨",), '好"')]),
    "tsv stray quotes": ('context\treply\n"哈哈" 他说\t"早\n', [(('"哈哈" 他说',), '"早')]),
    "tsv no context": ("context\treply\n\t早\n", [((), "早")]),
}


@pytest.mark.parametrize("name", GOOD)
def test_reads(name: str, tmp_path: Path) -> None:
    content, expected = GOOD[name]
    assert pairs(read(written(tmp_path, "rows", content))[0]) == expected
    assert pairs(read(written(tmp_path, "rows.gz", gzip.compress(content.encode())))[0]) == expected


def test_line_numbers_are_those_a_row_starts_on(tmp_path: Path) -> None:
    rows, _ = read(written(tmp_path, "a.csv", 'context,reply\n"a\nb",c\n\nd,e\n'))
    assert [row.line for row in rows] == [2, 5]


# What is written back --------------------------------------------------------------------------------------------------------


def test_json_keeps_other_keys_and_overwrites_in_place(tmp_path: Path) -> None:
    line = '{"id": 12345678901234567890, "score": "old", "context": [], "x": {"é": [0.1, null, true]}, "reply": "早\\u65e9"}\n'
    _, text = read(written(tmp_path, "a.jsonl", line))
    assert text == line.replace('"old"', "-1.5").replace("\\u65e9", "早").replace("}\n", ', "tokens": null}\n')


def test_csv_keeps_other_columns_and_overwrites_in_place(tmp_path: Path) -> None:
    _, text = read(written(tmp_path, "a.csv", 'score,"a,b",context,reply,\n9,"x ""y"" , z","1\r\n2", 早 ,\n'))
    assert text == 'score,"a,b",context,reply,,tokens\n-1.500000,"x ""y"" , z","1\r\n2", 早 ,,\n'


def test_only_a_column_of_exactly_that_name_is_overwritten(tmp_path: Path) -> None:
    _, text = read(written(tmp_path, "a.csv", "Score,context,reply,tokens\n9,,早,8\n"))
    assert text == "Score,context,reply,tokens,score\n9,,早,,-1.500000\n"


def test_tsv_keeps_cells_with_stray_quotes(tmp_path: Path) -> None:
    _, text = read(written(tmp_path, "a.tsv", 'context\treply\tnote\n"哈哈" 他说\t早\t007\n'))
    [row] = csv.DictReader(io.StringIO(text), delimiter="\t")
    assert row == {"context": '"哈哈" 他说', "reply": "早", "note": "007", "score": "-1.500000", "tokens": ""}


CELLS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), min_size=3, max_size=3)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(CELLS, min_size=1, max_size=5), delimiter=st.sampled_from(",\t"))
def test_whatever_csv_writes_comes_back_the_same(
    rows: list[list[str]], delimiter: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # A tab and a line end in one quoted cell can look like two plain TSV rows.
    rows = [[f"回{reply}", context, other] for reply, context, other in rows]
    if delimiter == "\t":
        rows = [[cell.replace("\t", " ") for cell in row] for row in rows]
    source = io.StringIO()
    writer = csv.writer(source, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([["reply", "context", "other"], *rows])
    path = written(tmp_path_factory.mktemp("t"), "rows", source.getvalue())
    found, text = read(path)
    assert [row.reply for row in found if isinstance(row, Row)] == [row[0] for row in rows]
    assert list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))[1:] == [[*row, "-1.500000", ""] for row in rows]


# Bad rows --------------------------------------------------------------------------------------------------------------------

OK = '{"context": ["你好"], "reply": "早"}'
BAD_JSON: dict[str, str | bytes] = {
    "no json": "你好",
    "cut": '{"context": ["你好"], "rep',
    "single quotes": "{'context': ['你好'], 'reply': '早'}",
    "two values": OK + OK,
    "trailing comma": '{"context": ["你好"], "reply": "早",}',
    "comment": OK + " // 好",
    "bare string": '"你好"',
    "number": "12",
    "null": "null",
    "list": '["你好", "早"]',
    "empty object": "{}",
    "no reply": '{"context": ["你好"]}',
    "no context": '{"reply": "早"}',
    "other names": '{"question": "你好", "answer": "早"}',
    "capital key": '{"Context": ["你好"], "reply": "早"}',
    "null reply": '{"context": ["你好"], "reply": null}',
    "number reply": '{"context": ["你好"], "reply": 3}',
    "list reply": '{"context": ["你好"], "reply": ["早"]}',
    "empty reply": '{"context": ["你好"], "reply": ""}',
    "blank reply": '{"context": ["你好"], "reply": " \\t\\u3000"}',
    "null context": '{"context": null, "reply": "早"}',
    "number context": '{"context": 5, "reply": "早"}',
    "object context": '{"context": {"a": "你好"}, "reply": "早"}',
    "number in context": '{"context": ["你好", 5], "reply": "早"}',
    "null in context": '{"context": ["你好", null], "reply": "早"}',
    "nested context": '{"context": [["你好"]], "reply": "早"}',
    "messages in context": '{"context": [{"role": "user", "content": "你好"}], "reply": "早"}',
    "surrogate reply": '{"context": ["你好"], "reply": "\\ud83d"}',
    "surrogate context": '{"context": ["\\ude00好"], "reply": "早"}',
    "surrogate elsewhere": '{"context": ["你好"], "reply": "早", "x": ["\\udc80"]}',
    "surrogate key": '{"context": ["你好"], "\\ud800": "早"}',
    "nul escape in reply": '{"context": ["你好"], "reply": "早\\u0000"}',
    "nul escape in context": '{"context": ["你\\u0000好"], "reply": "早"}',
    "nul byte": b'{"context": ["\x00"], "reply": "a"}',
    "control character": '{"context": ["你\x07好"], "reply": "早"}',
    "nan": '{"context": ["你好"], "reply": "早", "x": NaN}',
    "infinity": '{"context": ["你好"], "reply": "早", "x": -Infinity}',
    "too large a float": '{"context": ["你好"], "reply": "早", "x": 1e999}',
    "huge integer": '{"context": ["你好"], "reply": "早", "x": ' + "9" * 5000 + "}",
    "deep list": '{"context": ' + "[" * 100_000 + "]" * 100_000 + ', "reply": "早"}',
    "deep elsewhere": '{"context": [], "reply": "早", "x": ' + '{"a":' * 5000 + "1" + "}" * 5000 + "}",
    "key twice": '{"context": ["你好"], "reply": "早", "reply": "晚"}',
    "gbk": '{"context": ["你好"], "reply": "早"}'.encode("gbk"),
    "cut utf-8": '{"context": ["你好"], "reply": "早'.encode()[:-1],
    "encoded surrogate": b'{"context": ["\xed\xa0\x80"], "reply": "a"}',
    "smart quotes": "{“context”: [“你好”], “reply”: “早”}",
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_bad_json_row_is_told_and_spoils_no_other(name: str, tmp_path: Path) -> None:
    raw = BAD_JSON[name]
    raw = raw if isinstance(raw, bytes) else raw.encode()
    rows, text = read(written(tmp_path, "a.jsonl", OK.encode() + b"\n" + raw + b"\n" + OK.encode()))
    assert [(type(row), row.line) for row in rows] == [(Row, 1), (BadRow, 2), (Row, 3)]
    assert isinstance(rows[1], BadRow)
    assert "应" in rows[1].fault or "请" in rows[1].fault
    assert len(rows[1].fault) < 300
    rows[1].fault.encode("utf-8")
    assert len(text.splitlines()) == 2


BAD_CSV: dict[str, str | bytes] = {
    "too few cells": "你好",
    "too many cells": "你好,早,x,y",
    "unquoted comma": "你好，在吗,早,啊,1",
    "empty reply": "你好,,1",
    "blank reply": '你好," ",1',
    "all empty": ",,",
    "unpaired quote": '"你好,早,1',
    "unpaired quote later": '你好,"早,1',
    "text after quote": '"你好"呀,早,1',
    "nul byte": b"a\x00b,c,1",
    "gbk": "你好,早,1".encode("gbk"),
    "lone carriage return": "你好,早,1\r你好,早,1",
    "giant cell": "好" * 140_000 + ",早,1",
}


BAD_IN_CSV_ONLY = ("unpaired quote", "unpaired quote later", "text after quote", "lone carriage return", "giant cell")


@pytest.mark.parametrize(
    ("name", "delimiter"), [(name, d) for name in BAD_CSV for d in ",\t" if d == "," or name not in BAD_IN_CSV_ONLY]
)
def test_bad_csv_row_is_told_and_spoils_no_other(name: str, delimiter: str, tmp_path: Path) -> None:
    raw = BAD_CSV[name]
    raw = raw if isinstance(raw, bytes) else raw.encode()
    content = b'context,reply,n\n"a",b,1\n' + raw + b'\nc,d,1\n"e""",f,1\n'
    rows, _ = read(written(tmp_path, "a.csv", content.replace(b",", delimiter.encode())))
    good = [(row.line, row.reply) for row in rows if isinstance(row, Row)]
    assert good == [(2, "b"), (4, "d"), (5, "f")]
    assert [row.line for row in rows if isinstance(row, BadRow)] == [3]


# What is no table ------------------------------------------------------------------------------------------------------------

NO_TABLE: dict[str, tuple[str, bytes]] = {
    "empty": ("a.jsonl", b""),
    "blank": ("a.csv", b"\xef\xbb\xbf \r\n\n\t\n"),
    "empty gzip": ("a.jsonl.gz", gzip.compress(b"")),
    "text": ("a.txt", "你好\n你好呀\n".encode()),
    "wrong columns": ("a.csv", b"question,answer\na,b\n"),
    "one column": ("a.csv", b"context\na\n"),
    "no header": ("a.tsv", "你好\t早\n".encode()),
    "context twice": ("a.csv", b"context,context,reply\na,b,c\n"),
    "reply twice": ("a.csv", b"context,reply,Reply\na,b,c\n"),
    "semicolons": ("a.csv", b"context;reply\na;b\n"),
    "gbk header": ("a.csv", "上文,context,reply\n".encode("gbk")),
    "unpaired quote in header": ("a.csv", b'"context,reply\na,b\n'),
    "picture": ("a.png", b"\x89PNG\r\n\x1a\n"),
    "zip": ("a.xlsx", b"PK\x03\x04abc"),
    "utf-16": ("a.csv", "context,reply\na,b\n".encode("utf-16")),
    "utf-16 without mark": ("a.csv", "context,reply\na,b\n".encode("utf-16-le")),
    "cut gzip": ("a.jsonl.gz", gzip.compress(OK.encode() * 50)[:-12]),
    "broken gzip": ("a.jsonl.gz", gzip.compress(OK.encode())[:20] + b"\xff" * 40),
    "gzip twice": ("a.jsonl.gz", gzip.compress(gzip.compress(OK.encode()))),
    "no line ends": ("a.jsonl", b'{"context": ["' + b"a" * MAX_LINE_BYTES),
}


@pytest.mark.parametrize("name", NO_TABLE)
def test_no_table(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, *NO_TABLE[name])
    with pytest.raises(CorpusError) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("path", ["没有.jsonl", ".", "a.jsonl/b", "a\0b", "x" * 300, "\ud800", "/dev/zero"])
def test_no_file(path: str, tmp_path: Path) -> None:
    written(tmp_path, "a.jsonl", OK)
    with pytest.raises(CorpusError):
        read(tmp_path / path)


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="xml.*jsonl、csv、tsv"):
        read(tmp_path / "a", "xml")


def test_given_format_wins(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "context,x\treply\n")
    assert isinstance(read(path, "jsonl")[0][0], BadRow)
    with pytest.raises(CorpusError, match="csv 的表头"):
        read(path, "csv")


def test_a_thousand_unpaired_quotes_do_not_take_for_ever(tmp_path: Path) -> None:
    lines = ["context,reply"] + [f'"{i},b' if i % 2 else f"{i},b" for i in range(1000)]
    rows, _ = read(written(tmp_path, "a.csv", "\n".join(lines)))
    assert [row.line % 2 for row in rows if isinstance(row, BadRow)] == [1] * 500
    assert json.dumps([row.line for row in rows]) == json.dumps(list(range(2, 1002)))


PIECES = st.sampled_from(
    [
        b'{"context": [',
        b'"',
        b"a",
        b"]",
        b', "reply": ',
        b"}",
        b"\n",
        b"\r",
        b"\t",
        b",",
        b"\0",
        b"\xff",
        b"[SEP]",
        b"\\",
        b"\\u",
        b"context",
        b"reply",
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    head=st.sampled_from([b"", b"\xef\xbb\xbf", b"context,reply\n", b"context\treply\r\n", OK.encode() + b"\n", b"\x1f\x8b"]),
    body=st.lists(st.one_of(PIECES, st.binary(max_size=4)), max_size=40).map(b"".join),
)
def test_any_bytes_are_rows_or_a_corpus_error(head: bytes, body: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = written(tmp_path_factory.getbasetemp(), "fuzz", head + body)
    try:
        rows, text = read(path)
    except CorpusError:
        return
    text.encode("utf-8")
    lines = [row.line for row in rows]
    assert lines == sorted(set(lines))
