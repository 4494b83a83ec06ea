// The view of adaptation: the same latents after 0, 1, 2, 5, 10 … inner steps, shown as they arrive.

import { stopsUpTo } from "./controls.js";

const PACE = 700; // milliseconds that each number of steps stays

export class Adaptation {
  /** show: async (steps) → whether the samples after so many steps are on the page now. */
  constructor(root, show) {
    this.root = root;
    this.show = show;
    this.button = root.querySelector("#play");
    this.list = root.querySelector("#stops");
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.stops = [];
    this.current = null;
    this.playing = null; // an object while it plays, another one each time
    this.button.addEventListener("click", () => this.press());
    this.still.addEventListener("change", () => this.refresh());
  }

  /** There is a result after `steps` inner steps; undefined for a model that has none. */
  begin(steps) {
    this.pause();
    this.stops = steps ? stopsUpTo(steps) : [];
    this.root.hidden = !steps;
    this.list.replaceChildren(...this.stops.map((stop) => this.stopButton(stop)));
    this.reached(steps);
  }

  stopButton(stop) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = stop;
    button.setAttribute("aria-label", `After ${stop} inner step${stop === 1 ? "" : "s"}`);
    button.addEventListener("click", async () => {
      this.pause();
      if (await this.show(stop)) {
        this.reached(stop);
      }
    });
    return button;
  }

  reached(stop) {
    this.current = this.stops.indexOf(stop);
    [...this.list.children].forEach((button, i) => {
      button.toggleAttribute("aria-current", i === this.current);
    });
    this.refresh();
  }

  refresh() {
    const still = this.still.matches ? "Next step" : "Watch it learn";
    this.button.textContent = this.playing ? "Pause" : still;
  }

  press() {
    if (this.playing) {
      this.pause();
    } else if (this.still.matches) {
      this.list.children[this.next()].click();
    } else {
      this.play();
    }
  }

  next() {
    return (this.current + 1) % this.stops.length;
  }

  pause() {
    this.playing = null;
    this.refresh();
  }

  async play() {
    const mine = {};
    this.playing = mine;
    this.refresh();
    for (let i = this.next(); i < this.stops.length && this.playing === mine; i++) {
      const pace = new Promise((resolve) => setTimeout(resolve, PACE));
      if (!(await this.show(this.stops[i]))) {
        break;
      }
      this.reached(this.stops[i]);
      await pace;
    }
    if (this.playing === mine) {
      this.pause();
    }
  }
}
