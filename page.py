"""What the browser gets: scripts, style, and the words around an answer; app.py puts them together."""

import base64
import json
import os
from datetime import date
from html import escape
from io import BytesIO
from pathlib import Path

from PIL import Image

from decode import size_of, to_pixels
from fields import NumberReading
from model import HERE, WEIGHTS
from recognize import AS_NUMBER, DIGITS, Reading

METRICS = WEIGHTS / "metrics.json"
FIGURES = WEIGHTS / "figures"
EXAMPLES = ("0_slashed_blue_ink.png", "1_hooked_white_on_black.png", "2_dark_on_transparent.png", "3_lined_paper.jpg",
            "4_black_board.jpg", "4_photo_sideways_exif.jpg", "5_yellow_highlighter.png", "6_photo_in_shadow.jpg",
            "7_tilted_squared_paper.jpg", "8_low_contrast.png", "9_photo_far_away.jpg", "0_small_in_corner.png")
NUMBERS = ("90210_postcode.png", "124950_amount_with_comma.jpg", "2026_touching.png", "36581_white_on_black.png",
           "0307_with_dash.png")
STAGES = {"grey": "Grey", "sheet": "Sheet", "closer": "Closer", "ink": "Ink", "cleaned": "Cleaned", "stroke": "Cut out",
          "seen": "Seen, 28x28"}
SHOWN_SIDE = 640  # pixels of a number's picture on the page
STRIP = "How your picture became the 28x28 pixels that the network reads:"
LEGEND = "Orange ink spoke for this digit, blue ink against it, grey ink hardly mattered."
LIMITS = """**Limits** One digit at a time. Letters and signs are refused for the most part, not always. Where a mistake would cost
something, let a person check."""
PRIVACY = """**Privacy** A drawing is read and forgotten. An uploaded picture, and the small pictures under "What the network saw",
lie on this server for an hour or a little more and are then deleted. Nothing is sent to anybody else."""

# What the page does beside Gradio, as `digitvision`. Gradio's Sketchpad spends half a second and three files on every stroke where
# a listener takes its value. It draws with PixiJS, and PixiJS makes one small picture of its sheet.
SCRIPT = (HERE / "page.js").read_text(encoding="utf-8")

NUMBER = '<div class="number">${value}</div>'
PANEL = '<div class="panel" role="status" aria-live="polite" aria-atomic="true">${value}</div>'

STYLE = (HERE / "page.css").read_text(encoding="utf-8")


def panel(reading: Reading | None) -> str:
    """Return the HTML of an answer: the digit large, how sure in a word or two, and the sentence; None asks for a digit."""
    if reading is None:
        return '<span class="digit"></span><p><b>Ready</b> Draw a digit from 0 to 9, or upload a picture of one.</p>'
    shown = {"digit": reading.digit, "unsure": f"{reading.digit}?"}.get(reading.verdict, "?")
    message = escape(reading.message).replace(AS_NUMBER, 'or read them as a <a href="number">number</a>')
    return f'<span class="digit">{shown}</span><p><b>{how_sure(reading)}</b> {message}</p>'


def number(reading: NumberReading | None, image) -> str:
    """Return the HTML of a number's answer: the string with a button that copies it, the picture with a box around every digit, and
    the ten bars of the one that is chosen; None asks for a number."""
    if reading is None:
        return panel_of("", "Ready", "Write a number, or upload a picture of one.")
    copy = f'<button class="copy" data-text="{escape(reading.display.replace("*", ""))}">Copy</button>' if reading.text else ""
    html = panel_of(f'<span class="text">{escape(reading.display)}</span>' if reading.text else "", how_sure(reading),
                    reading.message, copy)
    if reading.verdict == "unreadable" or not reading.digits:
        return html
    pixels = Image.fromarray(to_pixels(image))
    wide, high = size_of(image)
    pixels.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    file = BytesIO()
    pixels.save(file, "WEBP", quality=80)
    boxes = [f'<button class="box" data-digit="{place}" style="{_place(each.box, wide, high)}" aria-pressed="false" '
             f'aria-label="Digit {place + 1} of {len(reading.text)}: {digit}; show its probabilities"></button>'
             for place, (digit, each) in enumerate(zip(reading.text, reading.digits, strict=True))]
    boxes += [f'<span class="mark" style="{_place(mark.box, wide, high)}"></span>' for mark in reading.marks]
    html += (f'<div class="field"><img alt="The picture that was read" src="data:image/webp;base64,'
             f'{base64.b64encode(file.getvalue()).decode()}">{"".join(boxes)}</div>')
    for place, each in enumerate(reading.digits):
        rows = [f'<li><i style="width: {100 * share:.1f}%"></i><span>{digit}</span><span>{100 * share:.0f}%</span></li>'
                for share, digit in sorted(zip(each.probabilities, DIGITS, strict=True), reverse=True)]
        html += f'<ol class="bars" data-digit="{place}" aria-label="Probabilities of digit {place + 1}">{"".join(rows)}</ol>'
    return html + '<p class="hint">Choose a digit in the picture to see its ten probabilities.</p>'


def panel_of(text: str, state: str, message: str, more: str = "") -> str:
    """Return the HTML of the panel above a number's picture."""
    return PANEL.replace("${value}", f"<p>{text}<b>{state}</b> {escape(message)}</p>{more}")


def _place(box, wide: int, high: int) -> str:
    """Return the style that puts something over a box of a picture of this size."""
    x, y, width, height = box
    return (f"left: {100 * x / wide:.2f}%; top: {100 * y / high:.2f}%; width: {100 * width / wide:.2f}%; "
            f"height: {100 * height / high:.2f}%")


def how_sure(reading: Reading | NumberReading) -> str:
    """Return the confidence of a reading in words."""
    if reading.verdict not in ("digit", "number"):
        several = "Several digits" if isinstance(reading, Reading) else "Several lines"
        return {"unsure": "Unsure", "several": several, "not_a_digit": "No digit", "not_a_number": "No number",
                "blank": "No ink"}.get(reading.verdict, "Not read")
    return "Very sure" if reading.confidence > 0.99 else "Fairly sure" if reading.confidence > 0.9 else "Not quite sure"


def about(version: str) -> str:
    """Return the Markdown of the About box for weights of a version; figures only where they were measured with these weights."""
    lines = [f"**Weights** `{version}`"]
    try:
        metrics = json.loads(METRICS.read_text(encoding="utf-8"))
        if not metrics["weights"]["hash"].startswith(version):
            raise ValueError("measured with other weights")
        test = metrics["test"]
        lines[0] += (f": {100 * test['accuracy']:.2f} % of MNIST's {test['n']:,} test pictures are read right, "
                     f"{100 * test['accuracy_through_the_road']:.2f} % as uploads ({date.fromisoformat(metrics['date'])}).")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):  # missing or damaged: no figures, but a page
        lines[0] += ": no accuracy was measured for these."
    return "\n\n".join([*lines, LIMITS, PRIVACY, "More in the [model card](card)."])


def card() -> str:
    """Return the Markdown of MODEL_CARD.md without its front matter, its figures as this server gives them, by a name that does
    not tell where on the server they lie; a sentence where there is no whole card."""
    try:
        text = (HERE / "MODEL_CARD.md").read_text(encoding="utf-8").split("---\n", 2)[2]
    except (OSError, ValueError, IndexError):
        text = "There is no card here. Restore MODEL_CARD.md."
    folder = Path(os.path.relpath(FIGURES)).as_posix()
    return text.replace("](weights/figures/", f"](gradio_api/file={folder}/")
