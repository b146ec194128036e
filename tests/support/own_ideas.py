"""Decays and turn profiles that a user might write, for tests of `kind: custom`. Plain Python, so bundles carry it."""

import math


def root(progress):
    return math.sqrt(progress)


def first_half(turn, horizon):
    return 1.0 if 2 * turn < horizon else 0.25


def overshooting(progress):
    return 1.2 * progress


def lost(progress):
    return math.nan if progress > 0.5 else progress


def wordy(progress):
    return "half"


def above_one(turn, horizon):
    return float(turn)


def fails(progress):
    return 1.0 / (progress - progress)


def leaves(progress):
    raise SystemExit(3)
