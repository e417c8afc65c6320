// A list of thousands of which only the rows in sight are elements. Rows are made once and used again.
import { make, onceAFrame } from "./elements.js";

const BEYOND = 4;

export class VirtualList {
  /**
   * @param {HTMLElement} box scrolls; has the role listbox
   * @param {() => {element: HTMLElement, show: Function}} newRow
   */
  constructor(box, newRow, { onSelect, onOpen }) {
    this.box = box;
    this.newRow = newRow;
    this.items = [];
    this.rows = [];
    this.later = onceAFrame(() => this.draw());
    this.selected = null;
    this.onSelect = onSelect;
    this.inside = make("div", { class: "inside", role: "presentation" });
    box.append(this.inside);
    this.measure();
    box.addEventListener("scroll", () => this.later(), { passive: true });
    new ResizeObserver(() => { this.measure(); this.later(); }).observe(box);
    box.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.select(this.items[row.dataset.index].patient);
    });
    box.addEventListener("dblclick", (event) => { if (event.target.closest(".row")) onOpen(); });
  }

  measure() {
    this.height = parseFloat(getComputedStyle(this.box).getPropertyValue("--row-height")) || 48;
    this.room = this.box.clientHeight;
  }

  set(items) {
    this.items = items;
    this.later();
  }

  draw() {
    const total = `${this.items.length * this.height}px`;
    if (this.inside.style.height !== total) this.inside.style.height = total;
    const first = Math.max(0, Math.floor(this.box.scrollTop / this.height) - BEYOND);
    const count = Math.min(this.items.length - first, Math.ceil(this.room / this.height) + 2 * BEYOND);
    while (this.rows.length < count) {
      const row = this.newRow();
      row.element.classList.add("row");
      row.element.setAttribute("role", "option");
      this.rows.push(row);
      this.inside.append(row.element);
    }
    let active = "";
    this.rows.forEach((row, number) => {
      const index = first + number;
      const item = number < count ? this.items[index] : null;
      row.element.hidden = !item;
      if (!item) return;
      const element = row.element;
      const isSelected = item.patient === this.selected;
      if (element.dataset.index !== String(index)) {
        element.dataset.index = index;
        element.id = `row-${index}`;
        element.style.transform = `translateY(${index * this.height}px)`;
        element.setAttribute("aria-posinset", index + 1);
      }
      element.setAttribute("aria-setsize", this.items.length);
      element.setAttribute("aria-selected", isSelected);
      if (isSelected) active = element.id;
      row.show(item);
    });
    if (active) this.box.setAttribute("aria-activedescendant", active);
    else this.box.removeAttribute("aria-activedescendant");
  }

  indexOfSelected() { return this.items.findIndex((one) => one.patient === this.selected); }

  select(patient) {
    this.selected = patient;
    this.later();
    this.onSelect(patient);
  }

  /** Select the next (1) or the one before (-1), and bring it into sight. */
  move(step) {
    if (!this.items.length) return;
    const at = this.indexOfSelected();
    const index = Math.min(this.items.length - 1, Math.max(0, at < 0 ? 0 : at + step));
    this.select(this.items[index].patient);
    this.show(index);
  }

  show(index) {
    const top = index * this.height;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + this.height > this.box.scrollTop + this.room) this.box.scrollTop = top + this.height - this.room;
  }
}
