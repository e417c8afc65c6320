// What somebody does about an alert: acknowledge, assign, escalate, suppress, close. Two may do it at once; who
// comes second is told who was first, and when.
import { ask } from "./api.js";
import { calls, clock } from "./alerts.js";
import { byId, make, say } from "./elements.js";

export const ACTIONS = {
  acknowledge: { words: "Acknowledge", key: "a", roles: ["clinician", "technician"], may: (one) => !one.state.endsWith("-acknowledged") },
  assign: { words: "Assign", key: "m", roles: ["clinician", "technician"], may: () => true },
  escalate: { words: "Escalate", key: "e", roles: ["clinician", "technician"], may: calls },
  suppress: { words: "Suppress", key: "s", roles: ["clinician"], may: () => true },
  resume: { words: "Resume", key: "r", roles: ["clinician"], may: (one) => one.state.endsWith("suppressed") },
  close: { words: "Close", key: "x", roles: ["clinician"], may: (one) => !calls(one) },
};
const DONE = { acknowledge: "acknowledged", assign: "assigned", escalate: "escalated", suppress: "suppressed", resume: "resumed", close: "closed" };

const why = (isNeeded) => make("label", {}, isNeeded ? "Why" : "Why (may be left out)",
  make("textarea", { id: "why", rows: 2, maxlength: 500, required: isNeeded }));

const FIELDS = {
  assign: (session) => [
    make("label", {}, "To", make("input", { id: "to", value: session.user, required: true, pattern: "[a-z0-9][a-z0-9._\\-]{0,63}", autocapitalize: "none" })),
    why(false),
  ],
  escalate: () => [make("p", {}, "The next rung of the ladder is told at once."), why(false)],
  suppress: () => [
    make("label", {}, "For", make("select", { id: "minutes" },
      ...[[5, "5 minutes"], [15, "15 minutes"], [60, "an hour"], [240, "4 hours"], [1440, "a day"]].map(([value, words]) =>
        make("option", { value, selected: value === 15 }, words)))),
    why(true),
  ],
  close: () => [why(true)],
};

/** Ask what must be known; null if somebody thinks better of it. */
function asked(name, alert, session) {
  const dialog = byId("dialog");
  return new Promise((resolve) => {
    const form = make("form", { method: "dialog" },
      make("h2", { id: "dialog-title" }, `${ACTIONS[name].words}: ${alert.title}, ${alert.patient || "organisation"}`),
      ...FIELDS[name](session),
      make("menu", {},
        make("button", { type: "button", onclick: () => dialog.close("no") }, "Cancel"),
        make("button", { class: "primary", value: "yes" }, ACTIONS[name].words)));
    const onClose = () => {
      dialog.removeEventListener("close", onClose);
      if (dialog.returnValue !== "yes") return resolve(null);
      const body = { why: byId("why").value.trim() };
      if (name === "assign") body.to = byId("to").value.trim();
      if (name === "suppress") body.minutes = Number(byId("minutes").value);
      return resolve(body);
    };
    dialog.replaceChildren(form);
    dialog.returnValue = "no";
    dialog.addEventListener("close", onClose);
    dialog.showModal();
    form.querySelector("input, select, textarea").focus();
  });
}

/** Do it; the alert as it is then, or null. */
export async function perform(name, alert, session) {
  const action = ACTIONS[name];
  if (!action.roles.includes(session.role)) {
    say(`The role ${session.role} may not do this.`, true);
    return null;
  }
  const body = FIELDS[name] ? await asked(name, alert, session) : { why: "" };
  if (!body) return null;
  try {
    const after = await ask(`/v1/alerts/${alert.id}/${name}`, { method: "POST", body });
    say(`${alert.title} of ${alert.patient || "the organisation"}: ${DONE[name]}.`);
    return after;
  } catch (error) {
    if (error.status === 409) return conflict(name, alert, error);
    say(error.status === undefined ? "The service does not answer; nothing was done." : error.message, true);
    return null;
  }
}

async function conflict(name, alert, error) {
  const { alert: now, steps } = await ask(`/v1/alerts/${alert.id}`);
  const first = steps.findLast((step) => step.event === DONE[name]);
  say(first && first.number > alert.steps
    ? `${first.by} was faster: ${DONE[name]} at ${clock(first.at)}.`
    : `Not ${DONE[name]}: ${error.message}`, true);
  return now;
}
