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
from recognize import DIGITS, Reading

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
lie on this server for an hour and are then deleted. Nothing is sent to anybody else."""

# What the page does beside Gradio, as `digitvision`. Gradio's Sketchpad spends half a second and three files on every stroke where
# a listener takes its value. It draws with PixiJS, and PixiJS makes one small picture of its sheet.
SCRIPT = """
// Gradio has words of its own for 503, whatever the server says; for any other error it shows the server's. And it does not tell
// the page when a picture leaves for the server, or finds none.
const fetched = window.fetch;
window.fetch = async (...request) => {
  const address = String(request[0]?.url ?? request[0]), upload = /\\/upload(\\?|$)/.test(address);
  if (upload) digitvision.awaitPicture();
  const answer = await fetched(...request).catch((error) => {
    if (upload || address.includes('/queue/')) digitvision.lose();
    throw error;
  });
  digitvision.regain();
  if (upload && !answer.ok) digitvision.askAboutPicture();  // the one that still is there, or none
  return answer.status === 503 ? new Response(answer.body, { status: 500, headers: answer.headers }) : answer;
};

window.digitvision = (() => {
  const find = (selector) => document.querySelector(selector);
  let drawn = null;  // the sheet when something last happened to it

  const sketch = () => {  // the sheet without the cursor, 280x280 pixels on every screen; null for one without ink
    const app = window.__PIXI_APP__;  // for PixiJS's developer tools
    const sheet = app?.stage.children.find((part) => part.sortableChildren && part.eventMode === 'static');
    if (!sheet) return null;  // the pad is not there yet
    const canvas = app.renderer.extract.canvas({ target: sheet, resolution: 1 });
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    requestAnimationFrame(() => app.ticker.stop());  // Gradio would draw it for half a second more, and wakes it at the next move
    return data.some((value, at) => at % 4 < 3 && value < 128) ? { url: canvas.toDataURL() } : null;
  };
  const drawing = () => find('[data-tab-id=draw]').getAttribute('aria-selected') === 'true';

  // An answer that stands there belongs to what is in front: until it comes, the one before is pale and then out of sight. Gradio's
  // own words are left as they are, since it does not write them anew where they do not change.
  const PLACES = { bars: '#answer', tell: '#panel', tell_number: '#number', look_inside: '#inside' };
  const SOON = 300, LATE = 10000;  // milliseconds until "Reading", and until a word about an answer that does not come
  const words = (title, sentence) => `<p><b>${title}</b> ${sentence}</p>`;
  const AWAY = words('Not read', 'There is no connection to the server. Try again when it is back.');
  const SLOW = words('Not read yet', 'The server has not answered for ten seconds.');
  const REFUSED = words('Not read', 'The server gave no answer. Try again in a moment.');
  let asked = 0, away = false, coming = false, ready = '', timers = [];  // coming: a picture is on its way to Upload
  const sent = {}, awaited = {};  // of every place: the last question that went out; does it wait for an answer about some ink?
  const mark = (name, state, html = '') => {  // asked, reading, away, empty; none where the answer is there
    const place = find(PLACES[name]), meanwhile = place?.querySelector('.meanwhile');
    if (state) place?.setAttribute('data-state', state); else place?.removeAttribute('data-state');
    if (meanwhile) meanwhile.innerHTML = html;
  };
  const markAwaited = (state, html) => { for (const name in PLACES) if (awaited[name]) mark(name, state, html); };
  const wait = () => {
    asked++;
    for (const name in PLACES) {
      awaited[name] = !drawing() || drawn !== null;
      if (!awaited[name]) mark(name, 'empty', ready);
      else if (!find(PLACES[name])?.dataset.state) mark(name, 'asked');
    }
    timers.forEach(clearTimeout);
    timers = [setTimeout(() => markAwaited('reading', words('Reading…', '')), SOON),
              setTimeout(() => markAwaited('away', SLOW), LATE)];
    if (away) lose();
  };
  const lose = () => { away = true; coming = false; timers.forEach(clearTimeout); markAwaited('away', AWAY); };
  const regain = () => { away = false; };
  const inFront = (name, picture) => {  // what a question that goes out now is about
    const front = drawing() ? drawn : picture;
    sent[name] = asked;
    if (!front && (drawing() || !coming)) { awaited[name] = false; mark(name, 'empty', ready); }
    return front;
  };
  const come = (name) => {
    if (sent[name] !== asked || coming && !drawing()) return;  // an answer to an older question
    awaited[name] = false;
    mark(name);
  };
  const fail = (name) => {
    if (sent[name] !== asked) find('#ask_' + name).click();  // Gradio forgets what was asked while the answer was awaited
    else if (awaited[name] && !away) mark(name, 'away', REFUSED);
  };
  const ask = () => {
    wait();
    for (const name of ['bars', 'tell', 'tell_number']) find('#ask_' + name)?.click();
    if (find('#inside button.open')) find('#ask_look_inside').click();
  };
  const awaitPicture = () => { coming = true; wait(); };
  const askAboutPicture = () => { coming = false; ask(); };
  const askAgain = () => { drawn = sketch(); ask(); };

  // Gradio's own small tools are out of sight: two buttons as large as a thumb press them.
  const undo = () => { find('#pad button[aria-label=Undo]')?.click(); setTimeout(askAgain, 50); };
  const clear = () => {
    find('#pad button[aria-label="Clear canvas"]')?.click();
    setTimeout(() => window.editor?.tools.get('zoom').set_zoom('fit'));  // after the trash Gradio leaves the sheet at its bare size
    drawn = null;
    ask();
  };

  // Gradio arms no tool on load and after the trash, so that the first stroke would do nothing; it gives no name to the canvas of
  // its pad and to its examples, and does not say whether an accordion is open.
  let pressed = 0;  // once in a while only: the words stay for a moment
  const arm = () => {
    if (Date.now() - pressed > 500 && /select the draw tool/i.test(find('#pad').innerText)) {
      pressed = Date.now();
      find('#pad button[aria-label=Brush]')?.click();
      setTimeout(arm, 600);  // where it did not help
    }
  };
  const tidy = () => {
    arm();
    document.querySelectorAll('#pad canvas:not([aria-label])').forEach((canvas) => {
      canvas.setAttribute('role', 'img');
      canvas.setAttribute('aria-label', 'Sketch pad: write here; or choose a picture under Upload');
    });
    document.querySelectorAll('#examples button:not([aria-label]) img').forEach((image) => {
      const words = image.src.split('/').pop().split('.')[0].replaceAll('_', ' ');
      image.closest('button').setAttribute('aria-label', 'Example: ' + words);
    });
    document.querySelectorAll('button.label-wrap:not([aria-expanded])').forEach((button) => {
      const say = () => button.setAttribute('aria-expanded', button.classList.contains('open'));
      new MutationObserver(say).observe(button, { attributeFilter: ['class'] });
      say();
    });
    find('#evidence button:not([aria-label])')?.setAttribute('aria-label', 'Which ink decided');
  };

  // A picture that is pasted, or dropped anywhere on the page, goes where Upload puts one.
  const take = async (file) => {
    find('[data-tab-id=upload]').click();
    for (let tries = 0; tries < 60; tries++) {
      const input = find('#upload input[type=file]');
      if (input) {
        const files = new DataTransfer();
        files.items.add(file);
        input.files = files.files;
        input.dispatchEvent(new Event('change', { bubbles: true }));
        return;
      }
      find('#upload button[aria-label=Clear], #upload button[aria-label=Remove]')?.click();
      await new Promise((wake) => setTimeout(wake, 50));
    }
  };
  const picture = (data) => [...(data?.files ?? [])].find((file) => file.type.startsWith('image/'));

  const show = (digit) => document.querySelectorAll('#number .box, #number .bars').forEach((part) => {
    part.classList.toggle('chosen', part.dataset.digit === digit);  // of a number: its box, and its ten bars
    if (part.matches('.box')) part.setAttribute('aria-pressed', part.dataset.digit === digit);
  });

  const copyText = async (text) => {  // say whether it was copied
    if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
    const field = document.createElement('textarea');  // over http from another machine there is no clipboard
    field.value = text;
    document.body.append(field);
    field.select();
    const copied = document.execCommand('copy');
    field.remove();
    return copied;
  };

  const showTheAnswer = () => {  // an example is read under Upload; on a phone the examples lie far below the answer
    coming = true;
    find('[data-tab-id=upload]').click();
    wait();
    find('#panel, #number').scrollIntoView({ behavior: 'smooth', block: 'nearest' });
  };

  // Gradio says nothing where a camera is missing, refused, or kept from a page that came over http.
  const noCamera = () => {
    const html = words('No camera', 'There is none, or it may not be used here. Upload a picture instead.');
    for (const name of ['tell', 'tell_number']) mark(name, 'away', html);
  };
  const watchCamera = () => {
    const devices = navigator.mediaDevices, open = devices?.getUserMedia.bind(devices);
    if (open) devices.getUserMedia = (...wishes) => open(...wishes).catch((error) => { noCamera(); throw error; });
    else document.addEventListener('click', (event) => {
      if (/webcam/i.test(event.target.closest('#upload button')?.innerText)) noCamera();
    });
  };

  const entitle = (name) => { document.title = name + ' - DigitVision'; };

  const start = () => {
    watchCamera();
    const panel = find('#panel .panel, #number .panel'), meanwhile = document.createElement('div');
    ready = panel.querySelector('p').outerHTML;
    meanwhile.className = 'panel meanwhile';
    meanwhile.setAttribute('aria-live', 'polite');
    panel.closest('.html-container').before(meanwhile);
    find('#undo').addEventListener('click', undo);  // without Gradio, which does nothing more where it lost its server
    find('#clear').addEventListener('click', clear);
    let stroke = false;
    find('#pad').addEventListener('pointerdown', () => { stroke = true; }, true);
    for (const end of ['pointerup', 'pointercancel']) document.addEventListener(end, () => {
      if (stroke) setTimeout(askAgain);  // when the pad has put the stroke on the sheet
      stroke = false;
    });
    document.addEventListener('keydown', (event) => {
      const typing = event.target.closest?.('input, textarea');  // there it takes back what was typed
      const undoes = (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key?.toLowerCase() === 'z';  // Z by CapsLock
      if (undoes && drawing() && !typing) { event.preventDefault(); undo(); }
    });
    new MutationObserver(tidy).observe(document.body, { childList: true, subtree: true });
    tidy();
    for (const end of ['error', 'load']) document.addEventListener(end, (event) => {  // no broken icon for what is no picture
      if (event.target.closest?.('#upload')) event.target.classList.toggle('broken', end === 'error');
    }, true);
    document.addEventListener('click', (event) => {
      if (event.target.closest('#examples button')) showTheAnswer();  // before Gradio fetches it
      const box = event.target.closest('#number .box'), copy = event.target.closest('#number .copy');
      if (box) show(box.dataset.digit);
      if (copy) copyText(copy.dataset.text).then((copied) => {
        if (!copied) return;
        copy.textContent = 'Copied';
        setTimeout(() => { copy.textContent = 'Copy'; }, 2000);  // milliseconds
      });
    });
    document.addEventListener('paste', (event) => {
      const file = picture(event.clipboardData);
      if (file) { event.preventDefault(); take(file); }
    });
    document.addEventListener('dragover', (event) => event.preventDefault());
    document.addEventListener('drop', (event) => {
      if (event.target.closest?.('#upload')) return;
      event.preventDefault();
      const file = picture(event.dataTransfer);
      if (file) take(file);
    });
  };

  return { entitle, start, ask, awaitPicture, askAboutPicture, inFront, come, fail, lose, regain };
})();
"""

NUMBER = '<div class="number">${value}</div>'
PANEL = '<div class="panel" role="status" aria-live="polite" aria-atomic="true">${value}</div>'

STYLE = """
.gradio-container { width: 100%; max-width: 900px !important; margin: 0 auto !important; }
.gradio-container .main { padding: 12px clamp(16px, 4vw, 32px) !important; }
.main > [data-testid=status-tracker] { pointer-events: none; }  /* while Gradio still starts, the pad can be drawn on */
footer .divider { display: none !important; }
.nav-holder { position: absolute !important; z-index: 1; top: 8px; right: clamp(8px, 4vw, 32px); padding: 0 !important;
  border: 0 !important; }
.nav-holder nav { padding: 0 !important; }
.nav-holder a { padding: 4px 7px !important; font-size: 14px !important; color: var(--body-text-color) !important; }
footer button { color: var(--body-text-color) !important; }
button[role=tab].selected { color: #c2410c; }  /* Gradio's orange is too pale for small text on white */
.dark button[role=tab].selected { color: #fb923c; }
.prose a { color: #1d4ed8; }
.dark .prose a { color: #93c5fd; }
#upload .wrap, #upload .or { color: var(--body-text-color); }
#title h1 { margin: 0; }
#title p { margin: 4px 0 0; }

:is(#panel, #number) .html-container { padding: 0; }
.tabitem { padding: 0 !important; }
/* Gradio keeps 30 pixels around its sheet, where a stroke would be lost: they lie outside the box, with one more for rounding */
#pad { width: 100%; height: auto !important; aspect-ratio: 1; border: 0 !important; border-radius: 8px;
  box-shadow: 0 0 0 1px #94a3b8; }
#pad.wide { aspect-ratio: 720 / 220; }
#pad .image-container { position: relative; border-radius: 8px; overflow: clip; }
#pad .pixi-target { inset: -31px; width: auto; height: auto; }
#pad .icon-button-wrapper, #pad .toolbar-wrap { display: none; }
#pad canvas { touch-action: none; cursor: crosshair; }
#tools { gap: 12px; margin-top: -4px; }
#tools button { min-height: 44px; border: 1px solid var(--border-color-primary); border-radius: 8px; font-size: 16px;
  color: var(--body-text-color); background: var(--background-fill-secondary); }
#tools button:hover { border-color: currentcolor; }
#upload { height: 466px !important; }

.panel { display: flex; align-items: center; gap: 12px; min-height: 122px; padding: 8px 16px 8px 8px; border-radius: 12px;
  border: 1px solid var(--border-color-primary); color: var(--body-text-color); background: var(--block-background-fill); }
.panel .digit { flex: none; width: 84px; font-size: 84px; font-weight: 700; line-height: 1; text-align: center; }
.panel p { min-width: 0; margin: 0; line-height: 1.4; overflow-wrap: anywhere; }
.panel b { display: block; font-size: 20px; }
.meanwhile:empty { display: none; }
#panel .meanwhile::before { flex: none; width: 84px; content: ''; }

/* while an answer is awaited the one before is pale, and where none will come it is gone */
[data-state=asked] .html-container, [data-state=reading] :is(.field, .bars, .hint),
#answer:is([data-state=asked], [data-state=reading]) .container,
:is([data-state=asked], [data-state=reading]) :is(#stages, #evidence) { opacity: 0.35; }
:is([data-state=reading], [data-state=away], [data-state=empty]) .html-container .panel,
:is([data-state=away], [data-state=empty]) :is(.field, .bars, .hint) { display: none !important; }
#answer:is([data-state=away], [data-state=empty]) .container,
:is([data-state=away], [data-state=empty]) :is(#stages, #evidence) { visibility: hidden; }

/* the height of ten bars: nothing jumps when they come and go */
#answer { height: 376px; border-radius: 12px; overflow: hidden !important; }
#answer .container { padding: 10px 12px 0; }
#answer .confidence-set { display: block; width: 100%; margin: 0 0 5px; padding: 0; }
#answer .inner-wrap { position: relative; display: block; width: 100%; height: 27px; border-radius: 4px; overflow: hidden;
  background: var(--background-fill-secondary); }
#answer .bar { position: absolute; inset: 0 auto 0 0; height: 100%; margin: 0; border: 0; border-radius: 4px;
  appearance: none; background: #fdba74 !important; }
#answer .bar::-webkit-meter-inner-element, #answer .bar::-webkit-meter-bar { display: none; }
#answer .bar::-moz-meter-bar { background: none; }
.dark #answer .bar { background: #9a3412 !important; }
#answer .label { position: relative; height: 100%; align-items: center; margin: 0; padding: 0 10px; color: var(--body-text-color); }
#answer .text, #answer .confidence { margin: 0; padding: 0; color: inherit; background: none; }
#answer .line { border: 0; }

#number { margin-top: 4px; }
:is(.number, #number) .panel { min-height: 122px; padding: 12px 16px; justify-content: space-between; }
.number .text { display: block; font-size: 40px; font-weight: 700; line-height: 1.1; overflow-wrap: anywhere; }
.number .copy { flex: none; min-width: 84px; min-height: 44px; border: 1px solid var(--border-color-primary); border-radius: 8px;
  font-size: 16px; color: var(--body-text-color); background: var(--background-fill-secondary); }
.number .copy:hover { border-color: currentcolor; }
.number .hint { margin: 8px 0 0; }
.number .field { position: relative; margin: 16px auto; width: fit-content; max-width: 100%; line-height: 0; }
.number .field img { max-width: 100%; max-height: 300px; border-radius: 8px;
  background: repeating-conic-gradient(#ddd 0 25%, #bbb 0 50%) 0 / 14px 14px; }
.number .box, .number .mark { position: absolute; padding: 0; border: 2px solid #1d4ed8; border-radius: 4px; background: none; }
.number .box { min-width: 12px; cursor: pointer; }
.number .box.chosen { border-color: #c2410c; background: #fb923c33; }
.number .mark { border: 2px dotted #64748b; pointer-events: none; }
.number .bars { display: none; margin: 0; padding: 0; list-style: none; }
.number .bars.chosen { display: block; }
.number .bars li { position: relative; display: flex; justify-content: space-between; margin: 0 0 4px; padding: 0 10px;
  line-height: 24px; border-radius: 4px; overflow: hidden; color: var(--body-text-color);
  background: var(--background-fill-secondary); }
.number .bars i { position: absolute; inset: 0 auto 0 0; border-radius: 4px; background: #fdba74; }
.dark .number .bars i { background: #9a3412; }
.number .bars span { position: relative; }

#examples .gallery { display: grid; grid-template-columns: repeat(12, 1fr); gap: 8px; }
#examples .gallery-item, #examples .container { width: 100%; max-width: none; height: 64px; min-height: 0; max-height: none;
  overflow: hidden; }
#examples .container { display: flex; align-items: center; justify-content: center; }
#examples img { width: auto; height: auto; max-width: 100%; max-height: 62px;
  background: repeating-conic-gradient(#ddd 0 25%, #bbb 0 50%) 0 / 14px 14px; }  /* seen where a picture is transparent */
.wide #examples .gallery { grid-template-columns: repeat(5, 1fr); }
#upload img.broken { visibility: hidden; }

#stages, #evidence { border: 0 !important; }
#stages .grid-wrap { min-height: 0; max-height: none; height: auto; overflow: visible; }
#stages .grid-container { grid-template-columns: repeat(auto-fill, minmax(96px, 1fr)); }
#stages .thumbnail-item { aspect-ratio: auto; height: auto; }
#stages .thumbnail-item img { aspect-ratio: 1; image-rendering: pixelated; }
#stages .caption-label { position: static; width: 100%; max-width: none; border: 0; text-align: center; }
#evidence img { image-rendering: pixelated; border-radius: 8px; }

@media (max-width: 380px) {
  #title { padding-top: 32px; }  /* beside the links there is no room for it */
}
@media (max-width: 900px) {
  #examples .gallery { grid-template-columns: repeat(6, 1fr); }
  .wide #examples .gallery { grid-template-columns: repeat(3, 1fr); }
}
.prose td, .prose th { overflow-wrap: normal !important; word-break: normal !important; }
@media (max-width: 640px) {
  .prose table { display: block; overflow-x: auto; border: 0 !important; padding: 0 !important; }
  .prose :is(td, th) { padding: 6px 8px !important; }
  .column, .row { gap: 10px !important; }
  #pad:not(.wide) { max-width: 290px; margin: 0 auto; }
  #tools { margin-top: 0; }
  #upload { height: 344px !important; }
  .panel { min-height: 92px; }
  .panel .digit { width: 60px; font-size: 60px; }
  #answer { height: 256px; }
  #answer .container { padding-top: 5px; }
  #answer .confidence-set { margin-bottom: 2px; }
  #answer .inner-wrap { height: 20px; font-size: 14px; }
}
"""


def panel(reading: Reading | None) -> str:
    """Return the HTML of an answer: the digit large, how sure in a word or two, and the sentence; None asks for a digit."""
    if reading is None:
        return '<span class="digit"></span><p><b>Ready</b> Draw a digit from 0 to 9, or upload a picture of one.</p>'
    shown = {"digit": reading.digit, "unsure": f"{reading.digit}?"}.get(reading.verdict, "?")
    return f'<span class="digit">{shown}</span><p><b>{how_sure(reading)}</b> {escape(reading.message)}</p>'


def number(reading: NumberReading | None, image) -> str:
    """Return the HTML of a number's answer: the string with a button that copies it, the picture with a box around every digit, and
    the ten bars of the one that is chosen; None asks for a number."""
    if reading is None:
        return panel_of("", "Ready", "Write a number, or upload a picture of one.")
    copy = f'<button class="copy" data-text="{escape(reading.display)}">Copy</button>' if reading.text else ""
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
    return (f'<div class="panel" role="status" aria-live="polite" aria-atomic="true"><p>{text}<b>{state}</b> {escape(message)}</p>'
            f"{more}</div>")


def _place(box, wide: int, high: int) -> str:
    """Return the style that puts something over a box of a picture of this size."""
    x, y, width, height = box
    return (f"left: {100 * x / wide:.2f}%; top: {100 * y / high:.2f}%; width: {100 * width / wide:.2f}%; "
            f"height: {100 * height / high:.2f}%")


def how_sure(reading: Reading | NumberReading) -> str:
    """Return the confidence of a reading in words."""
    if reading.verdict not in ("digit", "number"):
        return {"unsure": "Unsure", "several": "Several digits", "not_a_digit": "No digit", "not_a_number": "No number",
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
