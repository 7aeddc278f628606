"""Prepared corpora: unknown characters, dialogues too long for the model, splits and what they share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chitchat.checkpoint import Direction
from chitchat.corpus.splitting import Split
from chitchat.doctor.finding import Finding, count_text
from chitchat.tokenization.overlap import near_copies
from chitchat.tokenization.token_store import TokenStore
from chitchat.tokenization.tokenizer import DialogueTokenizer

_NEAR_THRESHOLD = 0.8
_HELD_OUT_CHECKED = 2000
"""Held-out dialogues looked for in the training data; more would take memory and change the share by a percent at most."""
_FEW_VALIDATION_DIALOGUES = 30


def check_unknown(store: TokenStore, tokenizer: DialogueTokenizer) -> Finding:
    """How much of a corpus the vocabulary cannot write."""
    total = len(store.ids)
    block = 1 << 24
    unknown = sum(int((store.ids[at : at + block] == tokenizer.unk_id).sum()) for at in range(0, total, block))
    message = (
        f"{store.meta['name']}：{count_text(len(store))}段对话，{count_text(total)}个 token，其中 {unknown / total:.2%} 是 [UNK]"
    )
    if worst := "".join(character for character, _ in store.report()["characters"]["worst"][:10] if character.isprintable()):
        message += f"（最多的是 {worst}）"
    remedy = "用 chitchat vocab 由语料生成词表，再用 --vocab 指定它；chitchat prepare --report 会列出更多"
    if unknown > 0.1 * total:
        return Finding("字符", "fatal", f"{message}：词表不合这份语料", remedy)
    if unknown > 0.01 * total:
        return Finding("字符", "warning", message, remedy)
    return Finding("字符", "ok", message)


def check_cut(store: TokenStore, max_tokens: int, direction: Direction) -> Finding:
    """Whether dialogues fit the model, and if not, whether a reply still stands beside the message it answers."""
    message_tokens = np.diff(store.message_ends, prepend=0)
    dialogue_tokens = np.diff(store.message_ends[store.dialogue_ends - 1], prepend=0)
    longest = (max_tokens - 1) // 2 if direction == "reverse" else max_tokens - 1  # as in tokenization.samples
    fits = message_tokens <= longest
    is_reply = np.ones(len(message_tokens), dtype=np.bool_)
    is_reply[np.concatenate([[0], store.dialogue_ends[:-1]])] = False
    before = np.concatenate([[0], message_tokens[:-1]])
    whole = fits & np.concatenate([[False], fits[:-1]]) & (message_tokens + before < max_tokens)
    cut = float((dialogue_tokens >= max_tokens).mean())
    lost = float((is_reply & ~fits).sum() / is_reply.sum())
    alone = float((is_reply & fits & ~whole).sum() / is_reply.sum())
    message = f"{store.meta['name']}：" + (
        f"{cut:.1%} 的对话长于 {max_tokens} token，"
        + ("更早的消息会略去" if direction == "reverse" else "会分成几段")
        + (f"；{lost:.2%} 的回复自己就放不下，不会用于训练" if lost else "；回复都在")
        + (f"，{alone:.2%} 的回复学时看不到上一句" if alone else "")
        if cut
        else f"没有对话长于 {max_tokens} token"
    )
    remedy = "调大 --positions（从零训练时），或调小 --max-message-chars 让长消息成为断点"
    if lost + alone > 0.5:
        return Finding("长度", "fatal", message, remedy)
    if lost + alone > 0.02 or cut > 0.5:
        return Finding("长度", "warning", message, remedy)
    return Finding("长度", "ok", message)


def check_splits(stores: Sequence[TokenStore]) -> Finding:
    """Whether there is something to train on, and enough to tell the best step by."""
    train, validation, test = (sum(int((store.splits == split).sum()) for store in stores) for split in Split)
    message = f"训练 {train}，验证 {validation}，测试 {test} 段对话"
    if not train or not validation:
        return Finding("划分", "fatal", f"{message}：没法训练", "增加语料（至少两段对话），或调大 --validation-fraction")
    if validation < _FEW_VALIDATION_DIALOGUES:
        return Finding("划分", "warning", f"{message}；验证集太小，选不准最好的一步", "增加语料，或调大 --validation-fraction")
    return Finding("划分", "ok", message)


def check_overlap(stores: Sequence[TokenStore]) -> Finding:
    """Held-out dialogues that training sees all the same, word for word or nearly, in whichever corpus."""
    held_out: list[tuple[int, int]] = []
    hashes: list[NDArray[np.uint64]] = []
    trained: list[NDArray[np.uint64]] = []
    for place, store in enumerate(stores):
        is_train = store.splits == Split.TRAIN
        trained.append(store.hashes[is_train])
        hashes.append(store.hashes[~is_train])
        held_out.extend((place, int(dialogue)) for dialogue in np.flatnonzero(~is_train))
    if not held_out:
        return Finding("泄漏", "warning", "没有验证与测试对话可查", "调大 --validation-fraction 与 --test-fraction")
    is_copy = np.isin(np.concatenate(hashes), np.concatenate(trained))
    chosen = np.random.default_rng(0).permutation(len(held_out))[:_HELD_OUT_CHECKED].tolist()
    near = near_copies(stores, [held_out[number] for number in chosen], split=Split.TRAIN, threshold=_NEAR_THRESHOLD)
    found = {copy.held_out for copy in near} | {held_out[number] for number in chosen if is_copy[number]}
    share = len(found) / len(chosen)
    message = (
        f"{len(held_out)} 段验证与测试对话里有 {int(is_copy.sum())} 段与训练对话一字不差；"
        f"抽查 {len(chosen)} 段，{share:.1%} 在训练集里有近似的（相似度不低于 {_NEAR_THRESHOLD:g}）"
    )
    remedy = "验证损失会偏低，选不准最好的一步：同一来源的语料不要以几个版本同时列入"
    if share > 0.5:
        return Finding("泄漏", "fatal", message, remedy)
    return Finding("泄漏", "warning", message, remedy) if share > 0.005 else Finding("泄漏", "ok", message)
