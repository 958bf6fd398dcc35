// A mask painted over a picture, kept as a list of what was done: all of it can be taken back, and a draft of it is small.
const COLOUR = "#e5383b";

export class Painting {
  done = [];
  undone = [];
  base = null;
  stroke = null;

  constructor(canvas, changed) {
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    Object.assign(this, { canvas, changed });
  }

  begin(x, y, size, erases) {
    this.stroke = { size, erases, points: [x, y] };
    this.draw(this.stroke);
  }

  extend(x, y) {
    this.stroke.points.push(x, y);
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
    const { base, canvas, context, done } = this, cleared = done.lastIndexOf("clear");
    this.apply("clear");
    if (base && cleared < 0) context.drawImage(base, 0, 0);
    done.slice(cleared + 1).forEach((what) => this.apply(what));
  }

  apply(what) {
    if (what === "clear") this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    else if (what === "invert") this.fill(this.context, "xor", COLOUR);
    else this.draw(what);
  }

  draw({ size, erases, points }, from = 0) {
    const { context } = this;
    Object.assign(context, { strokeStyle: COLOUR, lineWidth: size, lineCap: "round", lineJoin: "round" });
    context.globalCompositeOperation = erases ? "destination-out" : "source-over";
    context.beginPath();
    context.moveTo(points[from], points[from + 1]);
    for (let place = from; place < points.length; place += 2) context.lineTo(points[place], points[place + 1]);
    context.stroke();
    context.globalCompositeOperation = "source-over";
  }

  fill(context, how, colour) {
    Object.assign(context, { globalCompositeOperation: how, fillStyle: colour });
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
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
    const { width, height } = this.canvas, values = new Uint32Array(this.pixels(this.context).data.buffer);
    let [xmin, ymin, xmax, ymax, count] = [width, height, 0, 0, 0];
    for (let place = 0; place < values.length; place++) {
      if (!values[place]) continue;
      const x = place % width;
      ymax = (place - x) / width + 1;
      if (!count++) ymin = ymax - 1;
      if (x < xmin) xmin = x;
      if (x >= xmax) xmax = x + 1;
    }
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
