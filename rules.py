"""Rules for numbers: regular expressions over digits, matched digit by digit, in linear time whatever their author meant.

Python's own `re` cannot say whether a beginning can still become a match, and an expression from a stranger can keep it busy for
ever. A `Rule` is the automaton of Thompson (1968), "Regular expression search algorithm", whose steps are remembered once walked.
"""

DIGITS = frozenset("0123456789")
LONGEST = 200  # characters of a rule
MOST = 2_000  # states of its automaton: a repetition of a repetition grows fast; \d{1,280} has 841
KEPT = 500_000  # states in the steps that are remembered, some 30 MB: the beginnings of one number come back to the same few sets
SHOWN = 40  # characters of a rule in a sentence
DEEPEST = 30  # brackets within brackets
KNOWN = r"Write it with digits, \d, [2-9], ., ( ), |, ?, *, + and {2,5}, as in \d{5}."

States = frozenset[int]


class Rule:
    """An expression that the digits of a number must match as a whole."""

    def __init__(self, pattern: str):
        """Take the expression. Raises ValueError with a sentence for one that is damaged, too large, or not about digits."""
        pattern = pattern.strip() if isinstance(pattern, str) else ""
        if not pattern or len(pattern) > LONGEST:
            raise ValueError(f"A rule has 1 to {LONGEST} characters. {KNOWN}")
        pattern = pattern.encode(errors="backslashreplace").decode()  # half a character would fit into no answer
        self.pattern = pattern
        self._text = pattern[pattern.startswith("^"):len(pattern) - (pattern.endswith("$") and not pattern.endswith("\\$"))]
        self._at, self._depth = 0, 0
        self._free: list[list[int]] = []  # of every state: where it leads to without a digit
        self._steps: list[tuple[frozenset, int] | None] = []  # of every state: the digits that it takes, and where they lead to
        first, self._last = self._either()
        if self._at < len(self._text):
            raise self._refusal()
        self.start: States = self._follow([first])
        self._needs = self._distances()
        self._known: dict[tuple[States, str], States] = {}  # steps that were walked
        self._least: dict[States, float] = {}  # what some states need
        self._kept = 0  # states in both

    def step(self, states: States, digit: str) -> States:
        """Return the states after one more digit; none where no match can begin so."""
        if (after := self._known.get((states, digit))) is None:
            after = self._follow([way[1] for way in map(self._steps.__getitem__, states) if way and digit in way[0]])
            self._keep(after)
            self._known[states, digit] = after
        return after

    def accepts(self, states: States) -> bool:
        """Say whether the digits so far are a whole match."""
        return self._last in states

    def needs(self, states: States) -> float:
        """Return how many more digits it takes at least until there is a whole match; infinity where there cannot be one."""
        if (least := self._least.get(states)) is None:
            least = min(map(self._needs.__getitem__, states), default=float("inf"))
            self._keep(states)
            self._least[states] = least
        return least

    def matches(self, text: str) -> bool:
        """Say whether a string of digits is a whole match."""
        states = self.start
        for digit in text:
            states = self.step(states, digit)
        return self.accepts(states)

    # --- the expression, from its largest parts to its smallest: each returns the first and the last state of a part ---------

    def _either(self) -> tuple[int, int]:
        ends = [self._sequence()]
        while self._take("|"):
            ends.append(self._sequence())
        if len(ends) == 1:
            return ends[0]
        first, last = self._state(), self._state()
        for begin, end in ends:
            self._free[first].append(begin)
            self._free[end].append(last)
        return first, last

    def _sequence(self) -> tuple[int, int]:
        first = last = self._state()
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            begin, end = self._repeated()
            self._free[last].append(begin)
            last = end
        return first, last

    def _repeated(self) -> tuple[int, int]:
        start = self._at
        part = self._one()
        least, most = self._count()
        if (least, most) == (1, 1):
            return part
        stop = self._at
        first = last = self._state()
        for number in range(max(least, 1 if most is None else most)):
            if number:  # the same once more: read it again
                self._at = start
                part = self._one()
            self._free[last].append(part[0])
            if number >= least:
                self._free[last].append(end := self._state())
                self._free[part[1]].append(end)
                last = end
            else:
                last = part[1]
        if most is None:  # the last one may come again, or not at all
            end = self._state()
            self._free[last] += [part[0], end]
            last = end
        self._at = stop
        return first, last

    def _count(self) -> tuple[int, int | None]:
        """Return how often the part before may come, from and to; None is any number of times."""
        count = next((count for sign, count in (("?", (0, 1)), ("*", (0, None)), ("+", (1, None))) if self._take(sign)), None)
        if count is None:
            if not self._take("{"):
                return 1, 1
            start = self._at - 1
            inside, closed, _ = self._text[self._at:].partition("}")
            low, comma, high = inside.partition(",")
            if not closed or not (low + high).isascii() or not (low + high).isdecimal():
                self._at = start if closed else len(self._text)
                raise self._refusal()
            self._at += len(inside) + 1
            count = (int(low or 0), int(high) if high else None if comma else int(low))
            if max(count[0], count[1] or 0) > MOST:
                raise self._miscounted("that is too large", inside, "Write a smaller one.")
            if count[1] == 0:
                raise self._miscounted("of none", inside, "Leave out what may not come, or write a larger one.")
            if count[1] is not None and count[1] < count[0]:
                raise self._miscounted("that is reversed", inside, "Write the smaller number first.")
        self._take("?")  # lazy ones match the same strings
        if self._at < len(self._text) and self._text[self._at] in "?*+{":
            raise self._refusal()
        return count

    def _one(self) -> tuple[int, int]:
        if self._take("("):
            if not self._take("?:") and self._text.startswith("?", self._at):
                raise self._refusal()
            self._depth += 1
            if self._depth > DEEPEST:
                raise self._refusal()
            part = self._either()
            self._depth -= 1
            if not self._take(")"):
                raise self._refusal()
            return part
        digits = self._digits()
        first, last = self._state(), self._state()
        self._steps[first] = digits, last
        return first, last

    def _digits(self) -> frozenset:
        if self._take("\\d") or self._take("."):
            return DIGITS
        if self._take("["):
            inverted, found = self._take("^"), set()
            while not self._take("]"):
                if self._take("\\d"):
                    found |= DIGITS
                    continue
                low = high = self._digit()
                if self._take("-"):
                    high = self._digit()
                    if high < low:
                        raise self._refusal()
                found |= {str(digit) for digit in range(int(low), int(high) + 1)}
            if not found:
                raise self._refusal()
            return DIGITS - found if inverted else frozenset(found)
        return frozenset(self._digit())

    def _digit(self) -> str:
        if self._at >= len(self._text) or self._text[self._at] not in DIGITS:
            raise self._refusal()
        self._at += 1
        return self._text[self._at - 1]

    # --- the automaton --------------------------------------------------------------------------------------------------------

    def _take(self, text: str) -> bool:
        """Step over a text, if it is what comes next."""
        found = self._text.startswith(text, self._at)
        self._at += len(text) * found
        return found

    def _state(self) -> int:
        if len(self._free) >= MOST:
            raise ValueError(f"The rule {self._shown()} is too large. Write it with fewer repetitions.")
        self._free.append([])
        self._steps.append(None)
        return len(self._free) - 1

    def _follow(self, states: list[int]) -> States:
        """Return the states, and those that they lead to without a digit."""
        found, open_ = set(states), list(states)
        while open_:
            more = [state for state in self._free[open_.pop()] if state not in found]
            found.update(more)
            open_ += more
        return frozenset(found)

    def _keep(self, states: States) -> None:
        """Count states that will be remembered, and forget all others where these are too many."""
        self._kept += len(states) + 1
        if self._kept > KEPT:
            self._known.clear()
            self._least.clear()
            self._kept = len(states) + 1

    def _distances(self) -> list[float]:
        """Return, for every state, how many digits lie between it and the last one."""
        before: list[list[tuple[int, int]]] = [[] for _ in self._free]
        for state, free in enumerate(self._free):
            for target in free:
                before[target].append((state, 0))
            if self._steps[state] and self._steps[state][0]:
                before[self._steps[state][1]].append((state, 1))
        needs = [float("inf")] * len(self._free)
        needs[self._last] = 0
        layer = [self._last]
        while layer:  # all that are the same number of digits away, then those one digit further
            further = []
            while layer:
                state = layer.pop()
                for source, digits in before[state]:
                    if needs[source] > needs[state] + digits:
                        needs[source] = needs[state] + digits
                        (further if digits else layer).append(source)
            layer = further
        return needs

    def _shown(self) -> str:
        """Return the expression as a sentence can hold it."""
        return self.pattern if len(self.pattern) <= SHOWN else self.pattern[:SHOWN] + "…"

    def _miscounted(self, how: str, inside: str, remedy: str) -> ValueError:
        return ValueError(f"The rule {self._shown()} has a count {how}: {{{inside}}}. {remedy}")

    def _refusal(self) -> ValueError:
        where = f"at {self._text[self._at:self._at + 10]!r}" if self._at < len(self._text) else "at its end"
        return ValueError(f"The rule {self._shown()} cannot be read {where}. {KNOWN}")
