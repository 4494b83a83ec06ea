// Image files as drawings.

import { resized } from "./prepare.js";

const WORKING_SIZE = 420; // pixels a side of what is cut out of a file, before it is made small
const LARGEST_SIDE = 12000;
const CONTRAST = 48; // between ink and paper, of 255
const SPECKS = 0.003; // of the ink may lie outside of the drawing
const OFF_CENTRE = 0.15; // as far as all but a few of Omniglot's drawings

/**
 * A drawing {gray} from an image file: grey, dark ink on light paper. Ink that is as large as in the training drawings
 * and near the middle stays where it is; else it is cut out, centred and scaled. Throws an Error with a sentence.
 */
export async function readFile(file, size, hand) {
  const bitmap = await decoded(file);
  const side = Math.max(bitmap.width, bitmap.height);
  const whole = { left: (bitmap.width - side) / 2, top: (bitmap.height - side) / 2, side };
  const light = mean(grayOf(bitmap, { left: 0, top: 0, side: Math.min(bitmap.width, bitmap.height) }, 64, "white")) < 128;
  const paper = light ? "black" : "white";
  const asDark = (gray) => (light ? gray.map((value) => 255 - value) : gray);
  const box = inkBox(asDark(grayOf(bitmap, whole, WORKING_SIZE, paper)), WORKING_SIZE);
  if (!box) {
    throw new Error(`${file.name} shows no drawing: it is nearly all of one shade.`);
  }
  const raw = side <= 2 * WORKING_SIZE ? side : WORKING_SIZE;
  const [square, pixels] = fits(box, hand) ? [whole, raw] : [cutOut(box, whole, hand), WORKING_SIZE];
  const gray = asDark(grayOf(bitmap, square, pixels, paper));
  return { gray: resized({ size: pixels, gray }, size).gray };
}

async function decoded(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name} is not an image that this browser can read.`);
  }
  if (Math.max(bitmap.width, bitmap.height) > LARGEST_SIDE) {
    throw new Error(`${file.name} has ${bitmap.width} × ${bitmap.height} pixels, which is too large.`);
  }
  return bitmap;
}

/** A square of the bitmap as grey values [pixels²]; paper where it is transparent or outside. */
function grayOf(bitmap, { left, top, side }, pixels, paper) {
  const context = new OffscreenCanvas(pixels, pixels).getContext("2d", { willReadFrequently: true });
  const scale = pixels / side;
  context.fillStyle = paper;
  context.fillRect(0, 0, pixels, pixels);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, -left * scale, -top * scale, bitmap.width * scale, bitmap.height * scale);
  const { data } = context.getImageData(0, 0, pixels, pixels);
  // Pillow's weights, so that a file gives what it gives on the command line.
  return Uint8Array.from({ length: pixels * pixels }, (_, i) =>
    (19595 * data[4 * i] + 38470 * data[4 * i + 1] + 7471 * data[4 * i + 2] + 32768) >> 16,
  );
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Middle and longer side of the ink, as fractions of the image; null if there is none. */
function inkBox(gray, size) {
  const darkest = gray.reduce((a, b) => Math.min(a, b), 255);
  const paper = [...gray].sort((a, b) => a - b)[gray.length >> 1];
  if (paper - darkest < CONTRAST) {
    return null;
  }
  const columns = new Float64Array(size);
  const rows = new Float64Array(size);
  gray.forEach((value, i) => {
    if (value < (paper + darkest) / 2) {
      columns[i % size] += 1;
      rows[Math.floor(i / size)] += 1;
    }
  });
  const [left, right] = span(columns);
  const [top, bottom] = span(rows);
  return {
    x: (left + right) / 2 / size,
    y: (top + bottom) / 2 / size,
    extent: Math.max(right - left, bottom - top) / size,
  };
}

function span(counts) {
  const specks = SPECKS * counts.reduce((sum, count) => sum + count, 0);
  const end = (values) => {
    let seen = 0;
    return values.findIndex((count) => (seen += count) > specks);
  };
  return [end(counts), counts.length - end([...counts].reverse())];
}

function fits(box, hand) {
  const offset = Math.max(Math.abs(box.x - 0.5), Math.abs(box.y - 0.5));
  return box.extent >= hand.smallest_extent && box.extent <= hand.largest_extent && offset <= OFF_CENTRE;
}

function cutOut(box, whole, hand) {
  const side = (box.extent / hand.extent) * whole.side;
  return {
    left: whole.left + box.x * whole.side - side / 2,
    top: whole.top + box.y * whole.side - side / 2,
    side,
  };
}
