"""Rules match what Python's `re` matches, say what a beginning can still become, and never take long."""

import itertools
import re
import time

import pytest
from conftest import make_number

from fields import FieldReader
from rules import KEPT, Rule

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


@pytest.mark.parametrize("rule", [r"\d{1,30}", r"\d{1,660}", r"(\d?){280}", r"(0?){280}", r"\d*(" + r"0\d{17}|" * 23 + r"\d*)"])
def test_the_steps_of_a_rule_are_walked_once_for_all_the_beginnings_of_a_number(recognizer, monkeypatch, rule):
    walk, walked = Rule._follow, []
    monkeypatch.setattr(Rule, "_follow", lambda self, states: walked.append(walk(self, states)) or walked[-1])
    assert FieldReader(recognizer).read(make_number("0" * 18, gap=0.02)[0], rule).text == "0" * 18
    assert sum(map(len, walked)) < 1_500_000  # states; 15 seconds, as a rule once took, are more than 20 million


def test_a_rule_forgets_steps_before_they_take_much_memory():
    rule = Rule(r"\d*(" + r"0\d{16}|" * 23 + r"\d*)")
    for text in itertools.product("05", repeat=11):
        assert rule.matches("".join(text))
    assert sum(map(len, rule._known.values())) < KEPT


def test_a_rule_of_too_many_states_is_refused():
    with pytest.raises(ValueError, match="is too large. Write it with fewer repetitions.$"):
        Rule(r"(\d?){570}")


@pytest.mark.parametrize("pattern, sentence", [
    (r"\d{1,99999}", r"The rule \d{1,99999} has a count that is too large: {1,99999}. Write a smaller one."),
    (r"\d{2,1}", r"The rule \d{2,1} has a count that is reversed: {2,1}. Write the smaller number first."),
    (r"1{0}", r"The rule 1{0} has a count of none: {0}. Leave out what may not come, or write a larger one."),
    (r"1{0,0}2", r"The rule 1{0,0}2 has a count of none: {0,0}. Leave out what may not come, or write a larger one."),
])
def test_a_wrong_count_is_said_to_be_one(pattern, sentence):
    with pytest.raises(ValueError) as refused:
        Rule(pattern)
    assert str(refused.value) == sentence


def test_a_count_that_is_none_is_shown():
    with pytest.raises(ValueError, match=r"^The rule 12\{a\}3 cannot be read at '\{a\}3'"):
        Rule("12{a}3")


def test_half_a_character_is_told_in_a_sentence_that_can_be_sent():
    with pytest.raises(ValueError, match=r"^The rule 1\\ud800 cannot be read at") as refused:
        Rule("1\ud800")
    assert str(refused.value).encode()


def test_spaces_around_a_rule_do_not_count():
    assert Rule(" \t\\d{2}$\n").matches("12") and Rule(" \\d{2} ").pattern == "\\d{2}"
    with pytest.raises(ValueError, match="^A rule has 1 to"):
        Rule("  ")


@pytest.mark.parametrize("pattern", ["1" * 150 + "x", "(" + "1" * 50, "(1{9}){9}" * 20, "1" * 50 + "{3,2}"])
def test_a_long_rule_is_told_by_its_beginning(pattern):
    with pytest.raises(ValueError) as refused:
        Rule(pattern)
    assert str(refused.value).startswith(f"The rule {pattern[:40]}… ") and pattern[:41] not in str(refused.value)
