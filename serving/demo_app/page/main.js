import { fromAddress } from "./address.js";
import { askModel } from "./api.js";
import { Page } from "./page.js";

const RETRY = 1500; // milliseconds

/** What is served, as soon as it is. */
async function model(say) {
  for (;;) {
    try {
      return await askModel();
    } catch (error) {
      say(`${error.message} This page goes on asking.`);
      await new Promise((resolve) => setTimeout(resolve, RETRY));
    }
  }
}

const notice = document.querySelector("#alert");
const described = await model((text) => {
  notice.textContent = text;
  notice.hidden = false;
});
notice.hidden = true;
const page = new Page(document, described);
page.restore(await fromAddress(location.hash, described.size));
addEventListener("hashchange", async () => page.restore(await fromAddress(location.hash, described.size)));
