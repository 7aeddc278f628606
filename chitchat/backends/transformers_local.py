"""Any causal LM that transformers can load, on any device: for GPUs, old checkpoints and models CTranslate2 cannot convert.

The model's vocabulary must be of BERT format. Same options, same log-probabilities as `ctranslate2_local`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    GPT2Config,
    LogitsProcessor,
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    PretrainedConfig,
    RepetitionPenaltyLogitsProcessor,
)
from transformers.utils import logging

from chitchat.backends.base import UNFINISHED, LogProb
from chitchat.backends.model_folder import ModelFolder, batches_by_length
from chitchat.checkpoint import Task, read_config
from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate
from chitchat.errors import BackendError, CheckpointError
from chitchat.tokenization.dialogue_format import ScoredSequence

TOKENS_PER_BATCH = {"cpu": 512, "other": 8192}
"""Padded tokens of one scoring batch; on a CPU larger ones leave the cache with the (tokens, vocab) logits."""


class TransformersModel:
    """Generator and Scorer over a Hugging Face folder, whatever it was trained for.

    Args:
        folder: the model, with `vocab.txt` or a WordPiece `tokenizer.json`.
        direction: what the folder must have been trained for.
        device: "auto" (cuda when there is one), "cpu", "cuda", "cuda:1", "mps".
        threads: torch's threads for the whole process; None leaves them.
    """

    concurrency = 1

    def __init__(self, folder: Path | str, *, direction: Task, device: str = "auto", threads: int | None = None) -> None:
        self.folder = ModelFolder.open(folder, direction=direction)
        if threads is not None:
            torch.set_num_threads(threads)
        self.device = _device(device)
        self._model: Any = _load(self.folder).to(self.device).eval()
        if self.device.type == "cuda":
            self._model.half()
        # What the folder says of ids is often gpt2's own 50256, beyond the vocabulary (GPT2-chitchat).
        self._model.generation_config = self._generation_config()

    @torch.inference_mode()
    def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
        """Replies to the last message of `context`."""
        self.folder.require("forward")
        prompt, room = self.folder.prompt(list(context), decoding.max_new_tokens)
        input_ids = torch.tensor([prompt], device=self.device)
        with self._seeded(decoding.seed):
            output = self._model.generate(
                input_ids,
                attention_mask=torch.ones_like(input_ids),
                generation_config=self._generation_config(min_new_tokens=1, max_new_tokens=room, **self._search(decoding)),
                logits_processor=_on_reply(decoding, len(prompt)),
            )
        return [self._candidate(row) for row in output[:, len(prompt) :].tolist()]

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        """log P of each pair's target, in this model's direction."""
        sequences = [self.folder.scored(list(context), reply) for context, reply in pairs]
        log_probs: list[Tensor] = [torch.empty(0)] * len(sequences)
        for batch in batches_by_length([len(s.ids) for s in sequences], self._tokens_per_batch):
            for index, of_tokens in zip(batch, self._log_probs([sequences[i] for i in batch]), strict=True):
                log_probs[index] = of_tokens
        return [
            LogProb(float(p.sum()), len(p), s.truncated, first=float(p[: s.first_end - s.start].sum()))
            for p, s in zip(log_probs, sequences, strict=True)
        ]

    @property
    def _tokens_per_batch(self) -> int:
        return TOKENS_PER_BATCH["cpu" if self.device.type == "cpu" else "other"]

    def _padded(self, sequences: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        """(sequences, tokens) ids and which of them count."""
        width = max(map(len, sequences))
        ids = torch.tensor([s + [self.folder.tokenizer.pad_id] * (width - len(s)) for s in sequences], device=self.device)
        lengths = torch.tensor([[len(s)] for s in sequences], device=self.device)
        return ids, (torch.arange(width, device=self.device)[None, :] < lengths).long()

    @torch.inference_mode()
    def _log_probs(self, sequences: Sequence[ScoredSequence]) -> list[Tensor]:
        """The log-probability of each target token of each sequence, from one padded pass."""
        ids, mask = self._padded([s.ids for s in sequences])
        starts = torch.tensor([[s.start] for s in sequences], device=self.device)
        positions = torch.arange(ids.shape[1], device=self.device)[None, :]
        logits = self._model(ids, attention_mask=mask, use_cache=False).logits
        is_target = ((positions >= starts) & mask.bool())[:, 1:]
        log_probs = torch.log_softmax(logits[:, :-1][is_target].float(), dim=-1)
        picked = log_probs.gather(1, ids[:, 1:][is_target][:, None])[:, 0].double()
        return list(torch.split(picked, is_target.sum(1).tolist()))

    def _generation_config(self, **settings: Any) -> GenerationConfig:
        return GenerationConfig(  # type: ignore[no-untyped-call]
            eos_token_id=self.folder.tokenizer.sep_id,
            pad_token_id=self.folder.tokenizer.pad_id,
            suppress_tokens=self.folder.unspeakable_ids,
            **settings,
        )

    def _search(self, decoding: DecodingConfig) -> dict[str, Any]:
        if decoding.strategy == "greedy":
            return {"do_sample": False}
        if decoding.strategy == "beam":
            width = min(decoding.num_candidates, self.folder.vocab_size // 2)
            return {"do_sample": False, "num_beams": width, "num_return_sequences": width}
        return {
            "do_sample": True,
            "num_return_sequences": decoding.num_candidates,
            "temperature": decoding.temperature,
            "top_k": decoding.top_k,
            "top_p": decoding.top_p,
        }

    @contextmanager
    def _seeded(self, seed: int | None) -> Iterator[None]:
        """Samples from `seed` and leaves the process's random state as it was."""
        if seed is None:
            yield
            return
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield

    def _candidate(self, ids: list[int]) -> Candidate:
        sep = self.folder.tokenizer.sep_id
        finished = sep in ids
        text = self.folder.tokenizer.decode(ids[: ids.index(sep)] if finished else ids)
        return Candidate(text, rejected=None if finished else UNFINISHED)


class _OnReply(LogitsProcessor):
    """Shows a processor the reply without the prompt: what the user said may be said again (CTranslate2 does the same)."""

    def __init__(self, inner: LogitsProcessor, prompt_length: int) -> None:
        self._inner = inner
        self._prompt_length = prompt_length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        processed: Tensor = self._inner(input_ids[:, self._prompt_length :], scores)
        return processed


def _on_reply(decoding: DecodingConfig, prompt_length: int) -> LogitsProcessorList:
    processors: list[LogitsProcessor] = []
    if decoding.repetition_penalty != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(decoding.repetition_penalty))
    if decoding.no_repeat_ngram:
        processors.append(NoRepeatNGramLogitsProcessor(decoding.no_repeat_ngram))
    return LogitsProcessorList([_OnReply(p, prompt_length) for p in processors])


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise BackendError(f"不能用设备 {name}：{str(error).splitlines()[0]}；可用 --device cpu") from None
    return device


def _load(folder: ModelFolder) -> Any:
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder.path, config=_config(folder.path), dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"读不了模型 {folder.path}：{str(error).splitlines()[0]}") from None
    model, report = loaded
    # transformers fills what is missing with random numbers and only warns.
    if missing := sorted(report["missing_keys"]):
        raise CheckpointError(f"{folder.path} 的权重不完整：缺少 {missing[0]} 等 {len(missing)} 个张量；请重新训练或重新下载")
    return model


def _config(path: Path) -> PretrainedConfig:
    # GPT2-chitchat's first configurations do not say what they are.
    if "model_type" not in read_config(path):
        return GPT2Config.from_pretrained(path)
    config: PretrainedConfig = AutoConfig.from_pretrained(path, local_files_only=True)
    return config
