"""Talk in the terminal; the same as `chitchat chat`."""

import sys

from chitchat.cli import main

if __name__ == "__main__":
    sys.exit(main(["chat", *sys.argv[1:]]))
