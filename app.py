"""The web page; the same as `chitchat web`."""

import sys

from chitchat.cli import main

if __name__ == "__main__":
    sys.exit(main(["web", *sys.argv[1:]]))
