"""What a run learns and how that is told: where training differs between the models that write and the one that judges."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from chitchat.checkpoint import Direction, Manifest, start_folder
from chitchat.config import ModelConfig, TrainConfig
from chitchat.errors import CorpusError
from chitchat.tokenization.batching import Batch, BatchStream, StreamPosition
from chitchat.tokenization.near_contexts import NearContexts
from chitchat.tokenization.reply_pairs import PairBatch, PairStream, ReplyPairs
from chitchat.tokenization.samples import Samples
from chitchat.tokenization.token_store import TokenStore
from chitchat.tokenization.tokenizer import DialogueTokenizer
from chitchat.training.dual_encoder import DualEncoder, EncoderShape, PairLoss, load_dual_encoder, save_dual_encoder
from chitchat.training.model import PackedLoss, batch_tensors, load_model, new_model, save_model
from chitchat.training.validation import ValidationSet, sample_replies, validate

log = logging.getLogger(__name__)

NUM_REPLIES = 20
"""Among which an encoder must find the true one to be right."""
_VALIDATION_PAIRS = 500
_TRAIN, _VALIDATION = 0, 1  # as in corpus.splitting.Split, which training may not import


class Stream(Protocol):
    """Batches without end, and where it stands."""

    position: StreamPosition

    @property
    def epoch_tokens(self) -> int: ...

    def __next__(self) -> Batch | PairBatch: ...


class Objective(Protocol):
    """A model, its loss, its data, and how to tell what it has learnt."""

    @property
    def model(self) -> nn.Module: ...

    @property
    def loss(self) -> PackedLoss | PairLoss: ...

    @property
    def shape(self) -> dict[str, float]:
        """Sizes of the model, and its dropout, which a resumed run must have in common with the one it goes on with."""
        ...

    @property
    def row_tokens(self) -> int:
        """Tokens of a row of a batch, at most or about."""
        ...

    def batch_shape(self, num_processes: int) -> tuple[int, int]:
        """(rows of a micro-batch, micro-batches of a step)."""
        ...

    def stream(self, *, rows_per_batch: int, start: StreamPosition) -> Stream: ...

    def validate(self, *, rows_per_batch: int, device: torch.device) -> dict[str, float]:
        """Figures of the held-out data; `validation_loss` is what the best model has least of."""
        ...

    def samples(self) -> list[tuple[str, str]]:
        """What the model says, to be read by people."""
        ...

    def save(self, manifest: Manifest, folder: Path) -> None:
        """Writes the model's folder, whole or not at all."""
        ...


class LanguageObjective:
    """A forward or reverse model learns to write what was said."""

    def __init__(
        self,
        direction: Direction,
        config: TrainConfig,
        model_config: ModelConfig,
        corpora: list[tuple[TokenStore, float]],
        tokenizer: DialogueTokenizer,
    ) -> None:
        self.config, self.tokenizer = config, tokenizer
        self.model = initial_model(direction, config, model_config, tokenizer)
        self.row_tokens = int(self.model.config.max_position_embeddings)
        self.loss = PackedLoss(self.model)
        self._sources, self._held_out = training_samples(
            corpora,
            reverse=direction == "reverse",
            max_tokens=min(config.max_sample_tokens or self.row_tokens, self.row_tokens),
            cls_id=tokenizer.cls_id,
        )
        self._validation_sets: list[ValidationSet] = []

    @property
    def shape(self) -> dict[str, float]:
        names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
        sizes = {name: getattr(self.model.config, name) for name in names}
        return {**sizes, "positions": self.row_tokens, "dropout": getattr(self.model.config, "resid_pdrop", 0.0)}

    def batch_shape(self, num_processes: int) -> tuple[int, int]:
        return packed_batch_shape(self.config, self.row_tokens, num_processes)

    def save(self, manifest: Manifest, folder: Path) -> None:
        save_model(self.model, self.tokenizer, manifest, folder)

    def stream(self, *, rows_per_batch: int, start: StreamPosition) -> BatchStream:
        """Packed samples of all corpora."""
        return BatchStream(
            self._sources,
            rows_per_batch=rows_per_batch,
            row_tokens=self.row_tokens,
            pad_id=self.tokenizer.pad_id,
            seed=self.config.seed,
            start=start,
        )

    def validate(self, *, rows_per_batch: int, device: torch.device) -> dict[str, float]:
        """Loss and perplexity of the held-out dialogues."""
        if not self._validation_sets:
            self._validation_sets = [
                ValidationSet.build(
                    name,
                    samples,
                    max_rows=-(-self.config.validation_rows // len(self._held_out)),
                    rows_per_batch=rows_per_batch,
                    row_tokens=self.row_tokens,
                    pad_id=self.tokenizer.pad_id,
                )
                for name, samples in self._held_out.items()
            ]
        return validate(self.loss, self._validation_sets, device=device, autocast=self.config.precision == "bf16")

    def samples(self) -> list[tuple[str, str]]:
        """Replies to a few prompts."""
        return list(sample_replies(self.model, self.tokenizer))


class EncoderObjective:
    """A dual encoder learns which reply of many was given to a context.

    One that goes on from `config.init_from` also learns to tell replies apart whose contexts that one finds near.
    """

    row_tokens = 16
    """Tokens of a pair, about: what turns `tokens_per_step` into pairs."""

    def __init__(self, config: TrainConfig, corpora: list[tuple[TokenStore, float]], tokenizer: DialogueTokenizer) -> None:
        self.config, self.tokenizer = config, tokenizer
        self.model = (
            load_dual_encoder(start_folder(Path(config.init_from), "encoder"), tokenizer)
            if config.init_from
            else DualEncoder(EncoderShape(tokenizer.vocab_size))
        )
        self.loss = PairLoss(self.model)
        self._corpora, self._held_out = ([*self._pairs(corpora, split)] for split in (_TRAIN, _VALIDATION))
        if not self._corpora or not self._held_out:
            fault = f"可用于训练与验证的对话太少：两者各要有 {NUM_REPLIES} 句以上的回复"
            raise CorpusError(corpora[0][0].meta["name"], None, f"{fault}；请增加语料，或调大 --validation-fraction，如 0.1")

    def _pairs(self, corpora: list[tuple[TokenStore, float]], split: int) -> Iterator[tuple[ReplyPairs, float]]:
        shape = self.model.shape
        for store, weight in corpora:
            dialogues = store.of_split(split).tolist()
            pairs = ReplyPairs(store, dialogues, vocab_size=shape.vocab_size, buckets=shape.buckets)
            if len(pairs) >= NUM_REPLIES:
                if self.config.init_from and split == _TRAIN:
                    pairs.near = NearContexts(self.model.context_vectors(pairs))
                yield pairs, weight

    @property
    def shape(self) -> dict[str, float]:
        return asdict(self.model.shape)

    def batch_shape(self, num_processes: int) -> tuple[int, int]:
        """One batch a step: all its replies are wrong ones for each other."""
        return max(NUM_REPLIES, self.config.tokens_per_step // self.row_tokens), num_processes

    def stream(self, *, rows_per_batch: int, start: StreamPosition) -> PairStream:
        """Batches of pairs of one corpus each."""
        return PairStream(self._corpora, pairs_per_batch=rows_per_batch, seed=self.config.seed, start=start)

    @torch.no_grad()
    def validate(self, *, rows_per_batch: int, device: torch.device) -> dict[str, float]:
        """How often the true reply does not come first of `NUM_REPLIES`; a corpus counts as much as in training."""
        was_training = self.loss.training
        self.loss.eval()
        missed = []
        for pairs, _ in self._held_out:
            random = np.random.default_rng(0)
            drawn = pairs.draw(_VALIDATION_PAIRS, random)
            missed.append(self._missed(pairs.batch(drawn), random, device))
        self.loss.train(was_training)
        shares = [len(pairs) * weight for pairs, weight in self._held_out]
        return {"validation_loss": float(np.average(missed, weights=shares))}

    def _missed(self, batch: PairBatch, random: np.random.Generator, device: torch.device) -> float:
        scores = self.loss.scores(*batch_tensors(batch, device)).cpu().numpy()
        others = np.array([random.choice(len(scores) - 1, NUM_REPLIES - 1, replace=False) for _ in scores])
        others += others >= np.arange(len(scores))[:, None]  # all but the pair's own
        return float((np.take_along_axis(scores, others, axis=1).max(axis=1) >= scores.diagonal()).mean())

    def samples(self) -> list[tuple[str, str]]:
        """Nothing: it writes nothing."""
        return []

    def save(self, manifest: Manifest, folder: Path) -> None:
        save_dual_encoder(self.model, self.tokenizer, manifest, folder)


def packed_batch_shape(config: TrainConfig, row_tokens: int, num_processes: int) -> tuple[int, int]:
    """(rows of a micro-batch, micro-batches of a step); gradients add up over those until a step has its tokens."""
    rows = max(1, min(config.rows_per_batch, config.tokens_per_step // row_tokens))
    micro_batches = max(1, round(config.tokens_per_step / (rows * row_tokens)))
    return rows, -(-micro_batches // num_processes) * num_processes


def initial_model(
    direction: Direction, config: TrainConfig, model_config: ModelConfig, tokenizer: DialogueTokenizer
) -> PreTrainedModel:
    """The model a run begins with: `init_from`'s, or a new one."""
    if not config.init_from:
        return new_model(model_config, tokenizer)
    return load_model(start_folder(Path(config.init_from), direction), tokenizer)


def training_samples(
    corpora: list[tuple[TokenStore, float]], *, reverse: bool, max_tokens: int, cls_id: int
) -> tuple[list[tuple[Samples, float]], dict[str, Samples]]:
    """Training samples with their weights, and validation samples, of every corpus that has any."""
    train: list[tuple[Samples, float]] = []
    held_out: dict[str, Samples] = {}
    for store, weight in corpora:
        name = store.meta["name"]
        training, validation = (
            Samples(store, store.of_split(split).tolist(), reverse=reverse, max_tokens=max_tokens, cls_id=cls_id)
            for split in (_TRAIN, _VALIDATION)
        )
        if training.num_too_long:
            log.warning("%s：%d 条消息长于 %d token，未用于训练（对话在此切开）", name, training.num_too_long, max_tokens)
        if len(training):
            if not round(weight * len(training)):  # as the stream draws them: alone it would turn empty epochs for ever
                raise CorpusError(name, None, f"语料太小，权重 {weight:g} 一段也抽不到；请调大 @ 后的权重，或不用这份语料")
            train.append((training, weight))
        if len(validation):
            # two corpora may have the same file name
            held_out[name if name not in held_out else f"{name}@{store.folder.name[:6]}"] = validation
    if not train:
        raise CorpusError(corpora[0][0].meta["name"], None, "没有可用于训练的对话；语料太小，或每段对话不足两句")
    if not held_out:
        raise CorpusError(
            corpora[0][0].meta["name"],
            None,
            "没有可用于验证的对话；请增加语料（至少两段对话），或调大 --validation-fraction",
        )
    return train, held_out
