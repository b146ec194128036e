"""What a model thinks before it acts: how it marks that, and what remains for the environment to hear."""

from __future__ import annotations

from dataclasses import dataclass

from atod_sweep.training.play.templates import Message


@dataclass(frozen=True)
class Marks:
    """The texts around a thought, and what closes one that is cut off."""

    open: str
    close: str
    cut: str

    @staticmethod
    def of(open: str, close: str) -> Marks:
        """Marks that stand on lines of their own."""
        return Marks(open, close, f"\n{close}\n\n")


KNOWN = (
    Marks.of("<think>", "</think>"),
    Marks(
        "<|channel|>analysis<|message|>",
        "<|channel|>final<|message|>",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
    ),
    Marks.of("<|START_THINKING|>", "<|END_THINKING|>"),
    Marks("<|channel>thought", "<channel|>", "<channel|>"),
    Marks.of("[THINK]", "[/THINK]"),
    Marks.of("<seed:think>", "</seed:think>"),
    Marks.of("◁think▷", "◁/think▷"),
)


def marks_in(template: str) -> Marks | None:
    """Those that a template's source knows."""
    return next((marks for marks in KNOWN if marks.close in template), None)


@dataclass(frozen=True)
class Said:
    """One answer of a model: what it thought (None: nothing), what it does, and both as one text."""

    thought: str | None
    action: str
    text: str


def split(text: str, marks: Marks | None, opened: bool) -> Said:
    """An answer taken apart. `opened`: the prompt ends inside a thought. A thought without an end leaves no action."""
    if marks is None:
        return Said(None, text.strip(), text.strip())
    before, close, action = text.rpartition(marks.close)
    if not close:
        if not opened and marks.open not in text:
            return Said(None, text.strip(), text.strip())
        before, action, text = text, "", text + marks.cut
    if opened and marks.open not in text:
        text = f"{marks.open}\n{text}"
    return Said(before.rpartition(marks.open)[2].strip(), action.strip(), text.strip())


def message(said: Said, apart: bool) -> Message:
    """The answer as a template is to see it; `apart`: the thought in a field of its own, under both usual names."""
    if said.thought is None or not apart:
        return {"role": "assistant", "content": said.text}
    return {"role": "assistant", "content": said.action, "reasoning_content": said.thought, "thinking": said.thought}
