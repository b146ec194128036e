"""Token batches: the flat view of episodes that losses work on.

Shapes: _S sequences, _T columns, _N generated tokens (sorted by sequence), _E episodes, _V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from atod_sweep.objective.distributions import tempered
from atod_sweep.training.play.outcomes import Episodes, padded


@dataclass(frozen=True)
class TokenBatch:
    """Sequences and their generated tokens; `fields` holds one tensor per name with N as first dimension.

    `numbers`: what is the same for all of them, such as the temperature that they were sampled at.
    """

    ids_ST: Tensor
    length_S: Tensor
    sequence_N: Tensor
    column_N: Tensor
    fields: dict[str, Tensor]
    numbers: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def of(episodes: Episodes) -> TokenBatch:
        """All tokens of some episodes, with the fields `turn`, `episode` and `old_logp`.

        `taken` marks those of turns that somebody else played, where there are any.
        """
        taken_N = episodes.taken_N
        return TokenBatch(
            episodes.ids_ST,
            episodes.length_S,
            episodes.sequence_N,
            episodes.column_N,
            {
                "turn": episodes.turn_N,
                "episode": episodes.episode_S[episodes.sequence_N],
                "old_logp": episodes.logp_N,
                **({} if taken_N is None else {"taken": taken_N}),
            },
        )

    @staticmethod
    def rows(
        rows: Sequence[Sequence[int]], tokens: Sequence[tuple[int, int, int, int]], pad: int, device: torch.device
    ) -> TokenBatch:
        """Sequences of ids; `tokens`: (sequence, column, turn, episode) of each that counts, for `turn`, `episode`."""
        index = torch.tensor(tokens, dtype=torch.long, device=device).view(-1, 4)
        return TokenBatch(
            torch.as_tensor(padded(rows, pad), device=device),
            torch.tensor([len(ids) for ids in rows], device=device),
            index[:, 0],
            index[:, 1],
            {"turn": index[:, 2], "episode": index[:, 3]},
        )

    @property
    def tokens(self) -> int:
        """Number of generated tokens N."""
        return len(self.sequence_N)

    @property
    def target_N(self) -> Tensor:
        """The generated ids."""
        return self.ids_ST[self.sequence_N, self.column_N]

    @property
    def index_N(self) -> Tensor:
        """Flat positions in `ids_ST` whose logits predict the generated ids."""
        return self.sequence_N * self.ids_ST.shape[1] + self.column_N - 1

    def logp(self, logits_NV: Tensor, temperature: float) -> Tensor:
        """Log-probs (N) of the generated ids under logits at their positions."""
        return self.of_targets(tempered(logits_NV, temperature))

    def of_targets(self, x_NV: Tensor) -> Tensor:
        """The entries (N) of the generated ids."""
        return x_NV.gather(1, self.target_N[:, None])[:, 0]

    @property
    def rank_N(self) -> Tensor:
        """0, 1, 2 ... along the generated tokens of each episode (tokens are sorted by episode)."""
        episode_N = self["episode"]
        count_E = torch.bincount(episode_N)
        start_E = count_E.cumsum(0) - count_E
        return torch.arange(self.tokens, device=episode_N.device) - start_E[episode_N]

    def __getitem__(self, name: str) -> Tensor:
        return self.fields[name]

    def having(self, **fields: Tensor) -> TokenBatch:
        """The same tokens with further fields."""
        return replace(self, fields={**self.fields, **fields})

    def at(self, **numbers: float) -> TokenBatch:
        """The same tokens with further numbers."""
        return replace(self, numbers={**self.numbers, **numbers})

    def take(self, sequences: Tensor) -> TokenBatch:
        """The given sequences (sorted indices) and their tokens, cut to the longest of them."""
        member_S = torch.zeros(len(self.ids_ST), dtype=torch.bool, device=self.ids_ST.device)
        member_S[sequences] = True
        keep = member_S[self.sequence_N].nonzero()[:, 0]
        length_S = self.length_S[sequences]
        return TokenBatch(
            self.ids_ST[sequences, : int(length_S.max())],
            length_S,
            (member_S.cumsum(0) - 1)[self.sequence_N[keep]],
            self.column_N[keep],
            {name: values[keep] for name, values in self.fields.items()},
            self.numbers,
        )

    def tokens_at(self, rows: slice | Tensor) -> TokenBatch:
        """Some of the generated tokens, of the same sequences."""
        fields = {name: values[rows] for name, values in self.fields.items()}
        return replace(self, sequence_N=self.sequence_N[rows], column_N=self.column_N[rows], fields=fields)

    def joined(self, other: TokenBatch) -> TokenBatch:
        """Both batches as one, of the same `numbers`; the other's sequences and episodes are numbered after this's."""
        width = max(self.ids_ST.shape[1], other.ids_ST.shape[1])
        ids = [torch.nn.functional.pad(b.ids_ST, (0, width - b.ids_ST.shape[1])) for b in (self, other)]
        fields = {name: torch.cat([self[name], other[name]]) for name in self.fields.keys() & other.fields.keys()}
        shift = int(self["episode"].max()) + 1
        fields["episode"] = torch.cat([self["episode"], other["episode"] + shift])
        return TokenBatch(
            torch.cat(ids),
            torch.cat([self.length_S, other.length_S]),
            torch.cat([self.sequence_N, other.sequence_N + len(self.ids_ST)]),
            torch.cat([self.column_N, other.column_N]),
            fields,
            self.numbers | other.numbers,
        )

    def parts(self, padded_tokens: int | None) -> Iterator[TokenBatch]:
        """The batch in parts of at most `padded_tokens` ids, padding included (at least one sequence each).

        Sequences of similar length go together, so that little is spent on padding. None: everything at once.
        """
        if padded_tokens is None or self.ids_ST.numel() <= padded_tokens:
            yield self
            return
        order = torch.argsort(self.length_S, stable=True).tolist()
        lengths = self.length_S.tolist()
        part: list[int] = []
        for s in order:
            if part and (len(part) + 1) * lengths[s] > padded_tokens:
                yield self.take(torch.tensor(sorted(part), device=self.ids_ST.device))
                part = []
            part.append(s)
        yield self.take(torch.tensor(sorted(part), device=self.ids_ST.device))
