// Thumbnails of the grid, drawn: a canvas lets its pixels go with its tile. Of <img> elements a browser keeps those of the last thousand,
// in the page or not: 350 MB in Chromium.
import { all, find } from "./dom.js";

const stops = new WeakMap();

/** Puts a canvas in the place of a tile's <img>, which comes back where its file can't be drawn. */
export function draw(cell, side) {
  const image = find("img", cell), canvas = document.createElement("canvas"), stop = new AbortController();
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", image.alt);
  Object.assign(canvas, { width: 1, height: 1 });
  stops.set(canvas, stop);
  image.replaceWith(canvas);
  read(image.getAttribute("src"), side, stop.signal).then((bitmap) => {
    if (stop.signal.aborted) return bitmap.close();
    Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
    canvas.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
  }).catch(() => { if (!stop.signal.aborted) canvas.replaceWith(document.importNode(image, true)); });
}

async function read(address, side, signal) {
  const answer = await fetch(address, { signal, credentials: "same-origin" });
  if (!answer.ok) throw new Error(String(answer.status));
  const whole = await createImageBitmap(await answer.blob()), scale = (side * devicePixelRatio) / Math.min(whole.width, whole.height);
  if (scale >= 1) return whole;
  const size = { resizeWidth: Math.round(whole.width * scale), resizeHeight: Math.round(whole.height * scale), resizeQuality: "medium" };
  return createImageBitmap(whole, size).finally(() => whole.close());
}

export function letGo(cell) {
  for (const canvas of all("canvas", cell)) {
    stops.get(canvas)?.abort();
    canvas.width = canvas.height = 0;
  }
}
