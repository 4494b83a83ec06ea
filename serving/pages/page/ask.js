// How every page talks to its server.

/** Something that the gateway, or the lack of one, says; `retryAfter` seconds, where waiting helps. */
export class Refusal extends Error {
  constructor(sentence, status, retryAfter) {
    super(sentence);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** The JSON that the server answers with; throws a Refusal. */
export async function ask(path, options) {
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
