// Questions to the service. The session is in a cookie that this script cannot read; what changes something
// carries the CSRF token too.

export class Refused extends Error {
  constructor(status, problem) {
    super([problem.what, problem.remedy].filter(Boolean).join(" "));
    this.status = status;
    this.code = problem.code || "";
  }
}

let csrf = "";

export async function ask(path, { method = "GET", body, headers = {} } = {}) {
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET" && csrf) headers["X-CSRF-Token"] = csrf;
  const answer = await fetch(path, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store",
  });
  if (answer.status === 401 && path !== "/v1/session" && path !== "/v1/setup") toSignIn();
  const text = await answer.text();
  let found = null;
  try { found = text ? JSON.parse(text) : null; } catch { found = { what: "the service's answer cannot be read." }; }
  if (!answer.ok) throw new Refused(answer.status, found || {});
  return found;
}

/** Who is signed in; null where nobody is. */
export async function currentSession() {
  try {
    const session = await ask("/v1/session");
    csrf = session.csrfToken;
    return session;
  } catch (error) {
    if (error.status === 401) return null;
    throw error;
  }
}

export async function signIn(organisation, name, password) {
  const session = await ask("/v1/session", { method: "POST", body: { organisation, name, password } });
  csrf = session.csrfToken;
  return session;
}

/** Make the first administrator, with the token that the service printed at its start. */
export async function setUp(token, name, password) {
  await ask("/v1/setup", { method: "POST", body: { name, password }, headers: { Authorization: `Bearer ${token}` } });
}

export async function signOut() {
  try { await ask("/v1/session", { method: "DELETE" }); } finally { toSignIn(); }
}

export function toSignIn() {
  if (location.pathname !== "/sign-in") {
    sessionStorage.setItem("einthoven-back", location.pathname + location.hash);
    location.assign("/sign-in");
  }
}
