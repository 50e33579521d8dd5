"""The chat page: static files that a browser runs as they are, without a build step.

Owns what a person sees and does. It must not know of anything but the public API: whatever the
page can do, any other client can do.
"""

from __future__ import annotations

from pathlib import Path


def static_directory() -> Path:
    """The folder to serve at `/static/`; its `index.html` is the page to serve at `/`."""
    return Path(__file__).resolve().parent / "static"
