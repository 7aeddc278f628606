"""The subcommands, a file a group: each `add` registers parsers, each `_run` does the work and imports what it needs then."""
