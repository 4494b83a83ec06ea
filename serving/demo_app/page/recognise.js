// The second tab: shapes drawn once each, and a new drawing that is one of them.

import { fromAddress, toAddress } from "./address.js";
import { askClassifier, waitFor } from "./api.js";
import { Recognition } from "./recognition.js";

const notice = document.querySelector("#alert");
const described = await waitFor(askClassifier, (text) => {
  notice.textContent = text;
  notice.hidden = false;
});
notice.hidden = true;
const page = new Recognition(document, described, async (drawings) => {
  const { hash } = await toAddress({}, drawings);
  history.replaceState(null, "", `#${hash}`);
});
const restore = async () => page.restore((await fromAddress(location.hash, described)).drawings);
await restore();
addEventListener("hashchange", restore);
