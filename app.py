"""The page and the API: draw or upload a digit, get ten probabilities.

    python app.py                                  http://127.0.0.1:7860
    python app.py --host 0.0.0.0 --port 8000 --weights ORG/NAME
"""

import argparse
import base64
import errno
import os
import socket
import sys
import threading
from pathlib import Path

# read when gradio is imported: nothing is sent anywhere; what is set to nothing counts as not set; a port must be a number
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
for setting in ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"):
    if not os.environ.get(setting):
        os.environ.pop(setting, None)
if not os.environ.get("GRADIO_SERVER_PORT", "7860").isdecimal():
    print("GRADIO_SERVER_PORT is no port. Give it a number from 1 to 65535, or take it out of the environment.", file=sys.stderr)
    sys.exit(2)

import cv2
import gradio as gr
import torch

from decode import PictureError, open_picture
from recognize import DIGITS, ODD, Recognizer, add_max_error

EXAMPLES = Path(__file__).parent / "examples"
PAD = 280  # pixels; the side of the sketch pad
PEN = 11  # pixels; a radius in Gradio, and about the width of MNIST's strokes relative to the digit
MAX_FILE = 20_000_000  # bytes of one upload; a 40-megapixel photograph as JPEG is smaller
KEPT = 3600  # seconds after which an upload is deleted
WAITING = 100  # calls that may wait in the queue; more are told that the server is busy

# Gradio arms no tool on load and after the trash, so that the first stroke would do nothing: press Brush where it says so.
# The canvas has no name for screen readers of its own.
ARM_THE_BRUSH = """() => {
  const arm = () => {
    const pad = document.querySelector("#pad");
    if (!pad) return;
    const brush = pad.querySelector("button[aria-label='Brush']");
    if (brush && /select the draw tool/i.test(pad.innerText)) brush.click();
    pad.querySelectorAll("canvas:not([aria-label])").forEach((canvas) => {
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", "Sketch pad: draw a digit with mouse, pen or finger");
    });
  };
  new MutationObserver(arm).observe(document.body, { childList: true, subtree: true, characterData: true });
  arm();
}"""

# On a phone the examples lie far below the answer.
SHOW_THE_ANSWER = "() => { document.querySelector('#answer').scrollIntoView({ behavior: 'smooth', block: 'nearest' }); }"

STYLE = """
.gradio-container { max-width: 860px !important; margin: 0 auto !important; }
#title { margin-bottom: 0 !important; }
#pad .image-container > div { display: flex; justify-content: center; }  /* else the sheet lies under the tools */
#answer { min-height: 468px; }  /* the height of ten bars: nothing jumps when they come and go */
.gallery-item img { background: repeating-conic-gradient(#ddd 0 25%, #aaa 0 50%) 0 / 14px 14px; }  /* seen where transparent */
#pad button[aria-label="Color"], #pad button[aria-label="Pan"], #pad button[aria-label="Zoom"],
#pad button[aria-label="Zoom in"], #pad button[aria-label="Zoom out"], #pad .zoom-number { display: none !important; }
"""

served: Recognizer | None = None  # loaded once, by main or at the first call


def recognizer() -> Recognizer:
    """Return the recogniser that answers: the weights that main was told, or those in weights/."""
    global served
    if served is None:
        served = Recognizer.from_pretrained()
    return served


def predict(image):
    """Read one handwritten digit. Send a picture file (PNG, JPEG, WebP, GIF, BMP or TIFF; any size, colour, polarity, with or
    without transparency): the answer is the likeliest digit and the ten probabilities, 0 to 1, which sum to 1. An empty
    sketch pad, or null, gives an empty answer; a picture without ink, or a file that is no picture, gives an error that says
    what to do.
    """
    if image is None:
        return None
    reading = recognizer().read(image)
    if reading.verdict == "blank" and isinstance(image, dict):  # a sketch pad that was cleared, or not yet touched
        return None
    if reading.probabilities is None:
        raise refusal(reading.message)
    return dict(zip(DIGITS, reading.probabilities.tolist(), strict=True))


def decode_upload(component: gr.Image, payload):
    """Return the picture of an upload, or of a data URL, as a PIL picture; None for none. Raises gr.Error with a sentence."""
    if payload is None:
        return None
    picture = payload.path or ""
    if picture and Path(component.GRADIO_CACHE).resolve() not in Path(picture).resolve().parents:
        raise refusal("A path on the server is no picture of yours. Send the file.")  # Gradio guards only paths that carry a meta
    if (payload.url or "")[:5].lower() == "data:":
        encoded = payload.url.partition(",")[2]
        if len(encoded) > MAX_FILE * 4 / 3 + 4:
            raise refusal(f"This file is larger than {MAX_FILE // 10**6} MB. Make the picture smaller and send it again.")
        try:
            picture = base64.b64decode(encoded, validate=True)
        except ValueError as error:
            raise refusal("This data URL is not in base64. Send data:image/png;base64,...") from error
    try:
        return open_picture(picture)
    except PictureError as error:
        raise refusal(str(error)) from error
    except Exception as error:
        raise refusal(ODD) from error


# gr.Image decodes without bounds, and its errors reach nobody. It is replaced in the class, since Gradio makes the component
# anew whenever one of its properties changes; a subclass of it would make Gradio write an app.pyi beside this file.
gr.Image.preprocess = decode_upload


def refusal(sentence: str) -> gr.Error:
    """Return the error that carries a sentence to the page and to every client."""
    return gr.Error(sentence, title="Not read", print_exception=False)


def build() -> gr.Blocks:
    """Return the page: a sketch pad, an upload and examples, one label, one function."""
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    with gr.Blocks(title="DigitVision", delete_cache=(KEPT, KEPT)) as demo:
        gr.Markdown("# DigitVision\nDraw a digit from 0 to 9, or upload a picture of one.", elem_id="title")
        with gr.Row():
            with gr.Column(min_width=320):
                with gr.Tabs() as tabs:
                    with gr.Tab("Draw", id="draw") as draw_tab:
                        sketch = gr.Sketchpad(
                            type="pil", image_mode="RGBA", canvas_size=(PAD, PAD), fixed_canvas=True, layers=False,
                            transforms=(), brush=gr.Brush(default_size=PEN, colors=["#000000"], color_mode="fixed"),
                            show_label=False, buttons=[], elem_id="pad")
                    with gr.Tab("Upload", id="upload") as upload_tab:
                        upload = gr.Image(type="pil", image_mode=None, sources=["upload", "clipboard", "webcam"],
                                          label="Picture of a digit", height=340, elem_id="upload")
            with gr.Column(min_width=320):
                label = gr.Label(num_top_classes=10, label="Probabilities", elem_id="answer")
        sketch.change(predict, sketch, label, api_name="predict_sketch", trigger_mode="always_last", **quiet)
        upload.change(predict, upload, label, api_name="predict", show_progress="hidden",
                      api_description=" ".join(predict.__doc__.split()))
        examples = gr.Examples(sorted(map(str, EXAMPLES.glob("[0-9]_*"))), inputs=upload, label="Examples", examples_per_page=30,
                               api_visibility="private")
        examples.dataset.click(lambda: gr.Tabs(selected="upload"), None, tabs, **quiet)
        examples.dataset.click(None, js=SHOW_THE_ANSWER, api_visibility="private")
        # the answer beside the tabs is always that of the tab in front
        draw_tab.select(predict, sketch, label, **quiet)
        upload_tab.select(predict, upload, label, **quiet)
        demo.load(None, js=ARM_THE_BRUSH)
    return demo.queue(max_size=WAITING, default_concurrency_limit=4)


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
    parser = argparse.ArgumentParser(description="Serve the page and the API.", allow_abbrev=False)
    parser.add_argument("--host", type=lambda text: text.strip("[]"), default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
                        help="address to listen on; 0.0.0.0 opens it to the network (default: %(default)s)")
    parser.add_argument("--port", type=port, default=os.environ.get("GRADIO_SERVER_PORT", "7860"),
                        help="port to listen on (default: %(default)s)")
    parser.add_argument("--weights", help="folder, .safetensors file, or hub id ORG/NAME[@REVISION] (default: weights/)")
    add_max_error(parser)
    return parser.parse_args(arguments)


def main() -> int:
    """Serve until Ctrl-C; return the exit code."""
    global served
    flags = parse()
    try:
        check_address(flags.host, flags.port)
        served = Recognizer.from_pretrained(flags.weights, flags.max_error)
        torch.set_num_threads(1)  # one picture is too little to share: more threads only wait for each other
        cv2.setNumThreads(1)
        _, address, _ = build().launch(
            server_name=f"[{flags.host}]" if ":" in flags.host else flags.host, server_port=flags.port,
            share=False, quiet=True, prevent_thread_lock=True, show_error=False, ssr_mode=False, max_file_size=MAX_FILE,
            enable_monitoring=False, run_history=False, footer_links=["api"], css=STYLE)
        print(f"DigitVision {served.version} at {address} - Ctrl-C stops it", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
