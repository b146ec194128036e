"""How long a conversation a model can take."""

from __future__ import annotations

from typing import Any

from atod_sweep.errors import UserError

POSITIONS = 2048  # of models that name no limit


def positions(model: Any) -> int:
    """Tokens for which the model computes each position as it does in any shorter text."""
    config = model.config.get_text_config()
    room = getattr(config, "max_position_embeddings", None) or POSITIONS
    return int(min(room, _unchanged(config) or room))


def check(model: Any, wanted: int | None) -> None:
    """Raise UserError for a context that the model has positions for, and treats as another kind of text."""
    most = _unchanged(model.config.get_text_config())
    if most is not None and wanted is not None and wanted > most:
        raise UserError(
            f"rollout.max_context_tokens: {wanted}, but beyond {most} tokens this model turns to other rotary "
            f"frequencies, also for what it has said before; use at most {most}"
        )


def _unchanged(config: Any) -> int | None:
    """The length beyond which `longrope` computes the whole text with other frequencies."""
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    for one in (rope, *(part for part in rope.values() if isinstance(part, dict))):
        if one.get("rope_type", one.get("type")) == "longrope":
            return int(one.get("original_max_position_embeddings") or config.original_max_position_embeddings)
    return None
