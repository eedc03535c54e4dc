"use strict";
// The search page: searches as you type, or for documents like a result; shows champion beside challenger, or beside
// the champion before; logs clicks.
// Text of a document is set as text content or as an image's URL, never as markup.

const K = 10, PAUSE_MS = 150, POLL_MS = 2000, SHORT = 8;
const byId = (id) => document.getElementById(id);
const input = byId("q"), columns = byId("columns");
const page = { routing: null, request: null, timer: 0, like: "", follow: false, status: null, roles: null };

async function fetchJson(path, options = {}) {
  const answer = await fetch(path, { credentials: "same-origin", ...options });
  const body = await answer.json().catch(() => ({}));
  if (answer.status === 401) location.assign("/");
  if (!answer.ok) throw Object.assign(new Error(body.detail || `the server answered ${answer.status}`), { status: answer.status });
  return body;
}

function showProblem(problem) {
  byId("problem").textContent = problem || "";
  byId("problem").hidden = !problem;
}

// --- routing

function chip(role, release) {
  const element = document.createElement("span");
  element.className = `chip ${role}`;
  const id = document.createElement("code");
  id.textContent = release.slice(0, SHORT);
  element.title = `${role} ${release}`;
  element.append(role, " ", id);
  return element;
}

function showRouting(status) {
  const chips = ["champion", "challenger"].filter((role) => status[role]).map((role) => chip(role, status[role]));
  const entry = document.createElement("span");
  entry.className = "entry";
  entry.textContent = status.entry ? `journal entry ${status.entry}` : "the journal is empty";
  byId("routing").replaceChildren(...chips, entry);
  byId("beside-label").hidden = Boolean(status.challenger) || !status.previous;
  showProblem(status.problem);
}

// The releases that answer, the older one first: what moves is told by it.
function chooseRoles() {
  if (!page.status) return;
  const { challenger, previous } = page.status;
  page.roles = challenger ? ["champion", "challenger"] : previous && byId("beside").checked ? ["previous", "champion"] : ["champion"];
  byId("sideways").hidden = page.roles.length === 1;
}

async function pollRouting() {
  try {
    const answer = await fetch("/readyz");
    const status = await answer.json();
    const key = JSON.stringify([status.entry, status.champion, status.challenger, status.previous, status.problem]);
    if (key !== page.routing) {
      const first = page.routing === null;
      page.routing = key;
      page.status = status;
      showRouting(status);
      chooseRoles();
      if (!first || input.value || page.like) search();
    }
  } catch {
    page.routing = "";
    showProblem("the server does not answer; trying again");
  }
}

// --- results

function movement(position, before, role) {
  if (before === undefined) return ["added", "new", `not among the ${role}'s results`];
  const gain = before - position;
  if (gain === 0) return ["", "", ""];
  return gain > 0 ? ["up", `▲ ${gain}`, `${gain} higher than the ${role}'s`] : ["down", `▼ ${-gain}`, `${-gain} lower than the ${role}'s`];
}

function stagesText(stages) {
  const place = ([stage, found]) => `${stage.replace("_", " ")} ${found ? `#${found.position} (${found.score.toFixed(3)})` : "–"}`;
  return Object.entries(stages).map(place).join(" · ");
}

function termsText(terms) {
  const part = ([name, term]) => {
    const sign = term.score < 0 ? "−" : "+";
    return `${name} ${sign}${Math.abs(term.score).toFixed(3)}${term.value === null ? " (default)" : ""}`;
  };
  return Object.entries(terms).map(part).join(" · ");
}

function resultRow(result, answer, move) {
  const row = byId("result").content.cloneNode(true).firstElementChild;
  const part = (name) => row.querySelector(name);
  const button = part("button"), picture = part("img"), like = part(".like");
  part(".position").textContent = result.position;
  part(".title").textContent = result.title;
  part(".segment").textContent = result.segment;
  part(".number").textContent = result.score.toFixed(3);
  part("meter").value = Math.max(0, result.score) / Math.max(1, answer.results[0].score);
  part("meter").title = `score ${result.score}`;
  part(".stages").hidden = !result.stages;
  part(".stages").textContent = result.stages ? stagesText(result.stages) : "";
  if (result.terms) part(".stages").textContent += ` · blend of ${termsText(result.terms)}`;
  const [kind, mark, meaning] = move;
  part(".move").className = `move ${kind}`;
  part(".move").textContent = mark;
  part(".move").title = meaning;
  button.dataset.document = result.id;
  button.dataset.move = kind;
  if (result.picture.startsWith("/v1/pictures/")) picture.src = result.picture;
  else picture.remove();
  like.href = fragmentOf({ like: result.id });
  like.title = `More like this: ${result.title}`;
  like.setAttribute("aria-label", like.title);
  picture.addEventListener("error", () => picture.remove());
  button.addEventListener("click", () => logClick(button, answer.request_id, result));
  return row;
}

function columnOf(role, answer, first) {
  const column = byId("column").content.cloneNode(true).firstElementChild;
  column.classList.add(role);
  column.setAttribute("aria-label", `${role}'s results`);
  column.querySelector(".role").textContent = role;
  column.querySelector(".release").textContent = answer.missing ? "does not have it" : answer.release.slice(0, SHORT);
  const before = new Map(first.results.map((result) => [result.id, result.position]));
  const moveOf = (result) => (answer === first ? ["", "", ""] : movement(result.position, before.get(result.id), page.roles[0]));
  column.querySelector("ol").replaceChildren(...answer.results.map((result) => resultRow(result, answer, moveOf(result))));
  return column;
}

function markRemoved(second) {
  const kept = new Set(second.results.map((result) => result.id));
  for (const button of columns.querySelectorAll(`.${page.roles[0]} .result`)) {
    if (kept.has(button.dataset.document)) continue;
    const move = button.querySelector(".move");
    [move.className, move.textContent, move.title] = ["move gone", "gone", `not among the ${page.roles[1]}'s results`];
    button.dataset.move = "gone";
  }
}

function show(answers) {
  const [first, second] = answers;
  columns.replaceChildren(...answers.map((answer, number) => columnOf(page.roles[number], answer, first)));
  columns.classList.toggle("two", answers.length > 1);
  byId("welcome").hidden = true;
  byId("explain-label").hidden = false;
  const { query, like, results } = answers.find((answer) => !answer.missing);
  let status = `${results.length} results ${query ? `for “${query}”` : `like “${like.map((document) => document.title).join(", ")}”`}`;
  if (second && !first.missing && !second.missing) {
    markRemoved(second);
    const moved = columns.querySelectorAll(`.${page.roles[1]} .result:not([data-move=""])`).length;
    status += moved ? ` · the ${page.roles[1]} moves ${moved} of them` : " · both rank them alike";
  }
  byId("status").textContent = status;
  if (page.follow) columns.querySelector(".result")?.focus(); // the link that had the focus is gone
  page.follow = false;
}

function clear() {
  columns.replaceChildren();
  byId("status").textContent = "";
  byId("welcome").hidden = false;
  byId("explain-label").hidden = true;
}

async function search() {
  page.request?.abort();
  const request = (page.request = new AbortController());
  const query = input.value.trim(), text = page.like || query;
  const parameters = page.like ? { like: page.like } : { q: query };
  history.replaceState(null, "", text ? fragmentOf(parameters) : location.pathname);
  if (!text || !page.roles) return text || clear();
  const searchIn = (role) =>
    fetchJson(`/v1/search?${new URLSearchParams({ ...parameters, k: K, release: role, explain: byId("explain").checked })}`, { signal: request.signal }).catch((error) => {
      if (!page.like || error.status !== 404) throw error;
      return { missing: error, results: [] }; // a document that only one of the two releases has
    });
  try {
    const answers = await Promise.all(page.roles.map(searchIn));
    if (answers.every((answer) => answer.missing)) throw answers[0].missing;
    if (!request.signal.aborted) {
      show(answers);
      if (page.failed) page.failed = showProblem("");
    }
  } catch (error) {
    if (error.name === "AbortError") return;
    page.failed = true;
    showProblem(error.message);
  }
}

async function logClick(button, request_id, result) {
  const click = { request_id, document: result.id, position: result.position };
  try {
    await fetchJson("/v1/clicks", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(click),
    });
    button.classList.add("chosen");
    byId("status").textContent = `${result.title} chosen`;
  } catch (error) {
    showProblem(error.message);
  }
}

// --- keys

function moveFocus(key, from) {
  const lists = [...columns.querySelectorAll("ol")].map((list) => [...list.querySelectorAll(".result")]);
  const column = Math.max(0, lists.findIndex((list) => list.includes(from)));
  const row = lists[column]?.indexOf(from) ?? -1;
  const to = {
    ArrowDown: () => lists[column]?.[row + 1],
    ArrowUp: () => (row > 0 ? lists[column][row - 1] : input),
    ArrowRight: () => lists[column + 1]?.[Math.min(row, lists[column + 1].length - 1)],
    ArrowLeft: () => lists[column - 1]?.[Math.min(row, lists[column - 1].length - 1)],
  }[key]();
  to?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const from = event.target, onResult = from.classList?.contains("result");
  if ((event.key === "/" && from !== input) || (event.key === "Escape" && onResult)) {
    event.preventDefault();
    input.focus();
    input.select();
  } else if (event.key === "ArrowDown" && from === input) {
    event.preventDefault();
    moveFocus("ArrowDown", null);
  } else if (onResult && event.key === "e") {
    event.preventDefault();
    byId("explain").click();
  } else if (onResult && event.key === "m") {
    event.preventDefault();
    from.nextElementSibling.click();
  } else if (onResult && event.key.startsWith("Arrow")) {
    event.preventDefault();
    moveFocus(event.key, from);
  }
});

byId("explain").addEventListener("change", () => search());
byId("beside").addEventListener("change", () => {
  chooseRoles();
  search();
});

input.addEventListener("input", () => {
  clearTimeout(page.timer);
  page.like = "";
  page.timer = setTimeout(search, PAUSE_MS);
});
byId("query").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(page.timer);
  search();
});

// --- the URL's fragment: a query or a document, and what stands beside, so that links, Back and Reload work

function fragmentOf(parameters) {
  return `#${new URLSearchParams(byId("beside").checked ? { ...parameters, beside: "previous" } : parameters)}`;
}

function readFragment() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  input.value = parameters.get("q") || "";
  page.like = parameters.get("like") || "";
  byId("beside").checked = parameters.get("beside") === "previous";
}

addEventListener("hashchange", () => {
  readFragment();
  chooseRoles();
  page.follow = page.like !== "";
  search();
});

readFragment();
pollRouting();
setInterval(() => document.hidden || pollRouting(), POLL_MS);
