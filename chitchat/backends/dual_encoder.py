"""Contexts and replies as vectors that are near where one answers the other: the dual encoder, read with NumPy.

What it is and how it learns is in `training/dual_encoder.py`. A context takes less than half a millisecond.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chitchat.backends.base import Vectors
from chitchat.checkpoint import read_manifest
from chitchat.errors import CheckpointError
from chitchat.tokenization.bags import bags
from chitchat.tokenization.reply_pairs import CONTEXT_MESSAGES
from chitchat.tokenization.tokenizer import DialogueTokenizer

_AT_A_TIME = 1024


class NumpyEncoder:
    """Encoder over a folder that `chitchat train encoder` wrote.

    Attributes:
        size: numbers of a vector.
        fingerprint: sixteen hex digits of its weights; vectors of different ones must not meet.
    """

    def __init__(self, folder: Path | str) -> None:
        """Raises CheckpointError when the folder is no encoder, damaged or trained with another vocabulary."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        self._folder = folder = Path(folder)
        manifest = read_manifest(folder, "encoder")
        self._tokenizer = DialogueTokenizer.load(folder)
        if manifest is not None and manifest.vocab_fingerprint != self._tokenizer.fingerprint:
            raise CheckpointError(f"{folder}：词表与训练时的不同；请放回训练时的 vocab.txt")
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            self._buckets, self.size = int(config["buckets"]), int(config["size"])
            self.fingerprint = str(config["fingerprint"])
            tensors = load_file(folder / "model.safetensors")
            self._embeddings, self._scales = tensors.pop("embeddings.weight"), tensors.pop("embeddings.scales")
            if len(self._embeddings) != self._tokenizer.vocab_size + self._buckets:
                raise ValueError("词表与权重的行数不符")
            self._weights = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
            self.contexts([["好"]]), self.replies(["好"])
        except (OSError, ValueError, TypeError, KeyError, IndexError, SafetensorError) as error:
            raise CheckpointError(f"{folder}：双编码器已损坏（{error}）；请用 chitchat train encoder 重新训练") from None

    def __reduce__(self) -> tuple[type[NumpyEncoder], tuple[Path]]:
        """For another process: it reads the folder itself."""
        return NumpyEncoder, (self._folder,)

    def contexts(self, contexts: Sequence[Sequence[str]]) -> Vectors:
        """(contexts, size) unit vectors; of each the last messages are read, oldest first."""
        found = [self._context_vectors(contexts[at : at + _AT_A_TIME]) for at in range(0, len(contexts), _AT_A_TIME)]
        return np.concatenate(found) if found else np.zeros((0, self.size), np.float32)

    def replies(self, replies: Sequence[str]) -> Vectors:
        """(replies, size) unit vectors."""
        found = [self._reply_vectors(replies[at : at + _AT_A_TIME]) for at in range(0, len(replies), _AT_A_TIME)]
        return np.concatenate(found) if found else np.zeros((0, self.size), np.float32)

    def _context_vectors(self, contexts: Sequence[Sequence[str]]) -> Vectors:
        last_first = [[*reversed(context[-CONTEXT_MESSAGES:])] for context in contexts]
        summed = [self._summed([c[back] if back < len(c) else None for c in last_first]) for back in range(CONTEXT_MESSAGES)]
        return self._side("context", np.concatenate(summed, axis=1), summed[0])

    def _reply_vectors(self, replies: Sequence[str]) -> Vectors:
        summed = self._summed(replies)
        return self._side("reply", summed, summed)

    def _side(self, name: str, inputs: Vectors, skipped: Vectors) -> Vectors:
        hidden = _gelu(self._linear(f"{name}_side.0", inputs))
        vectors = self._linear(f"{name}_side.3", hidden) + skipped @ self._weights[f"{name}_skip.weight"].T
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)  # type: ignore[no-any-return]

    def _linear(self, name: str, inputs: Vectors) -> Vectors:
        return inputs @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _summed(self, messages: Sequence[str | None]) -> Vectors:
        """(messages, width): the sum of a bag's embeddings over √ids; zero where there is no message."""
        ids, with_sep = self._tokenizer.encode_all([m or "" for m in messages])
        found = bags(
            ids, np.cumsum(with_sep) - with_sep, with_sep - 1, vocab_size=self._tokenizer.vocab_size, buckets=self._buckets
        )
        rows = self._embeddings[found.ids].astype(np.float32)
        rows *= self._scales[found.ids, None]
        summed = np.zeros((len(messages), rows.shape[1]), np.float32)
        full = found.sizes > 0
        if full.any():
            summed[full] = np.add.reduceat(rows, found.offsets[full]) / np.sqrt(found.sizes[full], dtype=np.float32)[:, None]
        return summed


def _gelu(x: Vectors) -> Vectors:
    """The tanh form (Hendrycks and Gimpel 2016, arXiv:1606.08415), as the encoder was trained with."""
    cube = x * x * x  # x**3 goes through pow, at fifty times the time
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * cube)))  # type: ignore[no-any-return]
