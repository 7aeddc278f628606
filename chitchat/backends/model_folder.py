"""What both local backends take from a model folder before any weight is loaded: tokenizer, format, forbidden tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chitchat.checkpoint import Task, read_config, read_manifest
from chitchat.errors import BackendError, CheckpointError
from chitchat.tokenization.dialogue_format import DialogueFormat, ScoredSequence
from chitchat.tokenization.tokenizer import DialogueTokenizer

_MARKER = re.compile(r"\[(PAD|UNK|CLS|MASK|unused\d+)\]")
_POSITIONS_KEYS = ("n_positions", "max_position_embeddings", "n_ctx")
_DEFAULT_POSITIONS = 1024
_LONGEST_POSITIONS = 4096
"""Chat needs no more, and models that claim 128k positions would be given the memory for them."""


@dataclass(frozen=True)
class ModelFolder:
    """A checked model folder and how its model reads and writes."""

    path: Path
    direction: Task
    tokenizer: DialogueTokenizer
    format: DialogueFormat
    vocab_size: int
    """Rows of the embedding; may exceed the vocabulary's."""

    @classmethod
    def open(cls, path: Path | str, *, direction: Task) -> ModelFolder:
        """Raises CheckpointError when the folder is not a model, or one trained for something else."""
        path = Path(path)
        config = read_config(path)
        manifest = read_manifest(path, direction)
        tokenizer = DialogueTokenizer.load(path)
        if manifest is not None and manifest.vocab_fingerprint != tokenizer.fingerprint:
            raise CheckpointError(f"{path}：词表与训练时的不同，回复会成乱码；请放回训练时的 vocab.txt")
        vocab_size = int(config.get("vocab_size", tokenizer.vocab_size))
        if vocab_size < tokenizer.vocab_size:
            raise CheckpointError(f"{path}：模型词表 {vocab_size}，vocab.txt 有 {tokenizer.vocab_size} 个 token；两者不配套")
        claimed = next((config[k] for k in _POSITIONS_KEYS if config.get(k)), _DEFAULT_POSITIONS)
        max_tokens = min(int(claimed), _LONGEST_POSITIONS)
        return cls(path, direction, tokenizer, DialogueFormat(tokenizer, max_tokens), vocab_size)

    @property
    def unspeakable_ids(self) -> list[int]:
        """Tokens that must not appear in a reply: special ones but `[SEP]`, BERT's unused ones, rows without a token."""
        tokens = self.tokenizer.tokens
        return [i for i, t in enumerate(tokens) if _MARKER.fullmatch(t)] + list(range(len(tokens), self.vocab_size))

    def prompt(self, context: list[str], max_new_tokens: int) -> tuple[list[int], int]:
        """The prompt's ids and how many tokens may follow; at least half of the positions are the context's."""
        room = min(max_new_tokens, self.format.max_tokens // 2)
        return self.format.prompt(context, reserve=room), room

    def scored(self, context: list[str], reply: str) -> ScoredSequence:
        """The sequence whose target this model's direction scores."""
        build = self.format.reverse if self.direction == "reverse" else self.format.forward
        return build(context, reply)

    def require(self, direction: Task) -> None:
        """Raises BackendError when the model was not trained for what is asked of it."""
        if self.direction != direction:
            can = {"forward": "只能写回复与打分", "reverse": "只能打分，不能写回复"}[self.direction]
            raise BackendError(f"{self.path} 是 {self.direction} 模型，{can}")


def batches_by_length(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Places grouped by similar length into batches of at most `tokens`, padding included: little is padding."""
    batches: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        width = lengths[batches[-1][0]] if batches else 0
        if batches and (len(batches[-1]) + 1) * width <= tokens:
            batches[-1].append(place)
        else:
            batches.append([place])
    return batches
