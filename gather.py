"""Let calls that come at the same time share one forward pass of the network, each with an answer of its own."""

from collections import deque
from collections.abc import Callable
from threading import Lock

import numpy as np


class Gathering:
    """A function of pictures that many threads call at the same time: who waits for the pass that runs is in the next one.

    Nobody waits for others to come. An error in a pass reaches those whose pictures were in it.
    """

    def __init__(self, run: Callable[[np.ndarray], np.ndarray], most: int):
        """Take the function, (N, ...) pictures to (N, ...) answers, row by row, and how many pictures there may be in one pass; a
        call that brings more has one for itself."""
        self.run, self.most = run, most
        self.waiting: deque[list] = deque()  # [pictures, answers or the error or None], in the order in which they came
        self.running = Lock()

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Return what the function gives for these pictures; raise what it raises."""
        mine = [pictures, None]
        self.waiting.append(mine)
        with self.running:
            while mine[1] is None:  # whoever ran before may have taken ours along
                self._pass()
        if isinstance(mine[1], Exception):
            raise mine[1]
        return mine[1]

    def _pass(self) -> None:
        """Run the function once, for as many of those who wait as fit."""
        group = [self.waiting.popleft()]
        while self.waiting and sum(len(call[0]) for call in group) + len(self.waiting[0][0]) <= self.most:
            group.append(self.waiting.popleft())
        try:
            rows = self.run(np.concatenate([call[0] for call in group]))
            answers = np.split(rows, np.cumsum([len(call[0]) for call in group])[:-1])
        except Exception as error:
            answers = [error] * len(group)
        for call, answer in zip(group, answers, strict=True):
            call[1] = answer
