// All drawing squares, examples and image files.

import { strokeOf } from "./drawing.js";
import { NAMES, example } from "./examples.js";
import { readFile } from "./files.js";
import { Pad } from "./pad.js";

const FEWEST = 4;

export class Pads {
  /** events: {begun(), changed(), cleared(), said(text), failed(text)}. */
  constructor(root, model, events) {
    this.root = root;
    this.model = model;
    this.events = events;
    this.most = model.max_images;
    this.list = root.querySelector("#pads");
    this.template = root.querySelector("#pad-template");
    this.all = [];
    this.grow(Math.min(FEWEST, this.most));
    this.addButton = root.querySelector("#add");
    this.addButton.addEventListener("click", () => this.add());
    this.clearButton = root.querySelector("#clear-all");
    this.clearButton.addEventListener("click", () => {
      this.replace([]);
      this.events.cleared();
    });
    this.listExamples(root.querySelector("#examples"));
    const files = root.querySelector("#files");
    files.addEventListener("change", async () => {
      await this.read([...files.files]);
      files.value = "";
    });
    this.listenForDrops();
  }

  get drawings() {
    return this.all.map((pad) => pad.drawing);
  }

  /** What the network gets: {size, pixels} of every square that is not empty. */
  get images() {
    return this.all.map((pad) => pad.image).filter(Boolean);
  }

  get left() {
    return this.all.filter((pad) => pad.empty).length;
  }

  get full() {
    return this.left === 0;
  }

  focus() {
    (this.all.find((pad) => pad.empty) ?? this.all[0]).ink.focus();
  }

  grow(count) {
    while (this.all.length < Math.min(count, this.most)) {
      const pad = new Pad(this.template, `Square ${this.all.length + 1}`, this.model, this.events);
      this.all.push(pad);
      this.list.append(pad.element);
    }
  }

  add() {
    this.grow(this.all.length + 1);
    this.events.changed();
    this.all[this.all.length - 1].ink.focus();
  }

  refresh() {
    this.addButton.hidden = this.all.length >= this.most;
    this.clearButton.hidden = this.images.length === 0;
  }

  /** Puts drawings into the squares in order; each can be undone. */
  replace(drawings) {
    this.grow(drawings.length);
    this.all.forEach((pad, i) => pad.record(drawings[i] ?? null));
    this.events.changed();
  }

  /** From an address: as many squares as it has drawings, at least four. */
  restore(drawings) {
    const count = Math.min(Math.max(drawings.length, FEWEST), this.most);
    for (const pad of this.all.splice(count)) {
      pad.element.remove();
    }
    this.grow(count);
    this.all.forEach((pad, i) => pad.set(drawings[i] ?? null));
  }

  listExamples(row) {
    for (const name of NAMES) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "example";
      button.setAttribute("aria-label", `Example: ${name}`);
      button.title = name;
      button.append(thumbnail(name, this.model.hand.pen));
      button.addEventListener("click", () => {
        this.replace(this.all.map((_, i) => ({ strokes: example(name, i + 1).map(strokeOf) })));
      });
      row.append(button);
    }
  }

  listenForDrops() {
    const body = this.root.body;
    const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
    this.root.addEventListener("dragover", (event) => {
      if (carriesFiles(event)) {
        event.preventDefault();
        body.classList.add("dropping");
      }
    });
    this.root.addEventListener("dragleave", (event) => body.classList.toggle("dropping", event.relatedTarget !== null));
    this.root.addEventListener("drop", (event) => {
      body.classList.remove("dropping");
      if (carriesFiles(event)) {
        event.preventDefault();
        this.read([...event.dataTransfer.files], this.all.find((pad) => pad.element.contains(event.target)));
      }
    });
  }

  /** Files into empty squares, new ones where there are none; a single one into the square it was dropped on. */
  async read(files, target) {
    const errors = [];
    const drawings = [];
    for (const file of files) {
      try {
        drawings.push(await readFile(file));
      } catch (error) {
        errors.push(error.message);
      }
    }
    if (target && drawings.length === 1) {
      target.put(drawings[0]);
    } else {
      this.spread(drawings, errors);
      this.events.changed();
    }
    if (errors.length) {
      this.events.failed(errors.join(" "));
    }
  }

  spread(drawings, errors) {
    for (const drawing of drawings) {
      if (this.full) {
        this.grow(this.all.length + 1);
      }
      const pad = this.all.find((one) => one.empty);
      if (!pad) {
        errors.push(`Only ${this.most} drawings fit; the rest was left out.`);
        return;
      }
      pad.record(drawing);
    }
  }
}

function thumbnail(name, pen) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 96;
  const context = canvas.getContext("2d");
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = pen * 96 * 1.3;
  for (const stroke of example(name, 0)) {
    context.beginPath();
    stroke.forEach(([x, y]) => context.lineTo(x * 96, y * 96));
    context.stroke();
  }
  return canvas;
}
