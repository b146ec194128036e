"""Real architectures, tiny and random: do rollout and update see the model that `transformers` sees? Writes the table.

    python -m benchmarks.architectures                   # all of them, to architectures.md
    python -m benchmarks.architectures --only llama4     # those whose name holds a text, printed and not written

For every generated token of ragged conversations of several turns: its log-prob as the rollout recorded it (cached
decoding), and as the update's forward gives it (twice, in training mode, all sequences padded to one batch), against a
fresh `AutoModelForCausalLM` in evaluation mode, one unpadded sequence at a time, without a cache. The largest absolute
differences are shown, in nats; "twice" is that between the two passes of the update, "kl/teacher" what training reports
at step 0 for the model as its own teacher.
"""

from __future__ import annotations

import argparse
import tempfile
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from atod_sweep.config.models import Pretrained
from atod_sweep.config.rollout import Rollout
from atod_sweep.config.train import Train
from atod_sweep.envs.batch import Batch
from atod_sweep.errors import UserError
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.loop import cast
from atod_sweep.training.models import vocabulary
from atod_sweep.training.models.load import load_tokenizer
from atod_sweep.training.play.outcomes import Episodes
from atod_sweep.training.scoring import score
from benchmarks import tiny_models

RIGHT = 1e-4  # nats
OUT = Path(__file__).parent / "architectures.md"
MARK = "## Now"


@dataclass(frozen=True)
class Found:
    """What became of one architecture."""

    name: str
    outcome: str  # right, wrong, refused, crashed
    rollout: float | None = None
    update: float | None = None
    twice: float | None = None
    teacher: float | None = None  # kl/teacher of the model as its own teacher
    note: str = ""

    def row(self) -> str:
        numbers = ["" if x is None else f"{x:.1e}" for x in (self.rollout, self.update, self.twice, self.teacher)]
        return " | ".join(["", self.name, self.outcome, *numbers, self.note, ""]).strip()


def measure(name: str, path: Path, episodes: int = 6, action_tokens: int = 8) -> Found:
    """Play, score twice, compare with the model that lies at `path`."""
    try:
        played, (first, second, taught), decoding = _ours(path, episodes, action_tokens)
    except UserError as refusal:
        return Found(name, "refused", note=str(refusal).replace(str(path), "MODEL"))
    except Exception as error:  # what a user would see as a traceback
        where = traceback.extract_tb(error.__traceback__)[-1]
        note = f"{type(error).__name__} in {Path(where.filename).name}: {str(error).splitlines()[0][:80]}"
        return Found(name, "crashed", note=note)
    want_N = reference(path, played)
    rollout, update, twice = (
        float((a - b).abs().max()) for a, b in ((played.logp_N, want_N), (first, want_N), (first, second))
    )
    teacher = abs(float((played.logp_N - taught).mean()))
    right = max(rollout, update, twice, teacher) < RIGHT
    return Found(
        name,
        "right" if right else "wrong",
        rollout,
        update,
        twice,
        teacher,
        "" if decoding == "batch" else f"decodes by {decoding}",
    )


def _ours(path: Path, episodes: int, action_tokens: int) -> tuple[Episodes, list[torch.Tensor], str]:
    """What was played, and log-probs of its tokens: as the update sees them, again, and as a teacher does."""
    config = Train(rollout=Rollout(max_action_tokens=action_tokens))
    voice = cast.Voice.load("student", Pretrained(path=str(path)), Rollout(stop=tiny_models.STOP))
    policy = voice.policy(torch.device("cpu"))
    player = voice.player(config, Batch(tiny_models.ENV, episodes))
    played = player.play(policy, list(range(episodes)), "train", 1.0, torch.Generator().manual_seed(0))
    batch = TokenBatch.of(played)
    scored = [score(policy.train(), batch, "update", 1.0, None, 10**9)["update_logp"] for _ in range(2)]
    return (
        played,
        [*scored, score(policy.frozen(), batch, "teacher", 1.0, None, 10**9)["teacher_logp"]],
        policy.decoding,
    )


@torch.no_grad()
def reference(path: Path, episodes: Episodes) -> torch.Tensor:
    """Log-probs of the generated tokens under the saved model, as `transformers` alone computes them."""
    model = AutoModelForCausalLM.from_pretrained(path).eval()
    known = vocabulary.words(load_tokenizer(path))
    found = []
    for s, length in enumerate(episodes.length_S.tolist()):
        ids = episodes.ids_ST[s, :length]
        logp_TV = model(input_ids=ids[None], use_cache=False).logits[0, :, :known].float().log_softmax(-1)
        found += [logp_TV[c - 1, ids[c]] for c in episodes.column_N[episodes.sequence_N == s].tolist()]
    return torch.stack(found)


def table(found: Iterable[Found]) -> str:
    """The rows as Markdown."""
    head = "| model | outcome | rollout | update | twice | kl/teacher | |\n|---|---|---|---|---|---|---|"
    return "\n".join([head, *(one.row() for one in found)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="a part of the names to measure")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in tiny_models.TINY:
            if only is None or only in name:
                found.append(measure(name, tiny_models.save(name, Path(folder))))
                print(found[-1].row(), flush=True)
    if only is None:
        kept = OUT.read_text(encoding="utf-8").split(MARK)[0]
        OUT.write_text(f"{kept}{MARK}\n\n{table(found)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
