"""The reward model: a GPT-2 that tells how a reader would like a reply, and its loss over groups of replies.

DialogRPT's idea (Gao et al. 2020, arXiv:2009.06978): the model that writes replies, with one number at the end in place of the
vocabulary, learns from pairs of replies to the same context of which one is better.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging as transformers_logging

from chitchat.errors import CheckpointError
from chitchat.tokenization.tokenizer import DialogueTokenizer
from chitchat.training.model import PackedModule

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


class GroupLoss(PackedModule):
    """Summed loss of a reward model over packed groups: each reply against all worse ones of its group."""

    def forward(
        self, input_ids: Tensor, position_ids: Tensor, group_ids: Tensor, reply_ids: Tensor, ends: Tensor, grades: Tensor
    ) -> Tensor:
        """Natural-log loss summed over the groups; the arguments are those of a `GroupBatch`."""
        return summed_listwise_loss(self.rewards(input_ids, position_ids, group_ids, reply_ids, ends), grades)

    def rewards(self, input_ids: Tensor, position_ids: Tensor, group_ids: Tensor, reply_ids: Tensor, ends: Tensor) -> Tensor:
        """(groups, replies) the reward of each reply."""
        same_group = group_ids[:, :, None] == group_ids[:, None, :]
        own_or_context = (reply_ids[:, None, :] == 0) | (reply_ids[:, :, None] == reply_ids[:, None, :])
        states = self.states(input_ids, position_ids, same_group & own_or_context)
        with torch.autocast(input_ids.device.type, enabled=False):
            last = states.reshape(-1, states.shape[-1])[ends].float()
            return self.model.score(last)[..., 0]  # type: ignore[no-any-return, operator]


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
