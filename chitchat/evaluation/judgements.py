"""Replies that a reader graded, as their file holds them; what is learnt from them is `fit_judged.py`'s."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from chitchat.corpus.reading.source_file import read_lines
from chitchat.dialogue import Candidate
from chitchat.errors import CorpusError

GRADES = (0, 1, 2)
"""Wrong; acceptable but bland or slightly off; good (the scale of Wang et al. 2020, CDial-GPT)."""


@dataclass(frozen=True)
class Judgement:
    """Candidate replies to one context and the grade of each.

    Attributes:
        context: oldest message first.
        candidates: as proposed, with `source`, `context_similarity` and `origin`; nothing scored.
        grades: of each candidate, one of `GRADES`.
        written: replies that the reader would have given, as good as any.
    """

    context: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    grades: tuple[int, ...]
    written: tuple[str, ...] = ()


def read_judgements(path: Path) -> list[Judgement]:
    """The judgements of a JSONL file, one context a line.

    `{"context": ["…"], "replies": [{"text": "…", "grade": 2, "source": "retrieval", "context_similarity": 0.4,
    "origin": ["…"]}], "written": ["…"]}`; "origin" and "written" may be missing. Raises CorpusError for a line that is none.
    """
    found = []
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            replies = record["replies"]
            candidates = [
                Candidate(
                    str(r["text"]),
                    source=r["source"],
                    context_similarity=float(r["context_similarity"]),
                    origin=tuple(map(str, r.get("origin", ()))),
                )
                for r in replies
            ]
            grades = tuple(r["grade"] for r in replies)
            if not set(grades) <= set(GRADES):
                raise ValueError(f"grade 应为 {GRADES} 之一")
            written = tuple(map(str, record.get("written", ())))
            found.append(Judgement(tuple(map(str, record["context"])), tuple(candidates), grades, written))
        except (ValueError, KeyError, TypeError) as error:
            raise CorpusError(path, number, f"不是一条评判（{error}）；格式见 data/README.md") from None
    return found
