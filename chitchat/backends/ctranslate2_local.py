"""A GPT-2 on the CPU through CTranslate2, int8 by default: several times faster than PyTorch and 0.1 s to import.

Knows ids and speed; what the ids mean is `tokenization.dialogue_format`'s business. `conversion.py` makes the folder it loads.
"""

from __future__ import annotations

import errno
import logging
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ctranslate2

from chitchat.backends.base import UNFINISHED, LogProb
from chitchat.backends.conversion import convert
from chitchat.backends.model_folder import ModelFolder
from chitchat.checkpoint import Direction, weights_hash
from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate
from chitchat.errors import BackendError, CheckpointError
from chitchat.files import atomic_folder, cache_folder

logger = logging.getLogger(__name__)

SCORING_BATCH = 4
"""16 pairs of 45 tokens on one core: 209 ms one by one, 139 ms by four, 160 by eight, 171 at once: larger leaves the cache."""
MAX_CACHED_MODELS = 12
_NO_SEED = 2**32 - 1
_seed_lock = threading.Lock()


class CTranslate2Model:
    """Generator and Scorer over a GPT-2 Hugging Face folder.

    Args:
        folder: the model; converted once into the cache, and again when its weights change.
        direction: what the folder must have been trained for.
        compute_type: "int8" or "float32".
        threads: scoring batches computed side by side. One computation stays on one core: shared by two it took 1.3 s
            instead of 0.3 s on a machine that was doing something else as well.
    """

    def __init__(self, folder: Path | str, *, direction: Direction, compute_type: str = "int8", threads: int = 1) -> None:
        self.folder = ModelFolder.open(folder, direction=direction)
        self._options: dict[str, Any] = {"compute_type": compute_type, "inter_threads": threads, "intra_threads": 1}
        self._converted = cache_folder() / "ctranslate2" / f"{weights_hash(self.folder.path)}-{compute_type}"
        self._model = self._load()
        self._suppressed = [[str(i)] for i in self.folder.unspeakable_ids]

    def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
        """Replies to the last message of `context`; all candidates share one pass over it."""
        if self.folder.direction != "forward":
            raise BackendError(f"{self.folder.path} 是 reverse 模型，只能打分，不能写回复")
        prompt, room = self.folder.prompt(list(context), decoding.max_new_tokens)
        (result,) = self._run(
            decoding.seed if decoding.strategy == "sample" else None,
            start_tokens=[[str(i) for i in prompt]],
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
        return [self._candidate(ids) for ids in result.sequences_ids]

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        """log P of each pair's target, in this model's direction."""
        sequences = [self.folder.scored(list(context), reply) for context, reply in pairs]
        if not sequences:
            return []
        tokens = [[str(i) for i in s.ids] for s in sequences]
        # The library sorts by length, splits into batches and restores the order itself.
        results = self._model.score_batch(tokens, max_batch_size=SCORING_BATCH, max_input_length=0)
        # log_probs[i] is that of token i + 1: the first token has none.
        return [
            LogProb(
                float(sum(r.log_probs[s.start - 1 :])),
                len(s.ids) - s.start,
                s.truncated,
                first=float(sum(r.log_probs[s.start - 1 : s.first_end - 1])),
            )
            for r, s in zip(results, sequences, strict=True)
        ]

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

    def _run(self, seed: int | None, **arguments: Any) -> Any:
        """One generation, repeatable when there is a seed.

        CTranslate2 reads its seed once in a worker thread's life, so that seeding a model that has sampled before does nothing
        (https://github.com/OpenNMT/CTranslate2/issues/1757). A second copy of the model brings fresh threads, in 6 ms for
        8 layers of 384.
        """
        if seed is None:
            return self._model.generate_batch(**arguments)
        with _seed_lock:
            model = self._load()
            ctranslate2.set_random_seed(seed % _NO_SEED)
            try:
                return model.generate_batch(**arguments)
            finally:
                ctranslate2.set_random_seed(_NO_SEED)

    def _candidate(self, ids: list[int]) -> Candidate:
        finished = bool(ids) and ids[-1] == self.folder.tokenizer.sep_id
        return Candidate(self.folder.tokenizer.decode(ids), rejected=None if finished else UNFINISHED)

    def _load(self) -> ctranslate2.Generator:
        if self._converted.is_dir():
            try:
                return ctranslate2.Generator(str(self._converted), **self._options)
            except (RuntimeError, ValueError) as error:
                logger.warning("缓存的模型 %s 已损坏（%s），重新转换", self._converted, error)
        self._convert()
        try:
            return ctranslate2.Generator(str(self._converted), **self._options)
        except (RuntimeError, ValueError) as error:
            fault = f"ctranslate2 读不了转换后的模型（{error}）"
            raise CheckpointError(f"{self.folder.path}：{fault}；请改用 --backend transformers") from None

    def _convert(self) -> None:
        try:
            with atomic_folder(self._converted) as output:
                convert(self.folder.path, output, compute_type=self._options["compute_type"])
        except OSError as error:
            # Of two programs that start at once the slower finds the folder taken, and may use it.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                cache = self._converted.parent
                raise BackendError(f"写不了缓存 {cache}：{error.strerror}；可用环境变量 CHITCHAT_CACHE 换一个文件夹") from None
        _prune(self._converted.parent)


def _prune(folder: Path) -> None:
    """Keeps the newest conversions: each checkpoint of a training run that someone talked to leaves one."""
    by_age = sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=lambda p: p.stat().st_mtime)
    for old in by_age[:-MAX_CACHED_MODELS]:
        shutil.rmtree(old, ignore_errors=True)
