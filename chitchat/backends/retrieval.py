"""Replies that people wrote to contexts like this one, from the index that `chitchat index` makes.

Two contexts are alike in words as far as the same characters and pairs of characters stand in their last messages and, weighing
less, in the messages before them: the cosine of TF-IDF vectors (Manning, Raghavan and Schütze 2008, chapter 6). A turned meaning
(a negation, a question, another person) takes from it. With a dual encoder those are found too that say the same in other words.
Knows what lies in the folder, not how it is made: that is `chitchat/index.py`.
"""

from __future__ import annotations

import json
import logging
import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from chitchat.backends.base import Encoder
from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate
from chitchat.errors import CheckpointError

logger = logging.getLogger(__name__)

MANIFEST = "index.json"
FORMAT = 2
"""2 came with `VECTOR_ARRAYS`; an index of 1 goes by words alone."""
ARRAYS = {
    "keys": np.uint64,  # (ngrams,) ascending; see `ngrams`
    "weights": np.float32,  # (ngrams,) inverse document frequency, a pair's times PAIR_WEIGHT
    "posting_offsets": np.int64,  # (ngrams + 1,) into `postings`
    "postings": np.uint32,  # the contexts whose last message holds an n-gram
    "norms": np.float32,  # (contexts,) length of the last message's vector
    "contexts": np.int32,  # (contexts, 3): last message, the one before (-1: none), reply group
    "group_offsets": np.int64,  # (groups + 1,) into `replies`
    "replies": np.int32,  # texts that answer the contexts of a group
    "text_offsets": np.int64,  # (texts + 1,) into `text`
    "text": np.uint8,  # every text once, UTF-8
}
"""The files of an index, NAME.npy each, and their types."""
VECTORS, CELLS, CELL_OFFSETS = "vectors", "cells", "cell_offsets"
VECTOR_ARRAYS = {
    VECTORS: np.int8,  # (contexts, size) `VECTOR_STEPS` times unit vectors; the contexts of a cell stand together
    CELLS: np.float32,  # (cells, size) the direction of each cell's middle
    CELL_OFFSETS: np.int64,  # (cells + 1,) into `vectors`
}
"""More files when there was a dual encoder: vectors, in cells of near ones (Jégou et al. 2011, doi:10.1109/TPAMI.2010.57, IV)."""
VECTOR_STEPS = 127

PAIR_WEIGHT = 0.5
"""Of a pair of characters beside a single one; pairs are many, and half of what they tell their characters told already.
One held-out wording of each of our 3,097 intents found its intent (equal wordings taken as one) in 52.1 % at 0.5 and 50.5 % at
0.7; with triples as well, at 0.7 and 0.3, in 49.9 %."""
PREVIOUS_WEIGHT = 0.3
"""Of the dot products of the messages before the last: what the bot asked outweighs 嗯 or 三天, not a sentence that stands for
itself. Set by reading held-out dialogues: at 0.15 a 好冷 said to a joke still found the weather, at 0.67; at 0.3, at 0.54."""
MID_DIALOGUE = 0.85
"""The share of the similarity left when the indexed message answered something and this one begins the dialogue."""
RARE_COUNT = 1
"""Pairs in so few contexts are not stored: 58 % of the n-grams of our own data, and their characters find the same contexts."""

MAX_POSTINGS = 200_000
"""Read for one query, rarest n-grams first; bounds its time however large the index."""
MAX_COMPARED = 128
"""Contexts compared in full."""
NEAREST_VECTORS = 24
"""Contexts taken for the dual encoder's sake, whatever their words."""
CELLS_LOOKED_INTO = 48
"""Those whose middle is nearest."""
MIN_SIMILARITY = 0.15
"""Low, for the ranking has the last word. The best context's own reply fits in 0.97 of cases from similarity 0.8, 0.88 from 0.7,
0.74 from 0.6, 0.45 from 0.5 (twenty to forty held-out wordings a step, one reader). But of sixteen replies to loosely similar
contexts the one that the models rank first read better in the middle of a dialogue than what a small model wrote."""
PART_SHARES = {True: 0.8, False: 0.65}
"""What is left of the similarity to one part of a message: to the last part or one that asks for something, and to any other.
Six in ten lines of people who chat have several (哈哈有道理，那我明天去), and no indexed message has the same ones. Where this
changed the reply in 600 turns of such talks (101 times), a blind reader's mean grade of it, 0 to 2, rose from 0.56 to 0.78."""
CLOSE = 0.55
REPLIES_PER_CONTEXT = {True: 5, False: 2}
"""Of a close context, from which several may fit, and of a looser one, so that others have their say."""

_KEY_BITS = 21
_SEPARATOR = ord("\n")
_MARKS = re.compile(r"[\W_]+")
_BETWEEN_PARTS = re.compile(r"[^\w《》“”]+")
_MAX_PARTS = 8
"""Looked for one by one, the last ones; each costs a search."""
_MIN_PART_CHARACTERS = 3
"""Distinct ones, particles aside: 哈哈, 对啊 or 算了 is nothing to answer."""
_PARTICLES = str.maketrans("", "", "啊呀哦噢呢吧啦嘛哎唉诶呗咯喔哟了的")
_ASKS_WHETHER = r"(.)[不没]\1|有没有|(?<=..)(?<![还也都])没有?[啊呀]?？?$"
_SET_PHRASES = re.compile(rf"{_ASKS_WHETHER}|不错|没事|不过|不好意思|差不多|对不起|没关系|别人|特别|告别|分别")
_NEGATION = re.compile(r"[不没别无未]")
_QUESTION = re.compile(rf"[吗么谁哪啥几什怎？?]|多少|如何|为何|[吧呢]$|{_ASKS_WHETHER}")
_REQUEST = re.compile(r"[说讲唱背编写出猜起取来换][一个首段点]|再[来讲说]|[给帮教陪]我|推荐|夸[夸我]|哄[哄我]")
_ADDRESS = re.compile(r"[你您]")
_WISH = re.compile(r"[想要]")
_NUMBER = re.compile(r"[0-9二两三四五六七八九十百千万]+")
_SHARES = (0.6, 0.8, 0.8, 0.8, 0.8)
"""What is left of the similarity when two messages differ in one of `_turns`, in its order. Set by reading what was found; that
asking and speaking to the other tell intents apart showed in a logistic regression too, that negation does hardly."""

Keys: TypeAlias = NDArray[np.uint64]
Numbers: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Match:
    """A context of the index that is like the one asked about."""

    similarity: float
    """0 to 1."""
    last: str
    previous: str
    """The message before `last`; empty when it began the dialogue."""
    replies: tuple[str, ...]


class RetrievalIndex:
    """Proposes the replies of the most similar contexts.

    Args:
        arrays: as `ARRAYS` tells, and `VECTOR_ARRAYS` when `encoder` is given.
        encoder: the one that made the vectors; None looks at words alone.
        max_candidates: replies proposed at most.
        min_similarity: of contexts whose replies are proposed, 0 to 1.
    """

    def __init__(
        self,
        arrays: dict[str, NDArray[Any]],
        *,
        encoder: Encoder | None = None,
        max_candidates: int = 40,
        min_similarity: float = MIN_SIMILARITY,
    ) -> None:
        self.max_candidates = max_candidates
        self.min_similarity = min_similarity
        self._arrays = arrays
        self._encoder = encoder
        self._rare = float(np.log((1 + self.num_contexts) / (1 + RARE_COUNT)) + 1)

    @property
    def num_contexts(self) -> int:
        return len(self._arrays["contexts"])

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        encoder: Encoder | None = None,
        max_candidates: int = 40,
        min_similarity: float = MIN_SIMILARITY,
    ) -> RetrievalIndex:
        """Raises CheckpointError when the folder is no index, damaged, or of a newer version.

        Vectors that another encoder made are of no use: the index then goes by words alone, with a warning.
        """
        # with --output it would be made without the model's encoder
        place = f"--model {folder.parent}" if folder.name == "retrieval" else f"--output {folder}"
        remedy = f"请用 chitchat index FILE … {place} 重新生成"
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            version, lengths = int(manifest["format"]), dict(manifest["lengths"])
            if version > FORMAT:
                raise CheckpointError(f"{folder}：检索库的格式是 {version}，本程序只认到 {FORMAT}；请升级 chitchat，或{remedy}")
            made_by = manifest.get("encoder")
            if encoder is not None and (made_by != encoder.fingerprint or version < FORMAT):
                logger.warning("%s 里没有这个双编码器的向量，只按字面检索；%s", folder, remedy)
                encoder = None
            kinds: dict[str, Any] = dict(ARRAYS) | ({} if encoder is None else VECTOR_ARRAYS)
            arrays = {name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in kinds}
            if wrong := [n for n, kind in kinds.items() if len(arrays[n]) != lengths[n] or arrays[n].dtype != kind]:
                raise ValueError(f"{wrong[0]}.npy 与清单不符")
            if encoder is not None and arrays[VECTORS].shape[1:] != encoder.contexts([["好"]]).shape[1:]:
                raise ValueError(f"{VECTORS}.npy 的宽度与双编码器的不同")
        except FileNotFoundError as error:
            raise CheckpointError(f"{folder}：检索库缺少 {Path(error.filename).name}；{remedy}") from None
        except (OSError, ValueError, TypeError, KeyError, EOFError) as error:
            raise CheckpointError(f"{folder}：检索库已损坏（{error}）；{remedy}") from None
        return cls(arrays, encoder=encoder, max_candidates=max_candidates, min_similarity=min_similarity)

    def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
        """Distinct replies of the contexts most similar to this one or to a part of its last message, best first.

        Up to `max_candidates` of those alike in words; with an encoder, after them, those alike in meaning. What stands in
        `context` already is left out. Which of a context's replies are proposed, and their order, is drawn with `decoding.seed`.
        """
        random_ = random.Random(decoding.seed)
        said = set(map(_bare, context))
        found: dict[str, Candidate] = {}

        def propose(match: Match, at_most: int) -> None:
            fresh = [reply for reply in match.replies if _bare(reply) not in said and reply not in found]
            origin = tuple(filter(None, (match.previous, match.last)))
            for reply in random_.sample(fresh, min(len(fresh), at_most)):
                found[reply] = Candidate(reply, source="retrieval", context_similarity=match.similarity, origin=origin)

        for match in self._nearest_to_parts(context):
            propose(match, min(REPLIES_PER_CONTEXT[match.similarity >= CLOSE], self.max_candidates - len(found)))
        for match in self._nearest_in_meaning(context):
            propose(match, 1)
        return list(found.values())

    def _nearest_to_parts(self, context: Sequence[str]) -> list[Match]:
        """What is nearest to the context as it is, or with a part of its last message in place of the whole, best first."""
        found = {(m.last, m.previous): m for m in self.nearest(context)}
        *before, last = context
        parts = _BETWEEN_PARTS.sub("\n", last).split()
        for part in parts[-_MAX_PARTS:] if len(parts) > 1 else []:
            if len(set(_core(part))) < _MIN_PART_CHARACTERS:
                continue
            wants = _QUESTION.search(part) or _REQUEST.search(part)
            share = PART_SHARES[part is parts[-1] or wants is not None]
            for match in self.nearest([*before, part]):
                similarity, place = match.similarity * share, (match.last, match.previous)
                if similarity >= self.min_similarity and (place not in found or found[place].similarity < similarity):
                    found[place] = replace(match, similarity=similarity)
        return sorted(found.values(), key=lambda m: -m.similarity)

    def nearest(self, context: Sequence[str]) -> list[Match]:
        """The contexts at least `min_similarity` like `context` in words (oldest message first), best first."""
        matches = self._compared(context, self._sharing(context[-1]))
        return sorted((m for m in matches if m.similarity >= self.min_similarity), key=lambda m: -m.similarity)

    def _nearest_in_meaning(self, context: Sequence[str]) -> list[Match]:
        """The `NEAREST_VECTORS` contexts nearest to this one, or to its last message alone, by the dual encoder, best first."""
        if self._encoder is None:
            return []
        whole, alone = self._encoder.contexts([context, context[-1:]])
        queries = np.stack([whole, alone], axis=1)
        in_cells = (self._arrays[CELLS] @ queries).max(axis=1)
        ends = self._arrays[CELL_OFFSETS]
        places = [slice(ends[cell], ends[cell + 1]) for cell in np.sort(np.argsort(-in_cells)[:CELLS_LOOKED_INTO])]
        vectors = np.concatenate([self._arrays[VECTORS][place] for place in places]).astype(np.float32)
        scores = (vectors @ queries).max(axis=1)
        number = min(NEAREST_VECTORS, len(scores))
        nearest = np.argpartition(-scores, number - 1)[:number]
        numbers = np.concatenate([np.arange(place.start, place.stop) for place in places])
        return self._compared(context, numbers[nearest[np.argsort(-scores[nearest])]])

    def _compared(self, context: Sequence[str], numbers: NDArray[np.intp]) -> list[Match]:
        """The contexts of these numbers with their similarity in words to `context`, in order."""
        if not len(numbers):
            return []
        last, previous = context[-1], context[-2] if len(context) > 1 else ""
        rows = self._arrays["contexts"][numbers]
        lasts = [self._text(i) for i in rows[:, 0]]
        before = [self._text(i) if i >= 0 else "" for i in rows[:, 1]]
        dot, norm, own = self._products(last, lasts)
        dot_before, norm_before, own_before = self._products(previous, before)
        dot += PREVIOUS_WEIGHT * dot_before
        norm += PREVIOUS_WEIGHT * norm_before
        cosine = dot / np.sqrt(np.maximum(norm * (own + PREVIOUS_WEIGHT * own_before), 1e-12))
        matches = []
        for i, row in enumerate(rows):
            similarity = min(1.0, float(cosine[i]))
            if similarity >= self.min_similarity:  # below it nothing depends on how much less it is
                similarity *= _agreement(last, lasts[i])
            if before[i] and not previous:
                similarity *= MID_DIALOGUE
            matches.append(Match(similarity, lasts[i], before[i], self._replies(int(row[2]))))
        return matches

    def _sharing(self, message: str) -> NDArray[np.intp]:
        """Up to `MAX_COMPARED` contexts whose last message shares most with `message`."""
        _, keys, weights = self._vectors([message])
        column, known = self._columns(keys)
        if not known.any():
            return np.empty(0, np.intp)
        column, weights = column[known], weights[known]
        starts, ends = self._arrays["posting_offsets"][column], self._arrays["posting_offsets"][column + 1]
        rarest = np.argsort(ends - starts)
        rarest = rarest[: max(1, np.searchsorted(np.cumsum((ends - starts)[rarest]), MAX_POSTINGS, side="right"))]
        postings = np.concatenate([self._arrays["postings"][starts[i] : ends[i]] for i in rarest])
        gains = np.repeat(weights[rarest] * self._arrays["weights"][column[rarest]], (ends - starts)[rarest])
        scores = np.bincount(postings, gains, minlength=self.num_contexts) / self._arrays["norms"]
        likely = np.flatnonzero(scores > scores.max() / 4)
        if len(likely) > MAX_COMPARED:
            likely = likely[np.argpartition(-scores[likely], MAX_COMPARED)[:MAX_COMPARED]]
        return np.sort(likely)

    def _products(self, message: str, others: Sequence[str]) -> tuple[Numbers, Numbers, float]:
        """Of each of `others` the dot product with `message` and with itself, and `message`'s with itself."""
        _, keys, weights = self._vectors([message])
        owners, other_keys, other_weights = self._vectors(others)
        row, place = np.nonzero(other_keys[:, None] == keys)
        dot: Numbers = np.zeros(len(others))
        norm: Numbers = np.zeros(len(others))
        np.add.at(dot, owners[row], other_weights[row] * weights[place])
        np.add.at(norm, owners, other_weights**2)
        return dot, norm, float(weights @ weights)

    def _vectors(self, texts: Sequence[str]) -> tuple[NDArray[np.intp], Keys, Numbers]:
        """(text number, key, TF-IDF weight) of each text's distinct n-grams, in ascending order."""
        owners, keys = ngrams(texts)
        joint, counts = np.unique(owners.astype(np.uint64) << np.uint64(2 * _KEY_BITS) | keys, return_counts=True)
        keys = joint & np.uint64((1 << 2 * _KEY_BITS) - 1)
        column, known = self._columns(keys)
        weights = np.where(known, self._arrays["weights"][column], self._rare * order_weights(keys))
        return (joint >> np.uint64(2 * _KEY_BITS)).astype(np.intp), keys, (1 + np.log(counts)) * weights

    def _columns(self, keys: Keys) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Where each key is stored, and whether it is."""
        stored = self._arrays["keys"]
        column = np.minimum(np.searchsorted(stored, keys), len(stored) - 1)
        return column, stored[column] == keys

    def _replies(self, group: int) -> tuple[str, ...]:
        start, end = self._arrays["group_offsets"][group : group + 2]
        return tuple(self._text(i) for i in self._arrays["replies"][start:end])

    def _text(self, number: int) -> str:
        start, end = self._arrays["text_offsets"][number : number + 2]
        return self._arrays["text"][start:end].tobytes().decode("utf-8")


def ngrams(texts: Sequence[str]) -> tuple[NDArray[np.intp], Keys]:
    """(text number, key) of every character and every pair of neighbours, without marks, case and modal particles.

    A key is the character's code point, and the second one's 21 bits higher: no two n-grams share one.
    """
    codes = np.frombuffer(chr(_SEPARATOR).join(map(_core, texts)).encode("utf-32-le"), np.uint32).astype(np.uint64)
    parts = codes == _SEPARATOR
    owners = np.cumsum(parts)
    within = ~(parts[:-1] | parts[1:])
    pairs = codes[:-1] | codes[1:] << np.uint64(_KEY_BITS)
    return np.concatenate([owners[~parts], owners[:-1][within]]), np.concatenate([codes[~parts], pairs[within]])


def order_weights(keys: Keys) -> Numbers:
    """(keys,) 1 for a character, PAIR_WEIGHT for a pair."""
    return np.where(keys >> np.uint64(_KEY_BITS) == 0, 1.0, PAIR_WEIGHT)


def _bare(text: str) -> str:
    return _MARKS.sub("", text).casefold() or "".join(text.split())


def _core(text: str) -> str:
    bare = _bare(text)
    return bare.translate(_PARTICLES) or bare


def _agreement(a: str, b: str) -> float:
    """1 when two messages agree in all that turns a meaning without changing many characters, less for each that differs."""
    differing = (share for share, one, other in zip(_SHARES, _turns(a), _turns(b), strict=True) if one != other)
    return math.prod(differing)


def _turns(text: str) -> tuple[object, ...]:
    """Whether a message denies, asks, speaks to the other and wishes, and the numbers in it."""
    return (
        len(_NEGATION.findall(_SET_PHRASES.sub("", text))) % 2,
        _QUESTION.search(text) is not None,
        _ADDRESS.search(text) is not None,
        _WISH.search(text) is not None,
        _NUMBER.findall(text),
    )
