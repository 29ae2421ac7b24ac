"""What a call brings is taken for what it is, or refused in a sentence."""

import asyncio
import base64
import threading
from io import BytesIO

import gradio as gr
import numpy as np
import pytest
from gradio import route_utils
from gradio.blocks import BlocksConfig
from gradio.state_holder import SessionState
from PIL import Image
from starlette.requests import Request

import app
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


# --- the page -----------------------------------------------------------------------------------------------------------

def test_a_page_of_several_routes_makes_one_web_application_before_it_is_launched(monkeypatch):
    made, create_app = [], calls.create_app
    monkeypatch.setattr(calls, "create_app", lambda blocks, **options: made.append(create_app(blocks, **options)) or made[-1])
    with calls.Page() as page:
        gr.Markdown("One")
    with page.route("Two"):
        gr.Markdown("Two")
    page.queue()
    assert [page.app] == made
    page.launch(prevent_thread_lock=True, quiet=True)
    page.close()
    assert len(made) == 2 and page.app is made[1]


def test_an_address_is_remembered_by_all_that_gradio_makes_it_of():
    asked = set()

    class Watched(dict):
        def get(self, name, default=None):
            asked.add(name.lower())
            return super().get(name, default)

        __getitem__ = get

    request = Request({"type": "http", "method": "GET", "path": "/config", "query_string": b"", "headers": [],
                       "server": ("here", 80), "scheme": "http"})
    request._headers = Watched({"host": "here", "x-forwarded-host": "a.example", "x-forwarded-proto": "https"})
    assert calls.address_of(request, "/config", "/root") == "https://a.example/root"
    assert asked - {"host"} <= set(calls.FORWARDED)  # else one caller's address would be told to another; host is in the URL
    assert {"x-forwarded-host", "x-forwarded-proto"} <= asked


def test_a_component_is_described_as_gradio_would_and_nobodys_value_is_remembered():
    page = app.build()
    for number, block in page.blocks.items():
        assert calls.described(number, [], block) == calls.describe(number, [], block)
    block = next(block for block in page.blocks.values() if isinstance(block, gr.Textbox))
    known = calls.described(block._id, [], block)
    known["props"]["value"] = known["id"] = "mine"  # as Gradio puts a caller's own into it
    assert calls.described(block._id, [], block) == calls.describe(block._id, [], block)
    assert BlocksConfig.config_for_block is calls.described and route_utils.get_root_url is calls.known_address
