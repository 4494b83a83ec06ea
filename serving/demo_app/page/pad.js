// One drawing square: pen, finger, mouse or keyboard; undo, clear, and the mirror of what the network gets.

import { channelsOf } from "./bytes.js";
import { GRID, isEmpty, strokeOf } from "./drawing.js";
import { prepare } from "./prepare.js";

const KEY_STEP = 1 / 24; // of the square; a quarter of that with Shift
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Pad {
  /** name: such as "Square 1". events: {begun(), changed(), said(text)}. model: what the gateway says of it. */
  constructor(template, name, model, events) {
    this.element = template.content.firstElementChild.cloneNode(true);
    this.name = name;
    this.model = model;
    this.events = events;
    this.drawing = null;
    this.image = null;
    this.history = [];
    this.points = null; // of the stroke that is being drawn
    this.pointer = null; // the pen, finger or mouse that draws it
    this.pen = null; // of the keyboard: {x, y, down}
    this.ink = this.element.querySelector(".ink");
    this.mirror = this.element.querySelector(".mirror");
    this.mirror.width = this.mirror.height = model.size;
    this.undoButton = this.element.querySelector(".undo");
    this.clearButton = this.element.querySelector(".clear");
    this.listen();
    this.refresh();
  }

  listen() {
    this.ink.addEventListener("pointerdown", (event) => this.begin(event));
    this.ink.addEventListener("pointermove", (event) => this.move(event));
    this.ink.addEventListener("pointerup", (event) => this.lift(event));
    this.ink.addEventListener("pointercancel", (event) => this.lift(event));
    this.ink.addEventListener("keydown", (event) => this.key(event));
    this.ink.addEventListener("blur", () => this.leave());
    this.undoButton.addEventListener("click", () => this.undo());
    this.clearButton.addEventListener("click", () => this.put(null));
  }

  get empty() {
    return isEmpty(this.drawing);
  }

  /** Replaces the drawing, so that undo brings the old one back, and says so. */
  put(drawing) {
    this.record(drawing);
    this.events.changed();
  }

  record(drawing) {
    this.history.push(this.drawing);
    this.set(drawing);
  }

  set(drawing) {
    this.drawing = isEmpty(drawing) ? null : drawing;
    this.refresh();
  }

  undo() {
    if (this.history.length) {
      this.set(this.history.pop());
      this.events.changed();
    }
  }

  addStroke(points) {
    const stroke = strokeOf(points);
    this.put({ strokes: [...(this.drawing?.strokes ?? []), stroke] });
  }

  begin(event) {
    if (event.button !== 0 || this.pointer !== null) {
      return;
    }
    this.leave();
    this.pointer = event.pointerId;
    this.ink.setPointerCapture(event.pointerId);
    this.points = [this.position(event)];
    this.events.begun();
    this.paint();
  }

  move(event) {
    if (event.pointerId !== this.pointer) {
      return; // such as a palm beside the pen
    }
    const all = event.getCoalescedEvents?.() ?? [];
    this.points.push(...(all.length ? all : [event]).map((one) => this.position(one)));
    this.paint();
  }

  lift(event) {
    if (event.pointerId === this.pointer) {
      this.pointer = null;
      this.end();
    }
  }

  end() {
    const points = this.points;
    this.points = null;
    if (points) {
      this.addStroke(points);
    }
  }

  position(event) {
    const box = this.ink.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || this.pointer !== null) {
      return;
    }
    if (event.key in ARROWS) {
      this.steer(...ARROWS[event.key], event.shiftKey ? KEY_STEP / 4 : KEY_STEP);
    } else if (event.key === " " || event.key === "Enter") {
      this.lowerOrLift();
    } else if (event.key === "Backspace" || event.key === "Delete") {
      this.undo();
    } else {
      return;
    }
    event.preventDefault();
    // Its help stays from now on: if it went with the focus, buttons would move from under a click.
    this.element.closest(".yours").classList.add("by-keyboard");
  }

  steer(right, down, step) {
    this.pen ??= { x: 0.5, y: 0.5, down: false };
    this.pen.x = Math.min(Math.max(this.pen.x + right * step, 0.04), 0.96);
    this.pen.y = Math.min(Math.max(this.pen.y + down * step, 0.04), 0.96);
    if (this.pen.down) {
      this.points.push([this.pen.x, this.pen.y]);
    }
    this.paint();
  }

  lowerOrLift() {
    this.pen ??= { x: 0.5, y: 0.5, down: false };
    this.pen.down = !this.pen.down;
    this.events.said(this.pen.down ? "Pen down." : "Pen lifted.");
    if (this.pen.down) {
      this.points = [[this.pen.x, this.pen.y]];
      this.events.begun();
      this.paint();
    } else {
      this.end();
    }
  }

  leave() {
    const drew = this.pen?.down;
    this.pen = null;
    if (drew) {
      this.end();
    }
    this.paint();
  }

  refresh() {
    this.image = this.drawing && prepare(this.drawing, this.model.size, this.model.hand);
    const name = this.name[0].toLowerCase() + this.name.slice(1);
    const strokes = this.drawing?.strokes?.length;
    const holds = this.empty ? "empty" : strokes ? `${strokes} stroke${strokes > 1 ? "s" : ""}` : "an image";
    this.ink.setAttribute("aria-label", `${this.name}, ${holds}`);
    this.mirror.setAttribute("aria-label", this.empty ? "The network sees nothing yet" : `What the network sees of ${name}`);
    this.undoButton.setAttribute("aria-label", `Undo in ${name}`);
    this.clearButton.setAttribute("aria-label", `Clear ${name}`);
    this.undoButton.disabled = !this.history.length;
    this.clearButton.disabled = this.empty;
    this.element.classList.toggle("empty", this.empty);
    paintImage(this.mirror, this.image);
    this.paint();
  }

  paint() {
    const context = this.ink.getContext("2d");
    const side = this.ink.width;
    context.clearRect(0, 0, side, side);
    if (this.drawing?.pixels) {
      context.imageSmoothingEnabled = false;
      context.drawImage(this.mirror, 0, 0, side, side);
    }
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = Math.max(this.model.hand.pen * side, 4);
    const current = this.points ? [this.points.flatMap(([x, y]) => [x * side, y * side])] : [];
    const drawn = (this.drawing?.strokes ?? []).map((stroke) => stroke.map((value) => (value / GRID) * side));
    for (const stroke of [...drawn, ...current]) {
      context.beginPath();
      context.moveTo(stroke[0], stroke[1]);
      for (let i = 0; i < stroke.length; i += 2) {
        context.lineTo(stroke[i], stroke[i + 1]);
      }
      context.stroke();
    }
    if (this.pen) {
      this.paintPen(context, side);
    }
  }

  paintPen(context, side) {
    const [x, y] = [this.pen.x * side, this.pen.y * side];
    context.save();
    context.strokeStyle = "#c2410c";
    context.lineWidth = this.pen.down ? 7 : 3;
    context.beginPath();
    context.arc(x, y, 14, 0, 2 * Math.PI);
    context.stroke();
    context.restore();
  }
}

/** An image {size, pixels} on a canvas of its size; blank paper for null. */
export function paintImage(canvas, image) {
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (image) {
    const channels = channelsOf(image);
    const shade = (i) => image.pixels[(i >> 2) * channels + (channels === 3 ? i & 3 : 0)];
    const length = 4 * image.size * image.size;
    const values = Uint8ClampedArray.from({ length }, (_, i) => ((i & 3) === 3 ? 255 : shade(i)));
    context.putImageData(new ImageData(values, image.size), 0, 0);
  }
}
