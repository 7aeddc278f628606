"""`python -m chitchat` is the `chitchat` command."""

import sys

from chitchat.cli import main

if __name__ == "__main__":
    sys.exit(main())
