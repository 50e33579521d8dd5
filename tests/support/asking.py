"""Rules of the running Troupe that ask a model, each reached by a conversation's metadata."""

from __future__ import annotations

import json
from typing import Any

from config.files import read_yaml
from config.load import DIRECTORY

PATIENCE_MS = 3_000
RULES: list[dict[str, Any]] = [
    {
        "name": "nearest",
        "when": {"metadata": {"ask": "nearest"}},
        "semantic": {
            "examples": {
                "gemini": ["Summarize this contract for me", "Translate the letter"],
                "slow": ["I was charged twice for my invoice", "When do I get my refund?"],
            },
            "min_score": 0.3,
            "timeout_ms": PATIENCE_MS,
            "else": "numbered",
        },
    },
    {
        "name": "sorted",
        "when": {"metadata": {"ask": "sorted"}},
        "classifier": {
            "agent": "gpt",
            "answers": {
                "gemini": "summaries, translations, contracts",
                "slow": "invoices, payments, refunds",
            },
            "timeout_ms": PATIENCE_MS,
            "else": "numbered",
        },
    },
]


def asking_rules() -> dict[str, str]:
    """Settings with these rules before the usual ones."""
    usual = read_yaml(DIRECTORY / "base.yaml").values["rules"]
    return {"TROUPE_RULES": json.dumps([*RULES, *usual])}
