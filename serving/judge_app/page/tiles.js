// Drawings in a grid, as canvases.

import { fromBase64 } from "./bytes.js";
import { decoded } from "./pictures.js";

/** Shows PNG files (base64 each) in `tiles`, all at once. */
export async function fill(tiles, files) {
  const { bitmaps } = await decoded(files.map(fromBase64));
  tiles.replaceChildren(
    ...bitmaps.map((bitmap) => {
      const canvas = document.createElement("canvas");
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      return canvas;
    }),
  );
}
