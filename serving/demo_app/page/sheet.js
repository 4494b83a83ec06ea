// The results: the support set framed, the samples below it, and both as a picture.

import { paintImage } from "./pad.js";

const COLUMNS = 8;
const SCALE = 3; // of the saved picture
const GAP = 4; // pixels there
const FRAME = "#e0701a"; // neither ink nor paper

export class Sheet {
  constructor(root, size) {
    this.mine = root.querySelector("#mine");
    this.support = root.querySelector("#support");
    this.grid = root.querySelector("#grid");
    this.invitation = root.querySelector("#invitation");
    this.size = size;
  }

  /** Empty squares where samples will be. */
  clear(count, text) {
    this.mine.hidden = true;
    this.resize(this.grid, count);
    for (const tile of this.grid.children) {
      tile.className = "blank";
      tile.getContext("2d").clearRect(0, 0, this.size, this.size);
    }
    this.grid.setAttribute("aria-label", "No drawings yet");
    this.invitation.textContent = text;
    this.invitation.hidden = false;
  }

  show(images, samples, label) {
    this.invitation.hidden = true;
    this.mine.hidden = false;
    this.resize(this.support, images.length);
    images.forEach((image, i) => paintImage(this.support.children[i], image));
    this.resize(this.grid, samples.bitmaps.length);
    samples.bitmaps.forEach((bitmap, i) => {
      const tile = this.grid.children[i];
      tile.className = "";
      tile.getContext("2d").drawImage(bitmap, 0, 0);
    });
    this.grid.setAttribute("aria-label", label);
  }

  resize(tiles, count) {
    while (tiles.children.length > count) {
      tiles.lastElementChild.remove();
    }
    while (tiles.children.length < count) {
      const tile = document.createElement("canvas");
      tile.width = tile.height = this.size;
      tiles.append(tile);
    }
  }

  /** What is shown, as a PNG file. */
  async picture() {
    const [support, grid] = [[...this.support.children], [...this.grid.children]];
    const cell = this.size * SCALE + GAP;
    const rows = 1 + Math.ceil(grid.length / COLUMNS);
    const canvas = new OffscreenCanvas(COLUMNS * cell + GAP, rows * cell + 2 * GAP);
    const context = canvas.getContext("2d");
    context.fillStyle = "#d8d5cf";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = FRAME;
    support.forEach((_, i) => context.fillRect(i * cell, 0, cell + GAP, cell + GAP));
    context.imageSmoothingEnabled = false;
    const place = (tile, column, y) => context.drawImage(tile, column * cell + GAP, y, cell - GAP, cell - GAP);
    support.forEach((tile, i) => place(tile, i, GAP));
    grid.forEach((tile, i) => place(tile, i % COLUMNS, (1 + Math.floor(i / COLUMNS)) * cell + 2 * GAP));
    return canvas.convertToBlob({ type: "image/png" });
  }
}
