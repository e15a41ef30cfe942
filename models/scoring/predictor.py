"""LightGBM's trees as tables of curves and bits: the same probabilities in a fraction of the time.

Why this way, and what else was measured: docs/decisions/trees-as-bits.md.
"""

from collections.abc import Callable

import lightgbm
import numpy as np

from models.scoring.lightgbm_text import Unsupported
from models.scoring.tree_predictor import CompiledTrees
from pipelines.core.arrays import FloatArray

__all__ = ["CompiledTrees", "predictor"]


def predictor(text: str) -> Callable[[FloatArray], FloatArray]:
    """Return what gives the probabilities of the model that LightGBM's `text` describes.

    It is LightGBM itself, on one thread, for a kind of model that is not read here. Which of the
    two it is depends on the text alone, so a day is scored by one of them whatever its size.
    """
    try:
        return CompiledTrees.from_text(text).predict
    except Unsupported:
        booster = lightgbm.Booster(model_str=text)
        return lambda matrix: np.asarray(booster.predict(matrix, num_threads=1))
