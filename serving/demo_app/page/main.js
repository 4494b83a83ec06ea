import { fromAddress } from "./address.js";
import { askModel, waitFor } from "./api.js";
import { Page } from "./page.js";

const notice = document.querySelector("#alert");
const described = await waitFor(askModel, (text) => {
  notice.textContent = text;
  notice.hidden = false;
});
notice.hidden = true;
document.querySelector("#tabs").hidden = !described.classifies;
const page = new Page(document, described);
page.restore(await fromAddress(location.hash, described));
addEventListener("hashchange", async () => page.restore(await fromAddress(location.hash, described)));
