"""How good a model is on held-out dialogues, and what it says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from chitchat.tokenization.batching import Batch, collate, pack
from chitchat.tokenization.samples import Samples
from chitchat.tokenization.tokenizer import DialogueTokenizer
from chitchat.training.model import PackedLoss, batch_tensors

PROMPTS = ("你好", "你叫什么名字？", "今天好累啊", "我失恋了", "周末去哪儿玩好呢", "给我讲个笑话", "我家猫又把杯子打翻了")


@dataclass(frozen=True)
class ValidationSet:
    """Packed rows of one corpus's held-out samples, the same at every validation."""

    name: str
    batches: tuple[Batch, ...]
    num_chars: int
    """Characters of the learnt messages."""

    @classmethod
    def build(
        cls, name: str, samples: Samples, *, max_rows: int, rows_per_batch: int, row_tokens: int, pad_id: int, seed: int = 0
    ) -> ValidationSet:
        """Up to `max_rows` rows, drawn at random."""
        rows = pack(samples.lengths, np.random.default_rng(seed).permutation(len(samples)), row_tokens)[:max_rows]
        chars = sum(int(samples.chars[index]) for row in rows for index in row)
        packed = [[samples[index] for index in row] for row in rows]
        packed.extend([[]] * (-len(packed) % rows_per_batch))  # full batches only: compiled models want one shape
        batches = (collate(packed[i : i + rows_per_batch], row_tokens, pad_id) for i in range(0, len(packed), rows_per_batch))
        return cls(name, tuple(batches), chars)


@torch.no_grad()
def validate(loss: PackedLoss, data: Sequence[ValidationSet], *, device: torch.device, autocast: bool) -> dict[str, float]:
    """Mean loss in nats per learnt token, with perplexity per token and per character, over all corpora and of each.

    Perplexity per character counts every `[SEP]` as belonging to its message, so models of different vocabularies compare.
    """
    was_training = loss.training
    loss.eval()
    total, tokens, chars = 0.0, 0, 0
    of_each: dict[str, float] = {}
    for corpus in data:
        corpus_total = 0.0
        for batch in corpus.batches:
            with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
                corpus_total += float(loss(*batch_tensors(batch, device)))
            tokens += batch.num_targets
        total, chars = total + corpus_total, chars + corpus.num_chars
        of_each[f"perplexity_per_char/{corpus.name}"] = _perplexity(corpus_total, corpus.num_chars)
    loss.train(was_training)
    return {
        "validation_loss": total / max(tokens, 1),
        "perplexity_per_token": _perplexity(total, tokens),
        "perplexity_per_char": _perplexity(total, chars),
        **of_each,
    }


def _perplexity(total: float, count: int) -> float:
    return math.exp(min(total / max(count, 1), 50))


@torch.no_grad()
def sample_replies(
    model: PreTrainedModel, tokenizer: DialogueTokenizer, prompts: Sequence[str] = PROMPTS, *, seed: int = 0
) -> Iterator[tuple[str, str]]:
    """(prompt, reply) for each prompt, leaving the random state of the run as it was.

    A reverse model answers with the message it believes came before.
    """
    was_training = model.training
    model.eval()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for prompt in prompts:
            ids = torch.tensor([[tokenizer.cls_id, *tokenizer.encode(prompt), tokenizer.sep_id]], device=model.device)
            generated = model.generate(  # type: ignore[operator]
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                top_k=20,
                top_p=0.9,
                temperature=0.8,
                max_new_tokens=40,
                eos_token_id=tokenizer.sep_id,
                pad_token_id=tokenizer.pad_id,
            )
            yield prompt, tokenizer.decode(generated[0, ids.shape[1] :].tolist())
    model.train(was_training)
