"""What a call brings is taken for what it is, or refused in a sentence."""

import asyncio

import gradio as gr
import pytest
from gradio.state_holder import SessionState

import calls


def brought(*inputs) -> list:
    """Return what a function of a picture and a rule is given for the JSON of a call."""
    with calls.Page() as page:
        picture, rule, answer = gr.Image(), gr.Textbox(), gr.JSON()
        picture.change(lambda picture, rule: None, [picture, rule], answer)
    return asyncio.run(page.preprocess_data(page.fns[0], list(inputs), SessionState(page)))


@pytest.mark.parametrize("sent, rule", [(r"\d{5}", r"\d{5}"), (1047, "1047"), (0, "0"), (None, None), ("", "")])
def test_a_rule_is_a_text_or_a_whole_number(sent, rule):
    assert brought(None, sent) == [None, rule]


@pytest.mark.parametrize("sent", [1047.0, 10.47, float("nan"), True, ["1"], {"a": 1}])
def test_a_rule_that_is_neither_is_refused(sent):  # the dot of a number would stand for any digit
    with pytest.raises(gr.Error, match="This rule is no text."):
        brought(None, sent)
