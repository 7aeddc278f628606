"""Graded candidates are read, and a faulty line told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chitchat.dialogue import Candidate
from chitchat.errors import CorpusError
from chitchat.evaluation.judgements import Judgement, read_judgements


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    reply = {"text": "好", "grade": 2, "source": "retrieval", "context_similarity": 0.4}
    path.write_text(json.dumps({"context": ["在吗", "在"], "replies": [reply]}, ensure_ascii=False) + "\n\n", encoding="utf-8")
    (found,) = read_judgements(path)
    assert found == Judgement(("在吗", "在"), (Candidate("好", source="retrieval", context_similarity=0.4),), (2,))
    path.write_text(json.dumps({"context": ["在吗"], "replies": [reply], "written": ["在呢"]}), encoding="utf-8")
    assert read_judgements(path)[0].written == ("在呢",)


@pytest.mark.parametrize(
    "reply",
    [
        {"text": "好", "grade": 3, "source": "act", "context_similarity": 0.4},
        {"text": "好", "source": "act", "context_similarity": 0.4},
        {"text": "好", "grade": 1, "source": "act", "context_similarity": "近"},
        "好",
    ],
)
def test_a_faulty_line_is_told_with_its_number(tmp_path: Path, reply: object) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text("\n" + json.dumps({"context": ["在吗"], "replies": [reply]}, ensure_ascii=False) + "\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="不是一条评判") as caught:
        read_judgements(path)
    assert caught.value.line == 2


def test_our_own_judgements_are_read_and_never_by_the_same_words_twice() -> None:
    found = read_judgements(Path(__file__).parents[2] / "data" / "evaluation" / "judgements.jsonl")
    assert len(found) > 3000
    for judgement in found:
        texts = [c.text for c in judgement.candidates]
        assert len(set(texts)) == len(texts), judgement.context
        assert {c.source for c in judgement.candidates} <= {"model", "retrieval", "act"}
