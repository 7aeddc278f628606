"""The spooled runs without their duplicates as a token store, with its report and what was rejected."""

from __future__ import annotations

import json
from collections import Counter
from itertools import compress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from chitchat.config import PrepareConfig
from chitchat.corpus.minhash import similarity
from chitchat.corpus.splitting import Split
from chitchat.files import atomic_write
from chitchat.prepare.runs import MAX_EXAMPLES, Tally, json_lines
from chitchat.prepare.spool import Spool, SpooledRun
from chitchat.prepare.statistics import Statistics, forget_rare, most_frequent
from chitchat.tokenization.overlap import near_copies
from chitchat.tokenization.token_store import EncodedDialogues, TokenStore, TokenStoreWriter
from chitchat.tokenization.tokenizer import DialogueTokenizer

DUPLICATE, NEAR_DUPLICATE, SAME_REPLY = "duplicate", "near_duplicate", "same_reply"
"""The rules that look at more than one dialogue."""
Rows: TypeAlias = dict[int, dict[str, Any]]
"""What is left out of a run: by its place there, its row of `rejected.jsonl.gz`."""
_MAX_LEAKAGE_CHECKS = 300
_BLOCK = 1_000_000


def write_store(
    folder: Path,
    spool: Spool,
    original: NDArray[np.uint32],
    config: PrepareConfig,
    tokenizer: DialogueTokenizer,
    source: dict[str, Any],
) -> int:
    """Writes the dialogues that are copies of none into a folder and returns how many there are.

    `original` is what `find_duplicates` gave; `source` goes into `meta.json` and `report.json`. The same spool gives the same
    bytes.
    """
    statistics = Statistics(tokenizer)
    copies = _Copies(spool)
    replies = _ReplyLimit(config.max_same_reply)
    drops = Tally()
    start = 0
    with TokenStoreWriter(folder) as writer:
        with open(folder / "rejected.jsonl.gz", "wb") as rejected:
            for run in spool.runs():
                messages = run.messages
                originals = original[start : start + len(run.arrays["hashes"])]
                start += len(originals)
                rejected.write(run.rejected)
                rows = copies.found(run, messages, originals)
                run, messages = _without(run, messages, rows)
                rejected.write(_told(rows, drops))
                if config.max_same_reply:
                    rows = replies.found(run, messages)
                    run, messages = _without(run, messages, rows)
                    rejected.write(_told(rows, drops))
                statistics.add(run.arrays, messages)
                writer.append(_encoded(run.arrays))
        dropped = spool.tally.dropped + drops.dropped
        writer.finish({**source, "dropped": dropped, "changed": spool.tally.changed})
    if writer.num_dialogues:
        _ensure_validation(folder, statistics, config)
        report = {
            **source,
            "read": spool.tally.read,
            **statistics.as_dict(),
            "dropped": dropped,
            "changed": spool.tally.changed,
            "examples": spool.tally.examples | drops.examples,
            "duplicates": {
                "threshold": config.near_duplicates,
                "exact": drops.dropped[DUPLICATE],
                "near": drops.dropped[NEAR_DUPLICATE],
                "largest": copies.largest(),
            },
            "leakage": _leakage(TokenStore(folder), config, tokenizer),
        }
        with atomic_write(folder / "report.json") as stream:
            json.dump(report, stream, ensure_ascii=False, indent=1)
    return writer.num_dialogues


class _Copies:
    """Tells of each copy what it is a copy of, and which dialogues have the most."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._copies_of: Counter[int] = Counter()

    def found(self, run: SpooledRun, messages: list[str], originals: NDArray[np.uint32]) -> Rows:
        """The run's dialogues that are copies, by place; `originals` is the run's part of `find_duplicates`'."""
        places = np.flatnonzero(originals != np.arange(run.start, run.start + len(originals), dtype=np.uint32))
        of = originals[places].astype(np.int64)
        is_exact = self._spool.rows("hashes", of)[:, 0] == run.arrays["hashes"][places]
        near = places[~is_exact]
        similarities: dict[int, float] = {}
        if len(near):
            estimates = similarity(self._spool.signatures(run.start + near), self._spool.signatures(of[~is_exact]))
            similarities = dict(zip(near.tolist(), estimates.tolist(), strict=True))
        spans = run.spans()
        rows: Rows = {}
        for place, of_line in zip(places.tolist(), self._spool.rows("lines", of)[:, 0].tolist(), strict=True):
            row: dict[str, Any] = {
                "line": int(run.arrays["lines"][place]),
                "text": "\n".join(messages[spans[place]]),
                "of_line": of_line,
            }
            if place in similarities:
                row["similarity"] = round(similarities[place], 3)
            rows[place] = {"rule": NEAR_DUPLICATE if place in similarities else DUPLICATE, **row}
        self._copies_of.update(of.tolist())
        self._copies_of, _ = forget_rare(self._copies_of)
        return rows

    def largest(self) -> list[dict[str, Any]]:
        """The dialogues with the most copies."""
        found = []
        for index, count in most_frequent(self._copies_of, MAX_EXAMPLES):
            line, text = self._spool.dialogue(index)
            found.append({"line": line, "text": text, "copies": count})
        return found


class _ReplyLimit:
    """Leaves out training dialogues that only say what was said so often before that it would be learnt for its own sake."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: Counter[str] = Counter()

    def found(self, run: SpooledRun, messages: list[str]) -> Rows:
        """The run's dialogues every reply of which was kept `most` times already, by place."""
        rows: Rows = {}
        for place, span in enumerate(run.spans()):
            replies = messages[span][1:]
            is_train = run.arrays["splits"][place] == Split.TRAIN
            if is_train and all(self._seen[reply] >= self._most for reply in replies):
                line = int(run.arrays["lines"][place])
                rows[place] = {"rule": SAME_REPLY, "line": line, "text": "\n".join(messages[span])}
            else:
                self._seen.update(replies)
        self._seen, _ = forget_rare(self._seen)
        return rows


def _told(rows: Rows, drops: Tally) -> bytes:
    """The rows for `rejected.jsonl.gz`, counted."""
    for row in rows.values():
        drops.dropped[row["rule"]] += 1
        drops.show(row["rule"], {name: value for name, value in row.items() if name != "rule"})
    return json_lines(rows.values())


def _without(run: SpooledRun, messages: list[str], rows: Rows) -> tuple[SpooledRun, list[str]]:
    if not rows:
        return run, messages
    keep = np.ones(len(run.arrays["hashes"]), dtype=np.bool_)
    keep[list(rows)] = False
    return _kept(run, messages, keep)


def _kept(run: SpooledRun, messages: list[str], keep: NDArray[np.bool_]) -> tuple[SpooledRun, list[str]]:
    of_message = np.repeat(keep, run.arrays["dialogue_messages"])
    of_token = np.repeat(of_message, run.arrays["message_tokens"])
    masks = {"ids": of_token, "message_tokens": of_message, "message_chars": of_message}
    arrays = {name: array[masks.get(name, keep)] for name, array in run.arrays.items()}
    return SpooledRun(run.start, arrays, b"", b""), list(compress(messages, of_message.tolist()))


def _encoded(arrays: dict[str, NDArray[Any]]) -> EncodedDialogues:
    return EncodedDialogues(
        ids=arrays["ids"],
        message_tokens=arrays["message_tokens"].astype(np.int64),
        message_chars=np.minimum(arrays["message_chars"], 65535).astype(np.uint16),
        dialogue_messages=arrays["dialogue_messages"].astype(np.int64),
        hashes=arrays["hashes"],
        splits=arrays["splits"],
    )


def _ensure_validation(folder: Path, statistics: Statistics, config: PrepareConfig) -> None:
    """Gives a small corpus at least one validation dialogue and one training dialogue, chosen by hash."""
    counts = statistics.split_dialogues
    if counts[Split.TRAIN] and (counts[Split.VALIDATION] or not config.validation_fraction or counts[Split.TRAIN] == 1):
        return
    store = TokenStore(folder)
    splits, hashes = np.array(store.splits), store.hashes
    order = np.argsort(hashes)
    if counts[Split.TRAIN]:
        chosen, new = order[splits[order] == Split.TRAIN][0], Split.VALIDATION
    else:
        chosen, new = order[-1], Split.TRAIN
    tokens = sum(len(store.message(index)) for index in store.dialogue(int(chosen)))
    statistics.move((1, len(store.dialogue(int(chosen))), tokens), Split(splits[chosen]), new)
    splits[chosen] = new
    splits.tofile(folder / "splits.bin")


def _leakage(store: TokenStore, config: PrepareConfig, tokenizer: DialogueTokenizer) -> dict[str, Any]:
    """Whether held-out dialogues stand in the training split too, looked for by another method than the one that removed them."""
    held_out = np.flatnonzero(store.splits != Split.TRAIN)
    threshold = config.near_duplicates or 0.8
    # held-out dialogues are chosen by hash, so the first of them are a fair sample
    checked = [(0, int(dialogue)) for dialogue in held_out[:_MAX_LEAKAGE_CHECKS]]
    found = near_copies([store], checked, split=Split.TRAIN, threshold=threshold)

    def text(dialogue: int) -> str:
        return "\n".join(tokenizer.decode(store.message(message).tolist()) for message in store.dialogue(dialogue))

    examples = [
        {"similarity": round(copy.similarity, 3), "held_out": text(copy.held_out[1]), "train": text(copy.copy[1])}
        for copy in found[:MAX_EXAMPLES]
    ]
    exact = _exact_leakage(store, held_out)
    return {"exact": exact, "near_checked": len(checked), "near": len(found), "threshold": threshold, "examples": examples}


def _exact_leakage(store: TokenStore, held_out: NDArray[np.int64]) -> int:
    hashes = store.hashes[held_out]
    found = 0
    for start in range(0, len(store), _BLOCK):
        block = slice(start, start + _BLOCK)
        found += int(np.isin(hashes, store.hashes[block][store.splits[block] == Split.TRAIN]).sum())
        store.release()
    return found
