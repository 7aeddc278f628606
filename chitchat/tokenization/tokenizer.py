"""Text to token ids and back: BERT-format WordPiece, one token a Chinese character.

Rests on `tokenizers` alone, so that talking needs neither torch nor transformers. The folder it saves is what
`transformers.AutoTokenizer.from_pretrained` expects.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from chitchat.errors import CheckpointError, ConfigError
from chitchat.files import atomic_write
from chitchat.lazy_pattern import lazily

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
_CJK = _HAN + "\u3000-\u303f\u3040-\u30ff\uff00-\uffef\u2018-\u201d\u2026\u2014"
_HAN_RE = lazily(f"[{_HAN}]")
# What BERT makes a word of its own wherever it stands. Not all of `_HAN`: it rewrites the compatibility ideographs and does not
# part the newest extensions.
_ALONE = r"\u3400-\u4dbf\u4e00-\u9fff，。！？、：；“”‘’（）《》【】「」『』…—·!-/:-@\[-`{-~"
_GLUED = lazily(rf"[^{_ALONE} \n]+| +")
_FIRST_ID_CHARACTER = 0x10000
"""Id 0 as a character, beyond all of `_ALONE`; see `DialogueTokenizer._ids_of`."""
_SPACE_AT_CJK = lazily(f"(?<=[{_CJK}]) | (?=[{_CJK}])")
_SPACE_AT_PUNCTUATION = lazily(r" (?=[,.!?:;%)\]}'’\-/\\_*=^~+@])|(?<=[(\[{'‘$#@~^*=_+\-/\\]) |(?<=\d [.:,]) (?=\d)")
_LATIN_WORD = lazily("[a-z]{2,16}|(?<![0-9])[0-9]{2,4}(?![0-9])")

_loaded: WeakValueDictionary[str, DialogueTokenizer] = WeakValueDictionary()
"""By the text of the vocabulary: a bot's four models have the same one, which takes 15 ms to make ready."""


class DialogueTokenizer:
    """Encodes and decodes single messages; knows nothing of dialogues (see `dialogue_format`).

    Special tokens are never made from text: a user who types "[SEP]" sends five ordinary characters.
    """

    def __init__(self, vocab: Sequence[str], *, source: str = "vocab") -> None:
        self.tokens = list(vocab)
        ids = {token: index for index, token in enumerate(self.tokens)}
        if missing := [t for t in SPECIAL_TOKENS[:4] if t not in ids]:
            raise ConfigError(f"{source}：词表缺少 {'、'.join(missing)}；应为 BERT 格式的 vocab.txt，每行一个 token")
        self.pad_id, self.unk_id, self.cls_id, self.sep_id = (ids[t] for t in SPECIAL_TOKENS[:4])
        self._tokenizer = _wordpiece(ids)
        self._id_of_character = self._id_table()
        self._encode_glued = lru_cache(maxsize=1 << 16)(self._as_id_characters)
        self._check_round_trip(source)

    def __reduce__(self) -> tuple[type[DialogueTokenizer], tuple[list[str]]]:
        """Pickled as its vocabulary, for worker processes; the caches stay here."""
        return type(self), (self.tokens,)

    @classmethod
    def load(cls, path: Path | str) -> DialogueTokenizer:
        """From a `vocab.txt`, or a model folder with `vocab.txt` or a WordPiece `tokenizer.json`.

        Raises CheckpointError when there is none, ConfigError when it is not a BERT vocabulary.
        """
        path = Path(path)
        file = path if path.is_file() else path / "vocab.txt"
        if file.is_file() and file.suffix != ".json":
            # split, not splitlines: BERT's own vocabulary has U+2028 as a token.
            try:
                text = file.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise ConfigError(f"{file}：不是 UTF-8 文本（第 {error.start} 字节）；应为 BERT 格式的 vocab.txt") from None
            if (known := _loaded.get(text)) is not None:
                return known
            lines = text.split("\n")
            while lines and lines[-1] == "":
                lines.pop()
            tokenizer = _loaded[text] = cls([line.removesuffix("\r") for line in lines], source=str(file))
            return tokenizer
        file = path if path.is_file() else path / "tokenizer.json"
        if not file.is_file():
            raise CheckpointError(f"{path} 中没有 vocab.txt 或 tokenizer.json；请指定带词表的模型文件夹")
        try:
            vocab = json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"]
            return cls(sorted(vocab, key=vocab.__getitem__), source=str(file))
        except (ValueError, KeyError, TypeError):
            raise CheckpointError(f"{file}：不是 WordPiece 词表；本项目需要 BERT 格式（每个汉字一个 token）的模型") from None

    def save(self, folder: Path) -> None:
        """Writes `vocab.txt`, `tokenizer.json` and `tokenizer_config.json`, loadable by transformers."""
        with atomic_write(folder / "vocab.txt") as stream:
            stream.write("\n".join(self.tokens) + "\n")
        with atomic_write(folder / "tokenizer.json") as stream:
            stream.write(self._transformers_json())
        settings = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": True,
            "tokenize_chinese_chars": True,
            "strip_accents": None,
            "unk_token": "[UNK]",
            "pad_token": "[PAD]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "mask_token": "[MASK]",
            # CTranslate2's and vLLM's GPT-2 loaders fail on a null bos or eos.
            "bos_token": "[CLS]",
            "eos_token": "[SEP]",
        }
        with atomic_write(folder / "tokenizer_config.json") as stream:
            json.dump(settings, stream, ensure_ascii=False, indent=2)

    @property
    def vocab_size(self) -> int:
        return len(self.tokens)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change when any token or its place does."""
        return hashlib.sha256("\n".join(self.tokens).encode()).hexdigest()[:16]

    def encode(self, text: str) -> list[int]:
        """Ids of one message, without special tokens."""
        ids: list[int] = self._ids_of(text.replace("\n", " ")).tolist()
        return ids

    def encode_all(self, messages: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Ids of all messages in one array, each message closed with `[SEP]`; and how many tokens each has, `[SEP]` included.

        Shapes are (tokens,) and (messages,).
        """
        text = "\n".join((*messages, ""))
        if text.count("\n") != len(messages):
            text = "\n".join((*(message.replace("\n", " ") for message in messages), ""))
        ids = self._ids_of(text)
        return ids, np.diff(np.flatnonzero(ids == self.sep_id), prepend=-1)

    def _ids_of(self, text: str) -> NDArray[np.int32]:
        """(tokens,) what the library gives for each line, and `[SEP]` for each line end.

        The library is slow, and most of Chinese text is one token a character, so a table turns all characters into ids at once.
        The rest goes to the library, each distinct word once, and comes back as characters that stand for ids. They cannot be
        mistaken: every character of the text's own from `_FIRST_ID_CHARACTER` on is among the rest.
        """
        text = _GLUED.sub(lambda match: self._encode_glued(match[0]), text)
        ids: NDArray[np.int32] = self._id_of_character[np.frombuffer(text.encode("utf-32-le"), dtype="<u4")]
        return ids

    def _as_id_characters(self, text: str) -> str:
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return "".join(chr(_FIRST_ID_CHARACTER + id_) for id_ in ids)

    def _id_table(self) -> NDArray[np.int32]:
        """(code points,) the id of every character `_ids_of` looks up."""
        table = np.full(_FIRST_ID_CHARACTER + self.vocab_size, self.unk_id, dtype=np.int32)
        for id_, token in enumerate(self.tokens):
            if len(token) == 1 and ord(token) < _FIRST_ID_CHARACTER:
                table[ord(token)] = id_
        table[ord("\n")] = self.sep_id
        table[_FIRST_ID_CHARACTER:] = np.arange(self.vocab_size)
        return table

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids: special tokens left out, no spaces between Chinese characters, English ones kept."""
        words = [self.tokens[i] for i in ids if i not in (self.pad_id, self.cls_id, self.sep_id)]
        text = " ".join(words).replace(" ##", "").removeprefix("##")
        return _SPACE_AT_PUNCTUATION.sub("", _SPACE_AT_CJK.sub("", text))

    def _check_round_trip(self, source: str) -> None:
        """Raises ConfigError when common text does not survive: a vocabulary of another language, say."""
        probe = "你好我是不的了吗"
        ids = self._tokenizer.encode(probe, add_special_tokens=False).ids
        if self.unk_id in ids or self.decode(ids) != probe:
            raise ConfigError(f"{source}：词表（{self.vocab_size} 个 token）不能还原「{probe}」；应为中文 BERT 的 vocab.txt")

    def _transformers_json(self) -> str:
        return str(self._tokenizer.to_str(pretty=True))


def _wordpiece(ids: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def build_vocabulary(messages: Iterable[str], *, size: int = 7000, min_count: int = 2, min_word_count: int = 20) -> list[str]:
    """A BERT-format vocabulary from messages: characters by frequency, then whole Latin words and numbers while room lasts.

    Every GB 2312 level-1 character (the 3,755 most used) and ASCII letter, digit and mark is in it whatever the messages
    hold, so that a user's line seldom meets `[UNK]`. Whatever is neither Han nor punctuation comes twice, alone and as a `##`
    continuation, because WordPiece glues neighbours such as 😂😂, ok👌 and ～～ into one word.
    """
    cleaner = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=None, lowercase=True)
    characters: Counter[str] = Counter()
    words: Counter[str] = Counter()
    iterator = iter(messages)
    while batch := list(islice(iterator, 1000)):
        text = cleaner.normalize_str("\n".join(batch))
        characters.update(text)
        words.update(_LATIN_WORD.findall(text))
    always = (
        _gb2312_level_1()
        + [chr(code) for code in range(0x21, 0x7F) if not chr(code).isupper()]
        + list("，。！？、：；“”‘’（）《》…—～·")
    )
    kept = list(dict.fromkeys(always + list(_COMMON_EMOJI)))
    single = set(kept)
    for character, count in characters.most_common():
        if count >= min_count and character not in single and not character.isspace():
            single.add(character)
            kept.append(character)
    pieces = [c for c in kept if not _HAN_RE.match(c) and not _is_punctuation(c)]
    vocab = [*SPECIAL_TOKENS, *kept, *(f"##{c}" for c in pieces)]
    if len(vocab) > size:
        raise ConfigError(f"词表大小 {size} 容不下语料中的 {len(vocab)} 个字符 token；请调大 --size 或 --min-count")
    for word, count in words.most_common():
        if len(vocab) >= size or count < min_word_count:
            break
        vocab.append(word)
    return vocab


def _is_punctuation(character: str) -> bool:
    """What BERT's pre-tokenizer makes a word of its own: Unicode punctuation and every ASCII sign."""
    return unicodedata.category(character).startswith("P") or (character.isascii() and not character.isalnum())


def _gb2312_level_1() -> list[str]:
    """The 3,755 everyday characters of GB 2312, rows 16 to 55."""
    found = []
    for row in range(0xB0, 0xD8):
        for column in range(0xA1, 0xFF):
            try:
                found.append(bytes((row, column)).decode("gb2312"))
            except UnicodeDecodeError:  # the last five cells of row 55 are empty
                continue
    return found


_COMMON_EMOJI = (
    "😀😁😂🤣😃😄😅😆😉😊😋😎😍😘🥰😗😙😚🙂🤗🤩🤔🤨😐😑😶🙄😏😣😥😮🤐😯😪😫🥱😴😌😛😜😝🤤😒😓😔😕🙃🤑😲🙁😖😞😟😤😢😭😦😧😨😩🤯😬😰😱🥵🥶😳🤪😵🥴😠😡🤬😷"
    "🤒🤕🤢🤮🤧😇🥳🥺🤠🤡🤥🤫🤭🧐🤓👻👽🤖💩🙈🙉🙊💪👍👎👏🙏🤝👌🤞🤟👋🙌👀❤💔💕💖💗💙💚💛🧡💜💯🔥✨⭐🌟🎉🎂🎁🌹🌸🌈🌙🍀🍉🍺🍜🐱🐶🐷🐼🐰⚽🏀☀☁☔"
)
