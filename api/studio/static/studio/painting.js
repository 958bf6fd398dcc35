// A mask painted over a picture, kept as a list of what was done: all of it can be taken back, and a draft of it is small.
const COLOUR = "#e5383b", LONGEST_SIDE = 2048; // a phone paints on no more pixels quickly; the server scales the mask to the picture

export class Painting {
  done = [];
  undone = [];
  base = null;
  stroke = null;

  /** Of a picture of this size, in whose pixels strokes are told. */
  constructor(canvas, width, height, changed) {
    const scale = Math.min(1, LONGEST_SIDE / Math.max(width, height));
    Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.context.scale(scale, scale);
    Object.assign(this, { canvas, width, height, changed, scale });
  }

  begin(x, y, size, erases, pressure) {
    this.stroke = { size, erases, points: [x, y], pressures: pressure && [pressure] };
    this.draw(this.stroke);
  }

  extend(x, y, pressure) {
    this.stroke.points.push(x, y);
    this.stroke.pressures?.push(pressure);
    this.draw(this.stroke, this.stroke.points.length - 4);
  }

  end() {
    const { stroke } = this;
    this.stroke = null;
    if (stroke) this.add(stroke);
  }

  /** A stroke that turned out to be none: a second finger came. */
  abandon() {
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

  /** From `done` to `undone`, or back. */
  move(from, to) {
    if (from.length) to.push(from.pop());
    this.replay();
    this.changed();
  }

  replay() {
    const { base, context, done, width, height } = this, cleared = done.lastIndexOf("clear");
    this.apply("clear");
    if (base && cleared < 0) context.drawImage(base, 0, 0, width, height);
    done.slice(cleared + 1).forEach((what) => this.apply(what));
  }

  apply(what) {
    if (what === "clear") this.context.clearRect(0, 0, this.width, this.height);
    else if (what === "invert") this.fill(this.context, "xor", COLOUR);
    else this.draw(what);
  }

  /** Half of a pen's pressure, which is what one without pressure tells, is the brush's own size. */
  draw({ size, erases, points, pressures }, from = 0) {
    const { context } = this;
    const line = (start, stop, width) => {
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(points[start], points[start + 1]);
      for (let place = start; place < stop; place += 2) context.lineTo(points[place], points[place + 1]);
      context.stroke();
    };
    Object.assign(context, { strokeStyle: COLOUR, lineCap: "round", lineJoin: "round", globalCompositeOperation: erases ? "destination-out" : "source-over" });
    if (!pressures) line(from, points.length, size);
    else for (let place = from; place < points.length; place += 2) line(Math.max(0, place - 2), place + 2, 2 * size * pressures[place / 2]);
    context.globalCompositeOperation = "source-over";
  }

  fill(context, how, colour) {
    Object.assign(context, { globalCompositeOperation: how, fillStyle: colour });
    context.fillRect(0, 0, this.width, this.height);
    context.globalCompositeOperation = "source-over";
  }

  /** The context of another canvas of this size, with a picture on it. */
  sheet(picture) {
    const { width, height } = this.canvas, canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, 0, 0, width, height);
    return context;
  }

  pixels(context) { return context.getImageData(0, 0, this.canvas.width, this.canvas.height); }

  /** The box around all that is painted, and its share of the picture; null where nothing is. */
  bounds() {
    const { canvas: { width, height }, scale } = this, values = new Uint32Array(this.pixels(this.context).data.buffer);
    let [left, top, right, bottom, count] = [width, height, 0, 0, 0];
    for (let place = 0; place < values.length; place++) {
      if (!values[place]) continue;
      const x = place % width;
      bottom = (place - x) / width + 1;
      if (!count++) top = bottom - 1;
      if (x < left) left = x;
      if (x >= right) right = x + 1;
    }
    const [xmin, ymin, xmax, ymax] = [left, top, right, bottom].map((side) => Math.round(side / scale));
    return count ? { xmin, ymin, xmax, ymax, share: count / values.length } : null;
  }

  /** White on black, as a data URL; "" where nothing is painted. */
  toPng() {
    if (!this.bounds()) return "";
    const context = this.sheet(this.canvas);
    this.fill(context, "source-in", "#fff");
    this.fill(context, "destination-over", "#000");
    return context.canvas.toDataURL("image/png");
  }

  /** A mask that was sent earlier: its white becomes paint. */
  async load(address) {
    const image = Object.assign(new Image(), { src: address });
    await image.decode();
    const context = this.sheet(image), pixels = this.pixels(context);
    for (let place = 0; place < pixels.data.length; place += 4) pixels.data[place + 3] = pixels.data[place];
    context.putImageData(pixels, 0, 0);
    this.fill(context, "source-in", COLOUR);
    this.base = context.canvas;
    this.replay();
  }
}
