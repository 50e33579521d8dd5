"""The chat page and the operators' console: static files that a browser runs as they are, without
a build step.

Owns what people see and do. It must not know of anything but the public API and the operators':
whatever the pages can do, any other client can do.
"""

from __future__ import annotations

from pathlib import Path


def static_directory() -> Path:
    """The folder to serve at `/static/`.

    Its `index.html` is the page to serve at `/`, its `console.html` that at `/console`.
    """
    return Path(__file__).resolve().parent / "static"
