"""A GPT-2 Hugging Face folder to a CTranslate2 folder, from the safetensors alone: neither torch nor transformers is needed.

CTranslate2's own converter wants both, takes 4 s to import them and fails on a configuration without a bos or eos token.
Tokens are named by their id ("0", "1", …): duplicates in a vocabulary, or rows beyond it, then never matter.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chitchat.checkpoint import read_config
from chitchat.errors import CheckpointError

_ADVICE = "请改用 --backend transformers"
_ACTIVATIONS = {"gelu_new": "GELUTanh", "gelu_pytorch_tanh": "GELUTanh", "gelu_fast": "GELUTanh", "gelu": "GELU", "relu": "RELU"}
_EPSILON = 1e-5


def obstacle(folder: Path) -> str | None:
    """Why this folder cannot be converted, as far as its configuration tells, or None."""
    config = read_config(folder)
    if (kind := config.get("model_type", "gpt2")) != "gpt2":
        return f"ctranslate2 后端只认 GPT-2，这里是 {kind}"
    if not any(folder.glob("*.safetensors")):
        return "没有 safetensors 权重"
    if config.get("activation_function", "gelu_new") not in _ACTIVATIONS:
        return f"ctranslate2 后端不支持激活函数 {config['activation_function']}"
    odd = [k for k in ("scale_attn_by_inverse_layer_idx", "add_cross_attention") if config.get(k)]
    if config.get("scale_attn_weights") is False:
        odd.append("scale_attn_weights")
    return f"ctranslate2 后端不支持 {'、'.join(odd)} 的设置" if odd else None


def convert(folder: Path, output: Path, *, compute_type: str) -> None:
    """Writes `folder`'s model to the existing folder `output`.

    Raises CheckpointError when it is not a GPT-2 with all its tensors in safetensors.
    """
    if fault := obstacle(folder):
        raise CheckpointError(f"{folder}：{fault}；{_ADVICE}")
    with _torch_hidden():
        from ctranslate2 import specs

    config = read_config(folder)
    try:
        weights = _Weights(folder)
        spec = specs.TransformerDecoderModelSpec.from_config(
            int(config["n_layer"]),
            int(config["n_head"]),
            pre_norm=True,
            activation=specs.Activation[_ACTIVATIONS[config.get("activation_function", "gelu_new")]],
        )
        _fill(spec.decoder, weights)
        _check_sizes(spec.decoder, config)
        spec.register_vocabulary([str(i) for i in range(len(spec.decoder.embeddings.weight))])
        # Never used, for every call names its own end; but the loader wants tokens it knows.
        spec.config.bos_token = spec.config.eos_token = spec.config.unk_token = "0"
        if (epsilon := config.get("layer_norm_epsilon", _EPSILON)) != _EPSILON:
            spec.config.add_attribute("layer_norm_epsilon", epsilon)
        spec.validate()
        spec.optimize(quantization=compute_type)
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise CheckpointError(f"{folder}：不是完整的 GPT-2 权重（{error}）；{_ADVICE}") from None
    spec.save(str(output))


class _Weights:
    """The tensors of a folder as float32, by their names without the `transformer.` prefix.

    What no one asks for, such as the `attn.bias` and `attn.masked_bias` buffers of old checkpoints, is never read.
    """

    def __init__(self, folder: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self._files: dict[str, tuple[Any, str]] = {}
        for path in sorted(folder.glob("*.safetensors")):
            try:
                stream = safe_open(path, framework="numpy")
            except SafetensorError as error:
                raise CheckpointError(f"{path} 已损坏（{error}）；请重新训练或重新下载该模型") from None
            for name in stream.keys():  # type: ignore[no-untyped-call]
                self._files[name.removeprefix("transformer.")] = (stream, name)

    def get(self, name: str) -> Any:
        """The tensor; raises KeyError naming it when it is missing."""
        if name not in self._files:
            raise KeyError(f"缺少 {name}")
        stream, full_name = self._files[name]
        return stream.get_tensor(full_name).astype("float32")

    @property
    def head(self) -> Any:
        """(vocab, width)"""
        return self.get("lm_head.weight" if "lm_head.weight" in self._files else "wte.weight")


def _fill(decoder: Any, weights: _Weights) -> None:
    decoder.scale_embeddings = False
    decoder.embeddings.weight = weights.get("wte.weight")
    decoder.position_encodings.encodings = weights.get("wpe.weight")
    decoder.projection.weight = weights.head
    _layer_norm(decoder.layer_norm, weights, "ln_f")
    for index, layer in enumerate(decoder.layer):
        prefix = f"h.{index}."
        _layer_norm(layer.self_attention.layer_norm, weights, prefix + "ln_1")
        _linear(layer.self_attention.linear[0], weights, prefix + "attn.c_attn")
        _linear(layer.self_attention.linear[1], weights, prefix + "attn.c_proj")
        _layer_norm(layer.ffn.layer_norm, weights, prefix + "ln_2")
        _linear(layer.ffn.linear_0, weights, prefix + "mlp.c_fc")
        _linear(layer.ffn.linear_1, weights, prefix + "mlp.c_proj")


def _check_sizes(decoder: Any, config: dict[str, Any]) -> None:
    # CTranslate2 would read beyond a table that is smaller than the configuration says.
    for key, table in (("vocab_size", decoder.embeddings.weight), ("n_positions", decoder.position_encodings.encodings)):
        if len(table) != int(config.get(key, len(table))):
            raise ValueError(f"config.json 说 {key} 是 {config[key]}，权重有 {len(table)} 行")


def _layer_norm(spec: Any, weights: _Weights, name: str) -> None:
    spec.gamma = weights.get(name + ".weight")
    spec.beta = weights.get(name + ".bias")


def _linear(spec: Any, weights: _Weights, name: str) -> None:
    # GPT-2's Conv1D keeps (in, out); CTranslate2 wants (out, in).
    spec.weight = weights.get(name + ".weight").T.copy()
    spec.bias = weights.get(name + ".bias")


@contextmanager
def _torch_hidden() -> Iterator[None]:
    """`ctranslate2.specs` imports torch when it is installed (1.4 s) only to recognise tensors, of which we give it none.

    Remove when https://github.com/OpenNMT/CTranslate2 imports it lazily (4.8.5 does not).
    """
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["torch"]
