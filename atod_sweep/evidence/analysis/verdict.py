"""The verdict on a claim: what was found, by which procedure, and how it reads."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from atod_sweep.config.study import Hypothesis
from atod_sweep.evidence.analysis.claim_data import Collapses
from atod_sweep.evidence.analysis.comparisons import Comparison
from atod_sweep.evidence.analysis.results import Levels, label
from atod_sweep.evidence.analysis.text import estimate, limits, number, plural
from atod_sweep.evidence.stats import collapse
from atod_sweep.evidence.stats.decision import ALPHA, Data, Decision, bound
from atod_sweep.evidence.stats.intervals import Interval
from atod_sweep.evidence.stats.power import minimum_detectable, smallest_margin
from atod_sweep.evidence.stats.procedures import FEWEST, STUDENT, Procedure, standard_error
from atod_sweep.evidence.stats.skewness import false_verdicts

Outcome = Literal["supported", "refuted", "equivalent", "undecided", "not learning"]


@dataclass(frozen=True)
class Verdict:
    """A claim, the data that bear on it, and what they say.

    `interval`, `decision` (with its p) and `p_holm` come from one `procedure` on one set of data. The interval lies in
    the claim's own direction: above 0, its arm is better, also where small values of the metric are good.
    """

    hypothesis: Hypothesis
    registered: bool
    comparison: Comparison
    data: Data
    procedure: Procedure
    interval: Interval
    decision: Decision
    collapses: tuple[Collapses, ...]  # of the trained sides, the claim's arm first
    skewness: float = 0.0  # of the study's scores without collapses, where it is there beyond doubt; else 0
    left_out: tuple[Levels, ...] = ()  # conditions of the claim in which no arm learns
    bar: str = ""  # what learning is, in words
    is_left_out: bool = False  # in all of its conditions
    silent: str = ""  # why no trial says anything about the metric, where none does
    usual: str = "eval/success"  # the study's metric, which goes without saying
    p_holm: float = field(default=math.nan)  # among the claims made beforehand; NaN for one added later
    claims: int = 1  # how many of those have a p

    @property
    def outcome(self) -> Outcome:
        return "not learning" if self.is_left_out else self.decision.outcome or "undecided"

    @property
    def test(self) -> str:
        return self.procedure.name

    @property
    def sequential(self) -> bool:
        """Whether seeds were added until the claims were decided, and the procedure allows for it."""
        return self.procedure.anytime

    @property
    def p(self) -> float:
        """p of the outcome, or of the one the data lean to: the largest over all readings of the data."""
        return self.decision.p

    @property
    def n(self) -> int:
        """Seeds that the interval rests on: common ones, without collapses where these are the exception."""
        return len(self.data.main)

    @property
    def survives(self) -> bool:
        """Whether the verdict, if there is one, still stands as one of all the claims made beforehand."""
        return self.holds is None or not self.p_holm > ALPHA

    @property
    def holds(self) -> bool | None:
        """True if the data bear the claim out, False if they contradict it, None if they do not decide it."""
        if self.outcome in ("undecided", "not learning"):
            return None
        return self.outcome == "supported" or (self.outcome == "equivalent" and self.hypothesis.relation == "=")

    @property
    def difference(self) -> Interval:
        """The interval as arm minus other, in the metric's units."""
        return self.interval.towards(self.comparison.sign)

    @property
    def better(self) -> float:
        """Posterior probability that the arm is better on average, under a flat prior: 1 - p / 2 of Student's test.

        Of the same differences, floor and task error as the interval: above 0.975 exactly where a 95 % one is above 0.
        """
        x_N = self.data.main
        half = STUDENT.over_tasks(self.procedure.tasks).p(x_N, floor=self.data.floor(x_N)) / 2
        return 1 - half if self.interval.estimate > 0 else half

    @property
    def detectable(self) -> float:
        """Least distance from the claim's bound that so many seeds show with 80 % power; of '=', the least margin.

        Where seeds were added on the way it is that of the last look alone.
        """
        if self.n < FEWEST:
            return math.nan
        x_N = self.data.main
        spread = max(float(x_N.std(ddof=1)), self.data.floor(x_N))
        if tasks := self.procedure.tasks:  # more seeds take nothing away from it
            spread = math.hypot(spread, math.sqrt(self.n) * tasks.error)
        if self.hypothesis.relation == "=":
            return smallest_margin(spread, self.n, self.procedure.critical(self.n, 2 * ALPHA))
        return minimum_detectable(spread, self.n, self.procedure.critical(self.n, ALPHA))

    @property
    def offset(self) -> float:
        """Share of seeds on which the favoured side would have to fall to 0 for the mean of all to favour it no more.

        NaN for undecided claims, equalities, other metrics than success, and where collapses are counted in anyway.
        """
        h = self.hypothesis
        is_asked = self.outcome in ("supported", "refuted") and h.relation != "=" and self.data.is_sound
        if not is_asked or not h.metric.endswith("/success"):
            return math.nan
        ahead = self.interval.estimate - bound(h.relation, h.margin)
        ends = [pair[ahead < 0] for pair in self.comparison.pairs.values()]
        return collapse.offset(abs(ahead), sum(ends) / len(ends))

    @property
    def claim(self) -> str:
        """The claim, without what goes without saying."""
        return self.hypothesis.told(metric=self.hypothesis.metric != self.usual)

    @property
    def marks(self) -> list[str]:
        """What a reader must know about the verdict, each as `word: explanation`."""
        found = [] if self.registered else ["exploratory: the claim was added after the run had started"]
        found += [mark for mark in (self._collapse_mark(), self._unmet_mark(), self._missing_mark()) if mark]
        if self.left_out and not self.is_left_out:
            where = "; ".join(label(levels) for levels in self.left_out)
            found.append(f"partial: without {where}, where no arm gains {self.bar}")
        if not self.survives:
            found.append(f"not after Holm's correction: decided by itself, but not as one of {self.claims} claims")
        if self.n >= FEWEST and standard_error(self.data.main) == 0:
            found.append(f"no spread: the difference is the same on every seed{self._resolution()}")
        if self.skewness and self.holds is not None:
            rate = false_verdicts(self.sequential)
            found.append(
                f"skewed: scores lean to one side (skewness {number(self.skewness, 1)}); on exponential differences "
                f"this procedure decides wrongly in {rate:.0f} % of studies, where 5 % are allowed"
            )
        return found

    def _resolution(self) -> str:
        if not self.data.tasks:
            return ", so its interval has no width"
        return f"; the interval is that of what {plural(self.data.tasks, 'task')} can resolve"

    def _collapse_mark(self) -> str:
        """Who collapsed how often, whether that differs, and what the verdict does about it."""
        if not any(c.count for c in self.collapses):
            return ""
        told = [
            f"{c.arm} on {c.count} of {c.rate.n} seeds ({100 * c.rate.low:.0f} to {100 * c.rate.high:.0f} %)"
            for c in self.collapses
        ]
        test = collapse.anytime_p if self.sequential else collapse.exact_p
        p = f"; p of equal rates {number(test(self.data.only_arm, self.data.only_other), 3)}"
        how = "the effect is that among the other seeds" if self.data.is_sound else "the effect counts them in"
        return f"collapse: {' and '.join(told)}{p if len(told) > 1 else ''}; {how}"

    def _unmet_mark(self) -> str:
        """That collapses too rare to have been met could undo the verdict, where so few seeds leave so many open."""
        ahead = self.interval.estimate - bound(self.hypothesis.relation, self.hypothesis.margin)
        side = self.comparison.arm if ahead > 0 else self.comparison.other
        mine = next((c for c in self.collapses if c.arm == side), None)
        if mine is None or not self.offset < mine.rate.high:
            return ""
        few = f"{100 * self.offset:.0f}" if self.offset >= 0.005 else "less than 1"
        return (
            f"barring collapse: if {side} fell to 0 on {few} % of seeds, the mean over all of them "
            f"would favour it no more; {mine.count} of {mine.rate.n} collapsed, which leaves up to "
            f"{100 * mine.rate.high:.0f} % open"
        )

    def _missing_mark(self) -> str:
        """What is missing, and whether it could overturn the rest."""
        if not self.comparison.missing:
            return ""
        cells = f"{plural(len(self.comparison.missing), 'cell')} missing"
        if self.n == 0:
            return f"incomplete: {cells}, and no seed has a result on both sides"
        if not self.data.missing:
            return f"incomplete: {cells}, of seeds that neither side has begun"
        if self.holds is not None:
            return f"incomplete: {cells}; the verdict stands however they had ended"
        return f"incomplete: {cells}, so not every seed counts"

    @property
    def shortfall(self) -> str:
        """Why an undecided claim is undecided; empty for a decided one."""
        if self.outcome != "undecided":
            return ""
        if self.silent:
            return self.silent
        if self.n < FEWEST:
            return f"at least {FEWEST} common seeds are needed"
        first = next(iter(self.decision.p_of.values()))
        if first < ALPHA and self.decision.weakest == "worst":
            return f"{plural(len(self.data.missing), 'seed')} without a result could overturn the others"
        if first < ALPHA and self.decision.weakest == "all":
            return "what the other seeds show is undone by those that collapsed"
        if not math.isfinite(self.detectable):
            return "too few seeds to leave out any difference"
        if self.detectable == 0 or not self.data.main.any():
            return "the same on every seed: the metric may have reached its floor or its ceiling"
        seeds = f"{self.n} seeds like these"
        if self.hypothesis.relation == "=":
            return f"{seeds} show equality within {number(self.detectable, 3)} or more with 80 % power"
        edge = bound(self.hypothesis.relation, self.hypothesis.margin)
        what = f"differences {number(self.detectable, 3)} away from {number(edge, 3)}" if edge else "differences"
        return f"{seeds} show {what}{'' if edge else f' of {number(self.detectable, 3)}'} or more with 80 % power"

    def line(self) -> str:
        """`cosine > linear: undecided at n = 10 (+0.01 [-0.02, +0.04]; 10 seeds like these show ...)`."""
        if self.outcome == "not learning":
            return f"{self.claim}: not judged (no arm gains {self.bar})"
        found = estimate(self.difference, signed=True) if self.n else ""
        reason = "; ".join(part for part in (found, self.shortfall) if part)
        marks = "".join(f"; {mark.split(':')[0]}" for mark in self.marks)
        return f"{self.claim}: {self.outcome} at n = {self.n} ({reason}{marks})"

    def sentence(self) -> str:
        """The answer in one sentence, with its uncertainty."""
        c, d = self.comparison, self.difference
        if self.outcome == "not learning":
            return (
                f"No arm gains {self.bar} in this setting, so a difference between {c.arm} and {c.other} would say "
                "nothing about the method: the claim is not judged."
            )
        if self.silent:
            return f"{self.silent[0].upper()}{self.silent[1:]}, so nothing can be said."
        if self.n == 0:
            return f"{c.arm} and {c.other} have results on no seed in common, so nothing can be said."
        direction = "above" if d.estimate >= 0 else "below"
        on = "" if self.hypothesis.metric == self.usual else f" on {self.hypothesis.metric}"
        less = ", of which less is better" if c.sign < 0 else ""
        size = f"{c.arm} ends {number(abs(d.estimate), 3)} {direction} {c.other}{on}{less}"
        return f"{size} ({self._bounds()}, {self.basis}){f'; {self.shortfall}' if self.shortfall else ''}."

    def _bounds(self) -> str:
        if self.n < 2:
            return "no interval from one seed"
        kind = "anytime-valid interval" if self.sequential else "interval"
        level = f"{100 * self.interval.level:.0f} % {kind}"
        if not math.isfinite(self.interval.low):
            return f"{level} without limits so far"
        return f"{level} {limits(self.difference, 3, signed=True)[1:-1].replace(', ', ' to ')}"

    @property
    def basis(self) -> str:
        """`10 common seeds on 8 fresh task sets`; a teacher is one model, evaluated once."""
        trained = [c.arm for c in self.collapses]
        what = "common seed" if len(trained) == 2 else "seed"
        against = [name for name in (self.comparison.arm, self.comparison.other) if name not in trained]
        text = plural(self.n, what)
        if self.comparison.by_set:
            text += f" on {len(next(iter(self.comparison.by_set.values())))} fresh task sets"
        elif against:
            text += f" against the one evaluation of {against[0]}"
            text += ", the chance of its tasks allowed for" if self.procedure.tasks else ""
        return text + (" on which neither collapsed" if self.data.is_sound and self.n < len(self.data.seeds) else "")
