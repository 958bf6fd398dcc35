// Thumbnails of the grid, drawn: a canvas lets its pixels go with its tile. Of <img> elements a browser keeps those of the last thousand,
// in the page or not: 350 MB in Chromium. A few are read at once, and none whose tile has gone by before its turn.
import { all, find } from "./dom.js";

const MOST_AT_ONCE = 6;
const waiting = new Map(); // from a canvas to its image and size
let reading = 0;

/** Puts a canvas in the place of a tile's <img>, which comes back where its file can't be drawn. */
export function draw(cell, side) {
  const image = find("img", cell), canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1, role: "img", ariaLabel: image.alt });
  image.replaceWith(canvas);
  waiting.set(canvas, [image, side * devicePixelRatio]);
  next();
}

async function next() {
  if (reading >= MOST_AT_ONCE || !waiting.size) return;
  const [canvas, [image, side]] = [...waiting].at(-1);
  waiting.delete(canvas);
  reading += 1;
  const bitmap = await read(image.getAttribute("src"), side).catch(() => null);
  reading -= 1;
  next();
  if (!canvas.isConnected) return bitmap?.close();
  if (!bitmap) return canvas.replaceWith(document.importNode(image, true));
  Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
  canvas.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
}

/** No larger than it is shown: its shorter side fills the tile. */
async function read(address, side) {
  const answer = await fetch(address, { credentials: "same-origin" });
  if (!answer.ok) throw new Error(String(answer.status));
  const whole = await createImageBitmap(await answer.blob()), scale = Math.min(1, side / Math.min(whole.width, whole.height));
  const size = { resizeWidth: Math.round(whole.width * scale), resizeHeight: Math.round(whole.height * scale), resizeQuality: "medium" };
  return createImageBitmap(whole, size).finally(() => whole.close());
}

export function letGo(cell) {
  for (const canvas of all("canvas", cell)) {
    waiting.delete(canvas);
    canvas.width = canvas.height = 0;
  }
}
