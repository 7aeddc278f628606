"""Where the time of one reply goes, with everything a user has: processor time by step, and the picture of it.

    OMP_NUM_THREADS=1 python benchmarks/profile_reply.py --picture docs/profile.png

Contexts are turns of our own held-out dialogues. Each step is timed by a shell around the object that does it, so nothing is
changed but a microsecond a call. The rest is what no step claims: the fixed answers, the persona sheet, putting it all together.
Before that the same replies are timed whole with 16 and with 5 written candidates, in turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from chitchat.corpus.splitting import Split, split_dialogues
from chitchat.engine import chatbot as chatbot_module
from chitchat.engine.build import load_chatbot
from chitchat.engine.chatbot import Chatbot

ROOT = Path(__file__).resolve().parents[1]
REST = "the rest"


class Stopwatch:
    """Processor time by step; what runs inside another step is that inner step's alone."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner = [0.0]

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.process_time()
        self._inner.append(0.0)
        try:
            yield
        finally:
            taken = time.process_time() - started
            self.seconds[name] += taken - self._inner.pop()
            self._inner[-1] += taken

    def around(self, owner: Any, attribute: str, name: str) -> None:
        """Times every call of a function or method that is looked up on `owner`."""
        call: Callable[..., Any] = getattr(owner, attribute)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.step(name):
                return call(*args, **kwargs)

        setattr(owner, attribute, timed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(ROOT / "models" / "xiaoxu"))
    parser.add_argument("--contexts", type=int, default=60)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    bot = load_chatbot(model=args.model, seed=1, threads=1)
    contexts = list(_contexts(args.contexts + 3))
    for context in contexts[:3]:  # conversions and caches
        bot.reply(context)
    whole = _whole_replies(bot, contexts[3:])
    for number, value in whole.items():
        print(f"{f'a reply with {number} written candidates':44} {value:7.1f} ms")
    print(f"{'16 cost so many times what 5 do':44} {whole[16] / whole[5]:7.2f}")
    watch = Stopwatch()
    _time_steps(bot, watch)
    wholes = []
    for context in contexts[3:]:
        started = time.process_time()
        with watch.step(REST):
            bot.reply(context)
        wholes.append(time.process_time() - started)
    milliseconds = {name: 1e3 * s / len(wholes) for name, s in sorted(watch.seconds.items(), key=lambda x: -x[1])}
    total = sum(milliseconds.values())
    for name, value in milliseconds.items():
        print(f"{name:44} {value:7.1f} ms  {value / total:4.0%}")
    median = 1e3 * statistics.median(wholes)
    print(f"{'mean of a reply':44} {total:7.1f} ms  (median {median:.1f}, {len(wholes)} replies)")
    if args.json:
        result = {"milliseconds": milliseconds, "median": median, "replies": len(wholes), "by_candidates": whole}
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if args.picture:
        _picture(milliseconds, args.picture)


def _whole_replies(bot: Chatbot, contexts: Sequence[list[str]]) -> dict[int, float]:
    """Median processor time of a reply in milliseconds, by the number of candidates the forward model writes."""
    times: dict[int, list[float]] = {16: [], 5: []}
    for context in contexts:
        for number, taken in times.items():
            decoding = replace(bot.decoding, num_candidates=number)
            started = time.process_time()
            bot.reply(context, decoding=decoding)
            taken.append(time.process_time() - started)
    return {number: 1e3 * statistics.median(taken) for number, taken in times.items()}


def _contexts(number: int) -> Iterator[list[str]]:
    """One user turn, the third where there is one, of each held-out dialogue."""
    found = 0
    for split, dialogue in split_dialogues(ROOT / "data" / "dialogues.txt"):
        if split == Split.TEST and len(dialogue.messages) >= 2 and found < number:
            yield list(dialogue.messages[: 5 if len(dialogue.messages) > 5 else 1])
            found += 1


def _time_steps(bot: Chatbot, watch: Stopwatch) -> None:
    names = {"BatchedModel": "writing 16 candidates", "RetrievalIndex": "retrieval", "ActReplies": "dialogue acts"}
    for generator in bot.generators:
        watch.around(generator, "generate", names[type(generator).__name__])
    watch.around(bot, "_screened", "screening every candidate")
    watch.around(chatbot_module, "matched", "encoder, every candidate")
    watch.around(bot, "_shortlist", "choosing those worth scoring")
    for scorer, name in ((bot.forward_scorer, "forward scores and priors"), (bot.reverse_scorer, "reverse scores (MMI)")):
        if scorer is not None:
            watch.around(scorer, "score", name)
    if bot.reward_model is not None:
        watch.around(bot.reward_model, "rewards", "reward model")


def _picture(milliseconds: dict[str, float], path: Path) -> None:
    figure = Figure(figsize=(8, 0.42 * len(milliseconds) + 1), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(list(milliseconds), list(milliseconds.values()), color="#4a7c9b")
    axes.bar_label(bars, fmt="%.0f ms", padding=4)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("processor time of one reply by step, milliseconds")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
