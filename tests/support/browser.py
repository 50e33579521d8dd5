"""`python -m tests.support.browser`: have a browser before the tests begin, if it may be had.

Installing it takes longer than a test may.
"""

from __future__ import annotations

import sys

from tests.browser.chromium import NoBrowser, chromium


def main() -> int:
    try:
        chromium()
    except NoBrowser as error:
        print(f"Tests in a browser will be skipped: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
