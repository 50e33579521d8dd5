"""Vectors of labelled examples, kept, and which of them a text is nearest to."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


class Examples:
    """The vectors of one embedder's examples; those asked for longest ago go first.

    Args:
        limit: How many are kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._vectors: OrderedDict[str, Vector] = OrderedDict()

    def __len__(self) -> int:
        return len(self._vectors)

    def known(self, texts: Iterable[str]) -> dict[str, Vector]:
        """Those of these texts that are here."""
        found: dict[str, Vector] = {}
        for text in texts:
            vector = self._vectors.get(text)
            if vector is not None:
                self._vectors.move_to_end(text)
                found[text] = vector
        return found

    def keep(self, vectors: Mapping[str, Vector]) -> None:
        """Keep these, as far as there is room for them."""
        self._vectors.update(vectors)
        while len(self._vectors) > self._limit:
            self._vectors.popitem(last=False)

    def clear(self) -> None:
        """Forget all: their model is another one now."""
        self._vectors.clear()


def direction(numbers: Sequence[float]) -> Vector:
    """A vector of length one; zero stays zero, and is near to nothing."""
    vector = np.asarray(numbers, np.float32)
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length else vector


def nearest(
    message: Vector, examples: Sequence[tuple[str, str]], vectors: Mapping[str, Vector]
) -> tuple[str, float]:
    """The label of the nearest example, and its cosine.

    Args:
        message: Of length one.
        examples: Pairs of label and text, at least one.
        vectors: Of the texts, of length one.
    """
    scores = np.stack([vectors[text] for _, text in examples]) @ message
    best = int(scores.argmax())
    return examples[best][0], round(float(scores[best]), 4)
