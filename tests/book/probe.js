// What the page tests measure inside a page. Loaded before the page's own scripts; changes nothing until it is asked.
(() => {
  "use strict";
  const WIDGETS = ".hoi-widget, .hoi-viewer";
  const CONTROLS = "input, select, textarea, button, summary, a[href], [tabindex]:not([tabindex='-1']), [role=button]";
  const article = () => document.querySelector(".bd-article") || document.body;
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const words = (text) => (text || "").split(/\s+/).filter((w) => /[\p{L}\p{N}]/u.test(w)).length;

  function seen(e) {
    const box = e.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && e.checkVisibility({ checkVisibilityCSS: true, checkOpacity: true });
  }
  function name(e) {
    const kind = e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") + [...e.classList].map((c) => "." + c).join("");
    const said = e.getAttribute("aria-label") || e.getAttribute("src")?.slice(-40) || e.textContent.trim().slice(0, 40);
    return `${kind} "${said}"`;
  }

  /* ---- colour -------------------------------------------------------------------------------------------- */
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  function rgba(text) {
    if (known.has(text)) return known.get(text);
    pen.canvas.width = pen.canvas.height = 1;
    pen.fillStyle = "rgba(0,0,0,0)";
    pen.fillStyle = text;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    known.set(text, [r, g, b, a / 255]);
    return known.get(text);
  }
  const over = ([r, g, b, a], below) => [r, g, b].map((v, i) => v * a + below[i] * (1 - a));
  function luminance(colour) {
    const [r, g, b] = colour.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
  function ratio(one, other) {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  }
  // what lies behind an element: the backgrounds of its ancestors and, in a drawing, the shapes drawn before it
  function behind(e) {
    const layers = [];
    const drawing = e.closest("svg");
    if (drawing) {
      const box = e.getBoundingClientRect(), [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
      for (const shape of all("rect, circle, ellipse, path, polygon", drawing)) {
        if (shape === e || !(shape.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING)) continue;
        if (shape.closest("clipPath, defs, marker")) continue;
        const b = shape.getBoundingClientRect(), style = getComputedStyle(shape);
        if (style.fill === "none" || !(b.left <= x && x <= b.right && b.top <= y && y <= b.bottom)) continue;
        const spot = new DOMPoint(x, y).matrixTransform(shape.getScreenCTM().inverse());
        if (!shape.isPointInFill(spot)) continue;
        const [r, g, bl, a] = rgba(style.fill);
        layers.unshift([r, g, bl, a * style.fillOpacity * style.opacity]);
      }
    }
    for (let at = drawing ? drawing : e; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    const page = getComputedStyle(document.documentElement).colorScheme === "dark" ? [18, 18, 18] : [255, 255, 255];
    return layers.reverse().reduce((below, layer) => over(layer, below), page);
  }

  function texts(root) {
    const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT), found = new Set(all("mjx-c", root));
    while (walk.nextNode()) if (walk.currentNode.data.trim()) found.add(walk.currentNode.parentElement);
    return [...found].filter((e) => !e.closest("script, style, noscript, template, mjx-assistive-mml, clipPath, title"));
  }
  function contrast(least) {
    const faults = new Map();
    for (const e of texts(article())) {
      if (!seen(e) || e.closest("[aria-hidden=true]:not(svg)")) continue;
      const style = getComputedStyle(e), size = parseFloat(style.fontSize);
      const drawn = e instanceof SVGElement, ink = rgba(drawn ? style.fill : style.color);
      const below = behind(e), found = ratio(over([ink[0], ink[1], ink[2], ink[3] * style.opacity], below), below);
      const large = size >= 24 || (size >= 18.6 && +style.fontWeight >= 700);
      const key = `${e.tagName}.${e.getAttribute("class") || ""} ${ink} on ${below.map(Math.round)}`;
      if (found < (large ? Math.min(3, least) : least) && !faults.has(key)) faults.set(key, `${found.toFixed(2)}:1 for ${name(e)}: ${ink} on ${below.map(Math.round)} in ${name(e.parentElement).slice(0, 80)}`);
    }
    return [...faults.values()];
  }

  /* ---- pictures ------------------------------------------------------------------------------------------ */
  // dark ink of a picture, or of a drawing, that stands on nothing but a dark page
  function blackOnDark() {
    const faults = [];
    for (const image of all("img", article())) {
      if (!seen(image) || !image.naturalWidth) continue;
      const below = behind(image), size = 48;
      if (luminance(below) > 0.2) continue;
      pen.canvas.width = pen.canvas.height = size;
      pen.clearRect(0, 0, size, size);
      pen.drawImage(image, 0, 0, size, size);
      const data = pen.getImageData(0, 0, size, size).data;
      let [clear, ink] = [0, 0];
      for (let i = 0; i < data.length; i += 4) {
        if (data[i + 3] < 128) clear++;
        if (data[i + 3] > 40 && luminance([data[i], data[i + 1], data[i + 2]]) < 0.1) ink++;
      }
      if (clear > 0.05 * size * size && ink > 0.002 * size * size) faults.push(`dark ink on a dark page: ${name(image)}`);
    }
    for (const shape of all(".hoi-panel svg *, svg path, svg line, svg polyline, svg polygon, svg circle", article())) {
      if (!(shape instanceof SVGGeometryElement) || !seen(shape) || shape.closest("clipPath, defs, marker, mjx-container")) continue;
      const style = getComputedStyle(shape), below = behind(shape);
      const paints = [style.fill, style.stroke].filter((p) => p.startsWith("rgb") && rgba(p)[3] > 0.5).map(rgba);
      if (luminance(below) < 0.05 && paints.length && paints.every((p) => ratio(p, below) < 1.25))
        faults.push(`a dark shape on a dark page: ${name(shape)} ${paints.join(" and ")}`);
    }
    return faults;
  }
  // five words for every picture, also for what a script or a role makes one
  function wordless() {
    const pictures = [...all("img, input[type=image], area"), ...all("[role=img]", article())];
    const icon = (e) => e.closest("[aria-hidden=true]") || e.matches(".svg-inline--fa, .dropdown-menu [src*='images/logo_']");
    return pictures.filter((e) => !icon(e)).flatMap((e) => {
      const said = e.getAttribute("alt") || e.getAttribute("aria-label") || e.querySelector(":scope > title")?.textContent;
      return words(said) < 5 ? [`"${said || ""}" is all that is said of ${name(e)}`] : [];
    });
  }
  const addresses = () => all("img[src], source[src], video[src], audio[src]").map((e) => e.src).filter((s) => /^file|^http/.test(s));

  /* ---- the keyboard -------------------------------------------------------------------------------------- */
  const widgets = () => all(WIDGETS);
  const controls = (root) => all(CONTROLS, root).filter((e) => !e.disabled && seen(e));
  // put the starting point of Tab just before an element
  const mark = document.createElement("span");
  mark.tabIndex = -1;
  function standBefore(e) {
    (e.tagName === "SUMMARY" ? e.parentElement : e).before(mark);
    e.scrollIntoView({ block: "center", behavior: "instant" });
    mark.focus({ preventScroll: true });
  }
  const number = new Map();
  function begin(root) {
    number.clear();
    controls(root).forEach((e, i) => number.set(e, i));
    standBefore(root);
  }
  // the control that has the focus, or null outside the widget
  function focused(root) {
    mark.remove();
    const e = document.activeElement;
    if (!root.contains(e) || e === root) return null;
    const group = e.type === "radio" ? all(`input[name="${CSS.escape(e.name)}"]`, root) : [e];
    const kind = e.type === "radio" || e.type === "range" || e.type === "checkbox" ? e.type : e.tagName.toLowerCase();
    const first = !group.some((one) => !number.has(one));
    group.forEach((one) => number.delete(one));
    return { kind, name: name(e), options: group.length, again: !first, shown: focusShown(e) };
  }
  function focusShown(e) {
    const style = getComputedStyle(e);
    if (!e.matches(":focus-visible") || !seen(e)) return false;
    if (style.outlineStyle === "auto") return true;
    const ringed = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    if (ringed) return ratio(rgba(style.outlineColor), behind(e.parentElement)) >= 3;
    return style.boxShadow !== "none";
  }
  const missed = () => [...number.keys()].map(name);
  const says = (root) => root.querySelector(".hoi-readout, .hoi-viewer-readout")?.textContent || "";
  // controls in the text that belong to no widget, hence have no read-out
  const strays = () => all("input, select, textarea, canvas", article()).filter((e) => !e.closest(WIDGETS) && seen(e)).map(name);

  /* ---- what folds ---------------------------------------------------------------------------------------- */
  function folds() {
    const found = all("summary, .toggle-button", article()).filter((e) => seen(e) && !e.closest(WIDGETS));
    const kinds = found.map((e) => (e.matches(".toggle-button, .sd-summary-title") ? e : e.parentElement.className));
    return found.filter((e, i) => kinds.slice(0, i).filter((kind) => kind === kinds[i]).length < 2);
  }
  const isOpen = (e) => (e.tagName === "SUMMARY" ? e.parentElement.open : !e.closest(".toggle")?.classList.contains("toggle-hidden"));
  function here(e) {
    mark.remove();
    return { there: document.activeElement === e, shown: document.activeElement === e && focusShown(e), open: isOpen(e) };
  }

  /* ---- print --------------------------------------------------------------------------------------------- */
  function printed() {
    const faults = [];
    for (const e of all("button, input, select, textarea, canvas, [role=button], [role=slider], .hoi-viewer summary"))
      if (seen(e)) faults.push(`a control is printed: ${name(e)}`);
    for (const e of all("details.hide:not([open]) > summary", article()))
      if (seen(e)) faults.push(`the handle of folded code is printed: ${name(e)}`);
    for (const e of all(".toggle-hidden, details.toggle-details:not([open]), details.sd-dropdown:not([open])", article()))
      faults.push(`printed folded: ${name(e)}`);
    for (const root of widgets()) {
      const strip = all(".hoi-print img, .hoi-viewer-still", root);
      if (!strip.length) faults.push(`no key frame to print: ${name(root)}`);
      for (const image of strip) if (!seen(image) || !image.naturalWidth) faults.push(`a key frame is not printed: ${name(image)}`);
    }
    return faults;
  }
  // on paper backgrounds are left out: all text has to be dark
  function pale() {
    const found = new Map();
    for (const e of texts(article())) {
      if (!seen(e)) continue;
      const style = getComputedStyle(e), ink = over(rgba(e instanceof SVGElement ? style.fill : style.color), [255, 255, 255]);
      const onShape = e.closest("svg") && luminance(behind(e)) < 0.5;
      if (ratio(ink, [255, 255, 255]) < 3 && !onShape) found.set(`${e.tagName}.${e.className} ${ink}`, `pale on paper: ${name(e)} ${ink.map(Math.round)}`);
    }
    return [...found.values()];
  }

  function tooWide(width) {
    const faults = [];
    const page = Math.max(document.documentElement.scrollWidth, document.body.scrollWidth);
    if (page > width) {
      const wide = all("*", document.body).filter((e) => seen(e) && e.getBoundingClientRect().right > width + 1);
      faults.push(`the page is ${page} wide: ${wide.slice(0, 3).map(name).join("; ")}`);
    }
    for (const root of widgets()) if (root.scrollWidth > root.clientWidth + 1) faults.push(`wider than its card: ${name(root)}`);
    for (const table of all(".bd-article table")) if (table.scrollWidth > table.clientWidth + 1) faults.push(`a table scrolls sideways: ${name(table)}`);
    return faults;
  }

  window.hoiProbe = { contrast, blackOnDark, wordless, addresses, widgets, begin, focused, missed, says, strays, folds, standBefore, here, printed, pale, tooWide };
})();
