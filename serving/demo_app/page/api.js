// Talks to the gateway.

import { fromBase64, toBase64 } from "./bytes.js";

/** Something that the gateway, or the lack of one, says; `retryAfter` seconds, where waiting helps. */
export class Refusal extends Error {
  constructor(sentence, status, retryAfter) {
    super(sentence);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") {
      throw error;
    }
    throw new Refusal("The server of this page does not answer.", 0, 2);
  }
  const reply = await response.json().catch(() => ({}));
  if (!response.ok) {
    const retryAfter = Number(response.headers.get("Retry-After")) || undefined;
    throw new Refusal(reply.error ?? `The server answered with status ${response.status}.`, response.status, retryAfter);
  }
  return reply;
}

export const askModel = () => ask("/api/model", { cache: "no-store" });

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
