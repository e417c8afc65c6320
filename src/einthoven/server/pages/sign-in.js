// Signing in, or making the first administrator. A link may carry name and password behind its #, as that of the
// demonstration does, or the setup token: what stands there is sent to nobody, and leaves the address at once.
import { setUp, signIn } from "./api.js";
import { byId, write } from "./elements.js";
import { homeOf } from "./shell.js";

const given = decodeURIComponent(location.hash.slice(1));
const setupToken = given.startsWith("setup=") ? given.slice(6) : "";
if (given) history.replaceState(null, "", location.pathname);

async function enter() {
  byId("go").disabled = true;
  write(byId("error"), "");
  try {
    if (setupToken) await setUp(setupToken, byId("name").value.trim(), byId("password").value);
    const session = await signIn(byId("organisation").value.trim(), byId("name").value.trim(), byId("password").value);
    const back = sessionStorage.getItem("einthoven-back") || "";
    sessionStorage.removeItem("einthoven-back");
    location.assign(/^\/(patient)?(#|$)/.test(back) && homeOf(session) === "/" ? back : homeOf(session));
  } catch (error) {
    write(byId("error"), error.status === undefined ? "The service does not answer." : error.message);
    byId("go").disabled = false;
    byId("password").select();
  }
}

byId("form").addEventListener("submit", (event) => { event.preventDefault(); enter(); });
if (setupToken) {
  write(byId("title"), "The first administrator");
  write(byId("go"), "Make and sign in");
  byId("password").autocomplete = "new-password";
  byId("password").minLength = 12;
  byId("another").hidden = true;
  byId("name").focus();
} else if (given.includes(":")) {
  [byId("name").value, byId("password").value] = [given.slice(0, given.indexOf(":")), given.slice(given.indexOf(":") + 1)];
  enter();
} else {
  byId("name").focus();
}
