"""Calls that come together share a pass, and each gets its own."""

import threading

import numpy as np
import pytest

from gather import Gathering

MOST = 8


def call_together(gathering: Gathering, calls: list[np.ndarray], until) -> list:
    """Let a thread make each call while the first pass is held up by `until`; return the answers, or the errors, in their order."""
    answers: list = [None] * len(calls)

    def ask(place: int) -> None:
        try:
            answers[place] = gathering(calls[place])
        except ValueError as error:
            answers[place] = error

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(calls))]
    threads[0].start()
    until.entered.wait()
    for thread in threads[1:]:
        thread.start()
    while len(gathering.waiting) < len(calls) - 1:
        pass
    until.go_on.set()
    for thread in threads:
        thread.join()
    return answers


class Doubling:
    """Doubles numbers, remembers the sizes of its passes, and waits in the first one until it may go on."""

    def __init__(self):
        self.sizes, self.entered, self.go_on = [], threading.Event(), threading.Event()

    def __call__(self, numbers: np.ndarray) -> np.ndarray:
        self.sizes.append(len(numbers))
        self.entered.set()
        self.go_on.wait()
        if (numbers < 0).any():
            raise ValueError("a negative number")
        return 2 * numbers


def test_who_waits_is_in_the_next_pass_and_gets_its_own_rows():
    run = Doubling()
    calls = [np.arange(first, first + count) for first, count in ((0, 1), (10, 3), (20, 1), (30, 2))]
    answers = call_together(Gathering(run, MOST), calls, run)
    assert run.sizes == [1, 6]
    assert all(np.array_equal(answer, 2 * numbers) for answer, numbers in zip(answers, calls, strict=True))


def test_a_pass_has_a_largest_size():
    run = Doubling()
    call_together(Gathering(run, MOST), [np.arange(1), *[np.arange(MOST // 2)] * 3], run)
    assert run.sizes == [1, MOST, MOST // 2]
    assert len(Gathering(run, MOST)(np.arange(3 * MOST))) == 3 * MOST


def test_an_error_reaches_those_whose_pass_it_was_and_nobody_after_them():
    run = Doubling()
    gathering = Gathering(run, MOST)
    answers = call_together(gathering, [np.array([1]), np.array([-1]), np.array([2])], run)
    assert answers[0] == [2] and isinstance(answers[1], ValueError) and isinstance(answers[2], ValueError)
    assert gathering(np.array([5])) == [10]
    with pytest.raises(ValueError, match="negative"):
        gathering(np.array([-5]))
