"""Copies are found across a whole corpus, and what is merely alike stays."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

from chitchat.config import PrepareConfig
from chitchat.corpus.reading.readers import read_dialogues
from chitchat.corpus.splitting import Split, content_hash, split_of
from chitchat.errors import ConfigError
from chitchat.prepare import prepare
from chitchat.tokenization.token_store import TokenStore
from chitchat.tokenization.tokenizer import DialogueTokenizer

DATA = Path(__file__).parents[2] / "data"
CHARACTERS = [bytes((row, cell)).decode("gb2312") for row in range(0xB0, 0xC8) for cell in range(0xA1, 0xFF)]
"""Everyday ones, so that cleaning leaves the texts as they are."""


@pytest.fixture(scope="module")
def tokenizer() -> DialogueTokenizer:
    return DialogueTokenizer.load(DATA / "vocab.txt")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHITCHAT_CACHE", str(tmp_path / "cache"))


def prepared(folder: Path, dialogues: list[list[str]], tokenizer: DialogueTokenizer, **options: object) -> TokenStore:
    path = folder / "corpus.jsonl"
    path.write_text("".join(json.dumps({"turns": turns}, ensure_ascii=False) + "\n" for turns in dialogues), encoding="utf-8")
    return prepare(path, PrepareConfig(**options), tokenizer)


def rejected(store: TokenStore) -> list[dict[str, object]]:
    with gzip.open(store.folder / "rejected.jsonl.gz", "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def some_dialogue(rng: random.Random) -> list[str]:
    return ["".join(rng.choices(CHARACTERS, k=rng.randint(10, 25))) for _ in range(rng.randint(2, 5))]


def jaccard(a: list[str], b: list[str]) -> float:
    one, two = ({text[i : i + 3] for i in range(len(text) - 2)} for text in ("\n".join(a), "\n".join(b)))
    return len(one & two) / len(one | two)


def changed_until(dialogue: list[str], similarity: float, rng: random.Random) -> list[str]:
    """The dialogue with one character after another replaced, the last time before it would be less alike than that."""
    copy = list(dialogue)
    while True:
        place, message = rng.choice([(i, m) for i, m in enumerate(copy)])
        at = rng.randrange(len(message))
        further = [*copy[:place], message[:at] + rng.choice(CHARACTERS) + message[at + 1 :], *copy[place + 1 :]]
        if jaccard(dialogue, further) < similarity:
            return copy
        copy = further


def test_planted_near_copies_are_found(tmp_path: Path, tokenizer: DialogueTokenizer) -> None:
    """Recall at a Jaccard similarity of 0.8 and a little above, where it is hardest."""
    rng = random.Random(1)
    originals = [dialogue for _ in range(600) if len("".join(dialogue := some_dialogue(rng))) >= 30]
    copies = [copy for dialogue in originals if (copy := changed_until(dialogue, 0.8, rng)) != dialogue]
    assert len(copies) > 350
    mixed = originals + copies
    rng.shuffle(mixed)
    store = prepared(tmp_path, mixed, tokenizer)
    found = store.meta["dropped"]["near_duplicate"]
    assert 0.95 * len(copies) <= found <= len(copies)
    assert prepared(tmp_path, mixed, tokenizer, near_duplicates=0.0).meta["dropped"] == {}


def test_what_is_half_alike_stays(tmp_path: Path, tokenizer: DialogueTokenizer) -> None:
    rng = random.Random(2)
    originals = [some_dialogue(rng) for _ in range(200)]
    halves = [[*dialogue[: len(dialogue) // 2], *some_dialogue(rng)[: (len(dialogue) + 1) // 2]] for dialogue in originals]
    alike = [pair for pair in zip(originals, halves, strict=True) if jaccard(*pair) < 0.55 and len(pair[1]) > 1]
    store = prepared(tmp_path, [turns for pair in alike for turns in pair], tokenizer)
    assert len(store) == 2 * len(alike) and store.meta["dropped"] == {}


def test_short_paraphrases_stay_and_exact_copies_go(tmp_path: Path, tokenizer: DialogueTokenizer) -> None:
    dialogues = [
        ["我买房了", "恭喜，从此有一扇门是自己的。"],
        ["终于买房了", "恭喜，从此有一扇门是自己的。"],
        ["我买房了", "恭喜，从此有一扇门是自己的。"],
    ]
    store = prepared(tmp_path, dialogues, tokenizer, validation_fraction=0.0, test_fraction=0.0)
    assert len(store) == 2
    assert rejected(store) == [{"rule": "duplicate", "line": 3, "text": "我买房了\n恭喜，从此有一扇门是自己的。", "of_line": 1}]


def test_our_own_paraphrases_are_nearly_all_kept(tmp_path: Path, tokenizer: DialogueTokenizer) -> None:
    """Those that go are mostly the ones too near to a held-out one."""
    dialogues = [list(d.messages) for d, _ in zip(read_dialogues(DATA / "intents.jsonl"), range(4000), strict=False)]
    dropped = prepared(tmp_path, dialogues, tokenizer).meta["dropped"]
    assert dropped.get("near_duplicate", 0) < 0.02 * len(dialogues)


def test_no_near_copy_of_a_held_out_dialogue_is_trained_on(tmp_path: Path, tokenizer: DialogueTokenizer) -> None:
    """The held-out one is kept, wherever in the file it stands, even where two short ones would both stay in training."""
    rng = random.Random(3)
    dialogues: list[list[str]] = []
    while len(dialogues) < 60:
        held_out = some_dialogue(rng)[:2]
        copy = [*held_out[:-1], held_out[-1] + "啊"]
        if split(held_out) != Split.TRAIN and split(copy) == Split.TRAIN:
            dialogues += [copy, held_out]
    store = prepared(tmp_path, dialogues, tokenizer, validation_fraction=0.1, test_fraction=0.1)
    assert (store.splits == Split.TRAIN).sum() == 1, "one that had to be, for there must be one"
    assert {row["rule"] for row in rejected(store)} == {"near_duplicate"}
    assert [(row["line"], row["of_line"]) for row in rejected(store)] == [(n, n + 1) for n in range(1, 60, 2)]


def split(dialogue: list[str]) -> Split:
    return split_of(content_hash(dialogue), 0.1, 0.1)


def test_a_chain_of_small_changes_leaves_more_than_its_first_link(tmp_path: Path, tokenizer: DialogueTokenizer) -> None:
    """Each is nearly the one before, but the last has nothing of the first."""
    rng = random.Random(4)
    chain = [["".join(rng.choices(CHARACTERS, k=40)), "".join(rng.choices(CHARACTERS, k=40))]]
    for step in range(40):
        turns = list(chain[-1])
        turns[0] = turns[0][2:] + "".join(rng.choices(CHARACTERS, k=2))
        turns[1] = turns[1][2:] + "".join(rng.choices(CHARACTERS, k=2))
        chain.append(turns)
        assert jaccard(chain[step], chain[step + 1]) > 0.8
    options = {"validation_fraction": 0.0, "test_fraction": 0.0}
    store = prepared(tmp_path, chain, tokenizer, **options)
    kept = [row for row in range(len(chain)) if row + 1 not in {r["line"] for r in rejected(store)}]
    assert kept[0] == 0 and 8 <= len(kept) <= 25
    for row in rejected(store):
        assert jaccard(chain[int(str(row["line"])) - 1], chain[int(str(row["of_line"])) - 1]) > 0.6
        assert int(str(row["of_line"])) - 1 in kept


def test_a_threshold_that_signatures_cannot_serve_is_refused() -> None:
    with pytest.raises(ConfigError, match="near_duplicates"):
        PrepareConfig(near_duplicates=0.5)
    PrepareConfig(near_duplicates=0.9)
