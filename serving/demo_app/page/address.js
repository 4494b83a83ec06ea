// What the address holds after its #, which a browser sends to nobody: numbers and drawings.
// #steps=10&samples=64&seed=7&d=DRAWING.DRAWING…, a DRAWING being base64 of "s" and strokes (their number of points, then
// x and y of each), or of "g" and compressed pixels.

import { deflated, fromBase64Url, inflated, toBase64Url } from "./bytes.js";

const LONGEST = 16000; // characters of drawings; most programs still pass such a link on
const [STROKES, PIXELS] = [..."sg"].map((letter) => letter.charCodeAt(0));
const MOST_POINTS = 255;

/** The part after the #. Drawings are left out, and `complete` is false, where they would make it too long. */
export async function toAddress(numbers, drawings) {
  const coded = await Promise.all(drawings.map(encode));
  const text = coded.join(".");
  const complete = text.length <= LONGEST;
  const fields = new URLSearchParams(Object.entries(numbers).filter(([, number]) => number !== undefined));
  return { hash: `${fields}${complete && text.replaceAll(".", "") ? `&d=${text}` : ""}`, complete };
}

/** {numbers: {steps, samples, seed}, drawings}; what is not there, or makes no sense, is undefined or null. */
export async function fromAddress(hash, { size, channels }) {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const number = (name) => (/^\d{1,16}$/.test(fields.get(name) ?? "") ? Number(fields.get(name)) : undefined);
  const coded = (fields.get("d") ?? "").split(".").slice(0, 8);
  const drawings = await Promise.all(coded.map((text) => decode(text, size * size * channels).catch(() => null)));
  const numbers = { steps: number("steps"), samples: number("samples"), seed: number("seed") };
  return { numbers, drawings };
}

async function encode(drawing) {
  if (!drawing) {
    return "";
  }
  if (drawing.pixels) {
    return toBase64Url(Uint8Array.of(PIXELS, ...(await deflated(drawing.pixels, "deflate-raw"))));
  }
  const pieces = drawing.strokes.flatMap(inPieces);
  return toBase64Url(Uint8Array.of(STROKES, ...pieces.flatMap((piece) => [piece.length / 2, ...piece])));
}

/** A stroke as strokes of at most MOST_POINTS, each beginning where the last one ends. */
function inPieces(stroke) {
  const pieces = [stroke.slice(0, 2 * MOST_POINTS)];
  for (let start = 2 * (MOST_POINTS - 1); start + 2 < stroke.length; start += 2 * (MOST_POINTS - 1)) {
    pieces.push(stroke.slice(start, start + 2 * MOST_POINTS));
  }
  return pieces.filter((piece, i) => i === 0 || piece.length > 2);
}

async function decode(text, length) {
  const bytes = fromBase64Url(text);
  if (bytes[0] === PIXELS) {
    const pixels = await inflated(bytes.slice(1), "deflate-raw");
    return pixels.length === length ? { pixels } : null;
  }
  if (bytes[0] !== STROKES) {
    return null;
  }
  const strokes = [];
  for (let i = 1; i < bytes.length; i += 1 + 2 * bytes[i]) {
    const stroke = [...bytes.slice(i + 1, i + 1 + 2 * bytes[i])];
    if (!stroke.length || stroke.length !== 2 * bytes[i]) {
      return null;
    }
    strokes.push(stroke);
  }
  return strokes.length ? { strokes } : null;
}
