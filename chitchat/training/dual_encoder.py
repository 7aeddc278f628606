"""The dual encoder: contexts and replies as vectors that are near where one answers the other, and its loss over a batch.

Bags of tokens and pairs of neighbours go through a layer or two on either side, and every other reply of the batch is a wrong
one (Henderson et al. 2017, arXiv:1705.00652, sections 3 and 4). It reads a hundred times as many pairs in a second as the
GPT-2 models do, and what it lacks in word order they have.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from chitchat.checkpoint import Manifest
from chitchat.errors import CheckpointError
from chitchat.files import atomic_folder, sha256_of
from chitchat.tokenization.reply_pairs import CONTEXT_MESSAGES, ReplyPairs
from chitchat.tokenization.tokenizer import DialogueTokenizer

DROPOUT = 0.2
FORGOTTEN_IDS = 0.25
"""Share of a bag's ids that a training step does not see."""
SCALE = 15.0
"""What cosines are multiplied by before the softmax."""
_STEPS = 127
_AT_A_TIME = 2048


@dataclass(frozen=True)
class EncoderShape:
    """Sizes of a dual encoder: what its `config.json` holds."""

    vocab_size: int
    buckets: int = 1 << 16
    """For pairs of neighbours."""
    width: int = 192
    """Of the vector of a token or pair."""
    hidden: int = 512
    size: int = 128
    """Of the vector of a context or reply."""


class DualEncoder(nn.Module):
    """Messages to unit vectors; a context's and a reply's dot product tells how well the reply answers."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.embeddings = nn.EmbeddingBag(shape.vocab_size + shape.buckets, shape.width, mode="sum")
        nn.init.normal_(self.embeddings.weight, std=0.05)
        self.context_side = _side(CONTEXT_MESSAGES * shape.width, shape)
        self.reply_side = _side(shape.width, shape)
        self.context_skip = nn.Linear(shape.width, shape.size, bias=False)
        self.reply_skip = nn.Linear(shape.width, shape.size, bias=False)
        self.dropout = nn.Dropout(DROPOUT)

    def contexts(self, messages: list[tuple[Tensor, Tensor]]) -> Tensor:
        """(pairs, size); `messages` are bags as (ids, offsets), the last message first."""
        summed = [self.dropout(self._summed(*m)) for m in messages]
        return functional.normalize(self.context_side(torch.cat(summed, dim=1)) + self.context_skip(summed[0]), dim=-1)

    def replies(self, ids: Tensor, offsets: Tensor) -> Tensor:
        """(pairs, size)"""
        summed = self.dropout(self._summed(ids, offsets))
        return functional.normalize(self.reply_side(summed) + self.reply_skip(summed), dim=-1)

    @torch.no_grad()
    def context_vectors(self, pairs: ReplyPairs) -> NDArray[np.float16]:
        """(pairs, size) the vector of the context of each pair."""
        found = [np.zeros((0, self.shape.size), np.float16)]
        was_training = self.training
        self.eval()
        for chunk in np.array_split(np.arange(len(pairs)), -(-len(pairs) // _AT_A_TIME) or 1):
            *context, _ = pairs.batch(chunk).messages
            messages = [(torch.from_numpy(m.ids), torch.from_numpy(m.offsets)) for m in context]
            found.append(self.contexts(messages).numpy().astype(np.float16))
        self.train(was_training)
        return np.concatenate(found)

    def _summed(self, ids: Tensor, offsets: Tensor) -> Tensor:
        """(bags, width): the sum over √ids, between a sum, in which long messages drown short ones, and a mean."""
        if self.training:
            kept = torch.rand(len(ids), device=ids.device) >= FORGOTTEN_IDS
            before = torch.cat([kept.new_zeros(1, dtype=torch.long), kept.cumsum(0)])
            ids, offsets = ids[kept], before[offsets]
        sizes = torch.diff(offsets, append=offsets.new_tensor([len(ids)])).clamp(min=1)
        return self.embeddings(ids, offsets) / sizes.sqrt()[:, None]  # type: ignore[no-any-return]


def _side(inputs: int, shape: EncoderShape) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, shape.hidden),
        nn.GELU(approximate="tanh"),
        nn.Dropout(DROPOUT),
        nn.Linear(shape.hidden, shape.size),
    )


class PairLoss(nn.Module):
    """Summed loss of a dual encoder over the pairs of a batch."""

    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.model = model

    def compile_body(self) -> None:
        """Nothing: a gather and four small matrices gain nothing."""

    def forward(self, *arrays: Tensor) -> Tensor:
        """-Σ log softmax of the pair's own among all replies, and among all contexts; `arrays` are a `PairBatch`'s."""
        scores = self.scores(*arrays)
        own = torch.arange(len(scores), device=scores.device)
        return (
            functional.cross_entropy(scores, own, reduction="sum") + functional.cross_entropy(scores.T, own, reduction="sum")
        ) / 2

    def scores(self, *arrays: Tensor) -> Tensor:
        """(pairs, pairs) of each context with each reply; an equal reply to the own one is out of the question."""
        *flat, replies = arrays
        bags = list(zip(flat[::2], flat[1::2], strict=True))
        with torch.autocast(replies.device.type, enabled=False):  # cosines times a scale want more than bf16's three digits
            contexts, answers = self.model.contexts(bags[:-1]), self.model.replies(*bags[-1])
            scores = contexts @ answers.T * SCALE
        same = replies[:, None] == replies
        return scores.masked_fill(same.fill_diagonal_(False), torch.finfo(scores.dtype).min)


def save_dual_encoder(model: DualEncoder, tokenizer: DialogueTokenizer, manifest: Manifest, folder: Path) -> None:
    """Writes an encoder's folder, whole or not at all: embeddings as bytes with a scale a row, the rest in half precision."""
    with atomic_folder(folder) as temporary:
        tensors = {
            name: tensor.detach().to("cpu", torch.float16).contiguous()
            for name, tensor in model.state_dict().items()
            if name != "embeddings.weight"
        }
        weight = model.embeddings.weight.detach().cpu().float()
        scales = (weight.abs().amax(dim=1) / _STEPS).clamp(min=1e-7).to(torch.float16)
        tensors["embeddings.weight"] = (weight / scales.float()[:, None]).round().clamp(-_STEPS, _STEPS).to(torch.int8)
        tensors["embeddings.scales"] = scales
        save_file(tensors, temporary / "model.safetensors")
        (temporary / "model.safetensors").chmod(0o644)  # safetensors makes it the owner's alone
        # what the vectors of an index are told apart by, here so that loading need not read every byte for it
        fingerprint = sha256_of(temporary / "model.safetensors")[:16]
        config = {**asdict(model.shape), "fingerprint": fingerprint}
        (temporary / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        tokenizer.save(temporary)
        manifest.save(temporary)


def load_dual_encoder(folder: Path, tokenizer: DialogueTokenizer) -> DualEncoder:
    """The encoder in a folder, to go on training; raises CheckpointError when there is none or it does not fit."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        shape = EncoderShape(**{field.name: int(config[field.name]) for field in fields(EncoderShape)})
        tensors: dict[str, Any] = {name: t.float() for name, t in load_file(folder / "model.safetensors").items()}
        tensors["embeddings.weight"] = tensors["embeddings.weight"] * tensors.pop("embeddings.scales")[:, None]
        model = DualEncoder(shape)
        model.load_state_dict(tensors)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"读不了双编码器 {folder}：{str(error).splitlines()[0]}") from None
    if shape.vocab_size != tokenizer.vocab_size:
        raise CheckpointError(f"{folder}：模型词表 {shape.vocab_size}，分词器词表 {tokenizer.vocab_size}；两者不配套")
    return model
