"""Which ids a tokenizer has, and how two vocabularies compare.

A model's embedding is often wider than its tokenizer, to a round number of rows. What its logits say about ids without
a token is no part of any distribution here.
"""

from __future__ import annotations

from typing import Any, Literal

from atod_sweep.errors import UserError

# The same ids for the same tokens; one has more than the other; neither.
Kinship = Literal["same", "extended", "other"]


def words(tokenizer: Any) -> int:
    """The largest id of any token, plus one."""
    return max(tokenizer.get_vocab().values()) + 1


def kinship(mine: Any, theirs: Any) -> Kinship:
    """How two tokenizers' vocabularies compare."""
    a, b = mine.get_vocab(), theirs.get_vocab()
    if a == b:
        return "same"
    return "extended" if a.items() <= b.items() or b.items() <= a.items() else "other"


def check_ids(role: str, model: Any, tokenizer: Any, ids: set[int]) -> None:
    """Raise UserError if the model has no embedding for one of the `ids` that every conversation uses.

    A padding token beyond it, which only fills up, is replaced.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id >= rows:
        tokenizer.pad_token = tokenizer.eos_token
    if beyond := sorted(i for i in ids if i >= rows):
        token = tokenizer.convert_ids_to_tokens(beyond[0])
        raise UserError(
            f"{role}: every conversation uses the token {token!r}, whose id {beyond[0]} lies beyond the model's {rows} "
            "embeddings; take the tokenizer that belongs to the model"
        )
