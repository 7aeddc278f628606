"""Replies that fit a whole kind of message: a complaint, good news, a 没听懂; for when no similar context is known.

What a message does in a talk is its dialogue act (Stolcke et al. 2000, Computational Linguistics 26). A linear classifier over
characters and pairs of neighbours tells it, and replies written for any message of that act are proposed, some of which take up
the user's own words (`reprise.py`). Knows what lies in the folder, not how it is made: that is `chitchat/acts.py`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chitchat.backends.reprise import is_grave, own_clauses
from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate
from chitchat.errors import CheckpointError

MANIFEST = "acts.json"
FORMAT = 1
MIN_PROBABILITY = 0.1
CLAUSE = "{clause}"
"""In a reply: something the user has just told, said back."""
MAX_CLAUSES = 2
"""The last ones of a message, which it comes to."""
_START, _END = "\x02", "\x03"
_KEY_BITS = 21


class ActReplies:
    """Proposes replies written for the likeliest dialogue acts of the last message.

    Args:
        replies: for each act by name, in the order of the columns of `weights`.
        keys: (ngrams,) ascending; see `act_ngrams`.
        weights: (ngrams, acts) of the classifier.
        bias: (acts,).
        max_candidates: replies proposed at most, of those that take up a clause and of the others.
    """

    def __init__(
        self,
        replies: Mapping[str, Sequence[str]],
        keys: NDArray[np.uint64],
        weights: NDArray[np.float16],
        bias: NDArray[np.float32],
        *,
        max_candidates: int = 12,
    ) -> None:
        self.max_candidates = max_candidates
        self._replies = replies
        self._keys = keys
        self._weights = weights
        self._bias = bias

    @classmethod
    def load(cls, folder: Path) -> ActReplies:
        """Raises CheckpointError when the folder is damaged or of a newer version."""
        remedy = f"请用 chitchat acts FILE --model {folder.parent} 重新生成"
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if int(manifest["format"]) > FORMAT:
                raise CheckpointError(
                    f"{folder}：格式是 {manifest['format']}，本程序只认到 {FORMAT}；请升级 chitchat，或{remedy}"
                )
            replies = {str(act): tuple(map(str, texts)) for act, texts in manifest["replies"].items()}
            keys, weights, bias = (np.load(folder / f"{name}.npy") for name in ("keys", "weights", "bias"))
            if weights.shape != (len(keys), len(replies)) or bias.shape != (len(replies),):
                raise ValueError("数组与清单不符")
        except FileNotFoundError as error:
            raise CheckpointError(f"{folder}：缺少 {Path(error.filename).name}；{remedy}") from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, EOFError) as error:
            raise CheckpointError(f"{folder} 已损坏（{error}）；{remedy}") from None
        return cls(replies, keys, weights, bias)

    def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
        """Replies for the acts at least `MIN_PROBABILITY` likely, shared out by probability; `decoding.seed` draws them.

        `Candidate.context_similarity` is the probability of the act. What stands in `context` already is left out.
        """
        random_ = random.Random(decoding.seed)
        likely = {act: p for act, p in self.probabilities(context[-1]).items() if p >= MIN_PROBABILITY}
        clauses = self._to_take_up(context)
        said = context[-2::-2]
        found: dict[str, float] = {}
        for act, probability in likely.items():
            share = round(self.max_candidates * probability / sum(likely.values()))
            plain = [reply for reply in self._replies[act] if CLAUSE not in reply]
            frames = [r for r in self._replies[act] if CLAUSE in r and not any(_takes_up(text, r) for text in said)]
            filled = [frame.replace(CLAUSE, clause) for frame in frames for clause in clauses]
            for replies in (plain, filled):
                fresh = [reply for reply in replies if reply not in context and reply not in found]
                found |= dict.fromkeys(random_.sample(fresh, min(len(fresh), share)), probability)
        return [Candidate(text, source="act", context_similarity=p) for text, p in found.items()]

    def _to_take_up(self, context: Sequence[str]) -> list[str]:
        """Clauses to say back; none right after a reply that did so, which would be a parrot's, nor in a grave matter."""
        if any(is_grave(message) for message in context[::-2]):
            return []
        last = context[-2] if len(context) > 1 else ""
        if any(_takes_up(last, reply) for replies in self._replies.values() for reply in replies):
            return []
        return own_clauses(context[-1], last)[-MAX_CLAUSES:]

    def probabilities(self, message: str) -> dict[str, float]:
        """P(act | message), the likeliest first."""
        keys = act_ngrams(message)
        column = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        known = column[self._keys[column] == keys]
        logits = self._bias + self._weights[known].astype(np.float32).sum(axis=0) / np.sqrt(max(len(keys), 1))
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        return {act: float(p) for p, act in sorted(zip(shares, self._replies, strict=True), reverse=True)}


def _takes_up(text: str, reply: str) -> bool:
    """Whether `text` is this reply with a clause in it."""
    head, clause, tail = reply.partition(CLAUSE)
    return bool(clause) and text.startswith(head) and text.endswith(tail) and len(text) > len(head) + len(tail)


def act_ngrams(message: str) -> NDArray[np.uint64]:
    """The distinct characters and pairs of neighbours of a message as numbers, ascending; its start and end count as characters.

    Marks count too: a question mark tells more than most characters.
    """
    text = _START + "".join(message.split()).casefold() + _END
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.uint64)
    return np.unique(np.concatenate([codes, codes[:-1] | codes[1:] << np.uint64(_KEY_BITS)]))
