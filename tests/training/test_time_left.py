"""Is the time that a run will still take told as well as it can be known?"""

import itertools

import pytest

from capjax.training.time_left import FEW, Ahead, TimeLeft

# Steps take `cost` seconds; the first one of a stage 7 more. A validation takes 11 or, of one that
# does not speak, 2; an evaluation 13.
STAGES = (Ahead(50, 20, 1.0, True, 1), Ahead(30, 15, 0.25, False, 1), Ahead(40, 40, 4.0, True, 2))


class Simulated:
    """A run whose clock moves by what it does; what was told at each moment, and when."""

    def __init__(self, stages=STAGES, real=None):
        self.now = 100.0
        self.time = TimeLeft(stages, lambda: self.now)
        self.told = []  # (stage, its steps done, when, what was left by then)
        for index, stage in enumerate(stages):
            self.stage(index, stage, real[index] if real else stage.cost)
            for _ in range(stage.evaluations):
                with self.time.evaluating():
                    self.now += 13
        self.end = self.now

    def stage(self, index, stage, seconds):
        self.time.begins(index, 0)
        self.now += 7
        for done in range(1, stage.steps + 1):
            self.now += seconds
            self.time.stepped()
            self.told.append((index, done, self.now, self.time.seconds()))
            if done % stage.every == 0 or done == stage.steps:
                with self.time.validating():
                    self.now += 11 if stage.speaks else 2

    def error(self, index, done):
        """By how much the time told after a step was too short."""
        when, told = next(row[2:] for row in self.told if row[:2] == (index, done))
        return self.end - when - told


def test_nothing_is_told_before_anything_is_known():
    run = Simulated()
    assert [row[3] is None for row in run.told[: FEW + 2]] == [True] * FEW + [False] * 2


def test_what_has_been_seen_once_is_known():
    run = Simulated()
    for index, done in ((2, FEW + 1), (2, 30), (2, 40)):
        assert run.error(index, done) == pytest.approx(0, abs=1e-9)
    assert run.error(1, 20) == pytest.approx(-0.25)  # the next stage's first step counts twice
    # Evaluations are thought to take as long as a validation, and those of judges no time.
    assert run.error(0, 30) == pytest.approx(4 * (13 - 11) + 2 * 2 - 2 * 1.0)
    assert run.error(0, 30) < run.error(0, 10)  # not even a validation of its own kind


def test_a_wrong_guess_of_a_later_stage_is_mended_when_it_begins():
    run = Simulated(real=(1.0, 0.25, 9.0))
    assert run.error(1, 20) > 150
    assert abs(run.error(2, FEW + 1)) < 1e-6


def test_a_run_that_goes_on_counts_what_is_left():
    now = [0.0]
    time = TimeLeft(STAGES[2:], lambda: now[0])
    time.begins(0, 10)
    for _ in range(FEW + 1):
        now[0] += 4.0
        time.stepped()
    assert time.seconds() == pytest.approx(4.0 * (30 - FEW - 1))


def test_validations_are_counted_as_they_come():
    for steps, every in itertools.product(range(1, 12), range(1, 13)):
        when = [s for s in range(1, steps + 1) if s % every == 0 or s == steps]
        for done in range(steps + 1):
            left = Ahead(steps, every, 1.0, True, 1).validations(done)
            assert left == sum(s > done for s in when)
