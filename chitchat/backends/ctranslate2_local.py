"""A GPT-2 on the CPU through CTranslate2, int8 by default: several times faster than PyTorch and 0.1 s to import.

Knows ids and speed; what the ids mean is `tokenization.dialogue_format`'s business. `conversion.py` makes the folder it loads.
"""

from __future__ import annotations

import fcntl
import logging
import math
import os
import shutil
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import ctranslate2

from chitchat.allocator import keep_some_memory
from chitchat.backends.base import UNFINISHED, LogProb
from chitchat.backends.conversion import convert
from chitchat.backends.model_folder import ModelFolder
from chitchat.checkpoint import Task, weights_hash
from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate
from chitchat.errors import BackendError, CheckpointError
from chitchat.files import atomic_folder, cache_folder
from chitchat.tokenization.dialogue_format import ScoredSequence

logger = logging.getLogger(__name__)

TOKENS_PER_BATCH = 384
"""Of one scoring batch, CPU time a token on 512 pairs (6 layers of 256): 76 µs at 64 tokens, 64 at 384, 67 at 1024, where the
(tokens, vocab) logits leave the cache."""
MAX_CACHED_MODELS = 12
_LOCK = ".lock"
_NO_SEED = 2**32 - 1
_AVX512 = {"avx512f", "avx512cd", "avx512vl", "avx512bw", "avx512dq"}
_seed_lock = threading.Lock()


class CTranslate2Model:
    """Generator and Scorer over a GPT-2 Hugging Face folder, whatever it was trained for.

    Args:
        folder: the model; converted once into the cache, and again when its weights change.
        direction: what the folder must have been trained for.
        compute_type: "int8" or "float32".
        threads: scoring batches computed side by side. One computation stays on one core: shared by two it took 1.3 s
            instead of 0.3 s on a machine that was doing something else as well.
    """

    def __init__(self, folder: Path | str, *, direction: Task, compute_type: str = "int8", threads: int = 1) -> None:
        self.folder = ModelFolder.open(folder, direction=direction)
        self.concurrency = threads
        _tune_process()
        self._options: dict[str, Any] = {"compute_type": compute_type, "inter_threads": threads, "intra_threads": 1}
        self._converted = cache_folder() / "ctranslate2" / f"{weights_hash(self.folder.path)}-{compute_type}"
        self._model = self._load()
        self._suppressed = [[str(i)] for i in self.folder.unspeakable_ids]

    def __reduce__(self) -> tuple[Any, ...]:
        """What another process needs to load the same model: the library's own object stays behind."""
        return _loaded, (self.folder.path, self.folder.direction, self._options["compute_type"], self.concurrency)

    def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
        """Replies to the last message of `context`; all candidates share one pass over it."""
        (candidates,) = self.generate_many([context], decoding)
        return candidates

    def generate_many(self, contexts: Sequence[Sequence[str]], decoding: DecodingConfig) -> list[list[Candidate]]:
        """`generate` for several contexts, side by side on the model's threads; with a seed the draws depend on the company.

        Only prompts of equal length are computed together: in a batch the library takes what a prompt has more than the shortest
        one for written already, in the penalties and the length limit. And 16 candidates are a batch that fills a core.
        """
        self.folder.require("forward")
        batches: dict[int, list[tuple[int, list[str]]]] = {}
        for place, context in enumerate(contexts):
            prompt, room = self.folder.prompt(list(context), decoding.max_new_tokens)
            batches.setdefault(len(prompt), []).append((place, [str(i) for i in prompt]))
        results = self._run(
            decoding.seed if decoding.strategy == "sample" else None,
            [[prompt for _, prompt in batch] for batch in batches.values()],
            include_prompt_in_result=False,
            min_length=1,
            max_length=room,
            end_token=[str(self.folder.tokenizer.sep_id)],
            return_end_token=True,
            suppress_sequences=self._suppressed,
            repetition_penalty=decoding.repetition_penalty,
            no_repeat_ngram_size=decoding.no_repeat_ngram,
            **self._search(decoding),
        )
        places = [place for batch in batches.values() for place, _ in batch]
        found = dict(zip(places, results, strict=True))
        return [[self._candidate(ids) for ids in found[place].sequences_ids] for place in range(len(contexts))]

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        """log P of each pair's target, in this model's direction; what begins another pair's sequence is computed with it."""
        sequences = [self.folder.scored(list(context), reply) for context, reply in pairs]
        if not sequences:
            return []
        longest, places = _without_beginnings([s.ids for s in sequences])
        # The library sorts by length, splits into batches and restores the order itself.
        results = self._model.score_batch(
            [[str(i) for i in ids] for ids in longest],
            max_batch_size=TOKENS_PER_BATCH,
            batch_type="tokens",
            max_input_length=0,
        )
        log_probs = [r.log_probs for r in results]
        return [_log_prob(s, log_probs[place]) for s, place in zip(sequences, places, strict=True)]

    def _search(self, decoding: DecodingConfig) -> dict[str, Any]:
        # With one token to choose from sampling is greedy search, of which the library refuses more than one hypothesis.
        if decoding.strategy == "greedy" or decoding.top_k == 1:
            return {}
        if decoding.strategy == "beam":
            width = min(decoding.num_candidates, self.folder.vocab_size // 2)
            # At patience 1 the search ends with the first `width` endings, before a longer and far likelier reply is complete.
            return {"beam_size": width, "num_hypotheses": width, "patience": 2}
        return {
            "num_hypotheses": decoding.num_candidates,
            "sampling_topk": min(decoding.top_k, self.folder.vocab_size),
            "sampling_topp": decoding.top_p,
            "sampling_temperature": decoding.temperature,
        }

    def _run(self, seed: int | None, batches: Sequence[Sequence[list[str]]], **arguments: Any) -> list[Any]:
        """The results of all prompts, batch after batch; repeatable when there is a seed.

        CTranslate2 reads its seed once in a worker thread's life, so that seeding a model that has sampled before does nothing
        (https://github.com/OpenNMT/CTranslate2/issues/1757). A second copy of the model brings fresh threads, in 6 ms for
        8 layers of 384.
        """
        if seed is None:
            return _generated(self._model, batches, arguments)
        with _seed_lock:
            model = self._load()
            ctranslate2.set_random_seed(seed % _NO_SEED)
            try:
                return _generated(model, batches, arguments)
            finally:
                ctranslate2.set_random_seed(_NO_SEED)

    def _candidate(self, ids: list[int]) -> Candidate:
        finished = bool(ids) and ids[-1] == self.folder.tokenizer.sep_id
        return Candidate(self.folder.tokenizer.decode(ids), rejected=None if finished else UNFINISHED)

    def _load(self) -> ctranslate2.Generator:
        with suppress(RuntimeError, ValueError):
            return self._open()
        cache = self._converted.parent
        try:
            cache.mkdir(parents=True, exist_ok=True)
            # of programs that start at once one converts, and none finds the folder gone while another puts its own there
            with open(cache / _LOCK, "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                return self._open_or_convert()
        except OSError as error:
            raise BackendError(f"写不了缓存 {cache}：{error.strerror}；可用环境变量 CHITCHAT_CACHE 换一个文件夹") from None

    def _open(self) -> ctranslate2.Generator:
        """The converted model; raises RuntimeError or ValueError when there is none or it is damaged."""
        return ctranslate2.Generator(str(self._converted), **self._options)

    def _open_or_convert(self) -> ctranslate2.Generator:
        try:
            return self._open()
        except (RuntimeError, ValueError) as error:
            if self._converted.is_dir():
                logger.warning("缓存的模型 %s 已损坏（%s），重新转换", self._converted, error)
        with atomic_folder(self._converted) as output:
            convert(self.folder.path, output, compute_type=self._options["compute_type"])
        _prune(self._converted.parent)
        try:
            return self._open()
        except (RuntimeError, ValueError) as error:
            fault = f"ctranslate2 读不了转换后的模型（{error}）"
            raise CheckpointError(f"{self.folder.path}：{fault}；请改用 --backend transformers") from None


def _loaded(folder: Path, direction: Task, compute_type: str, threads: int) -> CTranslate2Model:
    return CTranslate2Model(folder, direction=direction, compute_type=compute_type, threads=threads)


def _generated(model: ctranslate2.Generator, batches: Sequence[Sequence[list[str]]], arguments: dict[str, Any]) -> list[Any]:
    pending = [model.generate_batch(batch, asynchronous=True, **arguments) for batch in batches]
    return [result.result() for batch in pending for result in batch]


def _without_beginnings(sequences: Sequence[list[int]]) -> tuple[list[list[int]], list[int]]:
    """The sequences that no other one begins with, and for each given sequence the place there of one that it begins.

    A causal model's values at the beginning of a sequence do not depend on what follows.
    """
    kept: list[list[int]] = []
    places = [0] * len(sequences)
    # Backwards in alphabetical order everything that begins with a sequence stands right before it.
    for index in sorted(range(len(sequences)), key=lambda i: sequences[i], reverse=True):
        ids = sequences[index]
        if not kept or kept[-1][: len(ids)] != ids:
            kept.append(ids)
        places[index] = len(kept) - 1
    return kept, places


def _log_prob(sequence: ScoredSequence, log_probs: Sequence[float]) -> LogProb:
    """The target's part of `log_probs`, in which each is that of the next token: the first token has none."""
    target = log_probs[sequence.start - 1 : len(sequence.ids) - 1]
    num_first = sequence.first_end - sequence.start
    return LogProb(math.fsum(target), len(target), sequence.truncated, first=math.fsum(target[:num_first]))


@cache
def _tune_process() -> None:
    """Settings that the library reads once in a process, each worth 10 to 15 % of the time of scoring and of generation.

    It uses AVX-512 only when told to, and glibc hands freed logits back to the system, to take page faults for the next ones.
    """
    if _AVX512 <= _cpu_flags():
        os.environ.setdefault("CT2_FORCE_CPU_ISA", "AVX512")
    keep_some_memory()


def _cpu_flags() -> set[str]:
    """What Linux says the processor can do; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _prune(folder: Path) -> None:
    """Keeps the newest conversions: each checkpoint of a training run that someone talked to leaves one."""
    by_age = sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=lambda p: p.stat().st_mtime)
    for old in by_age[:-MAX_CACHED_MODELS]:
        shutil.rmtree(old, ignore_errors=True)
