// The page as a whole: squares, numbers, results, and what leads from one to the other.

import { Adaptation } from "./adaptation.js";
import { toAddress } from "./address.js";
import { askModel } from "./api.js";
import { pngOf } from "./bytes.js";
import { Controls } from "./controls.js";
import { Keep } from "./keep.js";
import { Pads } from "./pads.js";
import { Runner } from "./runner.js";
import { Sheet } from "./sheet.js";

const PAUSE = 150; // milliseconds from the last stroke or slider's move until it begins by itself
const ADDRESS_PAUSE = 400;
const LEAD_PAUSE = 2000; // milliseconds without another stroke after which a drawing counts as finished
const SEEN = 160; // pixels of the results that are enough to notice them

export class Page {
  constructor(root, model) {
    this.model = model;
    this.find = (id) => root.querySelector(`#${id}`);
    this.sheet = new Sheet(root, model.size);
    this.runner = new Runner();
    this.shown = null; // {images, files, numbers, samples} of what the sheet shows
    this.answered = false; // whether that is what is asked for now
    this.led = false; // whether the visitor has been led to results once
    this.timers = {};
    this.controls = new Controls(root, model, () => this.changed(this.shown));
    this.pads = new Pads(root, model, {
      begun: () => this.interrupt(),
      changed: () => this.changed(this.shown),
      cleared: () => this.forget(),
      said: (text) => this.say(text),
      failed: (text) => this.warn(text),
    });
    this.adaptation = new Adaptation(this.find("adaptation"), (steps) => this.showAfter(steps));
    this.keep = new Keep(root, model, this);
    this.find("run").addEventListener("click", () => (this.answered ? this.controls.reseed() : this.run()));
    this.find("stop").addEventListener("click", () => {
      this.interrupt();
      this.say("Stopped.");
    });
    this.find("about").textContent = `The network: ${model.about}.`;
  }

  /** What `address.fromAddress` found; begins if there is a drawing, as who shared it may have asked with fewer than four. */
  restore({ numbers, drawings }) {
    this.controls.set(numbers);
    this.pads.restore(drawings);
    this.forget();
    this.changed(true);
  }

  forget() {
    this.shown = null;
    this.keep.enable(false);
    this.adaptation.begin(undefined);
    this.say("");
    this.changed();
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
    this.retrying = null;
    clearTimeout(this.timers.lead);
    this.adaptation.pause();
    this.runner.stop();
    this.busy(false);
  }

  /** A drawing or a number is another one: begins soon if all squares are drawn, or if `anyway`. */
  changed(anyway = false) {
    if (this.shown && !this.pads.images.length) {
      this.forget();
      return;
    }
    this.interrupt();
    this.warn();
    this.nameRun(false);
    clearTimeout(this.timers.address);
    this.timers.address = setTimeout(() => this.writeAddress(), ADDRESS_PAUSE);
    if (this.pads.full || (anyway && this.pads.images.length)) {
      this.timers.run = setTimeout(() => this.run(false), PAUSE);
    } else if (!this.shown) {
      this.invite();
    }
    this.pads.refresh();
  }

  /** What has been answered already would come out the same: then the button takes another seed. */
  nameRun(answered) {
    this.answered = answered;
    this.find("run").textContent = `Draw ${this.controls.numbers.samples} ${answered ? "others" : "more"}`;
  }

  invite() {
    const left = this.pads.left;
    const drawn = this.pads.images.length;
    const text = drawn ? `${left} more to draw, and it begins.` : "They appear here, as soon as your squares are filled.";
    this.sheet.clear(this.controls.numbers.samples, text);
  }

  /** Writes numbers and drawings into the address; whether the drawings fit. */
  async writeAddress() {
    const { hash, complete } = await toAddress(this.controls.numbers, this.pads.drawings);
    history.replaceState(null, "", `#${hash}`);
    return complete;
  }

  /** `wished`: for whoever pressed the button, not for one who may be about to draw another stroke. */
  async run(wished = true) {
    this.interrupt();
    this.wished = wished;
    if (!this.pads.images.length) {
      this.warn("There is nothing to learn from yet: draw something in at least one square, or take an example.");
      this.pads.focus();
      return;
    }
    if (wished) {
      this.warn(); // otherwise it is about what was changed just now
    }
    this.writeAddress(); // now, or a reload would ask for what was drawn before
    const numbers = this.controls.numbers;
    if (await this.showNew(this.pads.images, numbers)) {
      this.adaptation.begin(numbers.steps);
      this.nameRun(true);
      if (wished) {
        this.lead();
      } else if (!this.led) {
        this.timers.lead = setTimeout(() => this.lead(), LEAD_PAUSE);
      }
    }
  }

  /** To the results, where they are below what a small screen shows. */
  lead() {
    this.led = true;
    const heading = this.find("results-title");
    if (heading.getBoundingClientRect().top > innerHeight - SEEN) {
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
      heading.scrollIntoView({ behavior: still ? "auto" : "smooth" });
    }
  }

  /** Whether the samples were asked for, came, and nothing newer was asked for in between. */
  async showNew(images, numbers) {
    this.busy(true);
    const asked = {};
    this.asked = asked;
    try {
      const files = await Promise.all(images.map(pngOf));
      if (this.asked !== asked) {
        return false;
      }
      const samples = await this.runner.ask(files, numbers);
      if (!samples) {
        return false;
      }
      this.shown = { images, files, numbers, samples };
      this.busy(false);
      this.report(numbers, images.length, samples);
      return true;
    } catch (error) {
      if (this.asked === asked) {
        this.busy(false);
        this.fail(error);
      }
      return false;
    }
  }

  /** The same request after another number of inner steps. */
  showAfter(steps) {
    return this.showNew(this.shown.images, { ...this.shown.numbers, steps });
  }

  report({ steps }, count, { bitmaps, seconds }) {
    const { images, samples } = this.shown;
    const after = steps === undefined ? "" : ` after ${steps} inner step${steps === 1 ? "" : "s"}`;
    const text = `${bitmaps.length} drawings${after}`;
    this.sheet.show(images, samples, `${text}, from ${count} of yours`);
    this.say(`${text}, ${seconds.toFixed(1)} s`);
    this.keep.enable(true);
  }

  busy(running) {
    this.asked = null;
    document.body.classList.toggle("busy", running);
    this.find("stop").hidden = !running;
    if (running) {
      this.say(this.model.max_steps ? "Learning from your drawings …" : "Drawing …");
    } else if (this.find("status").textContent.endsWith("…")) {
      this.say("");
    }
  }

  /** Says what is wrong; where waiting helps, waits and tries again. */
  fail(error) {
    this.warn(error.message + (error.retryAfter ? " Trying again by itself." : ""));
    if (error.retryAfter) {
      this.timers.retry = setTimeout(() => this.retry(), 1000 * error.retryAfter);
    }
  }

  async retry() {
    const mine = {};
    this.retrying = mine;
    try {
      const model = await askModel();
      if (this.retrying !== mine) {
        return; // another drawing was begun meanwhile
      }
      if (model.size !== this.model.size || model.channels !== this.model.channels) {
        location.reload();
        return;
      }
    } catch (error) {
      if (this.retrying === mine) {
        this.fail(error);
      }
      return;
    }
    this.warn();
    this.run(this.wished);
  }
}
