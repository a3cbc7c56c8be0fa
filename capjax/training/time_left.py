"""How long will a run still take? What has been measured so far, and a guess at what has not.

A stage under way goes on as it has gone. Of one that has not begun the steps and validations are
known, and about what a step costs beside one of the stage under way (`Learning.cost`): so the guess
is rough at first, and better with every stage. What nothing is known of counts as nothing: how long
the first validation takes, before it.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

FEW = 5  # steps of which less is known than of the stage before


class Ahead(NamedTuple):
    """A stage, as it is known before it begins."""

    steps: int
    every: int  # steps from one validation to the next; the last step has one
    cost: float  # of a step, in the same units for all stages
    speaks: bool  # whether a validation has a split captioned
    evaluations: int  # of splits whose captions are measured after it

    def validations(self, done: int) -> int:
        """How many there will be after so many steps."""
        whole = self.steps // self.every - done // self.every
        return whole + bool(self.steps % self.every and done < self.steps)


class TimeLeft:
    """The time that a run's stages will take, as far as it can be known.

    Args:
      stages: all of the recipe's.
      clock: seconds from anywhere.
    """

    def __init__(
        self, stages: Sequence[Ahead], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.stages, self._clock = stages, clock
        self._index = self._done = self._validated = 0
        self._unit: float | None = None  # seconds of a step of cost 1, of the last stage measured
        self._start = 0.0  # seconds from a stage's beginning to its first step's end: it compiles
        self._validation = {True: 0.0, False: 0.0}  # seconds of the last one, by `speaks`
        self._evaluation = 0.0  # seconds of an evaluation
        self._began = self._spent = 0.0
        self._counted = 0  # steps of this stage that `_spent` is of

    def begins(self, index: int, done: int) -> None:
        """A stage begins, or goes on after so many steps."""
        self._index, self._done, self._validated = index, done, done
        self._began, self._spent, self._counted = self._clock(), 0.0, -1

    def stepped(self) -> None:
        """One more step has been done."""
        now = self._clock()
        if self._counted < 0:  # the first one was compiled
            self._start = now - self._began
        else:
            self._spent += now - self._began
        self._done, self._counted, self._began = self._done + 1, self._counted + 1, now
        if self._counted >= FEW:
            self._unit = self._spent / self._counted / self.stages[self._index].cost

    @contextlib.contextmanager
    def validating(self) -> Iterator[None]:
        """Inside, what has been learnt is validated."""
        begun, speaks = self._clock(), self.stages[self._index].speaks
        yield
        took = self._clock() - begun
        self._began, self._validated = self._began + took, self._done
        self._validation[speaks] = took
        if speaks:  # the first one compiled its decoder, as an evaluation does
            self._evaluation = max(self._evaluation, took)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Inside, a split's captions are measured after a stage."""
        begun = self._clock()
        yield
        self._evaluation = self._clock() - begun

    def seconds(self) -> float | None:
        """About how long all of what is left takes; None where nothing has been measured yet."""
        if self._unit is None:
            return None
        now, *later = self.stages[self._index :]
        left = self._of(now, self._done, self._validated)
        return left + sum(self._start + self._of(stage, 0, 0) for stage in later)

    def _of(self, stage: Ahead, done: int, validated: int) -> float:
        assert self._unit is not None
        steps = (stage.steps - done) * stage.cost * self._unit
        validations = stage.validations(validated) * self._validation[stage.speaks]
        return steps + validations + stage.evaluations * self._evaluation
