// One request at a time, and the newest one wins; what has come for the same drawings and seed is kept.

import { generate } from "./api.js";
import { decoded } from "./pictures.js";

export class Runner {
  constructor() {
    this.current = null; // AbortController of the request under way
    this.key = "";
    this.kept = new Map(); // inner steps → samples, for `key`
  }

  get busy() {
    return this.current !== null;
  }

  /** Drops what is under way; the model ends what it has begun, and gives up what waits. */
  stop() {
    this.current?.abort();
    this.current = null;
  }

  /**
   * Samples for PNG files and numbers: {files, bitmaps, seconds}; null if a newer request came, or `stop`.
   * Throws a Refusal (ask.js).
   */
  async ask(files, numbers) {
    this.stop();
    const { steps, ...rest } = numbers;
    const key = JSON.stringify([rest, files.map((file) => [...file])]);
    if (key !== this.key) {
      [this.key, this.kept] = [key, new Map()];
    }
    if (this.kept.has(steps)) {
      return this.kept.get(steps);
    }
    const mine = new AbortController();
    this.current = mine;
    try {
      const { images, seconds } = await generate(files, numbers, mine.signal);
      const samples = { ...(await decoded(images)), seconds };
      if (this.current !== mine) {
        return null;
      }
      this.kept.set(steps, samples);
      return samples;
    } catch (error) {
      if (this.current !== mine || error.name === "AbortError") {
        return null;
      }
      throw error;
    } finally {
      if (this.current === mine) {
        this.current = null;
      }
    }
  }
}
