"""A model that plays one conversation, and what its teacher thinks of that: to be looked at, not to be fast."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from atod_sweep.config.models import Pretrained
from atod_sweep.envs.checked import Checked
from atod_sweep.envs.play import Transcript, prompt
from atod_sweep.training.models import limits, vocabulary
from atod_sweep.training.models.load import load_model, load_tokenizer
from atod_sweep.training.play.context import Context
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.play.truncation import Truncation


class Speaker:
    """A causal LM that continues conversations. Raises UserError if the directory holds none."""

    def __init__(self, path: Path, action_tokens: int) -> None:
        tokenizer = load_tokenizer(path)
        self.model = load_model(Pretrained(path=str(path))).eval()
        self.conversation = conversation_for(tokenizer, chat_template=True, stop_strings=[])
        self.action_tokens = action_tokens
        self.positions = limits.positions(self.model)
        self.words = vocabulary.words(tokenizer)

    def act(
        self, transcript: Transcript, observation: str, temperature: float = 0.0, truncation: Truncation | None = None
    ) -> str:
        """The next action; temperature 0 takes the likeliest tokens."""
        ids = self._ids(transcript, observation)
        talk = self.conversation
        options: dict[str, Any] = {"do_sample": False}
        if temperature > 0:
            options = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
            options |= {name: value for name, value in asdict(truncation or Truncation()).items() if value is not None}
        if talk.stop_strings:
            options |= {"stop_strings": list(talk.stop_strings), "tokenizer": talk.tokenizer}
        if beyond := list(range(self.words, self.model.get_output_embeddings().weight.shape[0])):
            options["suppress_tokens"] = beyond  # ids that no token has
        out = self.model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=self.action_tokens,
            eos_token_id=sorted(talk.stop_ids),
            pad_token_id=talk.tokenizer.pad_token_id,
            use_cache=True,
            **options,
        )
        return talk.decode_action(tuple(out[0, len(ids) :].tolist()))

    @torch.inference_mode()
    def logp(self, transcript: Transcript, observation: str, action: str) -> float:
        """Log-probability of an action and its end, in nats, at temperature 1."""
        ids, answer = self._ids(transcript, observation), self.conversation.encode_action(action)
        logits_TV = self.model(input_ids=torch.tensor([[*ids, *answer]])).logits[0, len(ids) - 1 : -1, : self.words]
        logp_TV = logits_TV.float().log_softmax(-1)
        return float(logp_TV.gather(1, torch.tensor(answer)[:, None]).sum())

    def _ids(self, transcript: Transcript, observation: str) -> list[int]:
        """The conversation up to the next action, as training would have it where it is too long for the model."""
        view = Context(self.conversation, self.positions)
        for past, action in transcript:
            said = self.conversation.encode_action(action)
            view.ask(past, len(said))
            view.answer(said)
        view.ask(observation, self.action_tokens)
        return view.ids


class Student:
    """Plays, with its teacher looking on."""

    def __init__(
        self,
        model: Path,
        teacher: Path | None,
        action_tokens: int,
        temperature: float,
        truncation: Truncation | None = None,
    ) -> None:
        self.student = Speaker(model, action_tokens)
        self.teacher = Speaker(teacher, action_tokens) if teacher else None
        self.temperature, self.truncation = temperature, truncation

    def __call__(self, game: Checked, transcript: Transcript, observation: str) -> tuple[str, list[str]]:
        action = self.student.act(transcript, observation, self.temperature, self.truncation)
        own = self.student.logp(transcript, observation, action)
        told = [f"{prompt(transcript)}{action}   (log-prob {own:.2f})"]
        if self.teacher:
            theirs = self.teacher.logp(transcript, observation, action)
            wish = self.teacher.act(transcript, observation)
            surest = self.teacher.logp(transcript, observation, wish)
            other = "" if wish == action else f"; it would say {wish!r} ({surest:.2f})"
            told.append(f"      teacher: log-prob {theirs:.2f}{other}")
        return action, told
