"""`python -m config`: the settings in force. `python -m config docs`: the page about them."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from config.docs import page, short_table, variables_table
from config.errors import SettingsError
from config.load import DIRECTORY, load_with_sources
from config.show import show


def main(arguments: list[str]) -> int:
    """Write what is asked for; 1 where the settings do not allow a start."""
    parser = argparse.ArgumentParser(prog="python -m config", description=__doc__)
    parser.add_argument("what", nargs="?", default="show", choices=("show", "docs", "readme"))
    parser.add_argument("--directory", type=Path, default=DIRECTORY)
    given = parser.parse_args(arguments)
    if given.what == "docs":
        sys.stdout.write(page(given.directory))
    elif given.what == "readme":
        tables = (variables_table(given.directory), short_table(given.directory))
        sys.stdout.write("\n\n".join(tables) + "\n")
    else:
        try:
            loaded = load_with_sources(os.environ, given.directory)
        except SettingsError as error:
            sys.stderr.write(f"{error}\n")
            return 1
        sys.stdout.write(show(loaded) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
