// One trial after the other. Where the generated group is, nothing here knows.

import { ask } from "./ask.js";
import { fill } from "./tiles.js";

const KEYS = { ArrowLeft: "left", ArrowRight: "right" };

export class Game {
  /** then: {proceed(state), warn(text), resume()} of the page. */
  constructor(find, then) {
    this.find = find;
    this.then = then;
    this.count = 20;
    this.shownAt = null; // milliseconds; null while no answer is taken
    this.sides = ["left", "right"].map((side) => find(side));
    for (const button of this.sides) {
      button.addEventListener("click", () => this.answer(button.id));
    }
    document.addEventListener("keydown", (event) => this.key(event));
  }

  /** Puts the drawings of a trial there. */
  async show(name, trial) {
    this.name = name;
    this.number = trial.number;
    const parts = ["support", "left", "right"];
    const tiles = parts.map((part) => (part === "support" ? this.find(part) : this.find(part).querySelector(".tiles")));
    await Promise.all(parts.map((part, i) => fill(tiles[i], trial[part])));
    this.find("progress").textContent = `Trial ${trial.number + 1} of ${this.count}`;
    this.find("bar").max = this.count;
    this.find("bar").value = trial.number;
  }

  /** From now on an answer is taken, and its time. */
  start() {
    this.wait(false);
    requestAnimationFrame(() => {
      this.shownAt = performance.now();
    });
  }

  wait(isWaiting) {
    this.find("game").classList.toggle("waiting", isWaiting);
    // Not `disabled`: that would take the focus from who answers by Enter or space.
    this.sides.forEach((button) => button.setAttribute("aria-disabled", isWaiting));
  }

  key(event) {
    const side = KEYS[event.key];
    const isPlain = !(event.repeat || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey);
    if (side && isPlain && !this.find("game").hidden) {
      event.preventDefault();
      this.answer(side);
    }
  }

  async answer(side) {
    if (this.shownAt === null) {
      return;
    }
    const seconds = (performance.now() - this.shownAt) / 1000;
    this.shownAt = null;
    this.wait(true);
    this.then.warn();
    try {
      const body = JSON.stringify({ number: this.number, side, seconds });
      const headers = { "Content-Type": "application/json" };
      const state = await ask(`/api/games/${this.name}/answers`, { method: "POST", headers, body });
      await this.then.proceed(state);
    } catch (error) {
      if (error.status === 409) {
        return this.then.resume(); // This trial was answered in another window, or the reply was lost.
      }
      this.then.warn(`${error.message} Answer again.`);
      this.start();
    }
  }
}
