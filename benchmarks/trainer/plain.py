"""A plain training loop, as one would write it by hand on `transformers`: all episodes in lockstep, one cache.

Shapes: _B episodes, _T columns, _N generated tokens, _V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from benchmarks.trainer import workload
from benchmarks.trainer.clock import Row, now
from benchmarks.trainer.workload import Words, Workload


@dataclass(frozen=True)
class Rollout:
    """Episodes in columns. Where an action ended early there is a hole, in which `real_BT` is False."""

    ids_BT: Tensor
    real_BT: Tensor
    generated_BT: Tensor


@torch.no_grad()
def play(model: Any, episodes: list[Words], turns: int) -> Rollout:
    """Let the model act in all `episodes`; the cache is kept from turn to turn."""
    shape = (len(episodes), turns * workload.TURN_TOKENS)
    ids_BT = torch.full(shape, workload.PAD_ID, device=model.device)
    real_BT = torch.zeros(shape, dtype=torch.bool, device=model.device)
    generated_BT = torch.zeros_like(real_BT)
    cache, fed, end = DynamicCache(config=model.config), 0, 0
    for _ in range(turns):
        prompts = torch.tensor([words.prompt_ids() for words in episodes], device=model.device)
        ids_BT[:, end : end + prompts.shape[1]] = prompts
        real_BT[:, end : end + prompts.shape[1]] = True
        end += prompts.shape[1]
        speaking_B = torch.ones(len(episodes), dtype=torch.bool, device=model.device)
        for _ in range(workload.ACTION_TOKENS):
            positions = (real_BT[:, :end].cumsum(1) - 1).clamp(min=0)
            logits_BV = model(
                input_ids=ids_BT[:, fed:end],
                attention_mask=real_BT[:, :end],
                position_ids=positions[:, fed:],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            token_B = torch.multinomial(logits_BV.softmax(-1), 1)[:, 0]
            ids_BT[:, end] = torch.where(speaking_B, token_B, workload.PAD_ID)
            real_BT[:, end] = generated_BT[:, end] = speaking_B
            speaking_B = speaking_B & (token_B != workload.END_ID)
            fed, end = end, end + 1
        for words, action in zip(episodes, ids_BT[:, end - workload.ACTION_TOKENS : end].tolist(), strict=True):
            words.act_ids(action)
    return Rollout(ids_BT, real_BT, generated_BT)


def logp(model: Any, rollout: Rollout) -> Tensor:
    """Log-probs of the generated tokens (N): one full forward, the LM head where it is needed."""
    positions = (rollout.real_BT.cumsum(1) - 1).clamp(min=0)
    hidden = model.model(input_ids=rollout.ids_BT, attention_mask=rollout.real_BT, position_ids=positions)
    chosen = rollout.generated_BT[:, 1:]
    logits_NV = model.lm_head(hidden.last_hidden_state[:, :-1][chosen]).float()
    logp_NV: Tensor = logits_NV.log_softmax(-1)
    return logp_NV.gather(1, rollout.ids_BT[:, 1:][chosen][:, None])[:, 0]


class Plain:
    """Reward only, or half reward and half teacher (policy gradient on log p_teacher - log p_student)."""

    def __init__(self, work: Workload, teacher: bool, device: str) -> None:
        self.work, self.device = work, device
        self.student = workload.make_student(work).to(device)
        self.teacher = workload.make_teacher(work).to(device) if teacher else None
        self.optimiser = torch.optim.AdamW(self.student.parameters(), lr=workload.LR, weight_decay=0.0, fused=True)

    def step(self) -> Row:
        """One optimiser step."""
        started = now(self.device)
        work = self.work
        episodes = [Words(task) for task in range(work.tasks) for _ in range(work.group)]
        rollout = play(self.student, episodes, work.turns)
        played = now(self.device)
        rewards = torch.tensor([words.reward for words in episodes], device=self.device).view(-1, work.group)
        advantage_B = ((rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)).flatten()
        advantage_N = advantage_B[rollout.generated_BT.nonzero()[:, 0]]
        teacher_N = None
        if self.teacher is not None:
            with torch.no_grad():
                teacher_N = logp(self.teacher, rollout)
        scored = now(self.device)
        logp_N = logp(self.student, rollout)
        if teacher_N is not None:
            advantage_N = 0.5 * advantage_N + 0.5 * (teacher_N - logp_N.detach())
        ratio_N = (logp_N - logp_N.detach()).exp()
        loss = -torch.minimum(ratio_N * advantage_N, ratio_N.clamp(0.8, 1.2) * advantage_N).mean()
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimiser.step()
        updated = now(self.device)
        tokens, generated = int(rollout.real_BT.sum()), int(rollout.generated_BT.sum())
        return Row(tokens, generated, played - started, scored - played, updated - scored)
