// Talks to the gateway.

import { ask } from "./ask.js";
import { fromBase64, toBase64 } from "./bytes.js";

export const askModel = () => ask("/api/model", { cache: "no-store" });

/** What the gateway makes of a PNG file (Blob): grey values, a training drawing's size and form. */
export async function askDrawing(file) {
  const options = { method: "POST", headers: { "Content-Type": "image/png" }, body: file };
  return fromBase64((await ask("/api/drawing", options)).gray);
}

/** What to send for PNG files (Uint8Array each) and numbers; steps are undefined for a model without an inner loop. */
export function bodyOf(files, { steps, samples, seed }) {
  return JSON.stringify({ images: files.map(toBase64), num_samples: samples, num_inner_steps: steps, seed });
}

/** {images: PNG files, seconds}; `signal` ends the request here and at the model. */
export async function generate(files, numbers, signal) {
  const reply = await ask("/api/generate", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: bodyOf(files, numbers),
    signal,
  });
  return { images: reply.images.map(fromBase64), seconds: reply.seconds };
}
