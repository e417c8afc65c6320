// The frame of every page: where one is, who one is, the theme, signing out.
import { currentSession, signOut, toSignIn } from "./api.js";
import { byId, make } from "./elements.js";

const PAGES = [
  ["/", "Ward", ["clinician", "technician", "patient"]],
  ["/operator", "Operator", ["admin", "auditor", "technician"]],
];
const THEMES = [["auto", "as the system"], ["light", "light"], ["dark", "dark"]];

function themeSwitch() {
  const now = document.documentElement.dataset.theme || "auto";
  const select = make("select", {
    id: "theme",
    onchange: () => {
      if (select.value === "auto") {
        localStorage.removeItem("einthoven-theme");
        delete document.documentElement.dataset.theme;
      } else {
        localStorage.setItem("einthoven-theme", select.value);
        document.documentElement.dataset.theme = select.value;
      }
      document.dispatchEvent(new CustomEvent("theme"));
    },
  }, ...THEMES.map(([value, words]) => make("option", { value, selected: value === now }, words)));
  return make("span", {}, make("label", { for: "theme", class: "sr" }, "Colours"), select);
}

/** Build the header and give the session; who is not signed in is sent to sign in. */
export async function begin() {
  const session = await currentSession();
  if (!session) {
    toSignIn();
    return new Promise(() => {});
  }
  const links = PAGES.filter(([, , roles]) => roles.includes(session.role)).map(([path, words]) =>
    make("a", { href: path, "aria-current": location.pathname === path ? "page" : null }, words));
  const brand = make("span", { class: "brand" }, make("img", { src: "/pages/icon.svg", alt: "" }), "Einthoven");
  byId("top").replaceChildren(
    brand,
    make("nav", { "aria-label": "Pages" }, ...links),
    make("span", { class: "soft" }, `${session.user} (${session.role})`),
    themeSwitch(),
    make("button", { type: "button", id: "sign-out", onclick: signOut }, "Sign out"),
  );
  return session;
}

export function homeOf(session) {
  return ["admin", "auditor"].includes(session.role) ? "/operator" : "/";
}
