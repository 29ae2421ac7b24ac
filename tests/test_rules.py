"""Rules match what Python's `re` matches, say what a beginning can still become, and never take long."""

import itertools
import re
import time

import pytest

from rules import Rule

PATTERNS = [r"\d{5}", r"\d{4,6}", r"(19|20)\d\d", r"1*", r"1+2?", r"[1-3]{2}", r"[^0-4]\d", r"(12){2}|3", r"(?:1|2)*3", r"\d{,2}",
            r"\d{2,}", r"(1?2){1,3}", r"^\d\d$", r"0\d*?", r"|1", r"()", r"(1|){3}", r"[\d]2", r".1", r"(1*)*2", r"(1+){2,}",
            r"((1{2}){2}){2}", r"1{1}", r"(0|1){0,1}2", r"(1?){3}"]
STRINGS = ["".join(digits) for length in range(5) for digits in itertools.product("0123", repeat=length)] + [
    "1" * 8, "1" * 9, "1" * 7, "1999", "2024", "12345", "123456", "1234567", "77", "97"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_rule_matches_what_re_matches(pattern):
    rule = Rule(pattern)
    assert [text for text in STRINGS if rule.matches(text)] == [text for text in STRINGS if re.fullmatch(pattern, text)]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_a_beginning_needs_is_what_the_shortest_match_adds(pattern):
    rule = Rule(pattern)
    for begin in ("", "1", "12", "20"):
        states = rule.start
        for digit in begin:
            states = rule.step(states, digit)
        longer = [len(text) - len(begin) for text in STRINGS if text.startswith(begin) and re.fullmatch(pattern, text)]
        if longer:
            assert rule.needs(states) == min(longer)


@pytest.mark.parametrize("pattern", [
    "", "a", r"\w", "(", ")", "1)", "[", "[3-1]", "*", "1**", "{2}", "1{", "1{2", "1{3,2}", "1{a}", "(?=1)", r"\D", r"1\.2", "1{²}",
    "1,2", "x" * 300, "(" * 40 + "1" + ")" * 40, r"(?P<a>1)\1", None, "1{0}", "1{99999}", "((" + r"\d{100}" + "){100}){100}"])
def test_a_rule_that_is_none_is_refused_in_one_sentence(pattern):
    with pytest.raises(ValueError, match=r"^(The rule |A rule ).*\.$"):
        Rule(pattern)


def test_rules_made_to_take_for_ever_take_no_time():
    started = time.process_time()
    for pattern in (r"(\d+)+x"[:-1] + "1", r"(1|1)*(1|1)*2", r"((1*)*)*2", r"(1?){60}1{60}"):
        Rule(pattern).matches("1" * 60)
    assert time.process_time() - started < 5  # a bound for endless ones, not a measurement
