"""What a call brings to the functions of app.py, which thread reads it, and how it is refused: pictures, and JSON of any shape."""

import asyncio
import base64
import functools
import inspect
import time
import traceback
from math import inf
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import gradio as gr
from gradio.utils import get_upload_folder

from answers import BROKEN, MAX_FILE, NO_PICTURE, NO_URL, TOO_LARGE
from decode import LargePicture, PictureError, open_picture

SMALL = 400_000  # bytes, and pixels, of a picture that is read at once; a sketch of 512x512 has 262,144
REST = 0.5  # of the time that such a picture took, until the next one: meanwhile the server hears everybody else
A_FILE = "A picture file. No URL is fetched, but data:image/png;base64,... is taken."
EXAMPLE = {"path": "examples/7_crossed_transparent.png", "url": "examples/7_crossed_transparent.png",  # of a caller in our folder
           "orig_name": "7_crossed_transparent.png", "meta": {"_type": "gradio.FileData"}}
NO_RULE = r"This rule is no text. Send a regular expression such as \d{5}, or none."

# --- pictures -----------------------------------------------------------------------------------------------------------

def decode(payload, most: float = inf):
    """Return the picture that a caller sends, a PIL picture, or the PictureError that says why it is none; None for none.

    `payload` is Gradio's JSON for a file, {"path": that of an upload} or {"url": a data URL}, or the data URL by itself. Raises
    LargePicture where the file has more than `most` bytes or pixels.
    """
    try:
        if payload is None:
            return None
        if isinstance(payload, str) and payload[:5].lower() in ("data:", "http:", "https"):  # so MCP brings a list of them
            payload = {"url": payload}
        path = payload.get("path")
        return open_picture(upload(path) if path else from_data_url(payload.get("url"), most), most)
    except LargePicture:
        raise
    except PictureError as error:
        return error
    except Exception:  # numbers where texts belong, names that no file can have
        return PictureError(NO_PICTURE)


def upload(path: str) -> Path:
    """Return the path of an upload; raise PictureError for a URL, and for a file that nobody uploaded."""
    if path[:5].lower() in ("http:", "https"):
        raise PictureError(NO_URL)
    if Path(get_upload_folder()).resolve() not in Path(path).resolve().parents:
        raise PictureError("A path on the server is no picture of yours. Send the file.")
    return Path(path)


def from_data_url(url: str, most: float) -> bytes:
    """Return the bytes of a data URL; raise PictureError for any other URL, for damage, and for more than MAX_FILE bytes, and
    LargePicture, at a glance, where they are more than `most`."""
    if url[:5].lower() != "data:":
        raise PictureError(NO_URL)
    if len(url) > 2 * most:  # in base64 they are a third longer
        raise LargePicture
    encoded = url.partition(",")[2]
    if len(encoded) > MAX_FILE * 4 / 3 + 4:
        raise PictureError(TOO_LARGE)
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise PictureError("This data URL is not in base64. Send data:image/png;base64,...") from error


class Sent(NamedTuple):
    """A picture as a caller sent it, Gradio's JSON for a file, on its way to the thread that decodes and reads it."""

    payload: Any


# --- calls --------------------------------------------------------------------------------------------------------------

def refusal(sentence: str) -> gr.Error:
    """Return the error that carries a sentence to every client."""
    return gr.Error(sentence, title="Not read", print_exception=False)


def answering(function):
    """Return a function that is known under the same name, decodes what was sent, and says in a sentence what nobody foresaw."""
    @functools.wraps(function)
    def answered(*arguments):
        try:
            return function(*(decode(each.payload) if isinstance(each, Sent) else each for each in arguments))
        except gr.Error:
            raise
        except Exception as error:
            traceback.print_exc()  # for whoever runs the server
            raise refusal(BROKEN) from error
    answered.__signature__ = inspect.signature(function)  # Gradio asks in every call; else it is worked out anew
    return answered


def at_once(function):
    """Return a function of one picture, marked as one that is done with a small picture in a few milliseconds."""
    function.at_once = True
    return function


turns = WeakKeyDictionary()  # by event loop: the lock that is held while a small picture is read in its thread, and for a REST


class Page(gr.Blocks):
    """Blocks that open nothing which callers name, keep nothing that they send, and refuse in a sentence."""

    def get_api_info(self, *which, **more):
        """Return what the page that describes the API is made of. Gradio's own example is a URL, which is refused here."""
        info = super().get_api_info(*which, **more)
        for endpoint in info["named_endpoints"].values():
            for each in endpoint["parameters"]:
                if each["component"] == "Image":
                    url = {**each["type"]["properties"]["url"], "description": "data:image/png;base64,..."}
                    each["type"] = {**each["type"], "additional_description": A_FILE,
                                    "properties": {**each["type"]["properties"], "url": url}}
                    each["python_type"]["description"] = A_FILE
                    each["example_input"] = EXAMPLE
        return info

    async def process_api(self, block_fn, inputs, *more, request=None, **others):
        """Answer a call, and forget what it sent: after an error Gradio's queue holds it in a circle until Python looks for
        one."""
        try:
            return await super().process_api(block_fn, inputs, *more, request=request, **others)
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)
            raise
        finally:
            inputs.clear()
            if isinstance(request, gr.Request) and (asked := request.request):
                for kept in ("_body", "_json"):  # by Starlette
                    vars(asked).pop(kept, None)

    async def preprocess_data(self, block_fn, inputs, state, explicit_call=False):
        """Return the inputs of a function, null for those that a caller leaves out at the end; raise gr.Error for JSON of the wrong
        shape.

        Gradio would decode pictures without bounds, with errors that reach nobody, in a thread of its own.
        """
        try:
            inputs = [*unmarked(inputs), *[None] * (len(block_fn.inputs) - max(1, len(inputs)))]
            self.validate_inputs(block_fn, inputs)  # raises where even the first one is missing
            if isinstance(block_fn.inputs[0], gr.Image):  # and perhaps a Textbox for a rule
                picture, *rules = inputs[:len(block_fn.inputs)]
                if any(type(rule) not in (str, int, type(None)) for rule in rules):  # a whole number is taken for its digits
                    raise refusal(NO_RULE)
                return [None if picture is None else Sent(picture), *(rule if rule is None else str(rule) for rule in rules)]
            return await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except gr.Error:
            raise
        except Exception as error:
            raise refusal(NO_PICTURE) from error
        finally:
            for block in block_fn.inputs:  # Gradio would remember the picture for as long as it remembers the caller
                state._update_value_in_config(block._id, None)

    async def call_function(self, block_fn, inputs, *more, **others):
        """Call a function as Gradio does, in one of THREADS; but one that is marked `at_once`, of a small picture, here and now: it
        is done before a thread would have been woken up for it, and this one for its answer."""
        if hasattr(block_fn.fn, "at_once"):
            loop = asyncio.get_running_loop()
            turn = turns.setdefault(loop, asyncio.Lock())
            await turn.acquire()
            started = time.perf_counter()
            try:
                prediction = block_fn.fn(*(decode(each.payload, SMALL) if isinstance(each, Sent) else each for each in inputs))
                return {"prediction": prediction, "duration": time.perf_counter() - started, "is_generating": False,
                        "iterator": None}
            except LargePicture:
                pass  # a thread's work
            finally:
                loop.call_later(REST * (time.perf_counter() - started), turn.release)
        return await super().call_function(block_fn, inputs, *more, **others)

    async def postprocess_data(self, block_fn, predictions, state):
        """Return the JSON of what a function gives. That of a Label is made here: Gradio would take a thread for it, look for files
        in it, and remember it for as long as it remembers the caller."""
        if [type(block) for block in block_fn.outputs] != [gr.Label]:
            return await super().postprocess_data(block_fn, predictions, state)
        label = block_fn.outputs[0].postprocess(predictions)
        return [label.model_dump() if label else label]


def unmarked(payload):
    """Return JSON without the mark by which Gradio would fetch a URL or move a file before `decode` has seen it."""
    if isinstance(payload, list):
        return [unmarked(part) for part in payload]
    if isinstance(payload, dict):
        return {key: unmarked(part) for key, part in payload.items() if key != "meta"}
    return payload
