"""From the pieces of a number to its likeliest strings: which pieces are a digit together, and the best paths through them."""

from collections.abc import Sequence, Set
from heapq import heappushpop
from typing import NamedTuple

import cv2
import numpy as np

from boxes import holes
from rules import Rule, States
from segments import BIT, Pieces

TOGETHER = 12  # pieces that may make up one digit
WIDEST, WIDEST_THING = 1.6, 2.4  # heights of the line; no digit is wider that is made of pieces, or that is one thing as it stands
MOST_GROUPS = 600  # that could be digits: twelve digits that touch have some 180, and 400 at most, a texture any number
DEAREST = 1.8  # a group whose shape costs more is not shown to the network; of 10,973 digits 6 cost over 1.66 (LOG.md)
BEAM, RULED_BEAM = 12, 48  # strings that are followed at a time; where a rule leaves out most of them it takes more
LEANING = 0.4  # of a bit's width lies above or below what it belongs to
HOPELESS = 14.0  # of a score; a path this far behind is given up

# What a path through the pieces costs, in logarithms of a probability; chosen on numbers composed of training writers' digits.
COSTS = {
    "wide": 1.0,  # for what a box is wider than 1.15 of its height, in heights
    "whole": 0.5,  # the same for a thing as it stands: some write wide zeros
    "low": 10.0,  # for what a box is lower than half of the line, in heights
    "tall": 10.0,  # for what it is higher than 2.5 of it: digits below one another
    "gap": 14.0,  # for the paper between pieces of one digit, in heights
    "strange": 2.3,  # times the surprise that a box shows a digit at all
    "ink": 5.3,  # for what a cut costs (`segments.prices_of`), in heights, half at either side
    "swallowed": 2.0,  # for a part that is a digit, too, beyond a cut that costs nothing, and the rest the same digit as the whole
    "parted": 1.0,  # for two 1s that meet in a peak, beside the one that they are together
    "loose": 1.0,  # for a bit that lies neither above nor below the other pieces of the digit that it is taken for a part of
    "short": 10.0,  # for what a 1 is lower than three quarters of the line, in heights: the upstroke of one is none itself
    "lying": 3.0,  # for what a 1 is wider than high, as a share of its height: a dash
    "sign": 5.5,  # for the larger side, in heights, of what is no digit and no bit; for its square where that is wide
    "fragment": 9.0,  # the same for what was cut off something, the rest of which is taken for digits
    "dash": 4.0,  # for the height, in heights, of a thing that is flat and no bit
    "bit": 4.0,  # for the height, in heights, of a bit, for what it is higher than a comma
}
LONG = 1.7  # heights; longer things that were not cut are lines, and cost no more
DOUBTS = 5  # measures of how sure a string is
TALLEST = 1.2  # heights; a number is no surer for higher digits than that
FLAT, LOW = 1.3, 0.8  # heights of its own, and of the line; what is wider and lower may be a dash
HOLE = 0.01  # of the squared height of the line; a smaller hole is a flaw
FREE = 0.03  # heights; of the cuts that cost less nine in ten are ends of digits (LOG.md)
LIKE_ONE = -2.0  # a score; what has less is no 1
MEETING, SPREAD = 0.4, 0.25  # of their height; two strokes that meet above meet within it, and are as far apart at their lower end
COMMA = 0.2  # heights; lower bits, dots and dashes, are free to be none


class Group(NamedTuple):
    """Pieces `first` to `last`, of which `chosen` could be one digit together, and what their shape costs, whichever it is."""

    first: int
    last: int
    chosen: list[int]
    cost: float


class Candidate(NamedTuple):
    """A group that was looked at as one digit: the network's `probabilities` (10,), and its `scores` (10,) of being each digit."""

    first: int
    last: int
    chosen: list[int]
    probabilities: np.ndarray
    scores: np.ndarray


class Way(NamedTuple):
    """A way through the pieces so far: its score, its digits' candidates, the pieces that are none, and the rule's states."""

    score: float
    digits: tuple[Candidate, ...]
    signs: tuple[int, ...]
    states: States | None


def groups_of(pieces: Pieces) -> list[Group] | None:
    """Return all groups of neighbouring pieces that could be one digit, with and without the bits among them; None where there are
    more than MOST_GROUPS."""
    found, count, height, whole = [], len(pieces.boxes), pieces.height, last_of_things(pieces)
    for first in range(count):
        for last in range(first, min(first + TOGETHER, count)):
            group = list(range(first, last + 1))
            wide = pieces.size(group)[0]
            if last > first and wide > WIDEST_THING * height:
                break
            if last > first and wide > WIDEST * height and whole[first] != last:
                continue
            without = [piece for piece in group if piece in (first, last) or not pieces.bits[piece]]
            for chosen in [group] if without == group else [group, without]:
                if pieces.size(chosen)[1] >= 0.7 * BIT * height or wide >= 2 * BIT * height:
                    found.append((first, last, chosen))
        if len(found) > MOST_GROUPS:
            return None
    costs = shape_costs(pieces, found)
    return [Group(*each, float(cost)) for each, cost in zip(found, costs, strict=True)]


def last_of_things(pieces: Pieces) -> np.ndarray:
    """Return (N,) for every piece the last one of the connected thing that begins with it; -1 where none does, or where other
    pieces lie between its own."""
    _, begins, counts = np.unique(pieces.things, return_index=True, return_counts=True)
    ends = len(pieces.things) - 1 - np.unique(pieces.things[::-1], return_index=True)[1]
    last = np.full(len(pieces.things), -1)
    last[begins] = np.where(ends - begins + 1 == counts, ends, -1)
    return last


def shape_costs(pieces: Pieces, groups: Sequence[tuple[int, int, list[int]]]) -> np.ndarray:
    """Return (N,) what the shapes of N groups (first, last, chosen) cost, whichever digits they are."""
    height, things, bits = pieces.height, pieces.things, pieces.bits
    first, last = np.array([(first, last) for first, last, _ in groups], int).reshape(-1, 2).T
    taken = np.zeros((len(groups), len(things)), bool)  # which pieces a group is made of
    for row, (_, _, chosen) in zip(taken, groups, strict=True):
        row[chosen] = True
    left, top = pieces.boxes[:, :2].T
    right, foot = left + pieces.boxes[:, 2], top + pieces.boxes[:, 3]

    def least(sides: np.ndarray, among: np.ndarray) -> np.ndarray:
        return np.where(among, sides, np.inf).min(axis=1)

    order = left.argsort(kind="stable")
    reached = np.maximum.accumulate(np.where(taken, right, -np.inf)[:, order], axis=1)  # by a group's pieces, from left to right
    gaps = np.where(taken[:, order[1:]], left[order[1:]] - reached[:, :-1], 0)
    gaps = np.where(np.isfinite(gaps), gaps, 0).clip(0).sum(axis=1) / height
    wide, high = -least(-right, taken) - least(left, taken), -least(-foot, taken) - least(top, taken)
    whole = last_of_things(pieces)[first] == last
    cuts = np.append(pieces.cuts, 0.0)
    larger = taken & ~bits
    over = np.minimum(right, -least(-right, larger)[:, None]) - np.maximum(left, least(left, larger)[:, None])
    small = (taken & bits).sum(axis=1)  # bits in a group; loose are those that lie for the most part beside the larger pieces of it
    loose = np.where(larger.any(axis=1), (taken & bits & (over < LEANING * (right - left))).sum(axis=1), (small - 1).clip(0))
    return (np.where(whole, COSTS["whole"], COSTS["wide"]) * (wide / np.maximum(high, 0.6 * height) - 1.15).clip(0)
            + COSTS["low"] * (0.5 - high / height).clip(0)
            + COSTS["tall"] * (high / height - 2.5).clip(0)
            + COSTS["gap"] * gaps
            + COSTS["ink"] / 2 * (cuts[first] + cuts[last + 1])
            + COSTS["loose"] * loose)


def score(pieces: Pieces, groups: list[Group], probabilities: np.ndarray) -> list[Candidate]:
    """Return N groups as candidates, by the network's probabilities (N, 10): their scores are the logarithms of these less the
    COSTS of taking the groups for digits."""
    surprise = -np.log(np.sort(probabilities, axis=1)[:, -2:].sum(axis=1))
    costs = np.array([group.cost for group in groups])
    scores = np.log(probabilities + 1e-9) - (costs + COSTS["strange"] * surprise)[:, None]
    wide, high = np.array([pieces.size(group.chosen) for group in groups]).reshape(-1, 2).T
    scores[:, 1] -= COSTS["short"] * (0.75 - high / pieces.height).clip(0) + COSTS["lying"] * (wide / high - 1).clip(0)
    scores[:, 1] = np.maximum(scores[:, 1], peaks(pieces, groups, scores[:, 1]))
    scores -= COSTS["swallowed"] * swallowed(pieces, groups, scores)
    return [Candidate(*group[:3], *rows) for group, *rows in zip(groups, probabilities, scores, strict=True)]


def swallowed(pieces: Pieces, groups: list[Group], scores: np.ndarray) -> np.ndarray:
    """Return (N, 10), 0 to 1, how likely N groups are a digit that swallowed another one beside it, mostly a 1.

    The network has learned to see past pieces of neighbours, so it is asked of the parts: one, beyond a cut that costs next to
    nothing, is a digit, and the rest is the same digit as the whole. A 1 is one on either side of any way down through it, and
    is left out. `scores` (N, 10) are the groups' own.
    """
    rows = unbroken(groups)
    free = 1 + np.flatnonzero((pieces.things[1:] == pieces.things[:-1]) & (pieces.cuts[1:] <= FREE))  # pieces with such a cut
    best, likely = scores.max(axis=1), np.zeros_like(scores)
    for (first, last), row in rows.items():
        for piece in free[(first < free) & (free <= last)]:
            left, right = rows.get((first, piece - 1)), rows.get((piece, last))
            if left is not None and right is not None:
                parted = np.maximum(scores[left] + best[right], best[left] + scores[right])
                likely[row] = np.maximum(likely[row], np.exp(np.minimum(parted, 0)))
    likely[:, 1] = 0
    return likely


def peaks(pieces: Pieces, groups: list[Group], ones: np.ndarray) -> np.ndarray:
    """Return (N,) the scores of N groups as a 1 whose upstroke is as long as a digit: two strokes, each of them like a 1, that
    meet above and lean apart below. -inf where a group is none. `ones` (N,) are the groups' own scores as a 1.

    Many write it so, and hardly anybody two 1s; what the network has learned from knows shorter upstrokes alone.
    """
    rows, found = unbroken(groups), np.full(len(groups), -np.inf)
    for (first, last), row in rows.items():
        for piece in range(first + 1, last + 1):
            left, right = rows.get((first, piece - 1)), rows.get((piece, last))
            if left is None or right is None or pieces.things[piece - 1] != pieces.things[piece]:
                continue
            both = ones[left] + ones[right]
            if min(ones[left], ones[right]) > LIKE_ONE and both > found[row] and is_peak(pieces, groups[left].chosen,
                                                                                        groups[right].chosen):
                found[row] = both
    return found + COSTS["parted"]


def is_peak(pieces: Pieces, before: list[int], after: list[int], upside_down: bool = False) -> bool:
    """Say whether two neighbouring strokes meet above alone and lean apart below; or, upside down, the other way round: a V."""
    (left, top), (right, foot) = pieces.corners(before + after)
    labels = pieces.labels[top:foot, left:right][::-1 if upside_down else 1]
    strokes = [np.isin(labels, np.array(side) + 1) for side in (before, after)]  # (H, W) each
    rows, high = [stroke.any(axis=1) for stroke in strokes], foot - top
    if any(not each[:int(0.3 * high)].any() or each.sum() < 0.45 * high for each in rows):
        return False
    ends = strokes[0].shape[1] - strokes[0][:, ::-1].argmax(axis=1)  # (H,) of the left one; where the right one starts
    gaps = (strokes[1].argmax(axis=1) - ends)[rows[0] & rows[1]]
    below = np.flatnonzero(rows[0] & rows[1])
    touching = below[gaps <= 0]
    return bool(len(touching) and touching.max() <= MEETING * high and np.median(gaps[-max(1, int(0.1 * high)):]) >= SPREAD * high)


def unbroken(groups: list[Group]) -> dict[tuple[int, int], int]:
    """Return the rows of those groups that leave out none of the pieces between their first and their last, by these two."""
    return {(group.first, group.last): row for row, group in enumerate(groups) if len(group.chosen) == group.last + 1 - group.first}


def signs_of(pieces: Pieces, known: Set[int] = frozenset()) -> list[tuple[int, int, float]]:
    """Return (first, last, cost) of what may be taken for no digit: every piece, and every thing that was cut into neighbours. What
    is `known` to be none, with all of its pieces, costs nothing."""
    found = []
    for thing in np.unique(pieces.things):
        rows = np.flatnonzero(pieces.things == thing)
        first, last, boxes = int(rows[0]), int(rows[-1]), pieces.boxes[rows] / pieces.height
        sides = boxes[:, 2:].max(axis=1)
        wide, high = (boxes[:, :2] + boxes[:, 2:]).max(axis=0) - boxes[:, :2].min(axis=0)
        if len(rows) == 1:
            cost = COSTS["bit"] * max(0.0, high - COMMA) if pieces.bits[first] else COSTS["sign"] * min(LONG, sides[0])
        else:
            found += [(int(row), int(row), COSTS["fragment"] * side) for row, side in zip(rows, sides, strict=True)]
            cost = COSTS["sign"] * max(wide, wide * wide, *sides)
        if wide > FLAT * high and high < LOW and not pieces.bits[first] and not has_hole(pieces, rows):
            cost = min(cost, COSTS["dash"] * high)
        if last - first == len(rows) - 1:  # no pieces of other things between its own
            found.append((first, last, float(cost)))
    return [(first, last, 0.0 if known >= set(range(first, last + 1)) else cost) for first, last, cost in found]


def has_hole(pieces: Pieces, chosen: np.ndarray) -> bool:
    """Say whether there is paper inside of some pieces, as in no dash: zeros on end."""
    mask = np.isin(pieces.labels, chosen + 1).view(np.uint8)
    return any(cv2.contourArea(hole) > HOLE * pieces.height ** 2 for hole, _ in holes(mask))


def best_ways(pieces: Pieces, looks: list[Candidate], rule: Rule | None = None,
              known: Set[int] = frozenset()) -> dict[str, Way]:
    """Return the best strings, the likeliest first, each with the best way to it; with a rule only such as match it; without
    the pieces that are `known` to be no digits.

    A beam search over the pieces from left to right (LeCun et al. 1998, section VII, "the Viterbi path", for many paths).
    """
    count, width = len(pieces.boxes), RULED_BEAM if rule else BEAM
    ending: list[list[Candidate]] = [[] for _ in range(count + 1)]
    looks = [look for look in looks if known.isdisjoint(look.chosen)]
    for look in looks:
        ending[look.last + 1].append(look)
    most = [0] * (count + 1)  # digits that may still come after a piece
    for look in sorted(looks, key=lambda look: -look.first):
        most[look.first] = max(most[look.first], 1 + most[look.last + 1])
    for piece in range(count - 1, -1, -1):
        most[piece] = max(most[piece], most[piece + 1])
    beam: list[dict[str, Way]] = [{"": Way(0.0, (), (), rule.start if rule else None)}]
    signs: list[list[tuple[int, float]]] = [[] for _ in range(count + 1)]
    for first, last, cost in signs_of(pieces, known):
        signs[last + 1].append((first, cost))
    for end in range(1, count + 1):
        ways: dict[str, Way] = {}
        ahead = [-np.inf] * width  # a heap of scores, of a string each: what is behind all of them will not be followed
        for first, cost in signs[end]:
            for text, way in beam[first].items():
                if text not in ways or ways[text].score < way.score - cost:
                    ways[text] = Way(way.score - cost, way.digits, (*way.signs, *range(first, end)), way.states)
        for way in ways.values():
            heappushpop(ahead, way.score)
        for look in ending[end]:
            skipped = tuple(piece for piece in range(look.first, look.last + 1) if piece not in look.chosen)
            scores = look.scores.tolist()
            least = -np.inf if rule else max(scores) - HOPELESS / 2
            tried = sorted(((gain, str(digit)) for digit, gain in enumerate(scores) if gain > least), reverse=True)
            for text, way in beam[look.first].items():  # the best first, as its digits
                if way.score + tried[0][0] <= ahead[0]:
                    break
                for gain, digit in tried:
                    longer, total = text + digit, way.score + gain
                    if total <= ahead[0]:
                        break
                    if longer in ways and ways[longer].score >= total:
                        continue
                    states = rule.step(way.states, digit) if rule else None
                    if rule and rule.needs(states) > most[end]:
                        continue
                    if longer not in ways:
                        heappushpop(ahead, total)
                    ways[longer] = Way(total, (*way.digits, look), (*way.signs, *skipped), states)
        kept = sorted(ways.items(), key=lambda item: -item[1].score)[:width]
        beam.append({text: way for text, way in kept if rule or way.score > kept[0][1].score - HOPELESS})
    return {text: way for text, way in beam[-1].items() if not rule or rule.accepts(way.states)}


def doubts(pieces: Pieces, ways: dict[str, Way]) -> np.ndarray:
    """Return (DOUBTS,) what speaks for or against the first of some ways, each as the logarithm of one more: how far its score is
    ahead of the second's, what its cuts cost, in heights, the surprise (less the logarithm of the probability) of its
    least sure digit, all that it costs, and the height of its lowest digit, up to TALLEST, which may be an upstroke."""
    first, *others = ways.values()
    ahead = min(HOPELESS, first.score - others[0].score) if others else HOPELESS
    through = sum(pieces.cuts[[each.first] + [each.last + 1] * (each.last + 1 < len(pieces.boxes))].sum() for each in first.digits)
    surprise = max((-np.log(each.probabilities.max()) for each in first.digits), default=0.0)
    low = min((pieces.size(each.chosen)[1] / pieces.height for each in first.digits), default=0.0)
    return np.log1p(np.maximum(0, [ahead, through / 2, surprise, -first.score, min(low, TALLEST)]))


def shares(ways: dict[str, Way]) -> dict[str, float]:
    """Return the probability of every string among the ways, as their scores give it."""
    scores = np.array([way.score for way in ways.values()])
    weights = np.exp(scores - scores.max())
    return dict(zip(ways, (weights / weights.sum()).tolist(), strict=True))
