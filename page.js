// Gradio has words of its own for 503, whatever the server says; for any other error it shows the server's. It does not tell the
// page when a picture leaves for the server, or finds none. And once it knows of a question that found no server, it asks nothing
// more and loads the page anew when the server is back, without the drawing: so such a question waits for the server.
const fetched = window.fetch;
window.fetch = async (...request) => {
  const address = String(request[0]?.url ?? request[0]), upload = /\/upload(\?|$)/.test(address);
  if (upload) digitvision.awaitPicture();
  const answer = await fetched(...request).catch((error) => {
    const lost = error.name !== 'AbortError' && (upload || address.includes('/queue/'));
    const back = lost && digitvision.lose();
    if (lost && /\/queue\/join(\?|$)/.test(address)) return back.then(() => window.fetch(...request));
    throw error;
  });
  digitvision.regain();
  if (upload && !answer.ok) digitvision.askAboutPicture();  // the one that still is there, or none
  return answer.status === 503 ? new Response(answer.body, { status: 500, headers: answer.headers }) : answer;
};

window.digitvision = (() => {
  const find = (selector) => document.querySelector(selector);
  let drawn = null;  // the sheet when something last happened to it
  let chosen = null;  // which digit of a number shows its bars

  const sketch = () => {  // the sheet without the cursor, 280x280 pixels on every screen; null for one without ink
    const app = window.__PIXI_APP__;  // for PixiJS's developer tools
    const sheet = app?.stage.children.find((part) => part.sortableChildren && part.eventMode === 'static');
    if (!sheet) return null;  // the pad is not there yet
    const canvas = app.renderer.extract.canvas({ target: sheet, resolution: 1 });
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    requestAnimationFrame(() => app.ticker.stop());  // Gradio would draw it for half a second more, and wakes it at the next move
    return data.some((value, at) => at % 4 < 3 && value < 128) ? { url: canvas.toDataURL() } : null;
  };
  const fit = () => window.editor?.tools.get('zoom').set_zoom('fit');  // after the trash Gradio leaves the sheet at its bare size
  const drawing = () => find('[data-tab-id=draw]').getAttribute('aria-selected') === 'true';

  // An answer that stands there belongs to what is in front: until it comes, the one before is pale and then out of sight. Gradio's
  // own words are left as they are, since it does not write them anew where they do not change.
  const PLACES = { bars: '#answer', tell: '#panel', tell_number: '#number', look_inside: '#inside' };
  const SOON = 300, LATE = 10000;  // milliseconds until "Reading", and until a word about an answer that does not come
  const AGAIN = 2000;  // milliseconds until a lost server is looked for again, as Gradio does
  const words = (title, sentence) => `<p><b>${title}</b> ${sentence}</p>`;
  const AWAY = words('Not read', 'There is no connection to the server. Try again when it is back.');
  const SLOW = words('Not read yet', 'The server has not answered for ten seconds.');
  const REFUSED = words('Not read', 'The server gave no answer. Try again in a moment.');
  let asked = 0, away = false, coming = false, ready = '', timers = [];  // coming: a picture is on its way to Upload
  let knocking, held = [];  // questions that wait for a lost server
  // Of every place: the last question that went out; does it wait for an answer about some ink; since when is a question out?
  const sent = {}, awaited = {}, out = {};
  const mark = (name, state, html = '') => {  // asked, reading, away, empty; none where the answer is there
    const place = find(PLACES[name]), meanwhile = place?.querySelector('.meanwhile');
    if (state === 'empty') chosen = null;
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
  const lose = () => {  // resolves when the server is back
    away = true;
    coming = false;
    timers.forEach(clearTimeout);
    markAwaited('away', AWAY);
    return new Promise((go) => { held.push(go); knockLater(); });
  };
  const knockLater = () => { clearTimeout(knocking); knocking = setTimeout(knock, AGAIN); };
  const knock = () => fetched(location.href, { cache: 'no-store' }).then(() => {
    regain();
    held.splice(0).forEach((go) => go());
    for (const name in PLACES) if (awaited[name]) put(name);
  }, knockLater);
  const regain = () => { away = false; };
  const inFront = (name, picture) => {  // what a question that goes out now is about
    const front = drawing() ? drawn : picture;
    sent[name] = asked;
    if (!front && (drawing() || !coming)) { awaited[name] = false; mark(name, 'empty', ready); }
    return front;
  };
  const put = (name) => {  // one question at a time: two that Gradio sends in one moment come back in any order
    const button = find('#ask_' + name), wanted = name !== 'look_inside' || find('#inside button.open');
    // what is asked meanwhile is asked at its answer
    if (!button || !wanted || away || Date.now() - (out[name] ?? 0) < LATE) return;
    out[name] = Date.now();
    button.click();
  };
  const answered = (name) => {  // was it the last question?
    out[name] = 0;
    if (sent[name] !== asked) put(name);
    return sent[name] === asked;
  };
  const come = (name) => {
    if (!answered(name) || coming && !drawing()) return;
    awaited[name] = false;
    mark(name);
  };
  const fail = (name) => {
    if (answered(name) && awaited[name] && !away) mark(name, 'away', REFUSED);
  };
  const ask = () => {
    keep();
    wait();
    for (const name in PLACES) put(name);
  };
  const awaitPicture = () => {
    coming = true;
    chosen = null;
    wait();
    find('#panel, #number').scrollIntoView({ behavior: 'smooth', block: 'nearest' });  // on a phone it lies far below
  };
  const askAboutPicture = () => { coming = false; ask(); };
  const askAgain = () => { drawn = sketch(); ask(); };

  // A drawing stays while one looks at another page: in this tab of the browser alone, and what is put back is read anew.
  const KEPT = 'drawing ' + location.pathname;
  let kept = null;  // what is yet to be put back; Gradio asks before the page is started
  try { kept = sessionStorage.getItem(KEPT); } catch { }
  const keep = () => {
    if (kept) return;
    try { if (drawn) sessionStorage.setItem(KEPT, drawn.url); else sessionStorage.removeItem(KEPT); } catch { }  // where it may
  };
  const putBack = async () => {
    const armed = () => find('#pad canvas') && window.editor?.current_tool === 'draw';  // before, Gradio empties the sheet
    while (kept && !armed()) await new Promise((wake) => setTimeout(wake, 50));
    if (!kept) return;
    await window.editor.add_image_from_url(kept);
    fit();
    kept = null;
    setTimeout(askAgain, 50);
  };

  // Gradio's own small tools are out of sight: two buttons as large as a thumb press them.
  const undo = () => { find('#pad button[aria-label=Undo]')?.click(); setTimeout(askAgain, 50); };
  const clear = () => {
    find('#pad button[aria-label="Clear canvas"]')?.click();
    setTimeout(fit);
    drawn = kept = null;
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
    if (chosen && !find('#number .box.chosen')) show();  // the next answer is shown as the one before
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

  // A picture that is pasted, or dropped anywhere on the page, goes where Upload puts one; a file that is none is told as the API
  // tells it, before Gradio would by a box of its own that lies over the links.
  const NO_PICTURE = 'This file is not a picture that can be read. Send a PNG, JPEG, WEBP, GIF, BMP or TIFF.';
  const say = (title, sentence) => { for (const name in PLACES) mark(name, 'away', words(title, sentence)); };
  const picture = (data) => [...(data?.files ?? [])].find((file) => file.type.startsWith('image/'));
  const refuse = (event, data) => {  // say whether there are files, and no picture among them
    const refused = data?.files?.length > 0 && !picture(data);
    if (refused) { event.preventDefault(); event.stopPropagation(); say('Not read', NO_PICTURE); }
    return refused;
  };
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

  const show = () => document.querySelectorAll('#number .box, #number .bars').forEach((part) => {
    part.classList.toggle('chosen', part.dataset.digit === chosen);  // of a number: its box, and its ten bars
    if (part.matches('.box')) part.setAttribute('aria-pressed', part.dataset.digit === chosen);
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

  const showTheAnswer = () => {  // an example is read under Upload
    coming = true;
    find('[data-tab-id=upload]').click();
    awaitPicture();
  };

  // Gradio says nothing where a camera is missing, refused, or kept from a page that came over http.
  const noCamera = () => say('No camera', 'There is none, or it may not be used here. Upload a picture instead.');
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
    for (const name in PLACES) mark(name);  // Gradio may have asked before there was a place for words
    find('#undo').addEventListener('click', undo);  // without Gradio, which does nothing more where it lost its server
    find('#clear').addEventListener('click', clear);
    putBack();
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
      if (box) { chosen = box.dataset.digit; show(); }
      if (copy) copyText(copy.dataset.text).then((copied) => {
        if (!copied) return;
        copy.textContent = 'Copied';
        setTimeout(() => { copy.textContent = 'Copy'; }, 2000);  // milliseconds
      });
    });
    document.addEventListener('change', (event) => { if (event.target.closest('#upload')) refuse(event, event.target); }, true);
    document.addEventListener('drop', (event) => refuse(event, event.dataTransfer), true);  // before Gradio's own box
    document.addEventListener('paste', (event) => {
      if (refuse(event, event.clipboardData)) return;
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
