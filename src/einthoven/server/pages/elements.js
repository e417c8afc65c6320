// Elements, made of names and texts. A text becomes a text node, whatever it holds.

export function make(name, attributes = {}, ...inside) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...inside.filter((one) => one !== null && one !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Write a text only where it is another one: the browser lays nothing out for nothing. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

let fading;
/** Say something to everybody, screen readers too. */
export function say(text, isError = false) {
  const box = byId("said");
  box.replaceChildren(text);
  box.setAttribute("role", isError ? "alert" : "status");
  box.hidden = false;
  clearTimeout(fading);
  fading = setTimeout(() => { box.hidden = true; }, isError ? 12000 : 5000);
}

const HIDDEN_MS = 250;

/** A function that has `draw` called once, before the next frame; where a tab is hidden, a little later. */
export function onceAFrame(draw) {
  let frame = 0;
  let timer = 0;
  const now = () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    frame = timer = 0;
    draw();
  };
  return () => {
    if (timer) return;
    timer = setTimeout(now, HIDDEN_MS);
    frame = requestAnimationFrame(now);
  };
}
