"""How often do verdicts fall that should not, and how often those that should? The second half of coverage.md.

Whole studies are simulated: two arms' final success by seed, rounded as an evaluation rounds it, some seeds collapsing.
The verdicts are the library's own (`evidence.stats.decision`), at every number of seeds; what rules without an outcome
of its own for collapse would have said stands beside them. `_K` studies, `_N` seeds. Run by coverage.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from atod_sweep.evidence.stats import collapse
from atod_sweep.evidence.stats.decision import ALPHA, Data, Decided, Relation, Seed, decide
from atod_sweep.evidence.stats.intervals import Array
from atod_sweep.evidence.stats.procedures import FEWEST, SEQUENCE, STUDENT, Procedure
from atod_sweep.evidence.stats.sequential import half_width

Rng = np.random.Generator
Hits = NDArray[np.bool_]
Arms = tuple[Array, Array]

MOST = 40
EVERY = range(FEWEST, MOST + 1)
BLOCKS = range(5, MOST + 1, 5)
ONCE = (3, 5, 10, 20, 40)
BASE, LEVEL, SD = 0.2, 0.6, 0.03  # the untrained student, a trained one, and the spread of seeds: as in the ledgers
BAR = BASE + 0.05 * (1 - BASE)  # success below which a seed has collapsed, by the default of study files


def _level(rng: Rng, shape: tuple[int, int]) -> Array:
    return LEVEL + rng.normal(0, SD, shape)


def _collapsing(rate: float) -> Callable[[Rng, tuple[int, int]], Array]:
    """An arm some of whose seeds stay where they began."""

    def draw(rng: Rng, shape: tuple[int, int]) -> Array:
        down = rng.random(shape) < rate
        return np.where(down, BASE + rng.normal(0, SD, shape), _level(rng, shape))

    return draw


def _steady(rng: Rng, shape: tuple[int, int]) -> Array:
    return LEVEL + rng.normal(0, SD / 3, shape)


@dataclass(frozen=True)
class Law:
    """How two arms end. `arm` and `other` draw final success; among sound seeds both have the same mean."""

    name: str
    arm: Callable[[Rng, tuple[int, int]], Array]
    other: Callable[[Rng, tuple[int, int]], Array]
    tasks: int = 512

    def draw(self, rng: Rng, studies: int, lead: float = 0.0) -> Arms:
        """Both arms [studies, seeds], as evaluations of `tasks` tasks show them; sound seeds of the arm end higher."""
        a_KN, b_KN = (side(rng, (studies, MOST)) for side in (self.arm, self.other))
        a_KN = np.where(a_KN < BAR, a_KN, a_KN + lead)
        shown = [np.clip(np.round(x_KN * self.tasks) / self.tasks, 0, 1) for x_KN in (a_KN, b_KN)]
        return shown[0], shown[1]


def _beta(rng: Rng, shape: tuple[int, int]) -> Array:
    return LEVEL + (rng.beta(2, 2, shape) - 0.5) * np.sqrt(20) * SD


LAWS = (
    Law("normal", _level, _level),
    Law("bounded (Beta(2, 2))", _beta, _beta),
    Law("tied (64 tasks)", _level, _level, tasks=64),
    Law("1 in 20 seeds of both arms collapses", _collapsing(1 / 20), _collapsing(1 / 20)),
    Law("1 in 7 seeds of both arms collapses", _collapsing(1 / 7), _collapsing(1 / 7)),
    Law("half of the seeds of both arms collapse", _collapsing(1 / 2), _collapsing(1 / 2)),
    Law("1 in 20 seeds of one arm collapses", _collapsing(1 / 20), _steady),
    Law("1 in 7 seeds of one arm collapses", _collapsing(1 / 7), _steady),
    Law("exponential", lambda rng, shape: LEVEL - (rng.exponential(1, shape) - 1) * SD, lambda _, s: np.full(s, LEVEL)),
)
NORMAL = LAWS[0]


def verdicts(law: Law, arms: Arms, procedure: Procedure, at: Sequence[int], claim: tuple[Relation, float]) -> Array:
    """`word_KN`: the library's outcome of every study at the numbers of seeds `at`, as indices into `WORDS`."""
    found = np.zeros((len(arms[0]), len(at)), dtype=np.float64)
    for k, (a_N, b_N) in enumerate(zip(*(x.tolist() for x in arms), strict=True)):
        seeds = [Seed(a - b, a < BAR, b < BAR) for a, b in zip(a_N, b_N, strict=True)]
        for i, n in enumerate(at):
            outcome = decide(*claim, Data(seeds[:n], tasks=law.tasks), procedure).outcome
            found[k, i] = WORDS.index(outcome)
    return found


WORDS: tuple[Decided | None, ...] = (None, "supported", "refuted", "equivalent")


# ---- rules without an outcome of its own for collapse --------------------------------------------------------------


def _moments(d_KN: Array) -> tuple[Array, Array, Array]:
    """Number, mean and sd of the first 1, 2, ... seeds; the sd of one is 0."""
    n_N = np.arange(1, d_KN.shape[1] + 1, dtype=np.float64)
    mean_KN = np.cumsum(d_KN, axis=1) / n_N
    variance_KN = (np.cumsum(d_KN**2, axis=1) - n_N * mean_KN**2) / np.maximum(n_N - 1, 1)
    return n_N, mean_KN, np.sqrt(np.maximum(variance_KN, 0))


def repeated_t(d_KN: Array) -> Hits:
    """Whether Student's 95 % interval leaves out 0, after every seed."""
    n_N, mean_KN, sd_KN = _moments(d_KN)
    quantile_N = stats.t.ppf(1 - ALPHA / 2, np.maximum(n_N - 1, 1))
    return (np.abs(mean_KN) > quantile_N * sd_KN / np.sqrt(n_N)) & (n_N > 1)


def plain_sequence(d_KN: Array) -> Hits:
    """Whether the confidence sequence over all seeds leaves out 0, after every seed."""
    n_N, mean_KN, sd_KN = _moments(d_KN)
    half_N = np.array([half_width(int(n)) for n in n_N])
    wide_KN = np.where(np.isinf(half_N), np.inf, np.where(np.isinf(half_N), 0, half_N) * sd_KN)
    return np.abs(mean_KN) > wide_KN


def betting(d_KN: Array) -> Hits:
    """Whether the hedged capital of Waudby-Smith and Ramdas (2024) ever rejected 0, after every seed.

    Valid for any law of differences in [-1, 1]: two gamblers bet on the mean of (d + 1) / 2 being above and below 1/2
    with predictable plug-in bets, truncated at half of what could ruin them; either one's capital of 2 / alpha decides.
    """
    y_KN = (d_KN + 1) / 2
    n_N = np.arange(1, y_KN.shape[1] + 1)
    mean_KN = (0.5 + np.cumsum(y_KN, axis=1)) / (n_N + 1)
    variance_KN = (0.25 + np.cumsum((y_KN - mean_KN) ** 2, axis=1)) / (n_N + 1)
    before_KN = np.concatenate([np.full((len(y_KN), 1), 0.25), variance_KN[:, :-1]], axis=1)
    bet_KN = np.minimum(np.sqrt(2 * np.log(2 / ALPHA) / (before_KN * n_N * np.log(n_N + 1))), 1.0)
    up_KN = np.cumsum(np.log1p(bet_KN * (y_KN - 0.5)), axis=1)
    down_KN = np.cumsum(np.log1p(-bet_KN * (y_KN - 0.5)), axis=1)
    return np.maximum(up_KN, down_KN) >= np.log(2 / ALPHA)


RULES = {"t, repeated": repeated_t, "sequence over all seeds": plain_sequence, "betting": betting}


# ---- the tables ------------------------------------------------------------------------------------------------------


def _percent(hits_KN: Hits) -> str:
    """Percent of studies with a hit at any of the looks."""
    return f"{100 * float(hits_KN.any(axis=1).mean()):.1f}"


def _looks(found_KN: Array, looks: Sequence[int], words: Sequence[Decided]) -> str:
    """Percent of studies whose first verdict at these looks is one of `words`; `found_KN` is at `EVERY`."""
    at = [EVERY.index(n) for n in looks]
    said = np.isin(found_KN[:, at], [WORDS.index(word) for word in words])
    return _percent(said)


def null_rows(studies: int, margin: float = 0.02) -> Iterator[str]:
    """No effect among sound seeds: any verdict on `a > b` is false; at the margin itself, so is `equivalent`."""
    once = " | ".join(f"t, {n} seeds" for n in ONCE)
    yield f"| law | {once} | every 5 | every seed | equivalent, every 5 | equivalent, every seed |"
    yield f"|---|{'---:|' * (len(ONCE) + 4)}"
    both: tuple[Decided, Decided] = ("supported", "refuted")
    for law in LAWS:
        rng = np.random.default_rng(0)
        arms = law.draw(rng, studies)
        fixed = verdicts(law, arms, STUDENT, ONCE, (">", 0.0))
        found = verdicts(law, arms, SEQUENCE, EVERY, (">", 0.0))
        edge = verdicts(law, law.draw(rng, studies, lead=margin), SEQUENCE, EVERY, ("=", margin))
        cells = [_percent(np.isin(fixed[:, [i]], [1, 2])) for i in range(len(ONCE))]
        cells += [_looks(found, looks, both) for looks in (BLOCKS, EVERY)]
        cells += [_looks(edge, looks, ["equivalent"]) for looks in (BLOCKS, EVERY)]
        yield f"| {law.name} | {' | '.join(cells)} |"


def offset_rows(studies: int) -> Iterator[str]:
    """The mean over all seeds is 0: where seeds of one arm collapse, the others' lead makes up for it."""
    names = [f"{rule}, {looks}" for rule in RULES for looks in ("every 5", "every seed")]
    yield f"| law | lead of sound seeds | {' | '.join(names)} | supported, every 5 | and not barring collapse |"
    yield f"|---|{'---:|' * (len(names) + 3)}"
    for law in LAWS:
        a_KN, b_KN = law.draw(np.random.default_rng(1), 100_000)
        sound = a_KN >= BAR
        lead = max(0.0, -float((a_KN - b_KN).mean()) / float(sound.mean())) if "one arm" in law.name else 0.0
        arms = law.draw(np.random.default_rng(2), studies, lead)
        hits = [rule(arms[0] - arms[1]) for rule in RULES.values()]
        cells = [_percent(hit[:, [n - 1 for n in looks]]) for hit in hits for looks in (BLOCKS, EVERY)]
        found = verdicts(law, arms, SEQUENCE, BLOCKS, (">", 0.0)) == WORDS.index("supported")
        free = found & ~_is_reserved(arms, BLOCKS)
        yield f"| {law.name} | {lead:.3f} | {' | '.join(cells)} | {_percent(found)} | {_percent(free)} |"


def _is_reserved(arms: Arms, looks: Sequence[int]) -> Hits:
    """Whether a verdict in favour of the first arm would be marked "barring collapse", at every look."""
    a_KN, b_KN = arms
    found = np.zeros((len(a_KN), len(looks)), dtype=np.bool_)
    for i, n in enumerate(looks):
        sound_KN = (a_KN[:, :n] >= BAR) & (b_KN[:, :n] >= BAR)
        lead_K = ((a_KN - b_KN)[:, :n] * sound_KN).sum(axis=1) / np.maximum(sound_KN.sum(axis=1), 1)
        for k, (lead, down) in enumerate(zip(lead_K, (a_KN[:, :n] < BAR).sum(axis=1), strict=True)):
            level = float(a_KN[k, :n].mean())
            found[k, i] = collapse.offset(float(lead), level) < collapse.rate(int(down), n).high
    return found


def power_rows(studies: int) -> Iterator[str]:
    """Percent of studies that find a true lead of so many sd of the differences, by the seeds they had."""
    yield "| lead in sd | seeds | t, one look | t, repeated (not valid) | verdicts, every 5 | betting, every 5 |"
    yield "|---:|---:|---:|---:|---:|---:|"
    spread = SD * np.sqrt(2)
    for d in (0.5, 1.0, 2.0, 5.0):
        arms = NORMAL.draw(np.random.default_rng(3), studies, lead=d * spread)
        differences = arms[0] - arms[1]
        t, bets = repeated_t(differences), betting(differences)
        found = verdicts(NORMAL, arms, SEQUENCE, BLOCKS, (">", 0.0)) == WORDS.index("supported")
        for n in (10, 20, 40):
            looks = [look - 1 for look in BLOCKS if look <= n]
            cells = [_percent(t[:, [n - 1]]), _percent(t[:, looks]), _percent(found[:, : len(looks)])]
            yield f"| {d:g} | {n} | {' | '.join(cells)} | {_percent(bets[:, looks])} |"


NULL = """
## False verdicts

Percent of {studies:,} simulated studies of two arms with no effect among the seeds that do not collapse, in which a
verdict falls all the same; 5 are allowed. Scores have the ledgers' size (base student {base}, trained {level}, sd {sd},
512 tasks unless the law says so), and a seed that collapses ends around the base student's success. *t*: the paired t
test at one number of seeds. *Every 5*, *every seed*: looks at 5, 10, ..., 40 seeds and at 3, 4, ..., 40, stopping at
the first verdict of the anytime-valid procedure. *Equivalent*: the arms differ by the margin of `=`, 0.02, itself.

"""
OFFSET = """
## A lead that collapses undo

Here the *mean over all seeds* is the same for both arms: where one arm's seeds collapse, its other seeds lead by what
makes up for it. Percent of studies with a verdict for the arm that collapses or, of the first six columns, any. Rules
over all seeds err wherever a rare collapse has not been met yet. *Betting* (Waudby-Smith and Ramdas 2024: valid for
every law of differences in [-1, 1]) does not, and finds nothing either (next table). The report's *supported* speaks of
the seeds that do not collapse, where it is true here; as long as the seeds leave open more collapses than would undo
the lead, it is marked *barring collapse*. Last column: without that mark, so for a claim about the mean of all seeds.

"""
POWER = """
## Power

Percent of studies that find a true lead (normal differences, sd 0.042), by its size in standard deviations and the
seeds that they may have.

"""


def sections(studies: int) -> Iterator[str]:
    """Markdown lines, as they are computed."""
    for head, rows in ((NULL, null_rows), (OFFSET, offset_rows), (POWER, power_rows)):
        yield from head.format(studies=studies, base=BASE, level=LEVEL, sd=SD).splitlines()
        yield from rows(studies)
