"""The page in a real browser: draw, clear, undo, upload, an example, an error."""

import os

import numpy as np
import pytest
from conftest import ROOT, STROKES, need
from PIL import Image

sync_api = pytest.importorskip("playwright.sync_api")
sync_api.expect.set_options(timeout=30_000)  # milliseconds; a busy machine is slow, and speed is not what is tested here
ANSWER = "#answer .output-class"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--no-first-run"]


@pytest.fixture(scope="module")
def browser():
    chromium = need("chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, server):
    """A loaded page; afterwards: no console error, and no request to anybody but the server."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, has_touch=True)
    page = context.new_page()
    errors, foreign = [], []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: None if request.url.startswith((server, "data:", "blob:")) else foreign.append(request.url))
    page.goto(server)
    page.locator("#pad canvas").last.wait_for()
    page.wait_for_function("!/select the draw tool/i.test(document.querySelector('#pad').innerText)")
    yield page
    context.close()
    assert errors == [] and foreign == []


def paper(page) -> tuple[float, float, float]:
    """Return left, top and side, in pixels of the page, of the sheet inside the pad."""
    box = page.locator("#pad canvas").last.bounding_box()
    side = min(box["width"], box["height"]) * 0.6
    return box["x"] + (box["width"] - side) / 2, box["y"] + (box["height"] - side) / 2, side


def draw(page, digit: str) -> None:
    """Draw a digit with the mouse, in the middle of the sheet."""
    left, top, side = paper(page)
    for stroke in STROKES[digit]:
        points = [(left + (x + 2) / 14 * side, top + y / 14 * side) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=6)
        page.mouse.up()
        page.wait_for_timeout(300)  # Gradio sends a stroke some time after it ends; nobody is faster than that at Clear


def wait_for_answer(page, digit: str) -> None:
    sync_api.expect(page.locator(ANSWER)).to_have_text(digit)


@pytest.mark.parametrize("digit", STROKES)
def test_a_digit_drawn_with_the_mouse_is_answered(page, digit):
    draw(page, digit)
    wait_for_answer(page, digit)
    assert page.locator("#answer .confidence-set").count() == 10


def test_drawing_clearing_and_drawing_again_works(page):
    for digit in ("7", "0", "4"):
        draw(page, digit)
        wait_for_answer(page, digit)
        page.get_by_role("button", name="Clear canvas").click()
        sync_api.expect(page.locator("#answer .confidence-set")).to_have_count(0)


def test_undo_to_nothing_empties_the_answer(page):
    draw(page, "7")
    wait_for_answer(page, "7")
    page.get_by_role("button", name="Undo").click()
    sync_api.expect(page.locator("#answer .confidence-set")).to_have_count(0)


def test_a_digit_drawn_with_a_finger_is_answered(page):
    left, top, side = paper(page)
    points = [(left + (x + 2) / 14 * side, top + y / 14 * side) for x, y in [(0, 0), (4.5, 0), (9, 0), (7, 6), (4, 14)]]
    touch = page.context.new_cdp_session(page)
    for kind, (x, y) in zip(["touchStart"] + ["touchMove"] * 4, points, strict=True):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    wait_for_answer(page, "7")


def test_an_uploaded_picture_is_answered(page):
    page.get_by_role("tab", name="Upload").click()
    page.locator("#upload input[type=file]").set_input_files(ROOT / "examples" / "3_thick_marker.png")
    wait_for_answer(page, "3")


def test_an_example_is_answered_by_one_click(page):
    page.locator(".gallery-item").first.click()
    wait_for_answer(page, "0")


def test_a_file_without_ink_says_so(page, tmp_path):
    Image.new("RGB", (90, 90), "white").save(tmp_path / "blank.png")
    page.get_by_role("tab", name="Upload").click()
    page.locator("#upload input[type=file]").set_input_files(tmp_path / "blank.png")
    sync_api.expect(page.get_by_text("There is no ink to read here")).to_be_visible()


def test_after_an_example_a_bad_upload_is_still_refused_in_a_sentence(page, tmp_path):
    page.locator(".gallery-item").first.click()
    wait_for_answer(page, "0")
    (tmp_path / "notes.png").write_text("not a picture")
    page.locator("#upload").get_by_role("button", name="Remove").or_(
        page.locator("#upload").get_by_role("button", name="Clear")).first.click()
    page.locator("#upload input[type=file]").set_input_files(tmp_path / "notes.png")
    sync_api.expect(page.get_by_text("not a picture that can be read")).to_be_visible()


def test_the_answer_is_that_of_the_tab_in_front(page):
    draw(page, "7")
    wait_for_answer(page, "7")
    page.locator(".gallery-item").first.click()
    sync_api.expect(page.get_by_role("tab", name="Upload")).to_have_attribute("aria-selected", "true")
    wait_for_answer(page, "0")
    page.get_by_role("tab", name="Draw").click()
    wait_for_answer(page, "7")


def test_the_page_and_the_recogniser_give_the_same_numbers(page, recognizer):
    file = ROOT / "examples" / "1_hooked_white_on_black.png"
    page.get_by_role("tab", name="Upload").click()
    page.locator("#upload input[type=file]").set_input_files(file)
    wait_for_answer(page, "1")
    shown = page.locator("#answer .confidence-set .text:last-child, #answer .confidence").all_inner_texts()
    percents = [float(text.rstrip("%")) for text in shown if text.endswith("%")]
    expected = np.sort(100 * recognizer.read(file).probabilities)[::-1]
    assert np.allclose(percents[:10], expected, atol=0.51)


def test_screenshots_for_the_eye(page, tmp_path):
    folder = os.environ.get("DIGITVISION_SCREENSHOTS", str(tmp_path))
    draw(page, "7")
    wait_for_answer(page, "7")
    for name, width, height, scheme in (("desktop_light", 1280, 800, "light"), ("phone_dark", 390, 844, "dark")):
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(300)
        page.screenshot(path=f"{folder}/{name}.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing sticks out sideways
