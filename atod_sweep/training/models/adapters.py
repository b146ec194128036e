"""Low-rank adapters: put on a model, or found in a folder that a training left, and then trained on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers.utils import find_adapter_config_file

from atod_sweep.config.models import Lora, Pretrained
from atod_sweep.errors import UserError
from atod_sweep.paths import local_model
from atod_sweep.records import layout


def base_of(source: Pretrained) -> Pretrained | None:
    """The model that the adapters at `source` belong to; None if no adapters lie there. UserError for other kinds."""
    folder = local_model(source.path)
    try:
        file = find_adapter_config_file(str(folder or source.path), revision=source.revision)
    except (OSError, ValueError):  # what is not there is told by who loads it
        return None
    if file is None:
        return None
    about = json.loads(Path(file).read_text(encoding="utf-8"))
    if about.get("peft_type") != "LORA":
        raise UserError(
            f"{source.path!r}: holds adapters of kind {about.get('peft_type')!r}; only LORA can be taken up"
        )
    note = Path(file).with_name(layout.BASE)
    recorded = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    return Pretrained(
        path=about["base_model_name_or_path"],
        revision=about.get("revision"),
        gguf_file=recorded.get("gguf_file", source.gguf_file),
        attn_implementation=source.attn_implementation,
        trust_remote_code=source.trust_remote_code,
    )


def are_fresh(source: Any) -> bool:
    """Whether a student of this config starts with adapters that do nothing yet."""
    return isinstance(source, Pretrained) and source.lora is not None and base_of(source) is None


def note(source: Pretrained) -> dict[str, Any]:
    """What to write beside adapters trained from `source`, by file name: what their own config has no word for."""
    base = base_of(source) or (source if source.lora else None)
    return {layout.BASE: {"gguf_file": base.gguf_file}} if base and base.gguf_file else {}


def fresh(model: Any, lora: Lora, revision: str | None) -> Any:
    """The model with adapters that do nothing yet."""
    peft = _peft()
    settings = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        modules_to_save=lora.modules_to_save or None,
        revision=revision,
        task_type="CAUSAL_LM",
    )
    try:
        return peft.get_peft_model(model, settings)
    except ValueError as error:
        raise UserError(f"student.lora: {str(error).splitlines()[0]}") from None


def attached(model: Any, source: Pretrained) -> Any:
    """`model`, their base, with the adapters at `source`, ready to be trained on.

    UserError if `source.lora` describes others.
    """
    peft, where = _peft(), str(local_model(source.path) or source.path)
    settings = peft.PeftConfig.from_pretrained(where, revision=source.revision)
    if source.lora is not None:
        _check_same(settings, source)
        settings.lora_dropout = source.lora.dropout
    return peft.PeftModel.from_pretrained(
        model, where, is_trainable=True, config=settings, **({"revision": source.revision} if source.revision else {})
    )


def _check_same(settings: Any, source: Pretrained) -> None:
    lora = source.lora
    assert lora is not None
    pairs: dict[str, tuple[Any, Any]] = {"rank": (lora.rank, settings.r), "alpha": (lora.alpha, settings.lora_alpha)}
    if lora.target_modules != "all-linear":
        pairs["target_modules"] = (_last(lora.target_modules), _last(settings.target_modules))
    pairs["modules_to_save"] = (sorted(lora.modules_to_save), sorted(settings.modules_to_save or []))
    for key, (wanted, found) in pairs.items():
        if wanted != found:
            raise UserError(
                f"lora.{key}: {wanted!r}, but {source.path!r} holds adapters of {key} {found!r}, which are trained on; "
                "leave lora out, or export them merged into their base (atod-sweep export --model) to put others on"
            )


def _last(names: Iterable[str]) -> list[str]:
    """The last parts of dotted names: `all-linear` is saved as whole ones."""
    return sorted({name.rpartition(".")[2] for name in names})


def _peft() -> Any:
    try:
        import peft
    except ImportError:
        raise UserError('student.lora: needs a package; pip install "atod-sweep[lora]"') from None
    return peft
