"""Playing many conversations at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from atod_sweep.envs.batch import Batch
from atod_sweep.envs.contract import Split
from atod_sweep.envs.pool import Pool
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.agent_format import WHOLE
from atod_sweep.training.play.decoder import Decoder
from atod_sweep.training.play.decoders import decoder_for
from atod_sweep.training.play.graphs import GraphedDecoder
from atod_sweep.training.play.outcomes import Act, EpisodeBook, Episodes, Limits
from atod_sweep.training.play.shares import ALONE, Share
from atod_sweep.training.play.talk import Conversation, Exchange, Growing
from atod_sweep.training.play.thinking import Pace
from atod_sweep.training.play.truncation import Truncation
from atod_sweep.training.play.wheel import Given, Wheel
from atod_sweep.training.teachers.teacher import Action


def sample(logits_BV: Tensor, temperature: float, u_B: Tensor | None) -> tuple[Tensor, Tensor]:
    """Ids (B) that uniform numbers in [0, 1) choose, and their log-probabilities (B) at `temperature`.

    Temperature 0 takes the likeliest, and needs no numbers.
    """
    if u_B is None:
        logp_BV = logits_BV.log_softmax(-1)
        token_B1 = logp_BV.argmax(-1, keepdim=True)
        logp_B1 = logp_BV.gather(1, token_B1)
    else:
        p_BV = (logits_BV if temperature == 1.0 else logits_BV / temperature).softmax(-1)
        cumulative = p_BV.cumsum(-1)
        # 1 - u lies in (0, 1]: where sums only rise, no token of probability 0 is drawn. The bound is for NaN, which
        # the update reports.
        token_B1 = torch.searchsorted(cumulative, (1 - u_B[:, None]) * cumulative[:, -1:]).clamp_(
            max=p_BV.shape[-1] - 1
        )
        logp_B1 = p_BV.gather(1, token_B1).log_()
    return token_B1[:, 0], logp_B1[:, 0]


@dataclass(frozen=True)
class Sampling:
    """How the tokens of one play of so many `episodes` are drawn.

    A random number belongs to its play (`base`), episode, turn and token. So an episode does not depend on which others
    are played with it, or still go on; and whoever plays the same tasks with the same base gets the same numbers.
    `wheel`: of which turns they are not drawn. `order`: the episodes that rows stand for, if not as numbered.
    """

    temperature: float
    truncation: Truncation | None
    base: int
    episodes: int
    wheel: Wheel | None = None
    order: Sequence[int] | None = None

    @staticmethod
    def of(temperature: float, truncation: Truncation | None, generator: torch.Generator, episodes: int) -> Sampling:
        """The next play that a generator stands for."""
        drawn = torch.randint(2**63 - 1, (), generator=generator, device=generator.device) if temperature else 0
        return Sampling(temperature, truncation, int(drawn), episodes)

    def numbers(self, rows: list[int], turn: int, tokens: int, device: torch.device) -> Tensor | None:
        """Uniform numbers in [0, 1) for so many tokens (columns) of these episodes' turn; None at temperature 0."""
        if self.temperature == 0:
            return None
        key = np.array([self.base, turn], dtype=np.uint64)
        u_EJ = np.random.Generator(np.random.Philox(key=key)).random((self.episodes, tokens), dtype=np.float32)
        return torch.from_numpy(u_EJ[rows if self.order is None else [self.order[row] for row in rows]]).to(device)


class Player:
    """Plays tasks with a policy. One instance serves a whole run: environments and text caches are reused."""

    def __init__(
        self,
        batch: Batch | Pool,
        conversation: Conversation,
        limits: Limits,
        cuda_graphs: bool = False,
        at_once: Mapping[Split, int] | None = None,
    ) -> None:
        """`at_once`: how many episodes of a split are played at a time, for memory's sake; the others follow."""
        self.batch, self.conversation, self.limits, self.cuda_graphs = batch, conversation, limits, cuda_graphs
        self.at_once = at_once or {}
        self._graphed: dict[tuple[Policy, int], GraphedDecoder] = {}
        self.stop_ids = torch.tensor(sorted(conversation.stop_ids))

    def play(
        self,
        policy: Policy,
        seeds: list[int],
        split: Split,
        temperature: float,
        generator: torch.Generator,
        bootstrap: bool = False,
        truncation: Truncation | None = None,
        wheel: Wheel | None = None,
        share: Share = ALONE,
    ) -> Episodes:
        """One episode per seed, or those of a `share`; `wheel`: whose turns are not the policy's, and how deep it goes.

        Raises EnvironmentFailed, EnvironmentTimeout, UserError (an observation too long).
        """
        training = policy.training
        policy.eval()
        mine = share.of(len(seeds))
        sampling = replace(Sampling.of(temperature, truncation, generator, len(seeds)), wheel=wheel, order=mine)
        seeds = [seeds[episode] for episode in mine]
        penalty = self.conversation.format.penalty if split == "train" else 0.0
        table = EpisodeBook(self.conversation, self.limits, seeds, policy.decoding == "batch", penalty)
        most = self.at_once.get(split, len(seeds))
        with torch.inference_mode():
            for first in range(0, len(seeds), most):
                episodes = range(first, min(first + most, len(seeds)))
                self._play(policy, table, episodes, split, sampling, bootstrap)
        policy.train(training)
        return table.episodes(policy.device)  # outside inference mode: losses save these tensors for backward

    def answers(
        self,
        policy: Policy,
        places: Sequence[tuple[Sequence[Exchange], str]],
        temperature: float,
        generator: torch.Generator,
        order: Sequence[int] | None = None,
    ) -> list[Act]:
        """One action of a frozen policy in each place: behind the turns so far, and an observation.

        `order`: the episode of a play that each place belongs to, by which its random numbers are drawn. Raises
        UserError for an observation too long.
        """
        book = self._asked(places)
        chunks = [context.ids[:] for context in book.contexts]
        if policy.reach is not None:
            policy.check_reach(max(max(ids) for ids in chunks))
        with torch.inference_mode():
            decoder, logits = self._begin(policy, chunks, book.pad, same_rows=False)
            order = range(len(places)) if order is None else order
            sampling = replace(Sampling.of(temperature, None, generator, max(order) + 1), order=order)
            self._act(decoder, logits, sampling, book, list(range(len(places))))
        return [outcome.acts[-1] for outcome in book.outcomes]

    def prompts(self, places: Sequence[tuple[Sequence[Exchange], str]]) -> list[list[int]]:
        """The ids behind which the actions in these places begin. Raises UserError for an observation too long."""
        return [context.ids for context in self._asked(places).contexts]

    def _asked(self, places: Sequence[tuple[Sequence[Exchange], str]]) -> EpisodeBook:
        """Episodes that have got so far."""
        book = EpisodeBook(self.conversation, self.limits, [0] * len(places), False)
        for episode, (past, observation) in enumerate(places):
            for turn in past:
                book.append_turn(episode, turn.observation)
                book.contexts[episode].answer(turn.ids)
            book.append_turn(episode, observation)
        return book

    def _play(
        self, policy: Policy, table: EpisodeBook, episodes: range, split: Split, sampling: Sampling, bootstrap: bool
    ) -> None:
        """Play some of the book's episodes, the first one in the environment of slot 0."""
        rows = list(episodes)  # episode played by each row of the decoder
        seeds = [table.outcomes[episode].seed for episode in episodes]
        observations = dict(zip(episodes, self.batch.reset(seeds, split), strict=True))
        decoder: Decoder | None = None
        wheel = sampling.wheel
        while rows:
            self.show(observations, rows, episodes.start, is_first=decoder is None)
            if isinstance(self.conversation, Growing):
                self.conversation.encode_turns((observations[e], not table.current[e].ids) for e in rows)
            chunks = [table.append_turn(episode, observations[episode]) for episode in rows]
            if policy.reach is not None:
                policy.check_reach(max(max(chunk.ids) for chunk in chunks))
            if decoder is None:
                decoder, logits = self._begin(policy, [chunk.ids for chunk in chunks], table.pad)
            else:
                for i, chunk in enumerate(chunks):
                    if chunk.rewind is not None:
                        decoder.rewind(i, chunk.rewind)
                decoder.longest = max(len(table.current[e].ids) - len(c.ids) for e, c in zip(rows, chunks, strict=True))
                logits = _feed(decoder, [chunk.ids for chunk in chunks], table.pad)
            taken = {} if wheel is None else wheel.played(table, rows, observations)
            actions = self._act(decoder, logits, sampling, table, rows, taken)
            texts: dict[int, str] = {}
            for episode, ids in zip(rows, actions, strict=True):
                text = taken[episode].text if episode in taken else self.conversation.decode_action(ids)
                texts[episode] = text
                table.outcomes[episode].transcript.append((observations[episode], text))
            answers = zip(episodes, self.batch.step([texts.get(e) for e in episodes]), strict=True)
            steps = {episode: step for episode, step in answers if step is not None}
            depth = wheel.depth if wheel else None
            going = [i for i, e in enumerate(rows) if not table.record(e, steps[e]) and not table.cut(e, depth)]
            for episode in rows:
                observations[episode] = steps[episode].observation
            if bootstrap:
                for episode in rows:
                    if table.outcomes[episode].truncated:
                        table.mark_final(episode, observations[episode])
            if 0 < len(going) < len(rows):
                keep = torch.tensor(going, device=decoder.length_B.device)
                decoder.select(keep, max(len(table.current[rows[i]].ids) for i in going))
            rows = [rows[i] for i in going]

    def show(self, observations: dict[int, str], rows: list[int], first: int, is_first: bool) -> None:
        """Put behind the observations of these episodes what is asked of the model."""
        form = self.conversation.format
        if form == WHOLE:
            return
        commands = self.batch.actions([episode - first for episode in rows]) if form.lists else [None] * len(rows)
        for episode, listed in zip(rows, commands, strict=True):
            observations[episode] = form.shown(observations[episode], listed, is_first)

    def _begin(
        self, policy: Policy, chunks: list[list[int]], pad: int, same_rows: bool = True
    ) -> tuple[Decoder, Tensor]:
        """A decoder that has been fed everybody's first chunk, and the logits after it.

        `same_rows`: there are as many at every call, which CUDA graphs and their caches are kept for.
        Without CUDA graphs, of equal chunks, such as those of a group on one task, only one is computed.
        """
        if self.cuda_graphs and same_rows and policy.device.type == "cuda" and policy.decoding == "batch":
            decoder = self._graphed.get((policy, len(chunks)))
            if decoder is None:
                decoder = self._graphed[policy, len(chunks)] = GraphedDecoder(policy, len(chunks), slots=128)
            decoder.begin()
            return decoder, _feed(decoder, chunks, pad)
        keys = [tuple(chunk) for chunk in chunks]
        place = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        first = decoder_for(policy, len(place))
        logits = _feed(first, list(place), pad)
        if len(place) < len(chunks):
            rows = torch.tensor([place[key] for key in keys], device=logits.device)
            first.select(rows, first.longest)
            logits = logits.index_select(0, rows)
        return first, logits

    def _act(
        self,
        decoder: Decoder,
        logits: Tensor,
        sampling: Sampling,
        table: EpisodeBook,
        rows: list[int],
        taken: Mapping[int, Action] = MappingProxyType({}),
    ) -> list[tuple[int, ...]]:
        """Sample one action per row; the last token of each is left to the next turn's chunk.

        Episodes that are `taken` say what they are given, as if it had been sampled.
        """
        device = logits.device
        stop_ids = self.stop_ids = self.stop_ids.to(device)
        going = torch.ones(len(logits), dtype=torch.bool, device=device)
        count = torch.zeros(len(logits), dtype=torch.long, device=device)
        tokens, logps = [], []
        talk = self.conversation
        most = talk.answer_tokens(self.limits.action_tokens)
        pace = Pace(talk, talk.thinking, self.limits.action_tokens, len(rows)) if talk.thinking else None
        u_BJ = sampling.numbers(rows, table.outcomes[rows[0]].turns, most, device)
        given = Given.of([taken.get(e) for e in rows], device) if taken else None
        for i in range(most):
            if sampling.truncation is not None:
                logits = sampling.truncation.cut(logits, sampling.temperature)
            token_B, logp_B = sample(logits, sampling.temperature, None if u_BJ is None else u_BJ[:, i])
            if pace is not None:
                token_B = pace.impose(token_B)
            if given is not None:
                token_B, logp_B = given.impose(i, token_B, logp_B, logits, sampling.temperature)
            tokens.append(token_B)
            logps.append(logp_B)
            count += going
            if pace is not None:
                going = pace.follow(token_B, going)
            else:
                going = going & torch.isin(token_B, stop_ids, invert=True)
                if talk.stop_strings:
                    going = self._unstopped(torch.stack(tokens, 1), going)
            if given is not None:
                going = given.follow(i, going)
            feeding = int(going.sum())
            if i + 1 == most or feeding == 0:
                break
            logits = decoder.feed(token_B[:, None], going.long(), (int(feeding == len(going)), 1))
        token_rows, logp_rows = torch.stack(tokens, 1).tolist(), torch.stack(logps, 1).tolist()
        actions = []
        for row, (n, token, logp) in enumerate(zip(count.tolist(), token_rows, logp_rows, strict=True)):
            actions.append(tuple(token[:n]))
            theirs = taken.get(rows[row])
            learned = pace.spans(row) if pace and theirs is None else None
            table.append_action(rows[row], token[:n], logp[:n], learned, theirs.tokens if theirs else None)
        return actions

    def _unstopped(self, tokens_BJ: Tensor, going: Tensor) -> Tensor:
        unstopped = [
            on and not self.conversation.is_stopped(ids)
            for on, ids in zip(going.tolist(), tokens_BJ.tolist(), strict=True)
        ]
        return torch.tensor(unstopped, device=going.device)


def _feed(decoder: Decoder, chunks: Sequence[Sequence[int]], pad: int) -> Tensor:
    width = max(2, *map(len, chunks))  # one token is an action's: other kernels serve them
    device = decoder.length_B.device
    ids = torch.tensor([[*chunk, *([pad] * (width - len(chunk)))] for chunk in chunks], device=device)
    counts = [len(chunk) for chunk in chunks]
    return decoder.feed(ids, torch.tensor(counts, device=device), (min(counts), max(counts)))
