"""Train a forward or reverse model; the same as `chitchat train`."""

import sys

from chitchat.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
