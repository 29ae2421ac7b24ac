"""What a call brings is taken for what it is, or refused in a sentence."""

import asyncio
import base64
import threading
from io import BytesIO

import gradio as gr
import numpy as np
import pytest
from gradio.state_holder import SessionState
from PIL import Image

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


# --- which thread does the work -----------------------------------------------------------------------------------------

def sent(side: int) -> calls.Sent:
    """Return a blank PNG file of side x side pixels as a call brings it."""
    file = BytesIO()
    Image.new("L", (side, side)).save(file, "PNG")
    return calls.Sent({"url": "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()})


def page_of(function) -> calls.Page:
    """Return a page whose only function takes a picture."""
    with calls.Page() as page:
        picture, answer = gr.Image(), gr.JSON()
        picture.change(calls.answering(function), picture, answer)
    return page


def size_and_thread(picture) -> tuple:
    return picture.size, threading.get_ident()


@pytest.mark.parametrize("side, marked, here", [(600, True, True), (700, True, False), (600, False, False)])
def test_a_small_picture_is_read_by_the_thread_that_serves(side, marked, here):
    page = page_of(calls.at_once(size_and_thread) if marked else lambda picture: size_and_thread(picture))
    size, thread = asyncio.run(page.call_function(page.fns[0], [sent(side)]))["prediction"]
    assert size == (side, side)
    assert (thread == threading.get_ident()) is here


def test_a_file_of_many_bytes_is_no_small_picture():
    url = sent(8).payload["url"]
    with pytest.raises(calls.LargePicture):
        calls.decode({"url": url + "A" * 4 * calls.SMALL}, calls.SMALL)
    assert calls.decode({"url": url}, calls.SMALL).size == (8, 8)


def test_between_two_small_pictures_everybody_else_is_heard():
    turns = []

    def slow(picture):
        turns.append("picture")
        threading.Event().wait(0.02)

    async def crowd() -> None:
        page = page_of(calls.at_once(slow))
        pictures = [asyncio.create_task(page.call_function(page.fns[0], [sent(8)])) for _ in range(3)]
        while not all(picture.done() for picture in pictures):
            turns.append("other")
            await asyncio.sleep(0)

    asyncio.run(crowd())
    seen = [place for place, turn in enumerate(turns) if turn == "picture"]
    assert len(seen) == 3 and np.diff(seen).min() > 20  # rounds of the others


def test_a_picture_that_fails_lets_the_next_one_in():
    def refuse(picture):
        raise calls.refusal("No.")

    async def twice() -> None:
        page = page_of(calls.at_once(refuse))
        for _ in range(2):
            with pytest.raises(gr.Error, match="No."):
                await asyncio.wait_for(page.call_function(page.fns[0], [sent(8)]), 5)

    asyncio.run(twice())
