// Image files as drawings. The browser decodes them, the gateway finds the drawing in them.

import { askDrawing } from "./api.js";

const LARGEST_SENT = 840; // pixels along the longer side
const LARGEST_SIDE = 12000;

/** A drawing {pixels} from an image file. Throws an Error with a sentence that names it. */
export async function readFile(file) {
  const bitmap = await decoded(file);
  try {
    return { pixels: await askDrawing(await asPng(bitmap)) };
  } catch (error) {
    throw new Error(`${file.name}: ${error.message}`);
  }
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

/** With what is transparent in it, which may be all that tells ink from paper. */
function asPng(bitmap) {
  const scale = Math.min(LARGEST_SENT / Math.max(bitmap.width, bitmap.height), 1);
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(Math.round(side * scale), 1));
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return canvas.convertToBlob({ type: "image/png" });
}
