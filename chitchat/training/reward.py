"""The reward model: a GPT-2 that tells how a reader would like a reply, and its loss over groups of replies.

DialogRPT's idea (Gao et al. 2020, arXiv:2009.06978): the model that writes replies, with one number at the end in place of the
vocabulary, learns from pairs of replies to the same context of which one is better.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging as transformers_logging

from chitchat.errors import CheckpointError
from chitchat.tokenization.tokenizer import DialogueTokenizer

DROPOUT = 0.1
"""Graded replies are few and come by many times."""


def load_reward_model(folder: Path, tokenizer: DialogueTokenizer) -> PreTrainedModel:
    """The reward model in a folder, or a causal LM's body with a new head; raises CheckpointError when it does not fit."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # that the head is new is no news
    try:
        model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=1,
            resid_pdrop=DROPOUT,
            embd_pdrop=DROPOUT,
            attn_pdrop=DROPOUT,
            pad_token_id=tokenizer.pad_id,
            dtype=torch.float32,
            attn_implementation="eager",
            local_files_only=True,
        )
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"读不了模型 {folder}：{str(error).splitlines()[0]}") from None
    finally:
        transformers_logging.set_verbosity(verbosity)
    if model.config.vocab_size < tokenizer.vocab_size:
        raise CheckpointError(f"{folder}：模型词表 {model.config.vocab_size}，分词器词表 {tokenizer.vocab_size}；两者不配套")
    return model


class GroupLoss(nn.Module):
    """Summed loss of a reward model over packed groups: each reply against all worse ones of its group."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self._body: Any = [model.base_model]  # in a list, so that its parameters are not registered twice

    def compile_body(self) -> None:
        """Makes the body run through torch.compile."""
        self._body = [torch.compile(self.model.base_model, dynamic=False)]

    def forward(
        self, input_ids: Tensor, position_ids: Tensor, group_ids: Tensor, reply_ids: Tensor, ends: Tensor, grades: Tensor
    ) -> Tensor:
        """Natural-log loss summed over the groups; the arguments are those of a `GroupBatch`."""
        return summed_listwise_loss(self.rewards(input_ids, position_ids, group_ids, reply_ids, ends), grades)

    def rewards(self, input_ids: Tensor, position_ids: Tensor, group_ids: Tensor, reply_ids: Tensor, ends: Tensor) -> Tensor:
        """(groups, replies) the reward of each reply."""
        device = input_ids.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
        hidden = self._body[0](
            input_ids=input_ids,
            attention_mask=group_attention_mask(group_ids, reply_ids, dtype),
            position_ids=position_ids,
            use_cache=False,
        ).last_hidden_state
        with torch.autocast(device, enabled=False):
            states = hidden.reshape(-1, hidden.shape[-1])[ends].float()
            return self.model.score(states)[..., 0]  # type: ignore[no-any-return, operator]


def group_attention_mask(group_ids: Tensor, reply_ids: Tensor, dtype: torch.dtype) -> Tensor:
    """(rows, 1, tokens, tokens) to add to attention scores: 0 where a token looks back at its context or its own reply."""
    same_group = group_ids[:, None, :, None] == group_ids[:, None, None, :]
    seen = (reply_ids[:, None, None, :] == 0) | (reply_ids[:, None, :, None] == reply_ids[:, None, None, :])
    size = group_ids.shape[1]
    causal = torch.ones(size, size, dtype=torch.bool, device=group_ids.device).tril()
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~(same_group & seen & causal), torch.finfo(dtype).min)


def wrong_pairs(rewards: Tensor, grades: Tensor) -> Tensor:
    """(groups,) the share of each group's pairs of different grade in which the better one has no higher reward."""
    worse = (grades[:, :, None] > grades[:, None, :]) & (grades[:, None, :] >= 0)
    missed = worse & (rewards[:, :, None] <= rewards[:, None, :])
    return missed.sum(dim=(1, 2)) / worse.sum(dim=(1, 2)).clamp(min=1)


def summed_listwise_loss(rewards: Tensor, grades: Tensor) -> Tensor:
    """Σ over groups of the mean, over replies that are better than some, of -log softmax among themselves and all worse ones.

    With one good reply this is the cross-entropy of picking it; with two replies Bradley and Terry's (1952). Both arguments are
    (groups, replies), a grade of -1 standing for no reply.
    """
    worse = (grades[:, :, None] > grades[:, None, :]) & (grades[:, None, :] >= 0)
    leads = (rewards[:, None, :] - rewards[:, :, None]).masked_fill(~worse, float("-inf"))
    losses = torch.logsumexp(torch.cat([leads, torch.zeros_like(rewards)[..., None]], dim=-1), dim=-1)
    counted = worse.any(dim=-1)
    of_groups = (losses * counted).sum(dim=-1) / counted.sum(dim=-1).clamp(min=1)
    return of_groups.sum()
