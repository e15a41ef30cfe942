"""LightGBM's text of a model, as far as it has to be understood: to make one model of several.

Format as `Booster.model_to_string` of LightGBM 4 writes it: a header, a block of lines for each
tree that begins with `Tree=NUMBER`, then `end of trees` and what else is said of the model.
"""

import re
from collections.abc import Sequence

FIRST_TREE = "Tree=0\n"
END = "end of trees\n"
SIZES = re.compile(r"^tree_sizes=.*$", re.MULTILINE)
VALUES = re.compile(r"^(leaf_value|internal_value)=(.*)$", re.MULTILINE)
NUMBER = re.compile(r"^Tree=\d+\n")


def mean(texts: Sequence[str]) -> str:
    """Return one model whose raw score is the mean of those of `texts`.

    They look at the same columns. Header and parameters are those of the first one.
    """
    blocks = [_weighted(block, 1 / len(texts)) for text in texts for block in _blocks(text)]
    numbered = [NUMBER.sub(f"Tree={index}\n", block) for index, block in enumerate(blocks)]
    head, tail = texts[0][: texts[0].index(FIRST_TREE)], texts[0][texts[0].index(END) :]
    sizes = " ".join(f"{len(block.encode())}" for block in numbered)
    return SIZES.sub(f"tree_sizes={sizes}", head) + "".join(numbered) + tail


def _blocks(text: str) -> list[str]:
    trees = text[text.index(FIRST_TREE) : text.index(END)]
    return [f"Tree={block}" for block in trees.split("Tree=")[1:]]


def _weighted(block: str, weight: float) -> str:
    if weight == 1:
        return block
    return VALUES.sub(lambda line: f"{line[1]}={_times(line[2], weight)}", block)


def _times(values: str, weight: float) -> str:
    return " ".join(f"{float(value) * weight:.17g}" for value in values.split())
