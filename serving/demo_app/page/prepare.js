// Drawings as the network's training drawings are: centred, scaled, of their stroke width, dark ink (0) on light paper
// (255). Images are {size, pixels}: Uint8Array of size × size, or of size × size × 3 in colour.

import { GRID, distanceToSegment } from "./drawing.js";

const RASTER = 105; // Omniglot's own resolution
const LARGEST_SCALE = 5; // so that a slip of the pen does not become a drawing

/** The image that the network gets of a drawing. hand: {extent, pen} as fractions of the side, from the gateway. */
export function prepare(drawing, size, hand) {
  if (drawing.pixels) {
    return { size, pixels: drawing.pixels };
  }
  const raster = Math.max(RASTER, size);
  return resized(inked(fitted(drawing.strokes, hand), raster, hand.pen), size);
}

/** Strokes in [0, 1], their middle in the middle, their longer side as long as a training drawing's. */
function fitted(strokes, hand) {
  const xs = strokes.flatMap((stroke) => stroke.filter((_, i) => i % 2 === 0));
  const ys = strokes.flatMap((stroke) => stroke.filter((_, i) => i % 2 === 1));
  const [left, right, top, bottom] = [min(xs), max(xs), min(ys), max(ys)];
  const side = Math.max(right - left, bottom - top) / GRID;
  const scale = side ? Math.min((hand.extent - hand.pen) / side, LARGEST_SCALE) : 1;
  const place = (value, low, high) => 0.5 + ((value - (low + high) / 2) / GRID) * scale;
  return strokes.map((s) => s.map((v, i) => (i % 2 ? place(v, top, bottom) : place(v, left, right))));
}

const min = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
const max = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);

/** Ink or paper, nothing in between, as in Omniglot's files. */
function inked(strokes, size, pen) {
  const pixels = new Uint8Array(size * size).fill(255);
  const radius = (pen / 2) * size;
  for (const stroke of strokes) {
    const at = (i) => [stroke[i] * size - 0.5, stroke[i + 1] * size - 0.5];
    for (let i = 0; i < Math.max(stroke.length - 2, 1); i += 2) {
      inkSegment(pixels, size, radius, at(i), stroke.length > 2 ? at(i + 2) : at(i));
    }
  }
  return { size, pixels };
}

function inkSegment(pixels, size, radius, [x0, y0], [x1, y1]) {
  const from = (a, b) => Math.max(Math.ceil(Math.min(a, b) - radius), 0);
  const to = (a, b) => Math.min(Math.floor(Math.max(a, b) + radius), size - 1);
  for (let y = from(y0, y1); y <= to(y0, y1); y++) {
    for (let x = from(x0, x1); x <= to(x0, x1); x++) {
      if (distanceToSegment(x, y, x0, y0, x1, y1) <= radius) {
        pixels[y * size + x] = 0;
      }
    }
  }
}

/** A grey image to size × size with Pillow's bilinear filter, which the training data went through: rows first, rounded in between. */
export function resized(image, size) {
  if (image.size === size) {
    return image;
  }
  const weights = filterWeights(image.size, size);
  const wide = new Uint8Array(size * image.size);
  for (let y = 0; y < image.size; y++) {
    for (let x = 0; x < size; x++) {
      wide[y * size + x] = weighted(weights[x], (i) => image.pixels[y * image.size + i]);
    }
  }
  const pixels = new Uint8Array(size * size);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      pixels[y * size + x] = weighted(weights[y], (i) => wide[i * size + x]);
    }
  }
  return { size, pixels };
}

function weighted({ first, values }, at) {
  return Math.round(values.reduce((sum, weight, i) => sum + weight * at(first + i), 0));
}

/** For each target pixel the first source pixel and the weights from there: a triangle as wide as the scale. */
function filterWeights(from, to) {
  const scale = from / to;
  const support = Math.max(scale, 1);
  return Array.from({ length: to }, (_, target) => {
    const centre = (target + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - support + 0.5), 0);
    const last = Math.min(Math.trunc(centre + support + 0.5), from);
    const values = Array.from({ length: last - first }, (__, i) =>
      Math.max(1 - Math.abs((first + i - centre + 0.5) / support), 0),
    );
    const total = values.reduce((a, b) => a + b, 0);
    return { first, values: values.map((value) => value / total) };
  });
}
