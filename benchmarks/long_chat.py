"""Does turn 200 of a conversation cost what turn 5 costs?

    OMP_NUM_THREADS=1 python benchmarks/long_chat.py --json long_chat.json

One conversation made of our own dialogues, answered at a few places in turn, round after round, with everything a user has:
retrieval, dialogue acts, persona, safety.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from chitchat.corpus.reading.readers import read_dialogues
from chitchat.engine.build import load_chatbot

ROOT = Path(__file__).resolve().parents[1]
TURNS = (5, 50, 200)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(ROOT / "models" / "xiaoxu"))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    bot = load_chatbot(model=args.model)
    messages = [m for d in read_dialogues(ROOT / "data" / "dialogues.txt") for m in d.messages][
        : 2 * max(TURNS) + 2 * args.rounds
    ]
    seconds: dict[int, list[float]] = {turn: [] for turn in TURNS}
    for number in range(-2, args.rounds):  # two to warm up
        # the same messages are answered at every length: what lies before them differs
        last = messages[2 * (max(TURNS) + max(number, 0)) - 5 : 2 * (max(TURNS) + max(number, 0))][:5]
        for turn in TURNS:
            context = [*messages[: 2 * turn - 1 - len(last)], *last]
            started = time.perf_counter()
            bot.reply(context)
            if number >= 0:
                seconds[turn].append(time.perf_counter() - started)
    result = {str(turn): statistics.median(values) * 1e3 for turn, values in seconds.items()}
    for turn, milliseconds in result.items():
        print(f"turn {turn:>3}  {milliseconds:6.1f} ms  {milliseconds / result[str(TURNS[0])]:.2f} x turn {TURNS[0]}")
    if args.json:
        args.json.write_text(json.dumps({"milliseconds": result}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
