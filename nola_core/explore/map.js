// The map: a canvas of points that pans, zooms and answers which image lies under the pointer.

const MOVE = 700;  // milliseconds from the quick map to the final one
const LABELS = 26;

export class PointMap {
  constructor(canvas, on) {
    this.canvas = canvas;
    this.on = on;
    this.count = 0;
    this.scale = 1; this.left = 0; this.top = 0;
    this.chosen = -1; this.over = -1; this.near = [];
    this.box = null; this.areaMode = false;
    this.pointers = new Map();
    this.labels = [];
    new ResizeObserver(() => this.resize()).observe(canvas);
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", (event) => this.up(event));
    canvas.addEventListener("pointerleave", () => this.hover(-1));
    canvas.addEventListener("dblclick", () => this.fit());
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
      if (step) { this.left += step[0]; this.top += step[1]; this.draw(); event.preventDefault(); }
      if (event.key === "+" || event.key === "=") this.zoom(1.4);
      if (event.key === "-") this.zoom(1 / 1.4);
      if (event.key === "0") this.fit();
    });
  }

  // Places are whole numbers up to 65535, x and y in turn.
  place(places) {
    const next = Float32Array.from(places, (value) => value / 65535);
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!this.count || calm) {
      this.at = next; this.count = next.length / 2;
      this.draw();
      return;
    }
    const from = this.at, start = performance.now();
    const step = (now) => {
      const part = Math.min(1, Math.max(0, (now - start) / MOVE)), eased = part * part * (3 - 2 * part);
      this.moving = part < 1; this.spots = null;
      this.at = part < 1 ? from.map((value, i) => value + (next[i] - value) * eased) : next;
      this.draw();
      if (part < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  // colours: an index into palette for each point; visible: 0 or 1 for each; labels: [name, class of each point] or null
  paint(colours, palette, visible, names) {
    Object.assign(this, { colours, palette, visible, names, spots: null });
    this.order = new Uint32Array(this.count);
    let end = 0;
    for (let i = 0; i < this.count; i++) if (!visible[i]) this.order[end++] = i;
    this.hidden = end;
    for (let i = 0; i < this.count; i++) if (visible[i]) this.order[end++] = i;
    this.draw();
  }

  resize() {
    const ratio = devicePixelRatio || 1, box = this.canvas.getBoundingClientRect();
    this.width = box.width; this.height = box.height;
    this.canvas.width = Math.round(box.width * ratio); this.canvas.height = Math.round(box.height * ratio);
    this.draw();
  }

  get side() { return Math.max(40, Math.min(this.width, this.height) - 48) * this.scale; }
  get radius() {
    const base = this.count < 400 ? 6 : this.count < 2500 ? 4.2 : this.count < 8000 ? 3.2 : 2.4;
    return Math.min(12, base * Math.pow(this.scale, 0.45));
  }
  x(i) { return this.at[2 * i] * this.side + (this.width - this.side) / 2 + this.left; }
  y(i) { return this.at[2 * i + 1] * this.side + (this.height - this.side) / 2 + this.top; }

  draw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.render(); });
  }

  render() {
    if (!this.count || !this.palette || !this.width) return;
    const ratio = devicePixelRatio || 1, ink = this.canvas.getContext("2d"), radius = this.radius;
    const style = getComputedStyle(document.documentElement);
    ink.setTransform(ratio, 0, 0, ratio, 0, 0);
    const page = style.getPropertyValue("--page"), text = style.getPropertyValue("--ink");
    const key = `${(radius * ratio).toFixed(2)} ${this.palette.join()} ${page}`;
    if (this.key !== key) {
      this.key = key;
      this.stamps = this.palette.map((colour) => stamp(colour, radius * ratio));
      this.faint = stamp(style.getPropertyValue("--faint"), radius * ratio * 0.75);
    }
    this.stampAll(ink, ratio, page);
    for (const i of this.near) ring(ink, this.x(i), this.y(i), radius + 2, text, 1.4);
    if (this.over >= 0) ring(ink, this.x(this.over), this.y(this.over), radius + 2, text, 2);
    if (this.names && !this.moving) this.write(ink, text, page);
    if (this.chosen >= 0) {
      ring(ink, this.x(this.chosen), this.y(this.chosen), radius + 5, page, 6);
      ring(ink, this.x(this.chosen), this.y(this.chosen), radius + 5, text, 3);
    }
    if (this.box) {
      ink.strokeStyle = text; ink.lineWidth = 1; ink.setLineDash([5, 4]);
      ink.strokeRect(this.box[0], this.box[1], this.box[2] - this.box[0], this.box[3] - this.box[1]);
      ink.setLineDash([]);
    }
  }

  // All points, written pixel by pixel: many times as fast as a drawing command for each, and without a graphics card as well.
  stampAll(ink, ratio, page) {
    const { width, height } = this.canvas, side = this.side * ratio;
    if (this.image?.width !== width || this.image?.height !== height) this.image = ink.createImageData(width, height);
    const pixels = new Uint32Array(this.image.data.buffer);
    pixels.fill(word(page));
    const dx = (width - side) / 2 + this.left * ratio, dy = (height - side) / 2 + this.top * ratio;
    const { at, order, colours, stamps, faint, hidden, count } = this;
    for (let n = 0; n < count; n++) {
      const i = order[n], { word: colour, reach, halves, edges } = n < hidden ? faint : stamps[colours[i]];
      const x = Math.round(at[2 * i] * side + dx), y = Math.round(at[2 * i + 1] * side + dy);
      if (x < reach || y < reach || x >= width - reach || y >= height - reach) continue;
      for (let line = -reach; line <= reach; line++) {
        const half = halves[line + reach];
        if (half < 0) continue;
        const middle = (y + line) * width + x, edge = edges[line + reach];
        for (let place = middle - half; place <= middle + half; place++) pixels[place] = colour;
        if (edge > 0.25) {
          pixels[middle - half - 1] = mixed(pixels[middle - half - 1], colour, edge);
          pixels[middle + half + 1] = mixed(pixels[middle + half + 1], colour, edge);
        }
      }
    }
    ink.putImageData(this.image, 0, 0);
  }

  // Where most of the visible points of each class lie, the largest classes first.
  middles(classes) {
    const found = new Map(), middle = (values) => Float32Array.from(values).sort()[values.length >> 1];
    for (let n = this.hidden; n < this.count; n++) {
      const i = this.order[n];
      if (!found.has(classes[i])) found.set(classes[i], [[], []]);
      const [xs, ys] = found.get(classes[i]);
      xs.push(this.at[2 * i]); ys.push(this.at[2 * i + 1]);
    }
    const large = [...found].filter(([, [xs]]) => xs.length > 2).sort((a, b) => b[1][0].length - a[1][0].length);
    return large.slice(0, 200).map(([id, [xs, ys]]) => [id, middle(xs), middle(ys)]);
  }

  write(ink, text, page) {
    const [names, classes] = this.names, taken = [];
    this.spots ??= this.middles(classes);
    ink.font = "600 12px system-ui, sans-serif"; ink.textAlign = "center"; ink.textBaseline = "middle"; ink.lineJoin = "round";
    for (const [id, across, down] of this.spots) {
      if (taken.length >= LABELS) break;
      const name = [...names[id].slice(0, 80)].slice(0, 22).join("") + (names[id].length > 22 ? "…" : "");
      const x = across * this.side + (this.width - this.side) / 2 + this.left, y = down * this.side + (this.height - this.side) / 2 + this.top;
      if (x < 0 || y < 0 || x > this.width || y > this.height) continue;
      const half = ink.measureText(name).width / 2 + 4;
      if (taken.some(([left, top, right, low]) => x - half < right && x + half > left && y - 10 < low && y + 10 > top)) continue;
      taken.push([x - half, y - 10, x + half, y + 10]);
      ink.strokeStyle = page; ink.lineWidth = 4; ink.strokeText(name, x, y);
      ink.fillStyle = text; ink.fillText(name, x, y);
    }
  }

  hit(x, y) {
    let best = -1, least = Math.max(9, this.radius + 4) ** 2;
    for (let n = this.count - 1; n >= this.hidden; n--) {
      const i = this.order[n], distance = (this.x(i) - x) ** 2 + (this.y(i) - y) ** 2;
      if (distance < least) { best = i; least = distance; }
    }
    return best;
  }

  down(event) {
    if (!this.count) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.start = [event.offsetX, event.offsetY]; this.dragged = false;
    if (this.pointers.size === 1 && (event.shiftKey || this.areaMode)) this.box = [...this.start, ...this.start];
    this.hover(-1);
  }

  moved(event) {
    if (!this.count || !this.order) return;
    const here = [event.offsetX, event.offsetY], before = this.pointers.get(event.pointerId);
    if (!before) { this.hover(this.hit(...here), ...here); return; }
    if (Math.hypot(here[0] - this.start[0], here[1] - this.start[1]) > 4) this.dragged = true;
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const was = Math.hypot(before[0] - other[0], before[1] - other[1]), is = Math.hypot(here[0] - other[0], here[1] - other[1]);
      this.zoom(is / Math.max(was, 1), ...other);
    } else if (this.box) {
      this.box[2] = here[0]; this.box[3] = here[1];
    } else if (this.dragged) {
      this.left += here[0] - before[0]; this.top += here[1] - before[1];
      this.canvas.classList.add("moving");
    }
    this.pointers.set(event.pointerId, here);
    this.draw();
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    this.canvas.classList.remove("moving");
    const box = this.box;
    this.box = null;
    if (event.type === "pointerup" && box && this.dragged) {
      const [left, right] = [box[0], box[2]].sort((a, b) => a - b), [top, low] = [box[1], box[3]].sort((a, b) => a - b);
      const rows = [];
      for (let i = 0; i < this.count; i++) {
        const x = this.x(i), y = this.y(i);
        if (x >= left && x <= right && y >= top && y <= low) rows.push(i);
      }
      this.on.area(rows);
    } else if (event.type === "pointerup" && !this.dragged) {
      const i = this.hit(event.offsetX, event.offsetY);
      if (i >= 0) this.on.choose(i);
    }
    this.draw();
  }

  hover(i, x = 0, y = 0) {
    this.canvas.classList.toggle("over", i >= 0);
    if (i !== this.over || i >= 0) this.on.hover(i, x, y);
    if (i !== this.over) { this.over = i; this.draw(); }
  }

  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const next = Math.min(60, Math.max(0.6, this.scale * factor)), ratio = next / this.scale;
    this.left = (this.left - (x - this.width / 2)) * ratio + (x - this.width / 2);
    this.top = (this.top - (y - this.height / 2)) * ratio + (y - this.height / 2);
    this.scale = next;
    this.draw();
  }

  fit() { this.scale = 1; this.left = this.top = 0; this.draw(); }

  show(i, near) {
    this.chosen = i; this.near = near;
    const x = this.x(i), y = this.y(i);  // bring it into view
    if (x < 20 || x > this.width - 20) this.left += this.width / 2 - x;
    if (y < 20 || y > this.height - 20) this.top += this.height / 2 - y;
    this.draw();
  }
}

// A disc as lines of pixels: half the length of each (-1: none), and how much of the pixel at either end it covers.
function stamp(colour, radius) {
  const reach = Math.ceil(radius) + 1, halves = new Int32Array(2 * reach + 1).fill(-1), edges = new Float64Array(2 * reach + 1);
  for (let line = -reach; line <= reach; line++) {
    const length = Math.sqrt(Math.max(0, (radius + 0.3) ** 2 - line * line));
    if (length < 0.5) continue;
    halves[line + reach] = Math.floor(length - 0.5);
    edges[line + reach] = length - 0.5 - halves[line + reach];
  }
  return { word: word(colour), reach, halves, edges };
}

// A colour of CSS as the four bytes of a pixel.
function word(colour) {
  const ink = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
  ink.fillStyle = colour; ink.fillRect(0, 0, 1, 1);
  return new Uint32Array(ink.getImageData(0, 0, 1, 1).data.buffer)[0];
}

function mixed(below, above, part) {
  const red = (below & 255) + ((above & 255) - (below & 255)) * part;
  const green = (below >>> 8 & 255) + ((above >>> 8 & 255) - (below >>> 8 & 255)) * part;
  const blue = (below >>> 16 & 255) + ((above >>> 16 & 255) - (below >>> 16 & 255)) * part;
  return (0xff000000 | blue << 16 | green << 8 | red) >>> 0;
}

function ring(ink, x, y, radius, colour, width) {
  ink.beginPath(); ink.arc(x, y, radius, 0, 7);
  ink.strokeStyle = colour; ink.lineWidth = width; ink.stroke();
}
