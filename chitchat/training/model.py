"""The model to train: a new GPT-2 or one that exists, and its loss over packed rows."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedModel
from transformers.activations import NewGELUActivation
from transformers.utils import logging as transformers_logging

from chitchat.checkpoint import Manifest
from chitchat.config import ModelConfig
from chitchat.errors import CheckpointError
from chitchat.files import atomic_folder
from chitchat.tokenization.batching import IGNORED, Batch
from chitchat.tokenization.reply_pairs import PairBatch
from chitchat.tokenization.tokenizer import DialogueTokenizer


def new_model(config: ModelConfig, tokenizer: DialogueTokenizer) -> PreTrainedModel:
    """A GPT-2 with random weights, its vocabulary the tokenizer's."""
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=tokenizer.vocab_size,
            n_positions=config.positions,
            n_embd=config.width,
            n_layer=config.layers,
            n_head=config.heads,
            resid_pdrop=config.dropout,
            embd_pdrop=config.dropout,
            attn_pdrop=config.dropout,
            bos_token_id=tokenizer.cls_id,
            eos_token_id=tokenizer.sep_id,
            pad_token_id=tokenizer.pad_id,
            # faster than SDPA when compiled in bf16 on a CPU, see docs/performance.md
            attn_implementation="eager",  # type: ignore[call-arg]
        )
    )


def load_model(folder: Path, tokenizer: DialogueTokenizer) -> PreTrainedModel:
    """The causal LM in a folder, in float32; raises CheckpointError when it does not fit the tokenizer."""
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"读不了模型 {folder}：{str(error).splitlines()[0]}") from None
    if model.config.vocab_size < tokenizer.vocab_size:
        raise CheckpointError(f"{folder}：模型词表 {model.config.vocab_size}，分词器词表 {tokenizer.vocab_size}；两者不配套")
    return model


def save_model(model: PreTrainedModel, tokenizer: DialogueTokenizer, manifest: Manifest, folder: Path) -> None:
    """Writes a Hugging Face folder with half-precision weights, whole or not at all.

    config.json says float32 all the same: loaders then compute in float32 from the stored halves, on any machine alike.
    """
    with atomic_folder(folder) as temporary:
        halves = {name: tensor.detach().to("cpu", torch.float16) for name, tensor in model.state_dict().items()}
        if model.config.tie_word_embeddings:
            halves.pop("lm_head.weight", None)  # the embeddings once more; copies are stored twice
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        model.save_pretrained(temporary, state_dict=halves)
        config = json.loads((temporary / "config.json").read_text())
        config["dtype"] = "float32"
        (temporary / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        (temporary / "model.safetensors").chmod(0o644)  # safetensors makes it the owner's alone
        tokenizer.save(temporary)
        manifest.save(temporary)


def attention_mask(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """(rows, 1, tokens, tokens) to add to attention scores: 0 where a token sees another that is not ahead, else very negative.

    `seen` is (rows, tokens, tokens), true where the first may look at the second.
    """
    causal = torch.ones(seen.shape[1:], dtype=torch.bool, device=seen.device).tril()
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~(seen & causal), torch.finfo(dtype).min)[:, None]


class PackedLoss(nn.Module):
    """Summed cross-entropy of a causal LM over packed rows.

    Each sample of a row attends to itself only and has positions of its own. The vocabulary's matrix is applied to learnt
    positions alone, a chunk at a time, so the (tokens, vocab) tensor never exists as a whole.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        for module in model.modules():
            for name, child in module.named_children():
                if isinstance(child, NewGELUActivation):
                    setattr(module, name, _Gelu())
        self._body: Any = [model.base_model]  # in a list, so that its parameters are not registered twice

    def compile_body(self) -> None:
        """Makes the body run through torch.compile; generation keeps the plain model, whose shapes change every token."""
        self._body = [torch.compile(self.model.base_model, dynamic=False)]

    def _states(self, input_ids: Tensor, position_ids: Tensor, seen: Tensor) -> Tensor:
        """(rows, tokens, width) states before the head; `seen` is `attention_mask`'s."""
        device = input_ids.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
        return self._body[0](  # type: ignore[no-any-return]
            input_ids=input_ids, attention_mask=attention_mask(seen, dtype), position_ids=position_ids, use_cache=False
        ).last_hidden_state

    def forward(self, input_ids: Tensor, labels: Tensor, position_ids: Tensor, sample_ids: Tensor) -> Tensor:
        """Natural-log loss summed over the learnt positions; every argument is (rows, tokens)."""
        hidden = self._states(input_ids, position_ids, sample_ids[:, :, None] == sample_ids[:, None, :])
        learnt = labels != IGNORED
        head: nn.Linear = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        return summed_cross_entropy(hidden[learnt], head.weight, labels[learnt])


class _Gelu(nn.Module):
    """GPT-2's GELU, 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))), without the slow tanh."""

    def forward(self, x: Tensor) -> Tensor:
        return _GeluWithSlope.apply(x)  # type: ignore[no-any-return, no-untyped-call]


class _GeluWithSlope(torch.autograd.Function):
    """x sigmoid(u), u twice the argument of that tanh; the slope is made on the way and kept in place of x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        wide = x.float()
        scale = 2 * math.sqrt(2 / math.pi)
        square = wide * wide
        sigmoid = torch.sigmoid(wide * (scale + 0.044715 * scale * square))
        result = wide * sigmoid
        slope = sigmoid + result * (1 - sigmoid) * (scale + 3 * 0.044715 * scale * square)
        ctx.save_for_backward(slope.to(x.dtype))
        return result.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return grad * slope  # type: ignore[no-any-return]


def batch_tensors(batch: Batch | PairBatch, device: torch.device | str) -> tuple[Tensor, ...]:
    """A batch as the arguments of its loss's `forward`."""
    return tuple(torch.from_numpy(a).to(device, non_blocking=True) for a in batch.arrays)


_SOFTMAX_ROWS = 128
_SMALLEST = torch.finfo(torch.float32).tiny
"""A probability whose logarithm is finite: a token's loss is 87 nats at most."""


def summed_cross_entropy(hidden: Tensor, weight: Tensor, labels: Tensor, *, chunk_tokens: int = 1024) -> Tensor:
    """-Σ log softmax(hidden @ weight.T)[label]; hidden is (tokens, width), weight (vocab, width), labels (tokens,)."""
    return _SummedCrossEntropy.apply(hidden, weight, labels, chunk_tokens)  # type: ignore[no-any-return, no-untyped-call]


class _SummedCrossEntropy(torch.autograd.Function):
    """Gradients are made in the forward pass, chunk by chunk, so that no chunk's logits are kept or computed twice.

    The idea is Liger Kernel's fused linear cross-entropy (Hsu et al. 2024, arXiv:2410.10989, section 3.2).
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, chunk_tokens: int) -> Tensor:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        with torch.autocast(device, enabled=False):
            narrow = weight.to(dtype)
            total = torch.zeros((), dtype=torch.float32, device=hidden.device)
            needs_grad = any(ctx.needs_input_grad[:2])
            grad_hidden = torch.empty_like(hidden) if needs_grad else None
            grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_grad else None
            for start in range(0, len(hidden), chunk_tokens):
                states, wanted = hidden[start : start + chunk_tokens].to(dtype), labels[start : start + chunk_tokens, None]
                logits = states @ narrow.T
                # few rows at a time, whose float32 probabilities stay in the cache; they become the gradient where logits were
                for part, label in zip(torch.split(logits, _SOFTMAX_ROWS), torch.split(wanted, _SOFTMAX_ROWS), strict=True):
                    probs = torch.softmax(part, dim=-1, dtype=torch.float32)
                    total -= probs.gather(1, label).clamp_min(_SMALLEST).log().sum()
                    part.copy_(probs.scatter_add_(1, label, probs.new_full(label.shape, -1.0)))
                if grad_hidden is None or grad_weight is None:
                    continue
                grad_hidden[start : start + chunk_tokens] = logits @ narrow
                grad_weight += logits.T @ states
        ctx.save_for_backward(grad_hidden, grad_weight)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        if grad_hidden is None:
            return None, None, None, None
        return grad_hidden * grad, grad_weight * grad, None, None
