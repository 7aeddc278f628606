"""The two baselines: what most GPT-2 chit-chat projects do, and what one gets from transformers without further thought.

`Classic` is the loop of GPT2-chitchat's `interact_mmi.py` in our own words: candidates one after another, for every new token a
forward pass over the whole sequence (no KV cache), then one pass of the reverse model a candidate with the loss of the whole
sequence. Unlike there, only the history's tokens count, so that all engines compare the same number.

`HuggingFace` writes all candidates at once with `generate` (KV cache) and scores them in one padded batch.

Both are float32 `GPT2LMHeadModel`s with torch's threads as they are set; ids are made by chitchat's tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GPT2LMHeadModel

from chitchat.backends.model_folder import ModelFolder
from chitchat.checkpoint import Direction
from chitchat.config import DecodingConfig
from chitchat.tokenization.dialogue_format import ScoredSequence

Score = tuple[float, int]
"""The summed log-probability of the target and its tokens."""


class PlainModel:
    """One direction of a pair, and two plain ways to score with it."""

    def __init__(self, folder: Path, direction: Direction) -> None:
        self.folder = ModelFolder.open(folder, direction=direction)
        self.model: Any = GPT2LMHeadModel.from_pretrained(folder).eval()

    def sequences(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[ScoredSequence]:
        return [self.folder.scored(list(context), reply) for context, reply in pairs]

    @torch.inference_mode()
    def score_one_by_one(self, sequences: Sequence[ScoredSequence]) -> list[Score]:
        """A forward pass for each sequence."""
        return [self._picked(torch.tensor([s.ids]), None, [s])[0] for s in sequences]

    @torch.inference_mode()
    def score_padded(self, sequences: Sequence[ScoredSequence], batch_size: int) -> list[Score]:
        """Batches in the order of the rows, padded to the longest, logits and their softmax for every place."""
        scores: list[Score] = []
        for start in range(0, len(sequences), batch_size):
            batch = sequences[start : start + batch_size]
            width = max(len(s.ids) for s in batch)
            ids = torch.tensor([s.ids + [0] * (width - len(s.ids)) for s in batch])
            mask = torch.tensor([[1] * len(s.ids) + [0] * (width - len(s.ids)) for s in batch])
            scores += self._picked(ids, mask, batch)
        return scores

    def _picked(self, ids: Tensor, mask: Tensor | None, sequences: Sequence[ScoredSequence]) -> list[Score]:
        logits = self.model(ids, attention_mask=mask).logits
        log_probs = logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
        spans = [(row, s.start - 1, len(s.ids) - 1) for row, s in enumerate(sequences)]
        return [(float(log_probs[row, start:end].double().sum()), end - start) for row, start, end in spans]


class Classic:
    """One candidate after another, one whole pass a token."""

    def __init__(self, forward: PlainModel, reverse: PlainModel, forbidden: Sequence[int]) -> None:
        self.forward = forward
        self.reverse = reverse
        self._forbidden = list(forbidden)

    @torch.inference_mode()
    def reply(self, context: Sequence[str], decoding: DecodingConfig) -> list[tuple[str, float]]:
        """Candidates with their MMI score, best first."""
        prompt, room = self.forward.folder.prompt(list(context), decoding.max_new_tokens)
        found = []
        for _ in range(decoding.num_candidates):
            ids = list(prompt)
            while len(ids) < len(prompt) + room:
                logits = self.forward.model(torch.tensor([ids]), use_cache=False).logits[0, -1]
                logits[self._forbidden] = -torch.inf
                ids.append(sampled(logits, decoding))
                if ids[-1] == self.forward.folder.tokenizer.sep_id:
                    break
            found.append(self.forward.folder.tokenizer.decode(ids[len(prompt) :]))
        scored = [self.reverse.score_one_by_one(self.reverse.sequences([(context, text)]))[0] for text in found]
        return ranked(found, scored)


def sampled(logits: Tensor, decoding: DecodingConfig) -> int:
    """A token drawn after temperature, top-k and top-p (Holtzman et al. 2020), in this order."""
    logits = logits / decoding.temperature
    if decoding.top_k:
        logits[logits < logits.topk(decoding.top_k).values[-1]] = -torch.inf
    ordered, places = logits.sort(descending=True)
    probabilities = ordered.softmax(-1)
    probabilities[probabilities.cumsum(-1) - probabilities > decoding.top_p] = 0.0
    return int(places[torch.multinomial(probabilities, 1)])


class HuggingFace:
    """`generate` with a KV cache, all candidates at once; then one padded batch of the reverse model."""

    def __init__(self, forward: PlainModel, reverse: PlainModel, forbidden: Sequence[int]) -> None:
        self.forward = forward
        self.reverse = reverse
        self._forbidden = list(forbidden)

    @torch.inference_mode()
    def reply(self, context: Sequence[str], decoding: DecodingConfig) -> list[tuple[str, float]]:
        """Candidates with their MMI score, best first."""
        tokenizer = self.forward.folder.tokenizer
        prompt, room = self.forward.folder.prompt(list(context), decoding.max_new_tokens)
        ids = torch.tensor([prompt])
        output = self.forward.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            num_return_sequences=decoding.num_candidates,
            max_new_tokens=room,
            temperature=decoding.temperature,
            top_k=decoding.top_k,
            top_p=decoding.top_p,
            suppress_tokens=self._forbidden,
            eos_token_id=tokenizer.sep_id,
            pad_token_id=tokenizer.pad_id,
        )
        found = [tokenizer.decode(row) for row in output[:, len(prompt) :].tolist()]
        pairs = [(context, text) for text in found]
        return ranked(found, self.reverse.score_padded(self.reverse.sequences(pairs), len(pairs)))


def ranked(texts: Sequence[str], scores: Sequence[Score]) -> list[tuple[str, float]]:
    """By log P(context | reply) a token."""
    means = [value / max(count, 1) for value, count in scores]
    return sorted(zip(texts, means, strict=True), key=lambda item: -item[1])
