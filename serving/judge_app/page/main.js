import { ask } from "./ask.js";
import { Game } from "./game.js";
import { Results } from "./results.js";

const find = (id) => document.querySelector(`#${id}`);

/** Shows one of the three parts, and puts the focus at its beginning. */
function show(id, heading) {
  for (const part of ["start", "game", "results"]) {
    find(part).hidden = part !== id;
  }
  heading.focus({ preventScroll: true });
  scrollTo({ top: 0 });
}

function warn(text) {
  find("alert").textContent = text ?? "";
  find("alert").hidden = !text;
}

/** The game that the address names, if any: a reload goes on with it. */
const named = () => location.hash.slice(1);

function introduce(deck) {
  find("group-size").textContent = deck.group;
  find("times").textContent = `${deck.trials} times.`;
  find("demonstration").hidden = !deck.demonstration;
  find("about").textContent = deck.data;
  const place = deck.file ? `the file ${deck.file}` : "a file";
  find("kept").textContent = deck.kept
    ? `Each answer is written to ${place} of the machine that serves this page.`
    : "Nothing is written. At the end you can save your answers as a file.";
}

function home() {
  history.replaceState(null, "", location.pathname);
  show("start", find("start-title"));
}

async function begin() {
  warn();
  find("begin").disabled = true;
  try {
    location.hash = (await ask("/api/games", { method: "POST" })).game;
  } catch (error) {
    warn(error.message);
  } finally {
    find("begin").disabled = false;
  }
}

/** Goes on with the game of the address: with its next trial, or with its results. */
async function resume() {
  warn();
  if (!named()) {
    return home();
  }
  try {
    await proceed(await ask(`/api/games/${encodeURIComponent(named())}`, { cache: "no-store" }));
  } catch (error) {
    home();
    warn(error.message);
  }
}

async function proceed(state) {
  if (state.results) {
    await results.show(named(), state.results);
    show("results", find("results-title"));
  } else {
    const isFirst = find("game").hidden;
    await game.show(named(), state.trial);
    if (isFirst) {
      show("game", find("question"));
    }
    game.start();
  }
}

const game = new Game(find, { proceed, warn, resume });
const results = new Results(find);
find("begin").addEventListener("click", begin);
find("again").addEventListener("click", begin);
addEventListener("hashchange", resume);
try {
  const deck = await ask("/api/deck");
  introduce(deck);
  game.count = deck.trials;
  await resume();
} catch (error) {
  warn(error.message);
}
