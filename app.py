"""The page and the API: draw or upload a digit, get ten probabilities.

    python app.py                                  http://127.0.0.1:7860
    python app.py --host 0.0.0.0 --port 8000 --weights ORG/NAME
"""

import argparse
import errno
import importlib.util
import os
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

# read when gradio is imported: nothing is sent anywhere; what is set to nothing counts as not set; a port must be a number
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.update(GRADIO_ANALYTICS_MAX_EVENTS="1", GRADIO_ANALYTICS_CACHE_FREQUENCY=str(10**12))  # nor are callers counted here
if not os.environ.get("GRADIO_SERVER_PORT"):
    os.environ.pop("GRADIO_SERVER_PORT", None)
HOST = os.environ.pop("GRADIO_SERVER_NAME", "") or "127.0.0.1"  # launch is told: Gradio would look there for a port, never by IPv6
if not os.environ.get("GRADIO_SERVER_PORT", "7860").isdecimal():
    print("GRADIO_SERVER_PORT is no port. Give it a number from 1 to 65535, or take it out of the environment.", file=sys.stderr)
    sys.exit(2)

try:
    tempfile.gettempdir()  # Gradio asks as it is imported
except FileNotFoundError:
    print("No folder for temporary files can be written to. Make room in one, or name another with TMPDIR.", file=sys.stderr)
    sys.exit(2)

import cv2
import gradio as gr
import gradio.routes
import torch
from gradio import FileData
from gradio.utils import get_upload_folder

import page
from answers import MAX_FILE, NO_PICTURE
from calls import Page, answering, at_once, decode, refusal
from console import Parser, add_max_error
from decode import PictureError
from door import KEPT, SWEEP, lifespan
from explain import draw_evidence, evidence
from fields import FieldReader, NumberReading, to_json
from files import refuse
from preprocess import walk
from recognize import BATCH, DIGITS, ERRORS, MAX_ERROR, Reading, Recognizer
from rules import LONGEST
from waiting import MAX_CALLS

EXAMPLES = Path(__file__).parent / "examples"
THREADS = 8  # pictures that are opened and read side by side; of the large ones, which take some hundred MB, `decode` opens one
PAD = 280  # pixels; the side of the sketch pad
LINE = (720, 220)  # pixels; the sheet for numbers
THIN_PEN = 6  # pixels, a radius: for five digits side by side
PEN = 13  # pixels, a radius in Gradio; a digit over 60 to 80 % of the pad has strokes of MNIST's width (2.4 of 20 pixels)
# the camera at a phone's back; not as in a mirror, where a 6 is a 2
CAMERA = gr.WebcamOptions(mirror=False, constraints={"video": {"facingMode": "environment"}})
PUBLIC, PRIVATE = {"show_progress": "hidden"}, {"show_progress": "hidden", "api_visibility": "private"}  # of listeners
TOLD = 1  # seconds from one word to those who wait, how many are before them, to the next; Gradio would say it with every call
SESSIONS = 200  # callers whose components Gradio remembers, 50 KB each; one who is forgotten notices nothing
# the half-bold file of Gradio's own font has next to no letters in it
THEME = gr.themes.Default(font=[gr.themes.LocalFont("Source Sans Pro", (400, 700)), "ui-sans-serif", "system-ui", "sans-serif"])

served: Recognizer | None = None  # loaded once, by main or at the first call


def recognizer() -> Recognizer:
    """Return the recogniser that answers: the weights that main was told, or those in weights/."""
    global served
    if served is None:
        served = Recognizer.from_pretrained()
    return served


# --- what is called -----------------------------------------------------------------------------------------------------

@answering
@at_once
def predict(image):
    """Read one handwritten digit. Send a picture file (PNG, JPEG, WebP, GIF, BMP or TIFF; any size, colour, polarity, with or
    without transparency): the answer is the likeliest digit and the ten probabilities, 0 to 1, which sum to 1, of anything with
    ink, letters too: /explain gives the verdict. Null, which an empty sketch pad sends, gives an empty answer; a picture without
    ink, or a file that is no picture, gives an error that says what to do.
    """
    reading = read(image)
    if reading is None:
        return None
    if reading.probabilities is None:
        raise refusal(reading.message)
    return dict(zip(DIGITS, reading.probabilities.tolist(), strict=True))


@answering
def explain(image):
    """Read one handwritten digit and show how. Send what /predict takes. The answer is JSON with verdict (digit, unsure, several,
    not_a_digit or blank), digit (0 to 9 as text, or null), confidence (0 to 1), candidates (the two likeliest digits), message
    (a sentence for people) and version (of the weights); then the stages of the preprocessing as captioned pictures, the last one
    the 28x28 pixels that the network saw; then a picture, 280x280 pixels, of which ink decided: vermilion ink spoke for the
    digit, blue ink against it. Null gives an empty answer; a file that is no picture gives an error that says what to do.
    """
    reading = read(image)
    if reading is None:
        return None, None, None
    if reading.verdict == "unreadable":
        raise refusal(reading.message)
    facts = {"verdict": reading.verdict, "digit": reading.digit, "confidence": reading.confidence,
             "candidates": reading.candidates, "message": reading.message, "version": recognizer().version}
    stages = [(reading.seen if name == "seen" else picture, page.STAGES[name]) for name, picture in walk(image)]
    if reading.seen is None:
        return facts, stages, None
    return facts, stages, draw_evidence(reading.seen, evidence(recognizer(), reading.seen, reading.digit))


@answering
def predict_batch(images: list[FileData]) -> list[dict[str, Any]]:
    """Read up to 64 pictures in one call. Send a list of picture files, each as /predict takes it. The answer is a list in the same
    order: for every picture what /predict gives, or {"error": "one sentence"}; one bad picture spoils no other.
    """
    if not isinstance(images, list):
        raise refusal("This is no list of pictures. Send a list of picture files.")
    if len(images) > BATCH:
        raise refusal(f"These are {len(images)} pictures, more than {BATCH}. Send them in several calls.")
    return [to_label(reading) for reading in recognizer().read_batch(decode(image) or PictureError(NO_PICTURE)
                                                                     for image in images)]


@answering
def read_number(image, rule=None):
    """Read a whole number: a postcode, an amount, a field of a form. Send what /predict takes, and if you like a rule, a regular
    expression that the digits must match, such as \\d{5}. The answer is JSON with text (the digits, left to right), display (with
    separators), confidence (0 to 1, that the text is right), verdict (number, unsure, several for several lines, blank or
    not_a_number), message (a sentence for people), by_rule (did the rule choose the text against what the ink alone says?),
    ink_text (what it alone says), digits (for each its digit, its box as x, y, width, height in pixels of the picture, and ten
    probabilities), alternatives (other strings with their probability), marks (what stands among the digits and is none) and
    version (of the weights). Null gives an empty answer; a file that is no picture, and a rule that is none, give an error that
    says what to do.
    """
    reading = number_in(image, rule)
    if reading is None:
        return None
    if reading.verdict == "unreadable":
        raise refusal(reading.message)
    return {**to_json(reading), "version": recognizer().version}


def number_in(image, rule) -> NumberReading | None:
    """Return the reading of a picture of a number; None for no picture. Raises gr.Error for a rule that is none."""
    try:
        return None if image is None else FieldReader(recognizer()).read(image, rule or None)
    except ValueError as error:
        raise refusal(str(error)) from error


def read(image) -> Reading | None:
    """Return the reading of a picture; None for no picture, and for a sketch pad that was cleared or not yet touched."""
    if image is None:
        return None
    reading = recognizer().read(image)
    return None if reading.verdict == "blank" and isinstance(image, dict) else reading


def to_label(reading: Reading) -> dict:
    """Return the JSON of Gradio's Label for a reading, {"label", "confidences"}, the likeliest first; or {"error": sentence}."""
    if reading.probabilities is None:
        return {"error": reading.message}
    confidences = sorted(zip(reading.probabilities.tolist(), DIGITS, strict=True), key=lambda row: -row[0])
    return {"label": reading.digit, "confidences": [{"label": digit, "confidence": share} for share, digit in confidences]}


@answering
@at_once
def bars(image) -> dict[str, float] | None:
    """Return what predict returns; None where it refuses, since the panel says why."""
    try:
        return predict(image)
    except gr.Error:
        return None


@answering
@at_once
def tell(image) -> str:
    """Return the HTML of the panel above the bars."""
    return page.panel(read(image))


@answering
def look_inside(image) -> tuple:
    """Return what explain returns; nothing where it refuses."""
    try:
        return explain(image)
    except gr.Error:
        return None, None, None


@answering
def tell_number(image, rule) -> str:
    """Return the HTML of a number's answer: the string, the picture with a box around every digit, and their bars."""
    try:
        return page.number(number_in(image, rule), image)
    except gr.Error as error:
        return page.number(NumberReading.without_digits("unreadable", error.message), None)


# --- the page -----------------------------------------------------------------------------------------------------------

def build() -> Page:
    """Return the page for digits, that for numbers, and the card, each at an address of its own."""
    with Page(title="DigitVision", delete_cache=(SWEEP, KEPT)) as demo:
        gr.Navbar(main_page_name="Digit")
        digit_page()
        demo.load(None, js=started("Digit"))
    with demo.route("Number", "/number") as numbers:
        gr.Navbar(main_page_name="Digit")
        number_page()
        numbers.load(None, js=started("Number"))
    with demo.route("Model card", "/card") as card:
        gr.Navbar(main_page_name="Digit")
        gr.Markdown(page.card())
        card.load(None, js="() => digitvision.entitle('Model card')")
    # open: on a Space Gradio would shut the one-shot door
    return demo.queue(status_update_rate=TOLD, max_size=MAX_CALLS, default_concurrency_limit=THREADS, api_open=True)


def started(title: str) -> str:
    """Return the script that starts a page and gives it a title of its own."""
    return f"() => {{ digitvision.entitle('{title}'); digitvision.start(); }}"


def digit_page() -> None:
    """Put a sketch pad, an upload and examples on the page, one panel, one label, and what the network saw."""
    gr.Markdown("# DigitVision\nDraw a digit from 0 to 9, or upload a picture of one.", elem_id="title")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            picture, events = pad_and_upload((PAD, PAD), PEN, "Picture of a digit")
        with gr.Column(min_width=300):
            panel = gr.HTML(page.panel(None), html_template=page.PANEL, js_on_load=None, apply_default_css=False, elem_id="panel")
            label = gr.Label(num_top_classes=10, show_heading=False, label="Probabilities", elem_id="answer")
    put_examples(page.EXAMPLES, picture)
    with gr.Accordion("What the network saw", open=False, elem_id="inside") as inside:
        gr.Markdown(page.STRIP)
        stages = gr.Gallery(label="Stages", show_label=False, height="auto", format="png", buttons=[], object_fit="contain",
                            allow_preview=False, elem_id="stages")
        gr.Markdown(page.LEGEND)
        ink = gr.Image(label="Which ink decided", show_label=False, format="png", height=290, buttons=[], interactive=False,
                       elem_id="evidence")
    facts = gr.JSON(visible=False, label="Facts")  # as the page that describes the API calls it
    with gr.Accordion("About", open=False, elem_id="about"):
        gr.Markdown(page.about(recognizer().version))

    ask_about_what_is_in_front([*events, (inside.expand, "ask")], [picture],
                               [(bars, label), (tell, panel), (look_inside, [facts, stages, ink])])
    for function, outputs in ((predict, label), (explain, [facts, stages, ink])):
        gr.Button(visible=False).click(function, picture, outputs, api_name=function.__name__, **PUBLIC,
                                       api_description=in_one_line(function))
    gr.api(predict_batch, api_name="predict_batch", api_description=in_one_line(predict_batch))


def number_page() -> None:
    """Put a wider sketch pad and an upload on the page, a rule, and one answer with boxes, bars and a button that copies it."""
    gr.Markdown("# DigitVision\nWrite a number, or upload a picture of one: a postcode, an amount, a field of a form.",
                elem_id="title")
    picture, events = pad_and_upload(LINE, THIN_PEN, "Picture of a number")
    with gr.Row(equal_height=False):
        rule = gr.Textbox(label=r"Rule: what the digits must match, such as \d{5}", max_length=LONGEST, elem_id="rule")
        with gr.Column(elem_classes="wide", scale=2, min_width=300):
            put_examples(page.NUMBERS, picture)
    # last, since its height changes: nothing that one presses may jump
    answer = gr.HTML(page.number(None, None), html_template=page.NUMBER, js_on_load=None, apply_default_css=False,
                     elem_id="number")
    facts = gr.JSON(visible=False, label="Reading")
    ask_about_what_is_in_front([*events, (rule.submit, "ask"), (rule.blur, "ask")], [picture, rule], [(tell_number, answer)])
    gr.Button(visible=False).click(read_number, [picture, rule], facts, api_name="read_number", **PUBLIC,
                                   api_description=in_one_line(read_number))


def pad_and_upload(size: tuple[int, int], pen: int, label: str) -> tuple[gr.Image, list[tuple]]:
    """Put a sketch pad and an upload on the page, a tab each; return the picture, and the events after which to ask anew."""
    wide = "wide" if size[0] > size[1] else None
    with gr.Tabs():
        with gr.Tab("Draw", id="draw") as draw_tab:
            gr.Sketchpad(canvas_size=size, fixed_canvas=True, layers=False, transforms=(), buttons=[], show_label=False,
                         brush=gr.Brush(default_size=pen, colors=["#000000"], color_mode="fixed"), elem_id="pad",
                         elem_classes=wide)
            with gr.Row(elem_id="tools"):
                gr.Button("Undo", elem_id="undo")
                gr.Button("Clear", elem_id="clear")
        with gr.Tab("Upload", id="upload") as upload_tab:
            picture = gr.Image(type="pil", image_mode=None, sources=["upload", "clipboard", "webcam"], buttons=[], label=label,
                               elem_id="upload", elem_classes=wide, webcam_options=CAMERA)
    return picture, [(draw_tab.select, "ask"), (upload_tab.select, "ask"), (picture.change, "askAboutPicture")]


def put_examples(names: tuple[str, ...], picture: gr.Image) -> None:
    """Put pictures of examples/ on the page; a click on one puts it where Upload puts one."""
    examples = gr.Examples([str(EXAMPLES / name) for name in names], inputs=picture, label="Examples: click one",
                           examples_per_page=30, api_visibility="private", elem_id="examples")
    # the one that is there already is no change
    examples.load_input_event.then(None, js="() => digitvision.askAboutPicture()", api_visibility="private")


def ask_about_what_is_in_front(events: list[tuple], inputs: list, functions: list[tuple]) -> None:
    """Ask functions about what is in front, the drawing or the picture, whenever something happens on the page."""
    for event, script in events:
        event(None, js=f"() => digitvision.{script}()", **PRIVATE)
    for function, outputs in functions:
        name = function.__name__
        answer = gr.Button(visible="hidden", elem_id=f"ask_{name}").click(
            function, inputs, outputs, js=f"(picture, ...more) => [digitvision.inFront('{name}', picture), ...more]",
            trigger_mode="always_last", **PRIVATE)
        answer.success(None, js=f"() => digitvision.come('{name}')", **PRIVATE)
        answer.failure(None, js=f"() => digitvision.fail('{name}')", **PRIVATE)


def in_one_line(function) -> str:
    """Return the docstring of a function in one line, for the page that describes the API."""
    return " ".join(function.__doc__.split())


def port(text: str) -> int:
    """Return the number of a port; argparse turns the error into a sentence and exit code 2."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port. Give a number from 1 to 65535.")
    return int(text)


def check_address(host: str, port: int) -> None:
    """Raise OSError with a sentence where a server cannot listen at an address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: a port just left is free
            probe.bind(address)
    except (OSError, UnicodeError) as error:  # a name too long for the name service raises the latter
        reason = getattr(error, "errno", None)
        if reason == errno.EADDRINUSE:
            raise OSError(f"Port {port} is taken. Name another one with --port.") from error
        if reason == errno.EACCES:
            raise OSError(f"Port {port} is kept for the administrator. Name one from 1024 up with --port.") from error
        raise OSError(f"This machine has no address {host!r}. Give --host 127.0.0.1, 0.0.0.0, or an address of its own.") from error


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the flags of a command line; Gradio's own environment variables give the defaults."""
    parser = Parser(description="Serve the page and the API.", allow_abbrev=False)
    parser.add_argument("--host", type=lambda text: text.strip("[]"), default=HOST,
                        help="address to listen on; 0.0.0.0 opens it to the network (default: %(default)s)")
    parser.add_argument("--port", type=port, default=os.environ.get("GRADIO_SERVER_PORT", "7860"),
                        help="port to listen on (default: %(default)s)")
    parser.add_argument("--weights", help="folder, .safetensors file, or hub id ORG/NAME[@REVISION] (default: weights/)")
    parser.add_argument("--mcp", action="store_true", help="offer the same functions as MCP tools, at /gradio_api/mcp/ (install "
                        "requirements-mcp.txt first)")
    add_max_error(parser, MAX_ERROR, f"{ERRORS}, where one digit is read")
    return parser.parse_args(arguments)


def serve(host: str, port: int, mcp: bool = False) -> Page:
    """Serve from a thread of its own; return the page, whose `local_url` is the address."""
    for module in (gradio.routes, sys.modules.get("gradio.mcp")):  # which read GRADIO_TEMP_DIR when they were imported
        if module:
            module.DEFAULT_TEMP_DIR = get_upload_folder()
    demo = build()
    demo.launch(
        server_name=f"[{host}]" if ":" in host else host, server_port=port, mcp_server=mcp, quiet=True, prevent_thread_lock=True,
        app_kwargs={"lifespan": lifespan}, share=False, show_error=False, enable_monitoring=False, run_history=False,
        ssr_mode=False, max_file_size=MAX_FILE, max_threads=THREADS, state_session_capacity=SESSIONS,
        allowed_paths=[str(page.FIGURES)], css=page.STYLE, head=f"<script>{page.SCRIPT}</script>", theme=THEME,
        footer_links=["api"])
    return demo


def main() -> int:
    """Serve until Ctrl-C; return the exit code."""
    global served
    flags = parse()
    try:
        if flags.mcp and importlib.util.find_spec("mcp") is None:
            raise ValueError("MCP needs one more package. Run 'pip install -r requirements-mcp.txt', or leave --mcp out.")
        check_address(flags.host, flags.port)
        served = Recognizer.from_pretrained(flags.weights, flags.max_error)
        torch.set_num_threads(1)  # one picture is too little to share: more threads only wait for each other
        cv2.setNumThreads(1)
        for end in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
            number = getattr(signal, end, None)
            if number and signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
                signal.signal(number, lambda *_: sys.exit(0))  # so that the folder goes, too
        place = os.path.abspath(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
        os.makedirs(place, exist_ok=True)
        os.chdir(page.HERE)  # Gradio names the card's figures as seen from here
        with tempfile.TemporaryDirectory(prefix="digitvision-", dir=place, ignore_cleanup_errors=True) as folder:
            os.environ["GRADIO_TEMP_DIR"] = folder  # for uploads
            demo = serve(flags.host, flags.port, flags.mcp)
            print(f"DigitVision {served.version} at {demo.local_url} - Ctrl-C stops it", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        return refuse(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
