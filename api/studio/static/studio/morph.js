// A swap of htmx that changes what is different and leaves the rest: the focus, an open list, a button that is being pressed.
const isSame = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName && !one.id;

function morph(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  const wanted = new Set([...fresh.children].map((child) => child.id));
  for (const [id, child] of known) if (!wanted.has(id)) child.remove(); // first: what follows keeps its place, and so its focus
  let place = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const match = next.id ? known.get(next.id) : place && isSame(place, next) ? place : null;
    while (match && place && place !== match && !place.id) place = drop(place); // to move `match` would take its focus
    if (!match || match !== place) old.insertBefore(match ?? next, place);
    if (match) morph(match, next);
    place = (match ?? next).nextSibling;
  }
  while (place) place = drop(place);
}

function drop(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

htmx.defineExtension("morph", {
  isInlineSwap: () => false,
  handleSwap: (style, target, fragment) => style === "morph" && (morph(target, fragment.firstElementChild), [target]),
});
