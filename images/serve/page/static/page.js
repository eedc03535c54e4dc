"use strict";
// The search page: asks the server as you type, or for what is like a result; shows champion beside challenger, tells
// what was chosen.
// Whatever comes from a document is set as text or as an image's address, never as markup.

const K = 10, PAUSE_MS = 150, LOOK_MS = 2000, SHORT = 8;
const by = (id) => document.getElementById(id);
const input = by("q"), columns = by("columns");
const page = { routing: null, asking: null, timer: 0, like: "", follow: false };

async function fetchJson(path, options = {}) {
  const answer = await fetch(path, { credentials: "same-origin", ...options });
  const body = await answer.json().catch(() => ({}));
  if (answer.status === 401) location.assign("/");
  if (!answer.ok) throw Object.assign(new Error(body.error || `the server answered ${answer.status}`), { status: answer.status });
  return body;
}

function tell(problem) {
  by("problem").textContent = problem || "";
  by("problem").hidden = !problem;
}

// --- who serves

function chip(role, release) {
  const made = document.createElement("span");
  made.className = `chip ${role}`;
  const id = document.createElement("code");
  id.textContent = release.slice(0, SHORT);
  made.title = `${role} ${release}`;
  made.append(role, " ", id);
  return made;
}

function showRouting(said) {
  const chips = ["champion", "challenger"].filter((role) => said[role]).map((role) => chip(role, said[role]));
  const entry = document.createElement("span");
  entry.className = "entry";
  entry.textContent = said.entry ? `journal entry ${said.entry}` : "the journal is empty";
  by("routing").replaceChildren(...chips, entry);
  by("sideways").hidden = !said.challenger;
  tell(said.problem);
}

async function look() {
  try {
    const answer = await fetch("/readyz");
    const said = await answer.json();
    const key = JSON.stringify([said.entry, said.champion, said.challenger, said.problem]);
    const moved = key !== page.routing;
    if (moved) {
      const first = page.routing === null;
      page.routing = key;
      showRouting(said);
      page.roles = said.challenger ? ["champion", "challenger"] : ["champion"];
      if (!first || input.value || page.like) search();
    }
  } catch {
    page.routing = "";
    tell("the server does not answer; trying again");
  }
}

// --- results

function movement(position, before) {
  if (before === undefined) return ["added", "new", "not among the champion's results"];
  const by_ = before - position;
  if (by_ === 0) return ["", "", ""];
  return by_ > 0 ? ["up", `▲ ${by_}`, `${by_} higher than the champion's`] : ["down", `▼ ${-by_}`, `${-by_} lower than the champion's`];
}

function resultRow(result, answer, move) {
  const row = by("result").content.cloneNode(true).firstElementChild;
  const part = (name) => row.querySelector(name);
  const button = part("button"), picture = part("img"), like = part(".like");
  part(".position").textContent = result.position;
  part(".title").textContent = result.title;
  part(".segment").textContent = result.segment;
  part(".number").textContent = result.score.toFixed(3);
  part("meter").value = Math.max(0, result.score);
  part("meter").title = `cosine ${result.score}`;
  const [kind, mark, meaning] = move;
  part(".move").className = `move ${kind}`;
  part(".move").textContent = mark;
  part(".move").title = meaning;
  button.dataset.document = result.id;
  button.dataset.move = kind;
  if (result.picture.startsWith("/v1/pictures/")) picture.src = result.picture;
  else picture.remove();
  like.href = `#${new URLSearchParams({ like: result.id })}`;
  like.title = `More like this: ${result.title}`;
  like.setAttribute("aria-label", like.title);
  picture.addEventListener("error", () => picture.remove());
  button.addEventListener("click", () => choose(button, answer.request_id, result));
  return row;
}

function columnOf(role, answer, champion) {
  const column = by("column").content.cloneNode(true).firstElementChild;
  column.classList.add(role);
  column.setAttribute("aria-label", `${role}'s results`);
  column.querySelector(".role").textContent = role;
  column.querySelector(".release").textContent = answer.missing ? "does not have it" : answer.release.slice(0, SHORT);
  const before = new Map(champion.results.map((result) => [result.id, result.position]));
  const moveOf = (result) => (role === "champion" ? ["", "", ""] : movement(result.position, before.get(result.id)));
  column.querySelector("ol").replaceChildren(...answer.results.map((result) => resultRow(result, answer, moveOf(result))));
  return column;
}

function markLost(champion, challenger) {
  const kept = new Set(challenger.results.map((result) => result.id));
  for (const button of columns.querySelectorAll(".champion .result")) {
    if (kept.has(button.dataset.document)) continue;
    const move = button.querySelector(".move");
    [move.className, move.textContent, move.title] = ["move gone", "gone", "not among the challenger's results"];
    button.dataset.move = "gone";
  }
}

function show(answers) {
  const [champion, challenger] = answers;
  columns.replaceChildren(...answers.map((answer, number) => columnOf(page.roles[number], answer, champion)));
  columns.classList.toggle("two", answers.length > 1);
  by("welcome").hidden = true;
  const { query, like, results } = answers.find((answer) => !answer.missing);
  let said = `${results.length} results ${query ? `for “${query}”` : `like “${like.map((one) => one.title).join(", ")}”`}`;
  if (challenger && !champion.missing && !challenger.missing) {
    markLost(champion, challenger);
    const moved = columns.querySelectorAll('.challenger .result:not([data-move=""])').length;
    said += moved ? ` · the challenger moves ${moved} of them` : " · both rank them alike";
  }
  by("said").textContent = said;
  if (page.follow) columns.querySelector(".result")?.focus(); // the link that was followed is gone
  page.follow = false;
}

function clear() {
  columns.replaceChildren();
  by("said").textContent = "";
  by("welcome").hidden = false;
}

async function search() {
  page.asking?.abort();
  const asking = (page.asking = new AbortController());
  const query = input.value.trim(), given = page.like || query;
  const wanted = page.like ? { like: page.like } : { q: query };
  history.replaceState(null, "", given ? `#${new URLSearchParams(wanted)}` : location.pathname);
  if (!given || !page.roles) return given || clear();
  const ask = (role) =>
    fetchJson(`/v1/search?${new URLSearchParams({ ...wanted, k: K, release: role })}`, { signal: asking.signal }).catch((error) => {
      if (!page.like || error.status !== 404) throw error;
      return { missing: error, results: [] }; // a document that only one of the two releases has
    });
  try {
    const answers = await Promise.all(page.roles.map(ask));
    if (answers.every((answer) => answer.missing)) throw answers[0].missing;
    if (!asking.signal.aborted) {
      show(answers);
      if (page.failed) page.failed = tell("");
    }
  } catch (error) {
    if (error.name === "AbortError") return;
    page.failed = true;
    tell(error.message);
  }
}

async function choose(button, request_id, result) {
  const click = { request_id, document: result.id, position: result.position };
  try {
    await fetchJson("/v1/clicks", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(click),
    });
    button.classList.add("chosen");
    by("said").textContent = `${result.title} chosen`;
  } catch (error) {
    tell(error.message);
  }
}

// --- keys

function walk(key, from) {
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
  const from = event.target, walking = from.classList?.contains("result");
  if ((event.key === "/" && from !== input) || (event.key === "Escape" && walking)) {
    event.preventDefault();
    input.focus();
    input.select();
  } else if (event.key === "ArrowDown" && from === input) {
    event.preventDefault();
    walk("ArrowDown", null);
  } else if (walking && event.key === "m") {
    event.preventDefault();
    from.nextElementSibling.click();
  } else if (walking && event.key.startsWith("Arrow")) {
    event.preventDefault();
    walk(event.key, from);
  }
});

input.addEventListener("input", () => {
  clearTimeout(page.timer);
  page.like = "";
  page.timer = setTimeout(search, PAUSE_MS);
});
by("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(page.timer);
  search();
});

// --- the address: words or a document, so that links, Back and Reload work

function read() {
  const asked = new URLSearchParams(location.hash.slice(1));
  input.value = asked.get("q") || "";
  page.like = asked.get("like") || "";
}

addEventListener("hashchange", () => {
  read();
  page.follow = page.like !== "";
  search();
});

read();
look();
setInterval(() => document.hidden || look(), LOOK_MS);
