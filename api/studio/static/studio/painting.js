// A mask painted over a picture. It is kept as a list of what was done, so that all of it can be taken back and a draft is small.
const COLOUR = "#e5383b", STRIPE = 512;

export class Painting {
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.changed = changed;
    Object.assign(this, { done: [], undone: [], base: null, stroke: null });
  }

  begin(x, y, size, erases) {
    this.stroke = { size, erases, points: [x, y] };
    this.draw(this.stroke, 0);
  }

  extend(x, y) {
    const { points } = this.stroke;
    points.push(x, y);
    this.draw(this.stroke, points.length - 4);
  }

  end() {
    const stroke = this.stroke;
    this.stroke = null;
    if (stroke) this.add(stroke);
  }

  /** A stroke that turned out to be none: a second finger came. */
  abandon() {
    if (!this.stroke) return;
    this.stroke = null;
    this.replay();
  }

  /** `what`: a stroke, or "invert" or "clear". */
  add(what) {
    this.done.push(what);
    this.undone = [];
    if (typeof what === "string") this.apply(what);
    this.changed();
  }

  undo() { this.move(this.done, this.undone); }

  redo() { this.move(this.undone, this.done); }

  move(from, to) {
    if (!from.length) return;
    to.push(from.pop());
    this.replay();
    this.changed();
  }

  replay() {
    const { context, canvas } = this;
    context.clearRect(0, 0, canvas.width, canvas.height);
    const first = this.done.lastIndexOf("clear");
    if (this.base && first < 0) context.drawImage(this.base, 0, 0, canvas.width, canvas.height);
    for (const what of this.done.slice(first + 1)) this.apply(what);
  }

  apply(what) {
    if (what === "clear") this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    else if (what === "invert") this.fill("xor", COLOUR);
    else this.draw(what, 0);
  }

  draw({ size, erases, points }, from) {
    const { context } = this;
    context.globalCompositeOperation = erases ? "destination-out" : "source-over";
    Object.assign(context, { strokeStyle: COLOUR, lineWidth: size, lineCap: "round", lineJoin: "round" });
    context.beginPath();
    context.moveTo(points[from], points[from + 1]);
    for (let place = from; place < points.length; place += 2) context.lineTo(points[place], points[place + 1]);
    context.stroke();
    context.globalCompositeOperation = "source-over";
  }

  fill(how, colour, context = this.context) {
    context.globalCompositeOperation = how;
    context.fillStyle = colour;
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    context.globalCompositeOperation = "source-over";
  }

  /** The box around all that is painted, and its share of the picture; null where nothing is. */
  bounds() {
    const { width, height } = this.canvas;
    let [left, top, right, bottom, count] = [width, height, -1, -1, 0];
    for (let begin = 0; begin < height; begin += STRIPE) {
      const rows = Math.min(STRIPE, height - begin), pixels = new Uint32Array(this.context.getImageData(0, begin, width, rows).data.buffer);
      for (let place = 0; place < pixels.length; place++) {
        if (!pixels[place]) continue;
        const x = place % width, y = begin + Math.floor(place / width);
        if (x < left) left = x;
        if (x > right) right = x;
        if (y < top) top = y;
        bottom = y;
        count++;
      }
    }
    return count ? { xmin: left, ymin: top, xmax: right + 1, ymax: bottom + 1, share: count / (width * height) } : null;
  }

  /** White on black, as a data URL; "" where nothing is painted. */
  toPng() {
    if (!this.bounds()) return "";
    const { width, height } = this.canvas, sheet = Object.assign(document.createElement("canvas"), { width, height });
    const context = sheet.getContext("2d");
    context.drawImage(this.canvas, 0, 0);
    this.fill("source-in", "#fff", context);
    this.fill("destination-over", "#000", context);
    return sheet.toDataURL("image/png");
  }

  /** A mask that was sent earlier: its white becomes paint. */
  async load(address) {
    const image = new Image();
    image.src = address;
    await image.decode();
    const { width, height } = this.canvas, sheet = Object.assign(document.createElement("canvas"), { width, height });
    const context = sheet.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0, width, height);
    const pixels = context.getImageData(0, 0, width, height);
    for (let place = 0; place < pixels.data.length; place += 4) pixels.data[place + 3] = pixels.data[place];
    context.putImageData(pixels, 0, 0);
    this.base = sheet;
    this.fill("source-in", COLOUR, context);
    this.replay();
  }
}
