// What can be taken away: a link, a picture, all images, the request as commands.

import { pngOf, zipOf } from "./bytes.js";
import { asCurl, asPython } from "./snippets.js";

export class Keep {
  /** page: has `shown`, `sheet`, `writeAddress()`, `say(text)`. */
  constructor(root, model, page) {
    this.model = model;
    this.page = page;
    const find = (id) => root.querySelector(`#${id}`);
    this.buttons = ["save-png", "save-zip", "copy-curl", "copy-python"].map(find);
    this.dialog = find("copy-dialog");
    this.text = find("copy-text");
    this.told = find("told");
    const listen = (id, act) => find(id).addEventListener("click", act);
    listen("share", () => this.link());
    listen("save-png", async () => this.save(await page.sheet.picture(), `${this.name()}.png`));
    listen("save-zip", () => this.zip());
    listen("copy-curl", () => this.command(asCurl(location.origin, page.shown.files, page.shown.numbers)));
    listen("copy-python", () => this.command(asPython(model, page.shown.files, page.shown.numbers)));
    listen("copy-close", () => this.dialog.close());
  }

  enable(there) {
    for (const button of this.buttons) {
      button.disabled = !there;
    }
    this.told.textContent = "";
  }

  name() {
    const { steps, seed } = this.page.shown.numbers;
    return `figr-seed-${seed}${steps === undefined ? "" : `-steps-${steps}`}`;
  }

  async link() {
    const complete = await this.page.writeAddress();
    const told = complete ? "Link copied." : "Link copied; it holds the numbers only, as the drawings are too large for one.";
    await this.copy(location.href, told);
  }

  command(text) {
    return this.copy(text, "Copied. Paste it where you want to run it.");
  }

  /** To the clipboard; where a browser has none for this page, into a box to copy from. */
  async copy(text, told) {
    try {
      await navigator.clipboard.writeText(text);
      this.tell(told);
    } catch {
      this.text.value = text;
      this.dialog.showModal();
      this.text.select();
    }
  }

  async zip() {
    const { images, samples } = this.page.shown;
    const drawings = await Promise.all(images.map(pngOf));
    const named = (prefix) => (bytes, i) => ({ name: `${prefix}-${String(i + 1).padStart(3, "0")}.png`, bytes });
    const files = [...drawings.map(named("yours")), ...samples.files.map(named("sample"))];
    this.save(new Blob([zipOf(files)], { type: "application/zip" }), `${this.name()}.zip`);
  }

  save(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    this.tell(`Saved as ${name}.`);
  }

  /** To whoever listens, and beside the buttons, as the status line may be far above. */
  tell(text) {
    this.page.say(text);
    this.told.textContent = text;
  }
}
