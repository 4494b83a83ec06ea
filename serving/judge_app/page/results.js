// What came of a game, once it is over, and of all games played here.

import { ask } from "./ask.js";
import { fill } from "./tiles.js";

const SVG = "http://www.w3.org/2000/svg";
const SIDES = ["left", "right"];

function element(name, { text, ...attributes } = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  made.append(...(text === undefined ? [] : [text]), ...children);
  return made;
}

function drawn(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  return made;
}

const percent = (share) => `${Math.round(100 * share)}\u00a0%`; // The sign stays on its line.

/** A score's interval from 0 to 100 %, with a mark at a half. */
function bar({ right, total, low, high }) {
  const svg = drawn("svg", { viewBox: "0 0 100 8", class: "bar", "aria-hidden": "true", preserveAspectRatio: "none" });
  const line = (name, x1, y1, x2, y2) => drawn("line", { class: name, x1, y1, x2, y2, "vector-effect": "non-scaling-stroke" });
  svg.append(
    line("half", 50, 0, 50, 8),
    line("range", 100 * low, 4, 100 * high, 4),
    line("range", (100 * right) / total, 0, (100 * right) / total, 8),
  );
  return svg;
}

function told(score) {
  return `${score.right} of ${score.total}, ${percent(score.right / score.total)} [${Math.round(100 * score.low)}, ${Math.round(100 * score.high)}]`;
}

/** A table of the server's rows. */
function table(caption, rows) {
  const hasStandIn = rows.some((row) => row.stand_in);
  const head = ["Source", "Told apart", "Median time", ...(hasStandIn ? ["Stand-in: a network, no people"] : [])];
  const lines = rows.map((row) => {
    const source = element("th", { scope: "row", text: row.source }, element("small", { text: row.about }));
    const cells = [element("td", { text: told(row) }, bar(row))];
    cells.push(element("td", { text: row.seconds === null ? "" : `${row.seconds.toFixed(1)} s` }));
    if (hasStandIn) {
      cells.push(row.stand_in ? element("td", { text: told(row.stand_in) }, bar(row.stand_in)) : element("td"));
    }
    return element("tr", {}, source, ...cells);
  });
  const titles = head.map((text) => element("th", { scope: "col", text }));
  return element(
    "table",
    {},
    element("caption", { text: caption }),
    element("thead", {}, element("tr", {}, ...titles)),
    element("tbody", {}, ...lines),
  );
}

export class Results {
  constructor(find) {
    this.find = find;
    find("save").addEventListener("click", () => this.save());
  }

  show(name, results) {
    this.name = name;
    this.lines = results.lines;
    this.find("results-title").textContent = `You found the generated group ${results.right} of ${results.of} times`;
    this.find("meaning").textContent =
      `Guessing finds it half of the time: ${percent(results.right / results.of)} here, 50 % is not told apart.` +
      " Where both groups were real there was nothing to find. Brackets hold exact 95 % intervals; of one game they are wide.";
    const tables = [table("This game", results.rows)];
    if (results.games > 1) {
      tables.push(table(`All ${results.games} games played here`, results.all));
    }
    this.find("tables").replaceChildren(...tables);
    this.find("trials").replaceChildren(...results.trials.map((trial, number) => this.trial(trial, number)));
    this.find("told").textContent = "";
  }

  /** A line that opens to what was seen. */
  trial(trial, number) {
    const verdict = trial.answer === trial.generated ? "found" : "missed";
    const text = trial.real ? `${trial.source}: nothing to find` : `${trial.source}: ${verdict}`;
    const details = element("details", {}, element("summary", { text }));
    details.addEventListener("toggle", () => this.open(details, trial, number), { once: true });
    return element("li", {}, details);
  }

  async open(details, trial, number) {
    const pictures = await ask(`/api/games/${this.name}/trials/${number}`).catch((error) => ({ error }));
    if (pictures.error) {
      details.append(element("p", { class: "hint", text: pictures.error.message }));
      return;
    }
    const tiles = (name, label) => element(name, { class: "tiles", role: "img", "aria-label": label });
    const support = tiles("div", "Four real drawings");
    support.classList.add("support");
    const groups = SIDES.map((side) => {
      const isGenerated = side === trial.generated;
      const what = isGenerated ? trial.source : "real";
      const yours = side === trial.answer ? ", your answer" : "";
      const group = element("div", { class: isGenerated ? "group generated" : "group" });
      group.append(tiles("div", `The ${side} group`), element("span", { class: "side", text: `${what}${yours}` }));
      return group;
    });
    details.append(element("div", { class: "shown" }, support, element("div", { class: "groups" }, ...groups)));
    const places = [support, ...groups.map((group) => group.firstChild)];
    await Promise.all(["support", ...SIDES].map((part, i) => fill(places[i], pictures[part])));
  }

  save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([this.lines], { type: "application/jsonl" }));
    link.download = `answers-${this.name}.jsonl`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    this.find("told").textContent = `Saved as ${link.download}.`;
  }
}
