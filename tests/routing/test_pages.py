"""The page on routing says what there is to ask for."""

from __future__ import annotations

import re
from pathlib import Path

from routing.facts import FIELDS
from routing.scan import OURS

PAGE = (Path(__file__).parents[2] / "docs" / "routing.md").read_text()
CONDITIONS = PAGE.partition("### Conditions")[2].partition("### Where a rule leads")[0]


def test_every_field_and_function_is_on_the_page():
    tables = "".join(line for line in CONDITIONS.splitlines() if line.startswith("|"))
    for variable, fields in FIELDS.items():
        for field in fields:
            assert f"`{variable}.{field}`" in tables
    for function in OURS:
        assert re.search(rf"`(text\.|metadata\.)?{function}\(", tables), function
