// PNG files as what can be drawn on a canvas.

/** PNG files (Uint8Array each) and the bitmaps in them, as pages keep them. */
export async function decoded(files) {
  const bitmaps = await Promise.all(files.map((file) => createImageBitmap(new Blob([file], { type: "image/png" }))));
  return { files, bitmaps };
}
