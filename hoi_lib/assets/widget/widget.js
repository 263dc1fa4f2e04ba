function (key, data) {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const root = document.querySelector(`[data-hoi-widget="${key}"]:not(.is-live)`);
  if (!root) return;
  const [bar, stage, readout] = ["controls", "stage", "readout"].map((n) => root.querySelector(".hoi-" + n));
  const at = data.controls.map((c) => c.start);
  const cache = new Map();

  /* ---- small helpers ------------------------------------------------------------------------------------- */
  const make = (tag, props = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), props);
    node.append(...children);
    return node;
  };
  const shape = (parent, tag, attrs, text) => {
    const node = parent.appendChild(document.createElementNS(SVG, tag));
    for (const [k, v] of Object.entries(attrs)) node.setAttribute(k, v);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const ink = (color) => (color === "ink" ? "var(--ink)" : color);
  const numbers = (id) => {
    if (cache.has(id)) return cache.get(id);
    const [low, high, code, log] = data.pool[id];
    const bytes = Uint8Array.from(atob(code), (c) => c.charCodeAt(0));
    const value = (u) => low + ((high - low) * u) / 65534;
    const out = Array.from(new Uint16Array(bytes.buffer), (u) => (u === 65535 ? NaN : log ? 10 ** value(u) : value(u)));
    cache.set(id, out);
    return out;
  };

  /* ---- axes ---------------------------------------------------------------------------------------------- */
  const scale = ([low, high], from, to, log) => {
    const f = log ? Math.log10 : (v) => v;
    const [a, b] = [f(low), f(high)];
    return (v) => from + ((f(Math.max(v, log ? 1e-300 : -Infinity)) - a) / (b - a)) * (to - from);
  };
  const ticks = ([low, high], room, log) => {
    if (log) {
      const [a, b] = [Math.ceil(Math.log10(low)), Math.floor(Math.log10(high))];
      const step = Math.max(1, Math.ceil((b - a + 1) / room));
      return Array.from({ length: Math.max(0, Math.floor((b - a) / step) + 1) }, (_, i) => 10 ** (a + i * step));
    }
    const raw = (high - low) / room;
    const unit = 10 ** Math.floor(Math.log10(raw));
    const step = unit * ([1, 2, 5, 10].find((m) => m * unit >= raw) || 10);
    const first = Math.ceil(low / step - 1e-9);
    const last = Math.floor(high / step + 1e-9);
    return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
  };
  const RAISED = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
  const word = (v, log) => {
    if (!log) return String(+v.toPrecision(6)).replace("-", "−");
    const power = Math.round(Math.log10(v));
    return power === 0 ? "1" : power === 1 ? "10" : "10" + [...String(power)].map((c) => RAISED[c]).join("");
  };

  function frameOf(panel, axes) {
    const width = Math.min(Math.max(240, panel.clientWidth || 480), axes.equal ? 460 : 1200);
    const height = Math.round(Math.min(width * (axes.equal ? 0.9 : 0.62), axes.equal ? 380 : 320));
    const svg = shape(panel, "svg", { viewBox: `0 0 ${width} ${height}`, height, style: `max-width:${width}px`, "aria-hidden": "true" });
    const box = { left: axes.ylabel ? 58 : 42, right: width - 10, top: axes.title ? 26 : 10, bottom: height - (axes.xlabel ? 40 : 24) };
    let [xlim, ylim] = [axes.xlim, axes.ylim];
    if (axes.equal) {
      const per = Math.max((xlim[1] - xlim[0]) / (box.right - box.left), (ylim[1] - ylim[0]) / (box.bottom - box.top));
      const grow = ([a, b], pixels) => [(a + b) / 2 - (per * pixels) / 2, (a + b) / 2 + (per * pixels) / 2];
      [xlim, ylim] = [grow(xlim, box.right - box.left), grow(ylim, box.bottom - box.top)];
    }
    const [xlog, ylog] = [axes.xscale === "log", axes.yscale === "log"];
    const [x, y] = [scale(xlim, box.left, box.right, xlog), scale(ylim, box.bottom, box.top, ylog)];
    for (const v of axes.bare ? [] : ticks(ylim, Math.max(3, height / 70), ylog)) {
      shape(svg, "line", { x1: box.left, x2: box.right, y1: y(v), y2: y(v), class: "grid" });
      shape(svg, "text", { x: box.left - 6, y: y(v) + 4, "text-anchor": "end", class: "muted" }, word(v, ylog));
    }
    const names = axes.bare ? [] : axes.xnames || null;
    for (const v of names ? names.map((_, i) => i) : ticks(xlim, Math.max(3, width / 90), xlog))
      shape(svg, "text", { x: x(v), y: box.bottom + 16, "text-anchor": "middle", class: "muted" }, names ? names[v] : word(v, xlog));
    if (!axes.bare) shape(svg, "line", { x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom, class: "grid" });
    if (axes.title) shape(svg, "text", { x: box.left, y: 14, class: "title" }, axes.title);
    if (axes.xlabel) shape(svg, "text", { x: (box.left + box.right) / 2, y: height - 6, "text-anchor": "middle" }, axes.xlabel);
    if (axes.ylabel) shape(svg, "text", { transform: `translate(13 ${(box.top + box.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, axes.ylabel);
    const clip = "clip" + Math.random().toString(36).slice(2);
    const room = { x: box.left - 6, y: box.top - 6, width: box.right - box.left + 12, height: box.bottom - box.top + 12 };
    shape(shape(svg, "clipPath", { id: clip }), "rect", room);
    return { svg, x, y, box, width, layer: shape(svg, "g", { "clip-path": `url(#${clip})` }) };
  }

  /* ---- series -------------------------------------------------------------------------------------------- */
  const path = (xs, ys, x, y) => {
    let [d, pen] = ["", "M"];
    xs.forEach((v, i) => {
      if (Number.isNaN(v) || Number.isNaN(ys[i])) return void (pen = "M");
      d += `${pen}${x(v).toFixed(1)} ${y(ys[i]).toFixed(1)}`;
      pen = "L";
    });
    return d;
  };
  const draw = {
    line(s, { layer, x, y }) {
      const [xs, ys, color] = [numbers(s.x), numbers(s.y), ink(s.color)];
      shape(layer, "path", { d: path(xs, ys, x, y), fill: "none", stroke: color, "stroke-width": s.width, "stroke-linejoin": "round", "stroke-dasharray": s.dash ? "6 4" : "none" });
      if (!s.arrow) return;
      const n = xs.length - 1;
      const [px, py] = [x(xs[n]), y(ys[n])];
      const angle = (Math.atan2(py - y(ys[n - 1]), px - x(xs[n - 1])) * 180) / Math.PI;
      shape(layer, "path", { d: "M2 0L-9 -5L-9 5Z", fill: color, transform: `translate(${px} ${py}) rotate(${angle})` });
    },
    points(s, { layer, x, y }) {
      const ys = numbers(s.y);
      numbers(s.x).forEach((v, i) => shape(layer, "circle", { cx: x(v), cy: y(ys[i]), r: s.size, fill: ink(s.color), "fill-opacity": 0.85 }));
    },
    bars(s, { layer, x, y, box }) {
      const ys = numbers(s.y);
      numbers(s.x).forEach((v, i) => {
        const [base, top] = [Math.min(box.bottom, y(0)) || box.bottom, y(ys[i])];
        shape(layer, "rect", { x: x(v - s.width / 2), width: Math.max(1, x(v + s.width / 2) - x(v - s.width / 2)), y: Math.min(base, top), height: Math.abs(base - top), rx: 2, fill: ink(s.color) });
      });
    },
    band(s, { layer, x, y }) {
      const [xs, low, high] = [numbers(s.x), numbers(s.low), numbers(s.high)];
      shape(layer, "path", { d: path(xs, high, x, y) + path([...xs].reverse(), [...low].reverse(), x, y).replace("M", "L") + "Z", fill: ink(s.color), "fill-opacity": 0.22 });
    },
    text(s, { svg, x, y }) {
      shape(svg, "text", { x: x(s.x), y: y(s.y), "text-anchor": s.anchor, style: `fill:${ink(s.color)}` }, s.text);
    },
  };
  function legend(panel, series) {
    const named = series.filter((s) => s.label);
    if (!named.length) return;
    const row = panel.appendChild(make("div", { className: "hoi-legend" }));
    for (const s of named) {
      const key_ = document.createElementNS(SVG, "svg");
      for (const [k, v] of [["width", 26], ["height", 10], ["style", "display:inline-block;width:26px;vertical-align:middle;margin-right:4px"]]) key_.setAttribute(k, v);
      if (s.kind === "line") shape(key_, "line", { x1: 1, x2: 25, y1: 5, y2: 5, stroke: ink(s.color), "stroke-width": Math.max(2, s.width), "stroke-dasharray": s.dash ? "6 4" : "none" });
      else if (s.kind === "points") shape(key_, "circle", { cx: 13, cy: 5, r: 4, fill: ink(s.color) });
      else shape(key_, "rect", { x: 3, y: 0, width: 20, height: 10, rx: 2, fill: ink(s.color), "fill-opacity": s.kind === "band" ? 0.3 : 1 });
      row.append(make("span", {}, key_, s.label));
    }
  }

  // a picture's alt text: its state in words, after what the widget shows where they are few
  const told = (text) => (text.split(/\s+/).length < 5 ? `${stage.getAttribute("aria-label")} ${text}` : text);

  /* ---- one state ------------------------------------------------------------------------------------------ */
  function show() {
    let index = 0;
    data.controls.forEach((c, i) => (index = index * c.texts.length + at[i]));
    const frame = data.frames[index];
    while (stage.children.length < frame.panels.length) stage.append(make("div", { className: "hoi-panel" }));
    while (stage.children.length > frame.panels.length) stage.lastChild.remove();
    frame.panels.forEach((id, i) => {
      const [panel, spec] = [stage.children[i], data.pool[id]];
      if (panel.dataset.state === id + ":" + panel.clientWidth) return;
      panel.dataset.state = id + ":" + panel.clientWidth;
      if (spec.image !== undefined) {
        const [old, picture] = [panel.querySelector("img"), { src: data.pool[spec.image], alt: told(frame.text) }];
        if (old) return void Object.assign(old, picture);
        panel.replaceChildren(make("img", picture));
        if (spec.title) panel.prepend(make("div", { className: "hoi-caption", textContent: spec.title }));
        return;
      }
      panel.replaceChildren();
      const series = spec.series.map((s) => data.pool[s]);
      const canvas = frameOf(panel, data.pool[spec.axes]);
      for (const s of series) draw[s.kind](s, canvas);
      legend(panel, series);
    });
    readout.textContent = frame.text;
  }

  /* ---- controls ------------------------------------------------------------------------------------------- */
  data.controls.forEach((c, i) => {
    const id = `hoi-${key}-${i}-${Math.random().toString(36).slice(2, 7)}`;
    if (c.kind === "choice") {
      const options = make("div", { className: "hoi-options" });
      c.texts.forEach((text, v) => {
        const input = make("input", { type: "radio", name: id, checked: v === c.start, onchange: () => ((at[i] = v), show()) });
        options.append(make("label", {}, input, text));
      });
      return bar.append(make("fieldset", { className: "hoi-control" }, make("legend", { textContent: c.label }), options));
    }
    const value = make("output", { textContent: c.texts[c.start] });
    const input = make("input", { type: "range", id, min: 0, max: c.texts.length - 1, step: 1 });
    const set = (v) => {
      at[i] = +v;
      value.textContent = c.texts[at[i]];
      input.setAttribute("aria-valuetext", c.texts[at[i]]);
      show();
    };
    input.value = c.start;
    input.setAttribute("aria-valuetext", c.texts[c.start]);
    input.oninput = () => set(input.value);
    const row = make("div", { className: "hoi-row" }, input);
    if (c.play) {
      let timer = 0;
      const button = make("button", { type: "button", className: "hoi-play", textContent: "▶", title: "Play" });
      button.setAttribute("aria-label", "Play " + c.label);
      const stop = () => ((timer = clearInterval(timer) || 0), (button.textContent = "▶"));
      const step = () => {
        if (+input.value >= +input.max) return stop();
        set((input.value = +input.value + 1));
      };
      button.onclick = () => {
        if (timer) return stop();
        if (+input.value >= +input.max) set((input.value = 0));
        timer = setInterval(step, c.play);
        button.textContent = "❚❚";
      };
      row.prepend(button);
    }
    const label = make("label", { htmlFor: id }, make("span", { textContent: c.label }), value);
    bar.append(make("div", { className: "hoi-control" }, label, row));
  });
  root.classList.add("is-live");
  show();
  new ResizeObserver(show).observe(stage);
}
