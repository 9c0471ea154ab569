// The player: it draws a trace (see traces.py) on canvases, at any moment between its frames.
import { Dots, rgb } from "./dots.js";

const still = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");
const HUES = 36;
const COLOURS = ["--ink", "--soft", "--line", "--card", "--wash", "--accent", "--hue"];
export const KINDS = { data: "Data", density: "Likelihood", field: "Field", arrows: "Arrows", lines: "Grid", trails: "Paths" };
export const ALWAYS = ["points", "images", "curve", "column"];

// Numbers that were cut into equal steps. The last step stands for NaN: nothing is drawn there.
function unpack(layer) {
  const text = atob(layer.data), bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  const steps = layer.bits === 16 ? new Uint16Array(bytes.buffer) : bytes;
  const top = 2 ** layer.bits - 1, unit = (layer.high - layer.low) / (top - 1);
  const values = new Float32Array(steps.length);
  for (let i = 0; i < steps.length; i++) values[i] = steps[i] === top ? NaN : layer.low + unit * steps[i];
  const frames = layer.shape[0];
  return { ...layer, data: null, values, frames, size: frames ? values.length / frames : 0 };
}

export function unpacked(trace) {
  if (trace.ready) return trace;
  const panels = trace.panels.map((panel) => ({ ...panel, layers: panel.layers.map(unpack) }));
  const starts = [0];
  for (const frame of trace.frames) starts.push(starts.at(-1) + frame.move + frame.rest);
  return { ...trace, panels, starts, length: starts.at(-1), ready: true };
}

// A moment, from 0 to 1, as the frame that comes next and the share of the way there.
export function moment(trace, share) {
  const at = Math.min(Math.max(share, 0), 1) * trace.length;
  let i = 0;
  while (i < trace.frames.length - 1 && at >= trace.starts[i + 1]) i++;
  const { move, rest } = trace.frames[i];
  const t = Math.min((at - trace.starts[i]) / move, 1);
  return { frame: i, t: rest ? t * t * (3 - 2 * t) : t };
}

export function startOf(trace, frame) {
  const i = Math.min(Math.max(frame, 0), trace.frames.length - 1);
  return Math.min((trace.starts[i] + trace.frames[i].move * 0.999) / trace.length, 1);
}

function colours(element) {
  const style = getComputedStyle(element);
  return Object.fromEntries(COLOURS.map((name) => [name.slice(2), style.getPropertyValue(name).trim() || "#888"]));
}

// The hue of a point tells where it ends, so one sees which part of the noise becomes which part of the data: one of HUES steps.
function hues(layer) {
  const last = (layer.frames - 1) * layer.size, list = new Uint8Array(layer.size / 2);
  for (let i = 0; i < layer.size; i += 2) {
    const turn = Math.atan2(layer.values[last + i + 1], layer.values[last + i]) / (2 * Math.PI) || 0;
    list[i / 2] = Math.round((turn + 1) * HUES) % HUES;
  }
  return list;
}

const hue = (step) => `oklch(${dark.matches ? "0.78 0.14" : "0.56 0.17"} ${(step * 360) / HUES})`;

export class Plane {
  // Draws one panel of a trace. `shown` is the set of kinds of layers that are drawn.
  constructor(canvas, trace, panel, shown) {
    Object.assign(this, { canvas, trace, panel, shown, context: canvas.getContext("2d"), share: 0 });
    this.last = panel.layers.find((layer) => layer.kind === "points");
    this.still = panel.layers.findIndex((layer) => layer.frames > 1); // the layers before it never change
    this.fields = new Map();
    this.watch = new ResizeObserver(() => this.fit());
    this.watch.observe(canvas);
    this.onTheme = () => { if (this.colour) this.theme(); this.draw(this.share); };
    this.media = matchMedia(dark.media); // one of its own: chromium tells no change to a query that was read after it
    this.media.addEventListener("change", this.onTheme);
  }

  stop() {
    this.watch.disconnect();
    this.media.removeEventListener("change", this.onTheme);
  }

  theme() {
    this.colour = colours(this.canvas);
    this.light = rgb(this.colour.hue);
    this.hues = this.last ? hues(this.last) : [];
    this.dots = null;
    this.fields.clear();
    this.ground = "";
  }

  fit() {
    const ratio = Math.min(devicePixelRatio || 1, 2), { clientWidth: wide, clientHeight: tall } = this.canvas;
    const width = Math.round(wide * ratio), height = Math.round(tall * ratio);
    if (!wide || (this.colour && width === this.canvas.width && height === this.canvas.height)) return;
    Object.assign(this.canvas, { width, height });
    this.theme();
    this.draw(this.share);
  }

  place(x, y) {
    const side = this.canvas.width, k = side / (2 * this.panel.reach);
    return [side / 2 + k * x, side / 2 - k * y];
  }

  draw(share) {
    this.share = share;
    if (!this.colour) return; // it has no size yet
    const { frame, t } = moment(this.trace, share), moving = this.still < 0 ? this.panel.layers.length : this.still;
    this.context.drawImage(this.backdrop(this.panel.layers.slice(0, moving)), 0, 0);
    for (const layer of this.panel.layers.slice(moving)) if (this.shown.has(layer.kind)) this[layer.kind](layer, frame, t);
  }

  // The paper and the layers that never change, drawn once for a size, a theme and a choice of layers.
  backdrop(layers) {
    const list = layers.filter((layer) => this.shown.has(layer.kind)), key = list.map((layer) => layer.kind).join();
    if (this.ground !== `of ${key}`) {
      const { canvas, context } = this;
      this.sheet = new OffscreenCanvas(canvas.width, canvas.height);
      this.context = this.sheet.getContext("2d");
      this.context.fillStyle = this.colour.card;
      this.context.fillRect(0, 0, canvas.width, canvas.height);
      for (const layer of list) this[layer.kind](layer, 0, 1);
      Object.assign(this, { context, ground: `of ${key}` });
    }
    return this.sheet;
  }

  // The offsets of the values of the frame before and of the frame.
  offsets(layer, frame) {
    const last = layer.frames - 1;
    return [Math.min(Math.max(frame - 1, 0), last) * layer.size, Math.min(frame, last) * layer.size];
  }

  density(layer) { this.shade(layer, 0, 0, 1, 0.42); }
  field(layer, frame, t) { this.shade(layer, ...this.offsets(layer, frame), t, 0.5); }

  shade(layer, from, to, t, most) {
    const side = layer.shape[1], values = new Float32Array(side * side);
    let low = Infinity, high = -Infinity;
    for (let i = 0; i < values.length; i++) {
      values[i] = layer.values[from + i] * (1 - t) + layer.values[to + i] * t;
      if (values[i] < low) low = values[i];
      if (values[i] > high) high = values[i];
    }
    const [r, g, b] = this.light, sheet = this.fields.get(layer) ?? new OffscreenCanvas(side, side);
    this.fields.set(layer, sheet);
    const pen = sheet.getContext("2d"), image = pen.createImageData(side, side);
    for (let row = 0; row < side; row++) for (let column = 0; column < side; column++) {
      const v = (values[row * side + column] - low) / (high - low || 1), at = 4 * ((side - 1 - row) * side + column);
      image.data[at] = r; image.data[at + 1] = g; image.data[at + 2] = b;
      image.data[at + 3] = 255 * most * Math.sqrt(v);
    }
    pen.putImageData(image, 0, 0);
    this.context.imageSmoothingEnabled = true;
    this.context.drawImage(sheet, 0, 0, this.canvas.width, this.canvas.height);
  }

  data(layer) {
    const g = this.context, r = this.canvas.width / 300 + 0.6;
    g.fillStyle = this.colour.soft;
    g.globalAlpha = 0.4;
    for (let i = 0; i < layer.size; i += 2) {
      const [x, y] = this.place(layer.values[i], layer.values[i + 1]);
      g.fillRect(x - r / 2, y - r / 2, r, r);
    }
    g.globalAlpha = 1;
  }

  lines(layer, frame, t) {
    const [from, to] = this.offsets(layer, frame), g = this.context, [, count, length] = layer.shape;
    g.strokeStyle = this.colour.soft;
    g.globalAlpha = 0.45;
    g.lineWidth = this.canvas.width / 420;
    g.beginPath();
    for (let line = 0; line < count; line++) for (let i = 0; i < length; i++) {
      const at = 2 * (line * length + i);
      const [x, y] = this.between(layer, from + at, to + at, t);
      if (i && x === x) g.lineTo(x, y); else g.moveTo(x, y);
    }
    g.stroke();
    g.globalAlpha = 1;
  }

  between(layer, from, to, t) {
    const { values } = layer, a = values[from], b = values[from + 1], c = values[to], d = values[to + 1];
    return a === a && b === b ? this.place(a + t * (c - a), b + t * (d - b)) : this.place(c, d);
  }

  arrows(layer, frame, t) {
    const [from, to] = this.offsets(layer, frame), side = layer.shape[1], g = this.context;
    const step = this.canvas.width / side;
    let most = 0;
    for (let i = 0; i < layer.size; i += 2) most = Math.max(most, Math.hypot(layer.values[to + i], layer.values[to + i + 1]));
    g.strokeStyle = this.colour.hue;
    g.lineWidth = this.canvas.width / 360;
    g.globalAlpha = 0.75;
    g.beginPath();
    for (let row = 0; row < side; row++) for (let column = 0; column < side; column++) {
      const at = 2 * (row * side + column);
      const u = layer.values[from + at] * (1 - t) + layer.values[to + at] * t;
      const v = layer.values[from + at + 1] * (1 - t) + layer.values[to + at + 1] * t;
      const size = Math.hypot(u, v), long = size ? (0.9 * step * Math.sqrt(size / (most || 1))) / size : 0;
      const x = (column + 0.5) * step, y = (side - row - 0.5) * step, ax = x + long * u, ay = y - long * v;
      const angle = Math.atan2(ay - y, ax - x), head = Math.min(step / 5, (long * size) / 2);
      g.moveTo(x, y);
      g.lineTo(ax, ay);
      g.lineTo(ax - head * Math.cos(angle - 0.5), ay - head * Math.sin(angle - 0.5));
      g.moveTo(ax, ay);
      g.lineTo(ax - head * Math.cos(angle + 0.5), ay - head * Math.sin(angle + 0.5));
    }
    g.stroke();
    g.globalAlpha = 1;
  }

  curve(layer) {
    const g = this.context, side = this.canvas.width, count = layer.size, most = Math.max(...layer.values);
    g.beginPath();
    g.moveTo(0, side);
    for (let i = 0; i < count; i++) g.lineTo(((i + 0.5) / count) * side, side - (layer.values[i] / most) * side * 0.16);
    g.lineTo(side, side);
    this.fill();
  }

  column(layer, frame) {
    const [, to] = this.offsets(layer, frame), g = this.context, side = this.canvas.width, count = layer.size - 1;
    const [x] = this.place(layer.values[to], 0);
    if (x !== x) return;
    let most = 0;
    for (let i = 1; i <= count; i++) most = Math.max(most, layer.values[to + i]);
    g.beginPath();
    g.moveTo(x, side);
    for (let i = 0; i < count; i++) g.lineTo(x + (layer.values[to + 1 + i] / most) * side * 0.16, side - ((i + 0.5) / count) * side);
    g.lineTo(x, 0);
    this.fill();
  }

  fill() {
    const g = this.context;
    g.fillStyle = g.strokeStyle = this.colour.hue;
    g.globalAlpha = 0.35;
    g.fill();
    g.globalAlpha = 1;
    g.lineWidth = this.canvas.width / 300;
    g.stroke();
  }

  points(layer, frame, t) {
    if (this.shown.has("trails") && layer.frames > 8) this.trails(layer, frame);
    const [from, to] = this.offsets(layer, frame), { width, height } = this.canvas;
    this.dots ??= new Dots(width, height, Array.from({ length: HUES }, (_, step) => hue(step)), width / 125 + 1);
    this.dots.clear();
    for (let i = 0; i < layer.size; i += 2) {
      const [x, y] = this.between(layer, from + i, to + i, t);
      this.dots.put(x, y, this.hues[i / 2]);
    }
    this.dots.show(this.context);
  }

  // Images in a square wall, each pixel a cell.
  images(layer, frame, t) {
    const [from, to] = this.offsets(layer, frame), [, count, channels, high, wide] = layer.shape, across = Math.ceil(Math.sqrt(count));
    const sheet = this.fields.get("images") ?? new OffscreenCanvas(across * (wide + 1) - 1, Math.ceil(count / across) * (high + 1) - 1);
    this.fields.set("images", sheet);
    const pen = sheet.getContext("2d"), image = pen.createImageData(sheet.width, sheet.height), area = high * wide;
    for (let n = 0; n < count; n++) for (let i = 0; i < area; i++) {
      const row = Math.floor(n / across) * (high + 1) + Math.floor(i / wide), column = (n % across) * (wide + 1) + (i % wide);
      const at = 4 * (row * sheet.width + column);
      for (let c = 0; c < 3; c++) {
        const k = (n * channels + Math.min(c, channels - 1)) * area + i;
        const value = layer.values[from + k] * (1 - t) + layer.values[to + k] * t;
        image.data[at + c] = 255 * (dark.matches || channels === 3 ? value : 1 - value);
      }
      image.data[at + 3] = 255;
    }
    pen.putImageData(image, 0, 0);
    this.context.imageSmoothingEnabled = false;
    this.context.drawImage(sheet, 0, 0, this.canvas.width, this.canvas.height);
  }

  trails(layer, frame) {
    const g = this.context;
    g.lineWidth = this.canvas.width / 500;
    g.globalAlpha = 0.5;
    for (let i = 0; i < Math.min(layer.size, 60); i += 2) {
      g.strokeStyle = hue(this.hues[i / 2]);
      g.beginPath();
      for (let k = Math.max(0, frame - 10); k <= Math.min(frame, layer.frames) - 1; k++) {
        const [x, y] = this.place(layer.values[k * layer.size + i], layer.values[k * layer.size + i + 1]);
        if (k > Math.max(0, frame - 10) && x === x) g.lineTo(x, y); else g.moveTo(x, y);
      }
      g.stroke();
    }
    g.globalAlpha = 1;
  }
}

// The latest samples of a model in training, over the data.
export class Snapshot {
  constructor(canvas, data) {
    Object.assign(this, { canvas, data, context: canvas.getContext("2d") });
  }

  draw(samples) {
    const ratio = Math.min(devicePixelRatio || 1, 2), side = Math.round(this.canvas.clientWidth * ratio), g = this.context;
    if (!side) return;
    this.canvas.width = this.canvas.height = side;
    const colour = colours(this.canvas);
    g.fillStyle = colour.card;
    g.fillRect(0, 0, side, side);
    if (this.data.shape.length === 3) return this.wall(samples, side);
    const [x, y] = [0, 1].map((axis) => axisOf(this.data.data.map((row) => row[axis])));
    const dots = (rows, r) => {
      for (const row of rows) g.fillRect(side / 2 + ((row[0] - x.mean) / x.deviation) * side / 5.2 - r / 2, side / 2 - ((row[1] - y.mean) / y.deviation) * side / 5.2 - r / 2, r, r);
    };
    g.fillStyle = colour.soft;
    g.globalAlpha = 0.3;
    dots(this.data.data, side / 150);
    g.globalAlpha = 1;
    g.fillStyle = colour.hue;
    dots(samples, side / 70);
  }

  wall(samples, side) {
    const [, high, wide] = this.data.shape, across = Math.ceil(Math.sqrt(samples.length)), cell = side / across, g = this.context;
    samples.forEach((pixels, n) => {
      const left = (n % across) * cell, top = Math.floor(n / across) * cell, unit = (cell - 2) / wide;
      pixels.slice(0, high * wide).forEach((value, i) => {
        const light = 255 * (dark.matches ? value : 1 - value);
        g.fillStyle = `rgb(${light} ${light} ${light})`;
        g.fillRect(left + (i % wide) * unit, top + Math.floor(i / wide) * unit, unit + 0.5, unit + 0.5);
      });
    });
  }
}

function axisOf(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length) || 1;
  return { mean, deviation };
}

// One clock for any number of planes: play, pause, step, speed, scrub. `onMoment` is called with each share of the way.
export class Clock {
  constructor(seconds, onMoment) {
    Object.assign(this, { seconds, onMoment, share: 0, speed: 1, playing: false, request: 0 });
  }

  set(share) {
    this.share = Math.min(Math.max(share, 0), 1);
    this.onMoment(this.share, this.playing);
  }

  play() {
    if (this.playing) return;
    if (this.share >= 1) this.share = 0;
    if (still.matches) return this.set(1); // whoever wants no motion sees the end, and steps through the frames
    this.playing = true;
    let before = performance.now();
    const tick = (now) => {
      if (!this.playing) return;
      this.share += ((now - before) / 1000 / this.seconds) * this.speed;
      before = now;
      if (this.share >= 1) this.playing = false;
      this.set(this.share);
      if (this.playing) this.request = requestAnimationFrame(tick);
    };
    this.request = requestAnimationFrame(tick);
    this.onMoment(this.share, true);
  }

  pause() {
    this.playing = false;
    cancelAnimationFrame(this.request);
    this.onMoment(this.share, false);
  }
}
