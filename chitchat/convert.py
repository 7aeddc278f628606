"""A model folder -> a smaller one that talks the same: fewer tokens, fewer layers, half-precision safetensors.

Works on the tensors themselves with NumPy. Only weights that NumPy cannot read (`pytorch_model.bin`, bfloat16) need torch.
int8 is not made here: the CTranslate2 backend does that by itself when it loads a folder.
"""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from chitchat.backends.model_folder import ModelFolder
from chitchat.checkpoint import Task, model_folders, read_config, read_manifest
from chitchat.config import PrepareConfig
from chitchat.corpus.splitting import Split
from chitchat.errors import CheckpointError, ConfigError, CorpusError
from chitchat.files import atomic_folder
from chitchat.prepare import prepare
from chitchat.tokenization.tokenizer import SPECIAL_TOKENS, DialogueTokenizer

Dtype = Literal["float16", "float32"]
Tensors: TypeAlias = dict[str, NDArray[Any]]
"""By their names without the `transformer.` prefix."""

_HEAD = "lm_head.weight"
_REWARD_HEAD = "score.weight"
_OUTSIDE_LAYERS = ("wte.weight", "wpe.weight", "ln_f.weight", "ln_f.bias")
_IN_A_LAYER = tuple(
    f"{module}.{kind}"
    for module in ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")
    for kind in ("weight", "bias")
)
_BESIDE_THE_MODELS = ("ranker.json", "generic_replies.txt", "persona.yaml", "retrieval", "acts", "encoder", "reward")
"""What a pair talks with besides its models; the model card and the training records tell of other weights."""


@dataclass(frozen=True)
class Conversion:
    """What became of one model."""

    folder: Path
    tokens: tuple[int, int]
    """Rows of the embedding before and after."""
    layers: tuple[int, int]
    weight_bytes: tuple[int, int]
    """Size of the weight files on disk."""


def convert_model(
    source: Path,
    output: Path,
    *,
    trim_vocab: Sequence[Path] = (),
    min_count: int = 1,
    keep_layers: Sequence[int] | None = None,
    max_layers: int | None = None,
    dtype: Dtype = "float16",
    overwrite: bool = False,
) -> list[Conversion]:
    """Writes a smaller copy of a model, whole or not at all, and returns what became of each of its models.

    Args:
        source: a model with `forward/` and perhaps `reverse/`, or one GPT-2 folder; one named `reverse` is
            taken for a reverse model.
        trim_vocab: corpora; only tokens of their training dialogues are kept, so that figures measured on the held-out ones stay
            honest. Special tokens, ASCII and punctuation are always kept. Empty keeps the whole vocabulary.
        min_count: how often a token must occur in them.
        keep_layers: the layers to keep, counted from 0, in each model.
        max_layers: keeps the first layers of each model and the last, this many in all; models with fewer stay whole.
        dtype: what the weights are stored as; they are computed in float32 or int8 all the same.

    Raises:
        CheckpointError: `source` is no complete GPT-2, or has not all of `keep_layers`.
        CorpusError: a corpus that cannot be read, has no dialogues, or is too small to make a vocabulary.
        ConfigError: options that contradict each other, an `output` that exists and may not be replaced.
        ModuleNotFoundError: the weights need torch and it is not installed.
    """
    if keep_layers is not None and max_layers is not None:
        raise ConfigError("--keep-layers 与 --layers 只能给一个")
    if max_layers is not None and max_layers < 1:
        raise ConfigError(f"--layers 应不小于 1，得到 {max_layers}")
    if min_count < 1:
        raise ConfigError(f"--min-count 应不小于 1，得到 {min_count}")
    folders = _folders(source)
    _check_output(source, output, overwrite=overwrite)
    chosen = {name: _chosen_layers(folder, keep_layers, max_layers) for name, (folder, _) in folders.items()}
    conversions = []
    with atomic_folder(output) as temporary:
        for name, (path, direction) in folders.items():
            folder = ModelFolder.open(path, direction=direction)
            kept = _kept_tokens(folder, trim_vocab, min_count)
            conversion = _convert(folder, temporary / name, kept, chosen[name], dtype, source.resolve().name)
            conversions.append(conversion)
        for name in _BESIDE_THE_MODELS:
            if (source / name).is_dir():
                shutil.copytree(source / name, temporary / name)
            elif (source / name).is_file():
                shutil.copy(source / name, temporary / name)
    return [replace(c, folder=output / c.folder.relative_to(temporary)) for c in conversions]


def _folders(source: Path) -> dict[str, tuple[Path, Task]]:
    """Each model by its place inside the output, "" for a lone one."""
    forward, reverse = model_folders(source)
    if forward == source:
        return {"": (source, "reverse" if source.resolve().name == "reverse" else "forward")}
    found: dict[str, tuple[Path, Task]] = {"forward": (forward, "forward")}
    if reverse is not None:
        found["reverse"] = (reverse, "reverse")
    return found


def _check_output(source: Path, output: Path, *, overwrite: bool) -> None:
    if source.resolve().is_relative_to(output.resolve()):
        raise ConfigError(f"{output} 是原来的模型或它的上级文件夹；请换一个 --output")
    if not output.exists():
        return
    if not overwrite:
        raise ConfigError(f"{output} 已经存在；加 --overwrite 覆盖它，或换一个 --output")
    try:
        model_folders(output)
    except CheckpointError:
        raise ConfigError(f"{output} 已经存在，而且不是模型文件夹；请换一个 --output") from None


def _chosen_layers(folder: Path, keep_layers: Sequence[int] | None, max_layers: int | None) -> list[int]:
    """The layers of a model that stay, in order."""
    config = read_config(folder)
    if config.get("model_type", "gpt2") != "gpt2" or "n_layer" not in config:
        raise CheckpointError(f"{folder}：只能转换 GPT-2，这里是 {config.get('model_type', '未知的模型')}")
    count = int(config["n_layer"])
    if keep_layers is not None:
        chosen = sorted(set(keep_layers))
        if not chosen or chosen[0] < 0 or chosen[-1] >= count:
            fault = f"{folder} 有 {count} 层（0 到 {count - 1}），不能保留 {','.join(map(str, keep_layers)) or '零层'}"
            raise CheckpointError(f"{fault}；请改 --keep-layers，或用 --layers N，或对 forward/ 与 reverse/ 分别转换")
        return chosen
    # The layers before the last are missed least (Gromov et al. 2024, arXiv:2403.17887, section 4.4): of models/xiaoxu's six
    # 0,1,2,5 left a perplexity of 70 per character, evenly spaced 0,2,3,5 one of 179; whatever lacked the first, over 2000.
    wanted = min(max_layers or count, count)
    return [0, *range(1, wanted - 1), count - 1][:wanted]


def _kept_tokens(folder: ModelFolder, corpora: Sequence[Path], min_count: int) -> list[int]:
    """The ids that stay, ascending."""
    if not corpora:
        return list(range(folder.vocab_size))
    tokenizer = folder.tokenizer
    counts = np.zeros(tokenizer.vocab_size, dtype=np.int64)
    for path in corpora:
        store = prepare(path, PrepareConfig(), tokenizer)
        lengths = np.diff(store.message_ends[store.dialogue_ends - 1], prepend=0)
        trained = np.repeat(store.splits == Split.TRAIN, lengths)
        counts += np.bincount(store.ids[trained], minlength=tokenizer.vocab_size)
    kept = [i for i, token in enumerate(tokenizer.tokens) if counts[i] >= min_count or _is_always_kept(token)]
    try:
        DialogueTokenizer([tokenizer.tokens[i] for i in kept])
    except ConfigError as error:
        raise CorpusError(corpora[0], None, f"语料太小，裁剪后的词表写不出常用字（{error}）；请给更大的语料") from None
    return kept


def _is_always_kept(token: str) -> bool:
    """Special tokens, punctuation, and ASCII characters alone and continued, of which any Latin word can be put together."""
    character = token.removeprefix("##")
    if len(character) != 1:
        return token in SPECIAL_TOKENS
    return character.isascii() or unicodedata.category(character).startswith("P")


def _convert(folder: ModelFolder, output: Path, kept: list[int], layers: list[int], dtype: Dtype, source_name: str) -> Conversion:
    from safetensors.numpy import save_file

    output.mkdir(exist_ok=True)
    config = read_config(folder.path)
    tensors, source_bytes = _read_tensors(folder.path)
    smaller = _smaller(folder, tensors, kept, layers)
    stored = {n if n in (_HEAD, _REWARD_HEAD) else f"transformer.{n}": t.astype(dtype) for n, t in smaller.items()}
    weights = output / "model.safetensors"
    save_file(stored, weights, metadata={"format": "pt"})
    weights.chmod(0o644)  # safetensors makes it the owner's alone

    tokens = folder.tokenizer.tokens
    tokenizer = DialogueTokenizer([tokens[i] for i in kept if i < len(tokens)], source=str(folder.path))
    tokenizer.save(output)
    # gpt2's own 50256 in GPT2-chitchat's configurations is beyond the vocabulary
    special = {"bos_token_id": tokenizer.cls_id, "eos_token_id": tokenizer.sep_id, "pad_token_id": tokenizer.pad_id}
    changed = {
        "model_type": "gpt2",
        "vocab_size": len(kept),
        "n_layer": len(layers),
        "dtype": "float32",  # loaders then compute in float32 whatever is stored
        "tie_word_embeddings": _HEAD not in smaller,
        **special,
    }
    config.pop("torch_dtype", None)  # the old name of dtype
    _write_json(output / "config.json", {**config, **changed})
    if (generation := folder.path / "generation_config.json").is_file():
        _write_json(output / "generation_config.json", {**json.loads(generation.read_text(encoding="utf-8")), **special})
    if (manifest := read_manifest(folder.path, folder.direction)) is not None:
        # its metrics are those of the whole model
        history = {"source": source_name, "layers": layers, "tokens": len(kept), "dtype": dtype}
        config_of_both = {**manifest.config, "convert": history}
        replace(manifest, vocab_fingerprint=tokenizer.fingerprint, config=config_of_both, metrics={}).save(output)
    return Conversion(
        output,
        tokens=(len(tensors["wte.weight"]), len(kept)),
        layers=(int(config["n_layer"]), len(layers)),
        weight_bytes=(source_bytes, weights.stat().st_size),
    )


def _smaller(folder: ModelFolder, tensors: Tensors, kept: list[int], layers: list[int]) -> Tensors:
    """The tensors of the smaller model, without a head that only repeats the embedding and the buffers of old checkpoints."""
    names = {name: name for name in _OUTSIDE_LAYERS}
    names |= {f"h.{new}.{name}": f"h.{old}.{name}" for new, old in enumerate(layers) for name in _IN_A_LAYER}
    if missing := [old for old in names.values() if old not in tensors]:
        fault = f"不是完整的 GPT-2 权重，缺少 {missing[0]} 等 {len(missing)} 个张量"
        raise CheckpointError(f"{folder.path}：{fault}；请重新训练或重新下载该模型")
    rows = len(tensors["wte.weight"])
    if rows != folder.vocab_size:
        raise CheckpointError(f"{folder.path}：config.json 说词表有 {folder.vocab_size} 个 token，权重有 {rows} 行；两者不配套")
    smaller = {new: tensors[old] for new, old in names.items()}
    if _HEAD in tensors and not np.array_equal(tensors[_HEAD], tensors["wte.weight"]):
        smaller[_HEAD] = tensors[_HEAD][kept]
    if _REWARD_HEAD in tensors:
        smaller[_REWARD_HEAD] = tensors[_REWARD_HEAD]
    smaller["wte.weight"] = tensors["wte.weight"][kept]
    return smaller


def _read_tensors(folder: Path) -> tuple[Tensors, int]:
    """All tensors of a folder, and the bytes of their files."""
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not files:
        raise CheckpointError(f"{folder} 中没有权重文件（model.safetensors 或 pytorch_model.bin）")
    tensors: Tensors = {}
    for path in files:
        try:
            found = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
        except ModuleNotFoundError:
            raise
        except Exception as error:  # the readers raise whatever the damage happens to trigger
            fault = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            raise CheckpointError(f"{path} 已损坏（{fault}）；请重新训练或重新下载该模型") from None
        tensors.update({name.removeprefix("transformer."): tensor for name, tensor in found.items()})
    return tensors, sum(path.stat().st_size for path in files)


def _read_safetensors(path: Path) -> Tensors:
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except TypeError:  # NumPy has no bfloat16
        from safetensors.torch import load_file as load_file_with_torch

        return {name: tensor.float().numpy() for name, tensor in load_file_with_torch(path).items()}


def _read_pickle(path: Path) -> Tensors:
    import torch

    return {name: tensor.float().numpy() for name, tensor in torch.load(path, map_location="cpu", weights_only=True).items()}


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, ensure_ascii=False, indent=2, sort_keys=True) + "\n", encoding="utf-8")
