// Talks to the gateway.

import { ask } from "./ask.js";
import { fromBase64, toBase64 } from "./bytes.js";

const RETRY = 1500; // milliseconds

export const askModel = () => ask("/api/model", { cache: "no-store" });
export const askClassifier = () => ask("/api/classifier", { cache: "no-store" });

/** What `asking` answers, as soon as something is there to answer it; meanwhile `say` gets a sentence. */
export async function waitFor(asking, say) {
  for (;;) {
    try {
      return await asking();
    } catch (error) {
      say(`${error.message} This page goes on asking.`);
      await new Promise((resolve) => setTimeout(resolve, RETRY));
    }
  }
}

/** What the gateway makes of a PNG file (Blob): pixels in the form of a training drawing. */
export async function askDrawing(file) {
  const options = { method: "POST", headers: { "Content-Type": "image/png" }, body: file };
  return fromBase64((await ask("/api/drawing", options)).pixels);
}

/** What to send for PNG files (Uint8Array each) and numbers; steps are undefined for a model without an inner loop. */
export function bodyOf(files, { steps, samples, seed }) {
  return JSON.stringify({ images: files.map(toBase64), num_samples: samples, num_inner_steps: steps, seed });
}

/** {images: PNG files, seconds}; `signal` drops the request. */
export async function generate(files, numbers, signal) {
  const reply = await ask("/api/generate", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: bodyOf(files, numbers),
    signal,
  });
  return { images: reply.images.map(fromBase64), seconds: reply.seconds };
}

/** {probabilities: one for each shape, seconds}; PNG files (Uint8Array each). `signal` as for `generate`. */
export function classify(shapes, drawing, signal) {
  return ask("/api/classify", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ shapes: shapes.map(toBase64), drawing: toBase64(drawing) }),
    signal,
  });
}
