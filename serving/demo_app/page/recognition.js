// Squares for the shapes, one for the new drawing, and how sure the network is of each shape.

import { classify } from "./api.js";
import { pngOf } from "./bytes.js";
import { strokeOf } from "./drawing.js";
import { NAMES, example } from "./examples.js";
import { Pad, paintImage } from "./pad.js";

const SHAPES = 3;
const FEWEST = 2;
const PAUSE = 150; // milliseconds from the last stroke until the network is asked
const ADDRESS_PAUSE = 400;
const letter = (i) => String.fromCharCode(65 + i);

export class Recognition {
  /** keep: called with all drawings, the new one last, when they have changed. */
  constructor(root, model, keep) {
    this.find = (id) => root.querySelector(`#${id}`);
    this.model = model;
    this.keep = keep;
    this.shapes = [];
    this.timers = {};
    this.current = null; // AbortController of the request under way
    this.shown = 0; // examples
    this.fresh = this.pad("New drawing", "?", this.find("new-pad"));
    this.resize(SHAPES);
    this.find("add").addEventListener("click", () => this.add());
    this.find("remove").addEventListener("click", () => this.remove());
    this.find("clear-all").addEventListener("click", () => this.replace([]));
    this.find("example").addEventListener("click", () => this.example());
    this.find("about").textContent = `The network: ${model.about}.`;
  }

  get all() {
    return [...this.shapes, this.fresh];
  }

  get most() {
    return this.model.max_classes;
  }

  pad(name, mark, list) {
    const events = {
      begun: () => this.interrupt(),
      changed: () => this.changed(),
      said: (text) => this.say(text),
    };
    const pad = new Pad(this.find("pad-template"), name, this.model, events);
    pad.element.querySelector(".letter").textContent = mark;
    list.append(pad.element);
    return pad;
  }

  resize(count) {
    const wanted = Math.min(Math.max(count, FEWEST), this.most);
    while (this.shapes.length < wanted) {
      const mark = letter(this.shapes.length);
      this.shapes.push(this.pad(`Shape ${mark}`, mark, this.find("pads")));
    }
    for (const pad of this.shapes.splice(wanted)) {
      pad.element.remove();
    }
  }

  add() {
    this.resize(this.shapes.length + 1);
    this.changed();
    this.shapes[this.shapes.length - 1].ink.focus();
  }

  remove() {
    this.resize(this.shapes.length - 1);
    this.changed();
    const button = this.find("remove");
    (button.hidden ? this.find("add") : button).focus();
  }

  /** From an address: the shapes and, last, the new drawing; null for an empty square. */
  restore(drawings) {
    this.resize(drawings.length > FEWEST ? drawings.length - 1 : SHAPES);
    this.shapes.forEach((pad, i) => pad.set((drawings.length > FEWEST && drawings[i]) || null));
    this.fresh.set((drawings.length > FEWEST && drawings[this.shapes.length]) || null);
    this.changed();
  }

  /** Puts drawings into the squares in order; each can be undone. */
  replace(drawings) {
    this.all.forEach((pad, i) => pad.record(drawings[i] ?? null));
    this.changed();
  }

  /** Other figures each time, and another drawing of one of them. */
  example() {
    const first = this.shown++;
    const names = this.shapes.map((_, i) => NAMES[(first + i) % NAMES.length]);
    const drawn = (name, variant) => ({ strokes: example(name, variant).map(strokeOf) });
    const shapes = names.map((name) => drawn(name, 1));
    this.replace([...shapes, drawn(names[(first + 1) % names.length], 2 + first)]);
  }

  say(text) {
    this.find("status").textContent = text;
  }

  warn(text) {
    const alert = this.find("alert");
    alert.textContent = text ?? "";
    alert.hidden = !text;
  }

  /** Ends whatever runs or is about to. */
  interrupt() {
    clearTimeout(this.timers.run);
    clearTimeout(this.timers.retry);
    this.current?.abort();
    this.current = null;
    document.body.classList.remove("busy");
  }

  /** A drawing is another one: asks soon, if all squares are drawn. */
  changed() {
    this.interrupt();
    this.warn();
    clearTimeout(this.timers.address);
    this.timers.address = setTimeout(() => this.keep(this.all.map((pad) => pad.drawing)), ADDRESS_PAUSE);
    this.find("add").hidden = this.shapes.length >= this.most;
    this.find("remove").hidden = this.shapes.length <= FEWEST;
    this.find("clear-all").hidden = this.all.every((pad) => pad.empty);
    const left = this.shapes.filter((pad) => pad.empty).length;
    this.show(null);
    if (left) {
      this.say(`${left} shape${left === 1 ? "" : "s"} left to draw.`);
    } else if (this.fresh.empty) {
      this.say("Now draw one of them again.");
    } else {
      this.timers.run = setTimeout(() => this.run(), PAUSE);
    }
  }

  async run() {
    this.interrupt();
    const mine = new AbortController();
    this.current = mine;
    document.body.classList.add("busy");
    this.say("Learning your shapes …");
    try {
      const files = await Promise.all(this.all.map((pad) => pngOf(pad.image)));
      const { probabilities, seconds } = await classify(files.slice(0, -1), files[files.length - 1], mine.signal);
      if (this.current === mine) {
        this.interrupt();
        this.show(probabilities, seconds);
      }
    } catch (error) {
      if (this.current === mine && error.name !== "AbortError") {
        this.interrupt();
        this.fail(error);
      }
    }
  }

  /** A bar for each shape; empty ones before there is an answer. */
  show(probabilities, seconds) {
    const best = probabilities ? probabilities.indexOf(Math.max(...probabilities)) : -1;
    const rows = this.shapes.map((pad, i) => this.row(pad, i, probabilities?.[i], i === best));
    this.find("answers").replaceChildren(...rows);
    if (probabilities) {
      this.say(`It is ${letter(best)}: ${percent(probabilities[best])}, ${seconds.toFixed(1)} s`);
    }
  }

  row(pad, i, probability, best) {
    const row = this.find("answer-template").content.firstElementChild.cloneNode(true);
    const canvas = row.querySelector("canvas");
    canvas.width = canvas.height = this.model.size;
    paintImage(canvas, pad.image);
    row.classList.toggle("best", best);
    row.querySelector(".bar span").style.width = `${100 * (probability ?? 0)}%`;
    const share = row.querySelector(".share");
    share.textContent = probability === undefined ? letter(i) : `${letter(i)} ${percent(probability)}`;
    return row;
  }

  /** Says what is wrong; where waiting helps, waits and tries again. */
  fail(error) {
    this.say("");
    this.warn(error.message + (error.retryAfter ? " Trying again by itself." : ""));
    if (error.retryAfter) {
      this.timers.retry = setTimeout(() => {
        this.warn();
        this.run();
      }, 1000 * error.retryAfter);
    }
  }
}

const percent = (share) => `${Math.round(100 * share)} %`;
