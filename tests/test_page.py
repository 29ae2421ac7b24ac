"""The page in a real browser: draw, clear, undo, upload, paste, an example, an error; sizes, colours, names, keyboard.

One page serves most tests, as it serves a person who stays on it; each begins with an empty pad in front.
"""

import base64
import io
import os
import re

import numpy as np
import pytest
from conftest import ROOT, STROKES, make_number, need
from PIL import Image

from bounds import NO_PICTURE
from decode import shrink, to_pixels
from paper import to_grey
from preprocess import crop, ink_box, stroke_width

sync_api = pytest.importorskip("playwright.sync_api")
sync_api.expect.set_options(timeout=30_000)  # milliseconds; a busy machine is slow, and speed is not what is tested here
expect = sync_api.expect
DIGIT = "#panel .digit"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--no-first-run"]
SIZES = {"desk": (1280, 800), "tablet": (820, 1180), "phone": (390, 844)}
SHOWN = {"desk": "light", "phone": "dark"}  # in the README
LONG = "This picture has 123456 x 123456 pixels, more than 40 million. Make it smaller and send it again. " * 2

# Every text of the page that can be seen, whose contrast to what lies behind it is below WCAG AA.
PALE = """() => {
  const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const numbers = (text) => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const meter = at.parentElement?.querySelector?.(':scope > meter');
      const [r, g, b, a = 1] = numbers(getComputedStyle(meter && meter.offsetWidth > 50 ? meter : at).backgroundColor);
      if (a > 0.9) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const pale = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const element = node.parentElement, box = element.getBoundingClientRect(), style = getComputedStyle(element);
    if (!node.textContent.trim() || !element.checkVisibility({ checkVisibilityCSS: true, checkOpacity: true })) continue;
    if (box.width < 2 || element.closest('.sr-only, .visually-hidden, script, style')) continue;
    const [one, other] = [light(numbers(style.color)), light(behind(element))].sort();
    const ratio = (other + 0.05) / (one + 0.05), size = parseFloat(style.fontSize);
    if (ratio < (size >= 24 || size >= 18.6 && style.fontWeight >= 700 ? 3 : 4.5)) {
      pale.push(`${node.textContent.trim()}: ${ratio.toFixed(2)}`);
    }
  }
  return pale;
}"""

# Pairs of things that lie over each other, and things that stick out sideways.
OVERLAPS = """() => {
  const parts = ['#title', '[role=tablist]', '#pad', '#undo', '#clear', '#upload', '#panel', '#answer',
                 '#examples', '#stages', '#evidence', '#inside', '#about', 'footer'];
  const boxes = parts.map((part) => [part, document.querySelector(part)]).filter(([, element]) => element?.checkVisibility())
    .map(([part, element]) => [part, element, element.getBoundingClientRect()]);
  const found = [];
  for (const [part, element, box] of boxes) {
    if (box.left < 0 || box.right > innerWidth + 0.5) found.push(part + ' sticks out');
    if (element.scrollWidth > element.clientWidth + 1 && part !== 'footer') found.push(part + ' is cut');
    for (const [other, second, its] of boxes) {
      if (other <= part || element.contains(second) || second.contains(element)) continue;
      if (box.left < its.right - 1 && its.left < box.right - 1 && box.top < its.bottom - 1 && its.top < box.bottom - 1) {
        found.push(part + ' over ' + other);
      }
    }
  }
  const words = document.querySelector('#panel p'), sentence = words.getBoundingClientRect(), panel = words.closest('.panel');
  if (sentence.bottom > panel.getBoundingClientRect().bottom || sentence.right > panel.getBoundingClientRect().right) {
    found.push('the sentence leaves its panel');
  }
  if (document.documentElement.scrollWidth > innerWidth) found.push('the page is wider than its window');
  return found;
}"""

# Controls that a person can reach and that have no name.
NAMELESS = """() => [...document.querySelectorAll('button, a[href], input, select, textarea, [tabindex="0"], canvas, [role=tab]')]
  .filter((element) => element.checkVisibility({ checkVisibilityCSS: true }) && element.type !== 'file')
  .filter((element) => !(element.getAttribute('aria-label') || element.textContent.trim() || element.title ||
                         element.querySelector('img[alt]:not([alt=""])') || element.labels?.length))
  .map((element) => element.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def browser():
    chromium = need("chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def opened(browser, server):
    """A loaded page; at its end: no console error, and no request to anybody but the server."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, has_touch=True,
                                  permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    errors, foreign = [], []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith((server, "data:", "blob:")) else foreign.append(request.url))
    page.goto(server)
    wait_for_brush(page)
    yield page
    context.close()
    assert errors == [] and foreign == []


@pytest.fixture
def page(opened):
    """The page with an empty pad in front, at the size of a desk."""
    opened.set_viewport_size({"width": 1280, "height": 800})
    opened.emulate_media(color_scheme="light")
    opened.evaluate("scrollTo(0, 0)")
    if opened.get_by_role("tab", name="Upload").get_attribute("aria-selected") == "true":
        empty_upload(opened)
        opened.get_by_role("tab", name="Draw").click()
    opened.locator("#clear").click()
    wait_for_nothing(opened)
    return opened


def wait_for_brush(page) -> None:
    """Wait until the pad is there and its brush armed, as it is in a moment without being asked, on load and after a Clear."""
    page.locator("#pad canvas").last.wait_for()
    page.wait_for_function("!/select the draw tool/i.test(document.querySelector('#pad').innerText)")


def points(page, stroke) -> list[tuple[float, float]]:
    """Return a stroke of conftest in pixels of the page, in the middle of the sheet."""
    box = page.locator("#pad canvas").last.bounding_box()
    side = min(box["width"], box["height"]) * 0.6
    left, top = box["x"] + (box["width"] - side) / 2, box["y"] + (box["height"] - side) / 2
    return [(left + (x + 2) / 14 * side, top + y / 14 * side) for x, y in stroke]


def sheet(page) -> list[float]:
    """Return left, top, width and height of the sheet of the pad, in pixels of the page."""
    return page.evaluate("""() => {
      const sheet = window.__PIXI_APP__.stage.children.find((part) => part.sortableChildren && part.eventMode === 'static');
      const [box, at] = [document.querySelector('#pad canvas').getBoundingClientRect(), sheet.getBounds()];
      return [box.left + at.x, box.top + at.y, at.width, at.height]; }""")


def draw(page, digit: str) -> None:
    """Draw a digit with the mouse, no slower than the mouse goes."""
    wait_for_brush(page)
    for stroke in STROKES[digit]:
        first, *others = points(page, stroke)
        page.mouse.move(*first)
        page.mouse.down()
        for point in others:
            page.mouse.move(*point, steps=2)  # each takes a browser without a graphics card 50 milliseconds
        page.mouse.up()


def wait_for_answer(page, digit: str) -> None:
    """Wait until panel and bars say the same digit."""
    expect(page.locator(DIGIT)).to_have_text(digit)
    expect(page.locator("#answer .confidence-set .text").first).to_have_text(digit)


def wait_for_nothing(page) -> None:
    expect(page.locator("#answer .confidence-set")).to_have_count(0)
    expect(page.locator("#panel")).to_contain_text("Ready")


def bars(page) -> list[float]:
    """Return the ten shares that the bars show, in percent, the largest first."""
    return [float(text.rstrip("%")) for text in page.locator("#answer .confidence").all_inner_texts()]


def empty_upload(page) -> None:
    """Take the picture out of Upload, if there is one."""
    remove = page.locator("#upload").get_by_role("button", name=re.compile("Remove|Clear"))
    if remove.count():
        remove.first.click()
        page.locator("#upload input[type=file]").wait_for(state="attached")


def upload(page, file) -> None:
    page.get_by_role("tab", name="Upload").click()
    empty_upload(page)
    page.locator("#upload input[type=file]").set_input_files(file)


@pytest.mark.parametrize("digit", "0147")
def test_a_digit_drawn_with_the_mouse_is_answered(page, digit):
    draw(page, digit)
    wait_for_answer(page, digit)
    assert page.locator("#answer .confidence-set").count() == 10


def test_a_stroke_sends_the_sheet_and_nothing_else_and_its_numbers_are_shown(page, recognizer):
    """Gradio's pad by itself would upload three files, twice."""
    sent = []
    page.on("request", remember := lambda request: sent.append(request) if request.method == "POST" else None)
    draw(page, "7")
    wait_for_answer(page, "7")
    page.remove_listener("request", remember)
    assert {request.url.partition("?")[0] for request in sent} == {page.url + "gradio_api/queue/join"}
    sheets = {request.post_data_json["data"][0]["url"] for request in sent}
    assert len(sheets) == 1
    sheet = Image.open(io.BytesIO(base64.b64decode(sheets.pop().partition(",")[2])))
    assert sheet.size == (280, 280)
    assert np.allclose(bars(page), np.sort(100 * recognizer.read(sheet).probabilities)[::-1], atol=0.51)


def test_the_first_touch_after_the_page_is_loaded_draws(browser, server):
    """Load, draw, clear, draw; bench/page.py does it twenty times."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(server)
    draw(page, "7")
    wait_for_answer(page, "7")
    page.locator("#clear").click()
    wait_for_nothing(page)
    draw(page, "1")
    wait_for_answer(page, "1")
    context.close()


def test_undo_takes_back_one_stroke_and_then_draws_on(page):
    draw(page, "7")
    wait_for_answer(page, "7")
    page.locator("#undo").click()
    wait_for_nothing(page)
    draw(page, "4")
    wait_for_answer(page, "4")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    wait_for_nothing(page)


def test_a_clear_right_after_a_stroke_leaves_the_answer_empty(page):
    """However soon the Clear comes: the answer to the stroke is still under way then."""
    for wait in (0, 50, 100):
        draw(page, "7")
        page.wait_for_timeout(wait)
        page.evaluate("document.querySelector('#clear').click()")  # sooner than a mouse gets there
        page.wait_for_timeout(1500)  # what is late comes now
        wait_for_nothing(page)


def test_a_digit_drawn_with_a_finger_is_answered_and_does_not_scroll_the_page(page):
    page.set_viewport_size({"width": 390, "height": 844})
    path = points(page, [(0, 0), (4.5, 0), (9, 0), (7, 6), (4, 14)])
    touch = page.context.new_cdp_session(page)
    for kind, (x, y) in zip(["touchStart"] + ["touchMove"] * 4, path, strict=True):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    wait_for_answer(page, "7")
    assert page.evaluate("scrollY") == 0


def test_the_pen_is_as_thick_as_mnists(page):
    draw(page, "7")
    wait_for_answer(page, "7")
    box = page.locator("#pad canvas").last.bounding_box()
    clip = {"x": box["x"] + 40, "y": box["y"] + 40, "width": box["width"] - 80, "height": box["height"] - 80}  # without its edge
    ink = 255 - to_grey(to_pixels(Image.open(io.BytesIO(page.screenshot(clip=clip)))))
    digit = shrink(crop(ink, ink_box((ink > 127) * np.uint8(255))), 60)  # as smooth as MNIST's; Gradio's strokes are jagged
    assert 1.7 < 20 * stroke_width(digit) / max(digit.shape) < 3.5  # pixels of 20; the middle 80 % of MNIST's are


def test_an_uploaded_picture_is_answered_with_the_recognisers_numbers(page, recognizer):
    file = ROOT / "examples" / "1_hooked_white_on_black.png"
    upload(page, file)
    wait_for_answer(page, "1")
    reading = recognizer.read(file)
    assert np.allclose(bars(page), np.sort(100 * reading.probabilities)[::-1], atol=0.51)
    expect(page.locator("#panel")).to_contain_text(reading.message)


def test_an_example_is_answered_by_one_click(page):
    page.get_by_role("button", name="Example: 3 lined paper").click()
    wait_for_answer(page, "3")
    expect(page.get_by_role("tab", name="Upload")).to_have_attribute("aria-selected", "true")


def test_a_picture_is_pasted_anywhere(page):
    """And again, over the first one."""
    for name, digit in (("7_crossed_transparent.png", "7"), ("3_thick_marker.png", "3")):
        content = list((ROOT / "examples" / name).read_bytes())
        page.evaluate("""(content) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(content)], 'pasted.png', { type: 'image/png' }));
          document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
        }""", content)
        wait_for_answer(page, digit)


def test_a_picture_is_dropped_anywhere(page):
    content = list((ROOT / "examples" / "4_black_board.jpg").read_bytes())
    page.evaluate("""(content) => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([new Uint8Array(content)], 'dropped.jpg', { type: 'image/jpeg' }));
      document.querySelector('#panel').dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
    }""", content)
    wait_for_answer(page, "4")


@pytest.mark.parametrize("way", ["drop", "drop on Upload", "paste", "choose"])
def test_a_file_that_is_no_picture_is_told_in_the_panel_as_the_api_tells_it(page, way):
    draw(page, "7")
    wait_for_answer(page, "7")
    if way in ("drop on Upload", "choose"):
        page.get_by_role("tab", name="Upload").click()
        page.locator("#upload input[type=file]").wait_for(state="attached")
        wait_for_nothing(page)
        page.wait_for_timeout(500)  # milliseconds; Upload's own answer follows
    if way == "choose":
        page.locator("#upload input[type=file]").set_input_files(
            {"name": "a.pdf", "mimeType": "application/pdf", "buffer": b"%PDF"})
    else:
        page.evaluate("""(way) => {
          const data = new DataTransfer(), how = { bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data };
          data.items.add(new File(['%PDF'], 'a.pdf', { type: 'application/pdf' }));
          const place = document.querySelector(way === 'drop on Upload' ? '#upload button' : '#title');
          place.dispatchEvent(way === 'paste' ? new ClipboardEvent('paste', how) : new DragEvent('drop', how));
        }""", way)
    expect(page.locator("#panel .panel:visible")).to_have_text("Not read " + NO_PICTURE)
    expect(page.locator("#answer .confidence-set:visible")).to_have_count(0)
    page.wait_for_timeout(500)
    expect(page.get_by_text("Invalid file type")).to_have_count(0)  # over the links
    page.get_by_role("tab", name="Draw").click()
    if way in ("drop", "paste"):
        draw(page, "1")  # goes on as if nothing had been there
    expect(page.locator("#panel .panel:visible")).not_to_contain_text("Not read")


def test_a_refusal_stands_in_the_panel_and_takes_the_bars_of_the_picture_before_away(page, tmp_path):
    page.get_by_role("button", name="Example: 3 lined paper").click()
    wait_for_answer(page, "3")
    Image.new("RGB", (90, 90), "white").save(tmp_path / "blank.png")
    (tmp_path / "notes.png").write_text("not a picture")
    for file, sentence in (("blank.png", "There is no ink to read here. Draw a digit, or send"),
                           ("notes.png", "This file is not a picture that can be read. Send a PNG")):
        upload(page, tmp_path / file)
        expect(page.locator("#panel")).to_contain_text(sentence)
        expect(page.locator("#answer .confidence-set")).to_have_count(0)
    expect(page.locator("#upload img")).to_have_class(re.compile("broken"))  # and so is not seen


def test_the_answer_is_that_of_the_tab_in_front(page):
    draw(page, "7")
    wait_for_answer(page, "7")
    page.get_by_role("button", name="Example: 0 slashed").click()
    wait_for_answer(page, "0")
    page.get_by_role("tab", name="Draw").click()
    wait_for_answer(page, "7")
    page.get_by_role("tab", name="Upload").click()  # where the next test looks for what is left
    wait_for_answer(page, "0")


def test_what_the_network_saw_is_closed_at_first_and_follows_what_is_drawn(page):
    draw(page, "7")
    wait_for_answer(page, "7")
    assert not page.locator("#stages").is_visible()
    page.get_by_role("button", name="What the network saw").click()
    expect(page.locator("#stages .caption-label")).to_have_text(["Grey", "Ink", "Cleaned", "Cut out", "Seen, 28x28"])
    first = page.locator("#evidence img").get_attribute("src")
    page.evaluate("document.querySelector('#clear').click()")
    expect(page.locator("#stages img")).to_have_count(0)
    draw(page, "4")
    expect(page.locator("#stages img")).to_have_count(5)
    assert page.locator("#evidence img").get_attribute("src") != first
    expect(page.locator("#evidence .icon-button-wrapper:visible")).to_have_count(0)  # an empty one is a speck
    page.get_by_role("button", name="What the network saw").click()


def test_about_says_what_answers_and_links_the_card(page, recognizer):
    page.get_by_role("button", name="About").click()
    about = page.locator("#about")
    expect(about).to_contain_text(recognizer.version)
    expect(about).to_contain_text("Limits")
    expect(about).to_contain_text("are then deleted")
    card = page.context.new_page()
    card.goto(page.url + about.get_by_role("link", name="model card").get_attribute("href"))
    expect(card.get_by_role("heading", name="Results")).to_be_visible()
    assert card.evaluate("""async () => {
      const images = [...document.querySelectorAll('.md img')];
      await Promise.all(images.map((image) => image.decode()));
      return images.length;
    }""") == len(re.findall(r"!\[", (ROOT / "MODEL_CARD.md").read_text()))
    assert str(ROOT) not in card.content()  # where it lies on the server is nobody's business
    card.close()
    page.get_by_role("button", name="About").click()


def test_the_keyboard_reaches_an_answer_through_the_examples(page):
    page.get_by_role("tab", name="Draw").focus()  # the first thing that takes the focus
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('aria-label') || ''").startswith("Example: 2"):
            break
    page.keyboard.press("Enter")
    wait_for_answer(page, "2")


def test_the_keyboard_reaches_the_file_chooser(page):
    choosers = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))  # long before one opens: the browser is told by the way
    page.get_by_role("tab", name="Draw").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("#upload input[type=file]").wait_for(state="attached")
    passed = []
    while len(passed) < 10 and "Drop" not in (passed or [""])[-1]:
        page.keyboard.press("Tab")
        passed.append(page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.innerText"))
    assert "Drop" in passed[-1], passed
    page.keyboard.press("Enter")
    for _ in range(300):
        page.wait_for_timeout(100)  # milliseconds
        if choosers:
            break
    choosers[0].set_files(ROOT / "examples" / "3_thick_marker.png")
    wait_for_answer(page, "3")


def test_the_answer_is_announced_and_every_control_has_a_name(page):
    panel = page.locator("#panel [role=status]")
    assert panel.get_attribute("aria-live") == "polite" and panel.get_attribute("aria-atomic") == "true"
    draw(page, "7")
    wait_for_answer(page, "7")
    page.get_by_role("button", name="What the network saw").click()
    expect(page.locator("#stages img")).to_have_count(5)
    nameless = page.evaluate(NAMELESS)
    page.get_by_role("tab", name="Upload").click()
    page.locator("#upload input[type=file]").wait_for(state="attached")
    nameless += page.evaluate(NAMELESS)
    page.get_by_role("button", name="What the network saw").click()
    assert nameless == []


def test_an_accordion_says_whether_it_is_open(page):
    for name in ("What the network saw", "About"):
        button = page.get_by_role("button", name=name)
        expect(button).to_have_attribute("aria-expanded", "false")
        button.click()
        expect(button).to_have_attribute("aria-expanded", "true")
        button.click()
        expect(button).to_have_attribute("aria-expanded", "false")


def test_every_page_has_a_title_of_its_own(page, server):
    expect(page).to_have_title("Digit - DigitVision")
    other = page.context.new_page()
    for path, title in (("/number", "Number - DigitVision"), ("/card", "Model card - DigitVision")):
        other.goto(server + path)
        expect(other).to_have_title(title)
    other.close()


def test_several_digits_are_sent_to_the_page_for_numbers(page, server, tmp_path):
    picture, _ = make_number("47", gap=0.6)
    Image.fromarray(picture).save(tmp_path / "47.png")
    upload(page, tmp_path / "47.png")
    expect(page.locator("#panel")).to_contain_text("Two digits: write one at a time, or read them as a number.")
    assert page.locator("#panel a").evaluate("(link) => link.href") == server + "/number"
    for scheme in ("light", "dark"):
        look_at(page, scheme)
        assert page.evaluate(PALE) == []


@pytest.mark.parametrize("width", [320, 360, 480])
def test_the_navigation_lies_over_nothing_on_a_narrow_screen(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("""() => {
      const range = document.createRange();
      range.selectNodeContents(document.querySelector('#title h1'));
      const [title, links] = [range.getBoundingClientRect(), document.querySelector('.nav-holder').getBoundingClientRect()];
      return title.right < links.left || links.bottom <= title.top || title.bottom <= links.top;
    }""")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def look_at(page, scheme: str) -> None:
    """Show the page light or dark, with no colour half-way."""
    page.emulate_media(color_scheme=scheme)
    expect(page.locator("body")).to_have_class(re.compile("dark") if scheme == "dark" else re.compile("^(?!.*dark)"))
    page.evaluate("Promise.allSettled(document.getAnimations().map((animation) => animation.finished))")


@pytest.mark.parametrize("size", SIZES)
def test_nothing_lies_over_anything_and_every_text_can_be_read(page, size):
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    empty = page.locator("#answer").bounding_box()
    draw(page, "7")
    wait_for_answer(page, "7")
    answer = page.locator("#answer").bounding_box()
    assert answer == empty  # nothing jumps when the bars come
    assert answer["y"] + answer["height"] <= height  # the ten bars are in view with the pad
    assert page.locator("#answer .confidence-set").last.bounding_box()["y"] < answer["y"] + answer["height"] - 15
    clear = page.locator("#clear").bounding_box()
    assert clear["width"] >= 44 and clear["height"] >= 44
    found = []
    for scheme in ("light", "dark"):
        look_at(page, scheme)
        found += page.evaluate(OVERLAPS) + page.evaluate(PALE)
    page.get_by_role("button", name="What the network saw").click()
    page.get_by_role("button", name="About").click()
    expect(page.locator("#stages img")).to_have_count(5)
    page.evaluate("(long) => { document.querySelector('#panel p').lastChild.textContent = ' ' + long }", LONG)
    for tab in ("Draw", "Upload"):
        page.get_by_role("tab", name=tab).click()
        for scheme in ("dark", "light"):
            look_at(page, scheme)
            found += page.evaluate(OVERLAPS) + page.evaluate(PALE)
    page.get_by_role("button", name="What the network saw").click()
    page.get_by_role("button", name="About").click()
    assert found == []


def test_a_digit_held_into_the_camera_is_answered_and_not_mirrored(browser, server, tmp_path):
    """The camera is a film of one picture; a mirrored 6 reads as a 2."""
    frame = io.BytesIO()
    Image.open(ROOT / "examples" / "6_photo_in_shadow.jpg").resize((640, 480)).save(frame, "JPEG")
    (tmp_path / "film.mjpeg").write_bytes(3 * frame.getvalue())
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
              f"--use-file-for-fake-video-capture={tmp_path / 'film.mjpeg'}"]
    second = browser.browser_type.launch(executable_path=need("chromium"), args=QUIET + camera)
    page = second.new_context(permissions=["camera"]).new_page()
    page.goto(server)
    wait_for_brush(page)
    page.get_by_role("tab", name="Upload").click()
    page.get_by_role("button", name="Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.get_by_role("button", name="capture photo").click()
    wait_for_answer(page, "6")
    second.close()


def test_a_camera_that_is_not_there_is_told(browser, server):
    page = browser.new_page()  # Gradio's error lands in its console
    page.goto(server)
    wait_for_brush(page)
    page.get_by_role("tab", name="Upload").click()
    page.get_by_role("button", name="Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    expect(page.locator("#panel .panel:visible")).to_contain_text("No camera")
    page.get_by_role("tab", name="Draw").click()
    expect(page.locator("#panel .panel:visible")).to_contain_text("Ready")
    page.close()


@pytest.mark.parametrize("size", SHOWN)
def test_the_page_is_loaded_light_and_dark(browser, server, size):
    """And has its picture taken, if a folder is named for it: only a page that was loaded dark has a dark pad."""
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=SHOWN[size])
    page = context.new_page()
    page.goto(server)
    draw(page, "7")
    wait_for_answer(page, "7")
    assert page.evaluate(PALE) == []
    if folder := os.environ.get("DIGITVISION_SCREENSHOTS"):
        page.mouse.move(0, 0)
        page.screenshot(path=f"{folder}/{size}_{SHOWN[size]}.png")
    context.close()


# --- the pad ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("size", ["desk", "phone"])
@pytest.mark.parametrize("path", ["/", "/number"])
def test_the_sheet_fills_its_box_and_a_clear_changes_no_size(browser, server, path, size):
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.goto(server + path)
    wait_for_brush(page)
    before = sheet(page)
    box = page.locator("#pad").bounding_box()
    edges = (box["x"], box["y"]), (box["width"], box["height"])
    for start, long, edge, side in zip(before[:2], before[2:], *edges, strict=True):
        assert edge - 3 < start <= edge + 1 and edge + side - 1 <= start + long < edge + side + 3  # no frame, in no colour
    page.locator("#clear").click()
    wait_for_brush(page)
    page.wait_for_timeout(700)  # what the pad does behind a Clear
    assert np.allclose(sheet(page), before, atol=0.1)
    page.mouse.move(box["x"] + 4, box["y"] + 15)
    page.mouse.down()
    page.mouse.move(box["x"] + 8, box["y"] + box["height"] - 15, steps=4)
    page.mouse.up()
    expect(page.locator("#panel, #number").locator(".panel b:visible")).not_to_have_text("Ready")
    context.close()


@pytest.mark.parametrize("size", [(844, 390), (667, 375)])
@pytest.mark.parametrize("path", ["/", "/number"])
def test_pad_and_buttons_fit_the_screen_of_a_phone_held_sideways_beside_room_to_scroll(browser, server, path, size):
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(server + path)
    wait_for_brush(page)
    pad = page.locator("#pad").bounding_box()
    for part in (pad, page.locator("#undo").bounding_box(), page.locator("#clear").bounding_box()):
        assert part["y"] + part["height"] <= height and part["width"] >= 44 and part["height"] >= 44
    page.wait_for_timeout(1000)
    wide, high = sheet(page)[2:]
    assert abs(wide - pad["width"]) < 4 and abs(high - pad["height"]) < 4 and high > 140
    assert page.evaluate(OVERLAPS.replace("#panel p", ".panel p")) == []
    if path == "/":
        draw(page, "7")
        wait_for_answer(page, "7")
        assert page.locator("#panel").bounding_box()["y"] < height - 90
    else:
        write(page, "17")
        expect(page.locator("#number .text")).to_have_text("17")
    context.close()


# --- what stands there while an answer is awaited -----------------------------------------------------------------------

def hold(page) -> list:
    """Let no question through to the server until it is told to go on; return what is held."""
    held = []
    page.route("**/queue/join*", lambda route: held.append(route))
    return held


def let_go(page, held: list) -> None:
    for route in held:
        route.continue_()
    page.unroute("**/queue/join*")


def test_a_clear_empties_panel_and_bars_without_the_server(page):
    draw(page, "7")
    wait_for_answer(page, "7")
    held = hold(page)
    page.locator("#clear").click()
    expect(page.locator("#panel .panel:visible")).to_contain_text("Ready", timeout=1000)
    expect(page.locator("#answer .confidence-set .text").first).not_to_be_visible(timeout=1000)
    page.wait_for_timeout(1000)  # nor does it become anything else
    expect(page.locator("#panel .panel:visible")).to_contain_text("Ready", timeout=1000)
    let_go(page, held)
    wait_for_nothing(page)
    draw(page, "7")  # the same answer as before comes again
    wait_for_answer(page, "7")
    expect(page.locator(DIGIT)).to_be_visible()
    expect(page.locator("#answer .confidence-set").first).to_be_visible()


def test_the_answer_before_does_not_stand_there_while_another_is_awaited(page):
    draw(page, "7")
    wait_for_answer(page, "7")
    held = hold(page)
    draw(page, "4")
    expect(page.locator("#panel .panel:visible")).to_contain_text("Reading")
    expect(page.locator(DIGIT)).not_to_be_visible()
    assert float(page.locator("#answer .container").evaluate("(bars) => getComputedStyle(bars).opacity")) < 0.5
    let_go(page, held)
    expect(page.locator("#panel .panel:visible")).not_to_contain_text("Reading")
    expect(page.locator("#panel .panel:visible")).to_have_count(1)


def test_a_clear_in_the_moment_when_a_question_goes_out_is_not_overtaken_by_it(page):
    held = []

    def first_with_ink(route):
        if held or "data:image" not in (route.request.post_data or ""):
            route.continue_()
        else:
            held.append(route)

    page.route("**/queue/join*", first_with_ink)
    page.evaluate("""() => {
      const inFront = digitvision.inFront;
      digitvision.inFront = (name, picture) => {
        const front = inFront(name, picture);
        if (front && name === 'bars') { digitvision.inFront = inFront; document.querySelector('#clear').click(); }
        return front;
      }; }""")
    draw(page, "1")
    expect(page.locator("#panel .panel:visible")).to_contain_text("Ready")
    page.wait_for_timeout(1000)  # the empty pad's answer would be there by now
    assert len(held) == 1
    let_go(page, held)
    page.wait_for_timeout(1000)
    wait_for_nothing(page)


def test_an_upload_on_its_way_takes_the_answer_before_away(page):
    page.get_by_role("button", name="Example: 3 lined paper").click()
    wait_for_answer(page, "3")
    held = []
    page.route("**/upload*", lambda route: held.append(route))
    upload(page, ROOT / "examples" / "7_crossed_transparent.png")
    expect(page.locator("#panel .panel:visible")).to_contain_text("Reading")
    for route in held:
        route.continue_()
    page.unroute("**/upload*")
    wait_for_answer(page, "7")
    expect(page.locator(DIGIT)).to_be_visible()


def test_an_example_that_is_there_already_is_answered_again(page):
    for _ in range(2):
        page.get_by_role("button", name="Example: 3 lined paper").click()
        wait_for_answer(page, "3")
        expect(page.locator(DIGIT)).to_be_visible()
        page.wait_for_timeout(600)
        expect(page.locator(DIGIT)).to_be_visible()


@pytest.mark.parametrize("scale", [1, 3])  # of the screen; a phone's is 3
def test_a_drawing_is_there_and_read_anew_when_one_comes_back_from_another_page(browser, server, scale):
    context = browser.new_context(viewport={"width": 390, "height": 844}, device_scale_factor=scale)
    page = context.new_page()
    page.goto(server)
    draw(page, "7")
    wait_for_answer(page, "7")
    before = sheet(page)
    page.goto(server + "/number")
    wait_for_brush(page)
    page.wait_for_timeout(1000)
    expect(page.locator(".panel:visible")).to_contain_text("Ready")  # it is no number
    page.goto(server)
    wait_for_answer(page, "7")
    assert np.allclose(sheet(page), before, atol=0.1)
    page.locator("#undo").click()
    wait_for_nothing(page)
    draw(page, "1")
    wait_for_answer(page, "1")
    page.locator("#clear").click()
    wait_for_nothing(page)
    page.reload()
    wait_for_brush(page)
    page.wait_for_timeout(1000)
    wait_for_nothing(page)
    context.close()


@pytest.mark.parametrize("path", ["/", "/number"])
def test_a_server_that_is_away_is_told_in_the_panel_and_undo_and_clear_still_work(browser, server, path):
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(server + path)
    draw(page, "1")
    panel = page.locator("#panel, #number").locator(".panel:visible")
    expect(panel).to_contain_text("sure")
    page.wait_for_timeout(500)
    context.set_offline(True)
    for _ in range(2):
        draw(page, "7")
        expect(panel).to_contain_text("Not read")
        expect(panel).to_contain_text("no connection to the server")
        expect(page.locator("#answer .confidence-set:visible")).to_have_count(0)
    page.locator("#clear").click()
    expect(panel).to_contain_text("Ready")
    page.wait_for_timeout(1000)
    expect(panel).to_contain_text("Ready")
    context.close()


@pytest.mark.parametrize("path", ["/", "/number"])
def test_a_drawing_outlives_a_lost_connection_and_is_read_when_it_is_back(browser, server, path):
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(server + path)
    wait_for_brush(page)
    loads, questions = [], []
    page.on("load", lambda: loads.append(page.url))
    panel = page.locator("#panel, #number").locator(".panel:visible")
    context.set_offline(True)
    draw(page, "7")
    expect(panel).to_contain_text("no connection to the server")
    page.wait_for_timeout(2500)  # it was looked for once more, in vain
    expect(panel).to_contain_text("no connection to the server")
    errors = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    context.set_offline(False)
    expect(panel).to_contain_text("7")
    expect(panel).to_contain_text("sure")
    page.on("request", lambda request: questions.append(request.url))
    page.wait_for_timeout(5000)
    assert loads == [] and questions == [] and errors == []
    context.close()


# --- numbers ------------------------------------------------------------------------------------------------------------

@pytest.fixture
def numbers(browser, server):
    """The page for numbers, loaded anew; at its end: no console error."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, has_touch=True,
                                  permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    errors = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server)
    page.get_by_role("link", name="Number").or_(page.get_by_role("button", name="Number")).first.click()
    page.wait_for_url("**/number")
    wait_for_brush(page)
    yield page
    context.close()
    assert errors == []


def write(page, text: str) -> None:
    """Write a number on the sheet by mouse."""
    left, top, wide, high = sheet(page)
    step = min(wide / (len(text) + 0.5), 0.55 * high)
    for place, digit in enumerate(text):
        for stroke in (np.array(stroke, float) for stroke in WRITTEN[digit]):
            points = stroke / (9, 14) * (0.6 * step, 0.6 * high) + (left + step * (place + 0.3), top + 0.2 * high)
            page.mouse.move(*points[0])
            page.mouse.down()
            for point in points[1:]:
                page.mouse.move(*point, steps=3)
            page.mouse.up()


WRITTEN = STROKES | {
    "2": [[(0, 3), (3, 0), (7, 1), (8, 4), (0, 14), (9, 14)]],
    "9": [[(8, 3), (5, 0), (1, 2), (1, 6), (5, 7), (8, 3), (7, 14)]],
}


def test_numbers_are_drawn_by_mouse_and_read_and_copied(numbers):
    for text in ("1024", "7", "90210"):
        write(numbers, text)
        expect(numbers.locator("#number .text")).to_have_text(text)
        assert numbers.locator("#number .box").count() == len(text)
        numbers.get_by_role("button", name="Copy").click()
        expect(numbers.get_by_role("button", name="Copied")).to_be_visible()
        assert numbers.evaluate("navigator.clipboard.readText()") == text
        numbers.get_by_role("button", name="Clear").click()
        expect(numbers.locator("#number")).to_contain_text("Ready")


def test_a_number_is_copied_where_the_browser_has_no_clipboard_for_the_page(numbers):
    write(numbers, "1024")
    numbers.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")  # http from another machine
    numbers.evaluate("document.addEventListener('copy', () => { window.copied = document.activeElement.value; })")
    numbers.get_by_role("button", name="Copy").click()
    expect(numbers.get_by_role("button", name="Copied")).to_be_visible()
    assert numbers.evaluate("window.copied") == "1024"


def test_digits_that_a_rule_forces_out_leave_no_stars(numbers):
    numbers.get_by_role("button", name="Example: 2026 touching").click()
    expect(numbers.locator("#number .text")).to_have_text("2026")
    numbers.locator("#rule textarea").fill("2")
    numbers.keyboard.press("Enter")
    expect(numbers.locator("#number .text")).to_have_text("2")
    numbers.get_by_role("button", name="Copy").click()
    expect(numbers.get_by_role("button", name="Copied")).to_be_visible()
    assert numbers.evaluate("navigator.clipboard.readText()") == "2"


def test_the_field_for_a_rule_shows_its_focus_as_the_buttons_do(numbers):
    numbers.keyboard.press("Tab")
    numbers.locator("#rule textarea").focus()
    outline = numbers.locator("#rule textarea").evaluate("(control) => getComputedStyle(control).outline")
    assert "auto" in outline
    numbers.keyboard.press("Tab")
    numbers.locator("#undo").focus()
    expect(numbers.locator("#undo")).to_have_css("outline", outline)  # which fades in


def test_what_is_copied_is_what_is_shown_and_the_button_offers_it_again(numbers):
    numbers.get_by_role("button", name="Example: 124950 amount with comma").click()
    expect(numbers.locator("#number .text")).to_have_text("1249,50")
    numbers.get_by_role("button", name="Copy").click()
    expect(numbers.get_by_role("button", name="Copied")).to_be_visible()
    assert numbers.evaluate("navigator.clipboard.readText()") == "1249,50"
    expect(numbers.get_by_role("button", name="Copy", exact=True)).to_be_visible(timeout=4000)


def test_ctrl_z_works_with_caps_lock_and_shift_makes_it_something_else(numbers):
    write(numbers, "11")
    expect(numbers.locator("#number .text")).to_have_text("11")
    press = """(shiftKey) => document.body.dispatchEvent(
      new KeyboardEvent('keydown', { key: 'Z', ctrlKey: true, shiftKey, bubbles: true }))"""
    numbers.evaluate(press, True)
    numbers.wait_for_timeout(500)
    expect(numbers.locator("#number .text")).to_have_text("11")
    numbers.evaluate(press, False)
    expect(numbers.locator("#number .text")).to_have_text("1")


@pytest.mark.parametrize("size", ["desk", "phone"])
def test_a_long_rule_does_not_push_its_error_out_of_the_panel(numbers, size):
    write(numbers, "7")
    expect(numbers.locator("#number .text")).to_have_text("7")
    width, height = SIZES[size]
    numbers.set_viewport_size({"width": width, "height": height})
    numbers.locator("#rule textarea, #rule input").fill("(" + "x" * 190)
    numbers.keyboard.press("Enter")
    expect(numbers.locator("#number")).to_contain_text("cannot be read")
    panel, words = numbers.locator("#number .panel:visible").bounding_box(), numbers.evaluate("""() => {
      const range = document.createRange();
      range.selectNodeContents([...document.querySelectorAll('#number .panel p')].find((words) => words.checkVisibility()));
      return range.getBoundingClientRect().right; }""")
    assert words <= panel["x"] + panel["width"] <= width
    assert numbers.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_panel_says_what_to_do_from_the_start(numbers):
    numbers.wait_for_timeout(1000)  # whatever Gradio asks on load has been answered
    expect(numbers.locator(".panel:visible")).to_have_text("Ready Write a number, or upload a picture of one.")


def test_the_panel_is_as_wide_as_what_stands_around_it(numbers):
    pad, panel = numbers.locator("#pad").bounding_box(), numbers.locator(".panel:visible").bounding_box()
    assert abs(pad["x"] - panel["x"]) < 2 and abs(pad["width"] - panel["width"]) < 4


def test_ctrl_z_takes_back_a_stroke_but_not_while_one_types(numbers):
    write(numbers, "11")
    expect(numbers.locator("#number .text")).to_have_text("11")
    numbers.locator("#rule textarea, #rule input").click()
    numbers.keyboard.type("12")
    numbers.keyboard.press("Control+z")
    numbers.wait_for_timeout(300)
    numbers.locator("#rule textarea, #rule input").fill("")
    numbers.keyboard.press("Enter")
    numbers.wait_for_timeout(300)
    expect(numbers.locator("#number .text")).to_have_text("11")
    numbers.locator("#title").click()
    numbers.keyboard.press("Control+z")
    expect(numbers.locator("#number .text")).to_have_text("1")


def test_a_click_on_an_example_of_a_number_reads_it(numbers):
    numbers.get_by_role("button", name="Example: 90210 postcode").click()
    expect(numbers.locator("#number .text")).to_have_text("90210")
    expect(numbers.locator("#number .field img")).to_be_in_viewport()


def test_a_click_on_a_digit_shows_its_ten_bars_and_boxes_lie_over_the_digits(numbers, tmp_path):
    picture, boxes = make_number("4,710")
    Image.fromarray(picture).save(tmp_path / "field.png")
    numbers.get_by_role("tab", name="Upload").click()
    numbers.locator("#upload input[type=file]").set_input_files(tmp_path / "field.png")
    expect(numbers.locator("#number .text")).to_have_text("4,710")
    assert numbers.locator("#number .mark").count() == 1
    expect(numbers.locator("#number .field img")).to_be_visible()  # the words of an answer are there a moment before it is shown
    shown = numbers.locator("#number .field img").bounding_box()
    for place, (x, y, wide, high) in enumerate(boxes):
        box = numbers.locator(f"#number .box[data-digit='{place}']").bounding_box()
        scale = shown["width"] / picture.shape[1]
        assert abs(box["x"] + box["width"] / 2 - shown["x"] - scale * (x + wide / 2)) < 6
        assert abs(box["y"] + box["height"] / 2 - shown["y"] - scale * (y + high / 2)) < 6
    expect(numbers.locator("#number .bars.chosen")).to_have_count(0)
    numbers.get_by_role("button", name="Digit 2 of 4: 7").click()
    expect(numbers.locator("#number .bars.chosen li")).to_have_count(10)
    expect(numbers.locator("#number .bars.chosen li").first).to_contain_text("7")
    if folder := os.environ.get("DIGITVISION_SCREENSHOTS"):
        numbers.screenshot(path=f"{folder}/number.png")


@pytest.mark.parametrize("size", ["desk", "phone"])
def test_nothing_jumps_when_a_number_is_answered_and_its_answer_is_in_view(numbers, size):
    width, height = SIZES[size]
    numbers.set_viewport_size({"width": width, "height": height})
    numbers.wait_for_timeout(500)

    def places():
        assert numbers.locator("#number .panel:visible").bounding_box()["y"] < height - 90
        return [numbers.locator(part).bounding_box() for part in ("#pad", "#rule", "#examples")]

    empty = places()
    write(numbers, "1")
    expect(numbers.locator("#number .text")).to_have_text("1")
    assert places() == empty
    numbers.locator("#number .box").click()
    numbers.evaluate("scrollTo(0, 0)")
    assert places() == empty
    for stroke in STROKES["7"]:  # another digit
        left, top, wide, high = sheet(numbers)
        for at, (x, y) in enumerate(stroke):
            numbers.mouse.move(left + 0.6 * wide + x / 14 * 0.6 * high, top + (0.2 + 0.6 * y / 14) * high, steps=3)
            numbers.mouse.down() if at == 0 else None
        numbers.mouse.up()
    expect(numbers.locator("#number .text")).to_have_text("17")
    assert places() == empty
    expect(numbers.locator("#number .bars.chosen li")).to_have_count(10)  # as they were asked for
    expect(numbers.locator("#number .box.chosen")).to_have_attribute("data-digit", "0")
    numbers.get_by_role("button", name="Clear").click()
    expect(numbers.locator("#number .panel:visible")).to_contain_text("Ready")
    numbers.wait_for_timeout(500)  # the server's own follows
    assert places() == empty


@pytest.mark.parametrize("size", ["desk", "phone"])
def test_the_answer_to_an_uploaded_number_comes_into_view(numbers, size):
    width, height = SIZES[size]
    numbers.set_viewport_size({"width": width, "height": height})
    upload(numbers, ROOT / "examples" / "2026_touching.png")
    expect(numbers.locator("#number .text")).to_have_text("2026")
    expect(numbers.locator("#number .text")).to_be_in_viewport(ratio=1)


def test_a_rule_is_heeded_and_one_that_is_none_is_told(numbers):
    write(numbers, "1024")
    expect(numbers.locator("#number .text")).to_have_text("1024")
    numbers.locator("#rule textarea, #rule input").fill(r"\d{3}[5-9]")
    numbers.keyboard.press("Enter")
    expect(numbers.locator("#number")).to_contain_text("the ink alone says 1024")
    numbers.locator("#rule textarea, #rule input").fill("(")
    numbers.keyboard.press("Enter")
    expect(numbers.locator("#number")).to_contain_text("The rule ( cannot be read at its end")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_for_numbers_is_legible_and_named_and_nothing_overlaps(numbers, scheme):
    numbers.emulate_media(color_scheme=scheme)
    write(numbers, "1024")
    numbers.get_by_role("button", name="Digit 1 of 4").click()
    for wide, high in SIZES.values():
        numbers.set_viewport_size({"width": wide, "height": high})
        numbers.wait_for_timeout(300)
        assert numbers.evaluate(PALE) == [] and numbers.evaluate(NAMELESS) == []
        assert numbers.evaluate("document.documentElement.scrollWidth <= innerWidth")
