// Turns every .hoi-viewer on the page into a 3D figure: rotate, zoom, pan, play, scrub, read out.
// Needs three.min.js (global HoiThree) and nothing else; see README.md for the data it reads.
(() => {
  "use strict";
  if (window.hoiViewer) { window.hoiViewer.mountAll(); return; }
  const T = window.HoiThree;
  const TYPES = { int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array };
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let serial = 0;

  // ---------------------------------------------------------------- data

  async function inflate(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  async function unpack(header) {
    const bytes = await inflate(header.data);
    return header.views.map(([type, start, size]) => new TYPES[type](bytes.buffer, start, size));
  }

  // positions (3 V, L) as 16-bit numbers: undo the byte planes, then sum the differences along time
  function positions(view, frames) {
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    const half = view.length, out = new Int16Array(view.length);
    for (let i = 0; i < half; i++) {
      const change = bytes[i] | (bytes[half + i] << 8);
      out[i] = i % frames === 0 ? change : out[i - 1] + change;
    }
    return out;
  }

  // ---------------------------------------------------------------- surfaces

  class RigidTrack {
    constructor(track, arrays) {
      const source = arrays[track.source], rest = arrays[track.rest];
      const place = new Float32Array(3 * source.length);
      source.forEach((v, i) => { for (let k = 0; k < 3; k++) place[3 * i + k] = rest[3 * v + k] * track.scale; });
      this.poses = arrays[track.poses];
      this.mesh = surface(track, place, arrays[track.faces]);
      this.mesh.geometry.computeVertexNormals();
      this.mesh.matrixAutoUpdate = false;
    }
    show(frame) {
      this.mesh.matrix.set(...this.poses.subarray(12 * frame, 12 * frame + 12), 0, 0, 0, 1);
      this.mesh.matrixWorldNeedsUpdate = true;
    }
  }

  // a soft surface: coarse vertices per frame; every edge gets a middle vertex, bent by the normals at its ends
  class SoftTrack {
    constructor(track, arrays, frames) {
      Object.assign(this, { track, frames, source: arrays[track.source], pairs: arrays[track.pairs], bent: arrays[track.bent] });
      this.steps = positions(arrays[track.deltas], frames);
      this.coarse = this.source.length;
      this.place = new Float32Array(3 * (this.coarse + this.bent.length));
      const fine = arrays[track.faces], faces = fine.length / 12;
      this.corners = new Uint32Array(3 * faces); // fine faces come in four blocks; the first three hold one corner each
      for (let f = 0; f < faces; f++) {
        this.corners[3 * f] = fine[3 * f];
        this.corners[3 * f + 1] = fine[3 * (faces + f) + 1];
        this.corners[3 * f + 2] = fine[3 * (2 * faces + f) + 2];
      }
      this.normal = new Float32Array(3 * this.coarse);
      this.mesh = surface(track, this.place, fine);
      this.mesh.geometry.attributes.position.setUsage(T.DynamicDrawUsage);
      this.mesh.frustumCulled = false;
    }
    show(frame) {
      const { place, steps, frames, source, track } = this;
      for (let i = 0; i < this.coarse; i++)
        for (let k = 0; k < 3; k++) place[3 * i + k] = track.origin[k] + track.step * (steps[(3 * source[i] + k) * frames + frame] & 0xffff);
      this.normals();
      this.bend();
      this.mesh.geometry.attributes.position.needsUpdate = true;
      this.mesh.geometry.computeVertexNormals();
    }
    normals() {
      const { place, normal, corners } = this;
      normal.fill(0);
      for (let f = 0; f < corners.length; f += 3) {
        const a = 3 * corners[f], b = 3 * corners[f + 1], c = 3 * corners[f + 2];
        const ux = place[b] - place[a], uy = place[b + 1] - place[a + 1], uz = place[b + 2] - place[a + 2];
        const vx = place[c] - place[a], vy = place[c + 1] - place[a + 1], vz = place[c + 2] - place[a + 2];
        const x = uy * vz - uz * vy, y = uz * vx - ux * vz, z = ux * vy - uy * vx;
        for (const at of [a, b, c]) { normal[at] += x; normal[at + 1] += y; normal[at + 2] += z; }
      }
      for (let i = 0; i < normal.length; i += 3) {
        const length = Math.hypot(normal[i], normal[i + 1], normal[i + 2]) || 1;
        normal[i] /= length; normal[i + 1] /= length; normal[i + 2] /= length;
      }
    }
    bend() {
      const { place, normal, pairs, bent } = this;
      for (let e = 0; e < bent.length; e++) {
        const a = 3 * pairs[2 * e], b = 3 * pairs[2 * e + 1], m = 3 * (this.coarse + e);
        let p = 0, q = 0;
        if (bent[e]) for (let k = 0; k < 3; k++) { const d = place[b + k] - place[a + k]; p += d * normal[a + k]; q += d * normal[b + k]; }
        for (let k = 0; k < 3; k++) place[m + k] = (place[a + k] + place[b + k]) / 2 - (p * normal[a + k] - q * normal[b + k]) / 8;
      }
    }
  }

  function surface(track, place, faces) {
    const geometry = new T.BufferGeometry();
    geometry.setAttribute("position", new T.BufferAttribute(place, 3));
    geometry.setIndex(new T.BufferAttribute(faces, 1));
    const material = new T.MeshStandardMaterial({ color: track.color, roughness: 0.72, metalness: 0, side: T.DoubleSide, shadowSide: T.BackSide });
    const mesh = new T.Mesh(geometry, material);
    mesh.castShadow = mesh.receiveShadow = true;
    return mesh;
  }

  // ---------------------------------------------------------------- stage

  // Soft light: a window of ten lamps to the upper left of the first view, each with its own blurred shadows, so that
  // their sum has the wide penumbra of an overcast day; and a haze, cool from above and warm from below.
  const WINDOW = Array.from({ length: 10 }, (_, k) => [0.36 * Math.sqrt((k + 0.5) / 10), k * Math.PI * (3 - Math.sqrt(5))]);

  function light(world, header, azimuth) {
    const low = new T.Vector3(...header.low), high = new T.Vector3(...header.high);
    const centre = low.clone().add(high).multiplyScalar(0.5), radius = low.distanceTo(high) / 2, up = new T.Vector3(0, 0, 1);
    const above = new T.Color(0); // light that falls on level ground
    const power = 2.8 / WINDOW.length, main = new T.Vector3(-0.45, -0.45, 1).normalize(), side = new T.Vector3(1, -1, 0).normalize();
    for (const [reach, turn] of WINDOW) {
      const lamp = new T.DirectionalLight(0xfff6ea, power);
      const way = side.clone().applyAxisAngle(main, turn).multiplyScalar(reach).add(main).normalize();
      lamp.position.copy(way.applyAxisAngle(up, azimuth)).multiplyScalar(3 * radius).add(centre);
      lamp.target.position.copy(centre);
      lamp.castShadow = true;
      lamp.shadow.mapSize.set(320, 320);
      lamp.shadow.radius = 6;
      lamp.shadow.blurSamples = 10;
      lamp.shadow.normalBias = radius / 250;
      lamp.shadow.bias = -0.0005;
      Object.assign(lamp.shadow.camera, { left: -radius, right: radius, top: radius, bottom: -radius, near: 1.5 * radius, far: 5 * radius });
      world.add(lamp, lamp.target);
      above.add(lamp.color.clone().multiplyScalar(power * way.z));
    }
    const haze = new T.HemisphereLight(0xf4f7ff, 0xe2cdb8, 1.25);
    haze.position.copy(up);
    world.add(haze);
    above.add(haze.color.clone().multiplyScalar(haze.intensity)).multiplyScalar(1 / Math.PI);
    return { centre, radius, above };
  }

  // a disc of ground that fades into the page: lit to the page's own colour, darker in the shadows
  function floor(world, header, { centre, radius }) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 256;
    const pen = canvas.getContext("2d"), fade = pen.createRadialGradient(128, 128, 30, 128, 128, 128);
    fade.addColorStop(0, "rgb(255,255,255)");
    fade.addColorStop(1, "rgb(0,0,0)");
    pen.fillStyle = fade;
    pen.fillRect(0, 0, 256, 256);
    const material = new T.MeshLambertMaterial({ alphaMap: new T.CanvasTexture(canvas), transparent: true, depthWrite: false });
    const ground = new T.Mesh(new T.CircleGeometry(4 * radius, 64), material);
    ground.position.set(centre.x, centre.y, header.ground - 0.002 * radius);
    ground.receiveShadow = true;
    ground.renderOrder = -1;
    world.add(ground);
    return ground;
  }

  class Stage {
    constructor(box, header, arrays) {
      this.header = header;
      this.canvas = document.createElement("canvas");
      this.canvas.className = "hoi-viewer-canvas";
      this.renderer = new T.WebGLRenderer({ canvas: this.canvas, antialias: true, alpha: true });
      Object.assign(this.renderer.shadowMap, { enabled: true, type: T.VSMShadowMap, autoUpdate: false });
      this.world = new T.Scene();
      this.camera = new T.PerspectiveCamera(header.field, 1, 0.01, 100);
      this.camera.up.set(0, 0, 1);
      const eye = new T.Vector3(...header.eye), target = new T.Vector3(...header.target);
      const away = eye.clone().sub(target);
      this.light = light(this.world, header, Math.atan2(away.x, -away.y));
      this.floor = floor(this.world, header, this.light);
      const { radius } = this.light;
      this.home = { target, away };
      this.tracks = header.tracks.map((t) => ("poses" in t ? new RigidTrack(t, arrays) : new SoftTrack(t, arrays, header.frames)));
      this.tracks.forEach((t) => this.world.add(t.mesh));
      Object.assign(this.camera, { near: radius / 20, far: 60 * radius });
      box.append(this.canvas);
      this.controls = new T.OrbitControls(this.camera, this.canvas);
      Object.assign(this.controls, { enableDamping: !calm.matches, dampingFactor: 0.12, minDistance: radius, maxDistance: 30 * radius });
      this.canvas.style.touchAction = box.closest(".hoi-viewer-page") ? "none" : "pan-y";
      this.resize(box);
      this.look();
    }
    look(azimuth, elevation) {
      const { target, away } = this.home, wide = Math.min(1, this.camera.aspect / this.header.aspect);
      const place = away.clone().divideScalar(wide);
      if (azimuth !== undefined) {
        const a = (azimuth * Math.PI) / 180, e = (elevation * Math.PI) / 180, r = place.length();
        place.set(r * Math.sin(a) * Math.cos(e), -r * Math.cos(a) * Math.cos(e), r * Math.sin(e));
      }
      this.controls.target.copy(target);
      this.camera.position.copy(target).add(place);
      this.controls.update();
    }
    orbit(turn, tilt, zoom = 1) {
      const from = this.camera.position.clone().sub(this.controls.target);
      const polar = Math.min(3.1, Math.max(0.04, Math.acos(from.z / from.length()) + tilt));
      const azimuth = Math.atan2(from.y, from.x) + turn, r = from.length() * zoom;
      from.set(r * Math.sin(polar) * Math.cos(azimuth), r * Math.sin(polar) * Math.sin(azimuth), r * Math.cos(polar));
      this.camera.position.copy(this.controls.target).add(from);
      this.controls.update();
    }
    resize(box) {
      const { width, height } = box.getBoundingClientRect();
      if (!width || !height) return;
      const before = this.camera.aspect;
      this.camera.aspect = width / height;
      this.camera.updateProjectionMatrix();
      this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
      this.renderer.setSize(width, height, false);
      return before !== this.camera.aspect;
    }
    show(frame) {
      this.tracks.forEach((t, i) => {
        const visible = this.header.tracks[i].visible;
        t.mesh.visible = !visible || Boolean(visible[frame]);
        if (t.mesh.visible) t.show(frame);
      });
      this.renderer.shadowMap.needsUpdate = true;
    }
    draw() {
      const page = isDark(this.canvas) ? 0x23272d : 0xfbfaf7;
      const { color } = this.floor.material.color.set(page) && this.floor.material, { above } = this.light;
      color.setRGB(color.r / above.r, color.g / above.g, color.b / above.b);
      this.renderer.render(this.world, this.camera);
    }
    close() {
      this.controls.dispose();
      this.world.traverse((o) => { o.geometry?.dispose(); o.material?.map?.dispose(); o.material?.dispose(); });
      this.renderer.dispose();
      this.renderer.forceContextLoss();
      this.canvas.remove();
    }
  }

  function isDark(element) {
    const said = document.documentElement.dataset.theme || document.body.dataset.jpThemeLight;
    if (said === "dark" || said === "false") return true;
    if (said === "light" || said === "true") return false;
    return Boolean(element.closest(".hoi-viewer-page")) && dark.matches;
  }

  // ---------------------------------------------------------------- controls

  const ICONS = { play: "M5 3l11 7-11 7z", pause: "M5 3h4v14H5zM11 3h4v14h-4z" };
  const VIEWS = [["Start", undefined, undefined], ["Front", 0, 8], ["Side", 90, 8], ["Back", 180, 8], ["Top", 0, 88]];

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function runs(on) {
    const found = [];
    on.forEach((touch, i) => {
      if (!touch) return;
      if (i && on[i - 1]) found[found.length - 1][1] = i;
      else found.push([i, i]);
    });
    return found;
  }

  // one row per hand: its name and, in the contact colour, the stretches of time in which it touches
  function timeline(header) {
    const rows = header.contact.map(({ label, on }) => {
      const bar = element("div", { class: "hoi-viewer-bar" });
      for (const [from, to] of runs(on)) {
        const left = (100 * from) / on.length, width = (100 * (to - from + 1)) / on.length;
        bar.append(element("i", { style: `left:${left}%;width:${width}%`, title: `${label} in contact, frames ${from + 1} to ${to + 1}` }));
      }
      const share = Math.round((100 * on.filter(Boolean).length) / on.length);
      return element("div", { class: "hoi-viewer-row" }, element("span", {}, `${label} touches`), bar, element("span", { class: "hoi-viewer-share" }, `${share}%`));
    });
    return element("div", { class: "hoi-viewer-contact" }, ...rows);
  }

  class Viewer {
    constructor(root) {
      this.root = root;
      this.box = root.querySelector(".hoi-viewer-stage");
      this.header = JSON.parse(root.querySelector(".hoi-viewer-data").textContent);
      this.frame = this.header.frame;
      this.playing = false;
      this.pace = 1;
      root.dataset.lmSuppressShortcuts = "true"; // JupyterLab's own keys
      root.classList.toggle("hoi-viewer-page", document.documentElement.classList.contains("hoi-viewer-alone"));
      this.build();
      new IntersectionObserver(([seen]) => (seen.isIntersecting ? this.open() : this.shut()), { rootMargin: "200px" }).observe(this.box);
      new ResizeObserver(() => { if (this.stage) { if (this.stage.resize(this.box) && !this.moved) this.stage.look(); this.changed = true; } }).observe(this.box);
      for (const wish of [dark, calm]) wish.addEventListener("change", () => (this.changed = true));
      new MutationObserver(() => (this.changed = true)).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    }

    build() {
      const { frames } = this.header, id = `hoi-viewer-${serial++}`;
      this.button = element("button", { type: "button", class: "hoi-viewer-play" });
      this.slider = element("input", { type: "range", min: 0, max: frames - 1, value: this.frame, "aria-label": "frame" });
      this.speed = element("select", { "aria-label": "speed" }, ...[1, 0.5, 0.25].map((p) => element("option", { value: p }, `${p}×`)));
      this.readout = element("output", { class: "hoi-viewer-readout", "aria-live": "polite", id });
      const views = VIEWS.map(([name, a, e]) => {
        const button = element("button", { type: "button" }, name);
        button.addEventListener("click", () => { this.stage?.look(a, e); this.moved = a !== undefined; this.changed = true; });
        return button;
      });
      const help = "Drag to turn, wheel or pinch to zoom, right-drag to move. Keys: space plays, ← → step (shift: ten), Home and End jump, W A S D turn, + − zoom, R resets.";
      this.panel = element("div", { class: "hoi-viewer-panel" },
        element("div", { class: "hoi-viewer-time" }, this.button, this.slider, this.speed), timeline(this.header), this.readout,
        element("div", { class: "hoi-viewer-views" }, element("span", {}, "View"), ...views),
        element("details", { class: "hoi-viewer-help" }, element("summary", {}, "Keys and mouse"), help));
      this.root.append(this.panel);
      this.button.addEventListener("click", () => this.play(!this.playing));
      this.slider.addEventListener("input", () => { this.play(false); this.go(Number(this.slider.value)); });
      this.speed.addEventListener("change", () => (this.pace = Number(this.speed.value)));
      this.root.addEventListener("keydown", (event) => this.key(event));
      this.play(false);
      this.go(this.frame);
    }

    async open() {
      if (this.stage || this.opening) return;
      this.opening = true;
      try {
        this.arrays ??= await unpack(this.header);
        this.stage = new Stage(this.box, this.header, this.arrays);
        this.stage.canvas.tabIndex = 0;
        this.stage.canvas.setAttribute("role", "img");
        this.stage.canvas.setAttribute("aria-label", this.root.getAttribute("aria-label"));
        this.stage.controls.addEventListener("change", () => (this.changed = true));
        this.stage.controls.addEventListener("start", () => (this.moved = true));
        this.root.classList.add("is-live");
        // inside a page the wheel scrolls until the figure has been taken hold of
        const page = this.root.classList.contains("hoi-viewer-page");
        this.stage.controls.enableZoom = page;
        if (!page) for (const [name, on] of [["pointerdown", true], ["focus", true], ["blur", false], ["pointerleave", false]])
          this.stage.canvas.addEventListener(name, () => { if (this.stage) this.stage.controls.enableZoom = on || document.activeElement === this.stage.canvas; });
        this.go(this.frame);
        this.last = performance.now();
        this.loop(this.last);
      } catch (problem) {
        this.readout.textContent = "This browser shows the still picture only: it has no WebGL.";
        this.root.classList.add("is-still");
        console.info("hoi viewer:", problem.message);
      }
      this.opening = false;
    }

    shut() {
      if (!this.stage) return;
      this.play(false);
      cancelAnimationFrame(this.ticket);
      this.stage.close();
      this.stage = null;
      this.moved = false;
      this.root.classList.remove("is-live");
    }

    loop(now) {
      if (!this.stage) return;
      this.ticket = requestAnimationFrame((t) => this.loop(t));
      if (this.playing) {
        this.clock += ((now - this.last) / 1000) * this.header.fps * this.pace;
        const frame = Math.floor(this.clock) % this.header.frames;
        if (frame !== this.frame) this.go(frame);
      }
      this.last = now;
      this.stage.controls.update();
      if (this.changed) { this.changed = false; this.stage.draw(); }
    }

    play(on) {
      this.playing = on;
      this.clock = this.frame;
      this.button.setAttribute("aria-label", on ? "pause" : "play");
      this.button.innerHTML = `<svg viewBox="0 0 20 20" aria-hidden="true"><path d="${on ? ICONS.pause : ICONS.play}"/></svg>`;
      // a screen reader is told where the motion stands, not thirty times a second
      this.readout.setAttribute("aria-live", on ? "off" : "polite");
    }

    go(frame) {
      const last = this.header.frames - 1;
      this.frame = Math.min(last, Math.max(0, frame));
      const touching = this.header.contact.filter((c) => c.on[this.frame]).map((c) => c.label);
      const text = `frame ${this.frame + 1} of ${last + 1}, ${(this.frame / this.header.fps).toFixed(2)} s`;
      const full = text + (touching.length ? `, ${touching.join(" and ")} in contact` : "");
      this.slider.value = this.frame;
      this.slider.setAttribute("aria-valuetext", full);
      this.readout.textContent = full;
      this.root.style.setProperty("--hoi-now", `${last ? (100 * (this.frame + 0.5)) / (last + 1) : 0}%`);
      this.stage?.show(this.frame);
      this.changed = true;
    }

    key(event) {
      if (event.target === this.speed || event.ctrlKey || event.metaKey || event.altKey) return;
      const leap = event.shiftKey ? 10 : 1, last = this.header.frames - 1;
      const jump = { ArrowLeft: this.frame - leap, ArrowRight: this.frame + leap, Home: 0, End: last }[event.key];
      const turn = { a: [-0.15, 0], d: [0.15, 0], w: [0, -0.12], s: [0, 0.12], "+": [0, 0, 0.88], "=": [0, 0, 0.88], "-": [0, 0, 1.14] }[event.key.toLowerCase()];
      if (event.key === " " && event.target.tagName !== "BUTTON" && event.target.tagName !== "SUMMARY") this.play(!this.playing);
      else if (jump !== undefined) { this.play(false); this.go(jump); }
      else if (turn && this.stage) { this.stage.orbit(...turn); this.moved = true; }
      else if (event.key.toLowerCase() === "r") this.stage?.look();
      else return;
      this.changed = true;
      event.preventDefault();
      event.stopPropagation(); // the page around may turn a leaf, or delete a cell, at the same key
    }
  }

  window.hoiViewer = {
    mountAll() {
      for (const root of document.querySelectorAll(".hoi-viewer:not([data-mounted])")) {
        root.dataset.mounted = "yes";
        root.viewer = new Viewer(root);
      }
    },
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", window.hoiViewer.mountAll);
  window.hoiViewer.mountAll();
})();
