"""What teachers behind an API share: each question is asked once in the life of a cache, and they play by acting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from atod_sweep.config.teachers import Served
from atod_sweep.envs.contract import Split
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.outcomes import Act, EpisodeBook, Outcome
from atod_sweep.training.play.talk import Exchange
from atod_sweep.training.pretraining.demonstrations import of_played
from atod_sweep.training.scoring import FullDistribution
from atod_sweep.training.teachers.answers import Answers, key_of, place
from atod_sweep.training.teachers.client import Client, Json
from atod_sweep.training.teachers.teacher import Shown, State, Teacher

C = TypeVar("C", bound=Served)


class Remote(Teacher, Generic[C]):
    """`pupil` plays as the student is talked to. `name`: of the file with its answers."""

    judges = False

    def __init__(self, config: C, pupil: Player, device: torch.device, name: str) -> None:
        self.config, self.pupil, self.device = config, pupil, device
        self.client = Client(config)
        self.answers = Answers(place(name))

    def bill(self) -> dict[str, float]:
        return self.client.take_bill()

    # ---- questions -------------------------------------------------------------------------------------------------

    def answered(
        self,
        questions: Sequence[Json],
        path: str,
        body: Callable[[Sequence[Json]], Json],
        read: Callable[[Sequence[Json], Any], list[Any]],
        together: int = 1,
    ) -> list[Any]:
        """The answer to each question, from the cache or asked for, `together` of them in one request.

        `body` and `read` make a request of some questions, and one answer for each out of what comes back.
        """
        known: dict[bytes, Any] = {}
        missing: dict[bytes, Json] = {}
        keys = [key_of(question) for question in questions]
        for key, question in zip(keys, questions, strict=True):
            if key in known or key in missing:
                continue
            if (answer := self.answers.get(question)) is None:
                missing[key] = question
            else:
                known[key] = answer
        self.client.bill["teacher_hits"] += len(questions) - len(missing)
        new = list(missing.values())
        parts = [new[i : i + together] for i in range(0, len(new), together)]

        def found(answers: dict[int, list[Any]]) -> None:
            pairs = [pair for i, said in answers.items() for pair in zip(parts[i], said, strict=True)]
            self.answers.put(pairs)
            known.update((key_of(question), answer) for question, answer in pairs)

        self.client.ask_all([(path, body(part)) for part in parts], [partial(read, part) for part in parts], found)
        return [known[key] for key in keys]

    # ---- what it is asked for --------------------------------------------------------------------------------------

    def score(self, batch: TokenBatch, temperature: float, full: FullDistribution | None, tokens: int) -> TokenBatch:
        raise AssertionError("the config refuses to ask this teacher for log-probs")

    def whole(self, batch: TokenBatch, temperature: float) -> Tensor:
        return batch["teacher_full"]

    def draws(self, count: int, temperature: float, generator: torch.Generator) -> list[int | None]:
        """What tells equal questions apart, so that each gets an action of its own; none where one is the likeliest."""
        if temperature == 0:
            return [None] * count
        return list(torch.randint(2**31, (count,), generator=generator, device=generator.device).tolist())

    def play(self, tasks: list[int], temperature: float, generator: torch.Generator) -> Shown:
        outcomes = self.episodes(tasks, "train", temperature, generator)
        batch, dropped = of_played(outcomes, self.pupil, self.device)
        cost = {
            "episodes": len(outcomes),
            "env_steps": sum(outcome.turns for outcome in outcomes),
            "tokens": int(batch.length_S.sum()),
            "generated_tokens": batch.tokens,
            "dropped_turns": dropped,
            "teacher_tokens": sum(act.tokens for outcome in outcomes for act in outcome.acts),
        }
        return Shown(batch, outcomes, cost)

    def episodes(self, tasks: list[int], split: Split, temperature: float, generator: torch.Generator) -> list[Outcome]:
        """What it comes to when this teacher plays. Raises what environments raise."""
        player, talk = self.pupil, self.pupil.conversation
        book = EpisodeBook(talk, player.limits, tasks, penalty=talk.format.penalty if split == "train" else 0.0)
        most = player.at_once.get(split, len(tasks))
        for first in range(0, len(tasks), most):
            self._play(book, range(first, min(first + most, len(tasks))), split, temperature, generator)
        return book.outcomes

    def _play(
        self, book: EpisodeBook, episodes: range, split: Split, temperature: float, generator: torch.Generator
    ) -> None:
        """Play some of the book's episodes, the first one in the environment of slot 0."""
        player, rows = self.pupil, list(episodes)
        past: dict[int, list[Exchange]] = {episode: [] for episode in episodes}
        seeds = [book.outcomes[episode].seed for episode in episodes]
        observations = dict(zip(episodes, player.batch.reset(seeds, split), strict=True))
        while rows:
            player.show(observations, rows, episodes.start, is_first=not past[rows[0]])
            states = [State(past[episode], observations[episode]) for episode in rows]
            texts: dict[int, str] = {}
            for episode, action in zip(rows, self.act(states, temperature, generator), strict=True):
                texts[episode] = action.text
                outcome = book.outcomes[episode]
                outcome.transcript.append((observations[episode], action.text))
                outcome.acts.append(Act(action.tokens, None, action.cut, marked=action.marked, ids=action.ids))
                past[episode].append(Exchange(observations[episode], action.ids))
            answers = zip(episodes, player.batch.step([texts.get(episode) for episode in episodes]), strict=True)
            steps = {episode: step for episode, step in answers if step is not None}
            going = [episode for episode in rows if not book.record(episode, steps[episode])]
            for episode in rows:
                observations[episode] = steps[episode].observation
            rows = going
