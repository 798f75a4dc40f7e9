// What the pages can do with a script that they can't without: no reload for links and filters, texts on demand,
// new rounds as they come. Everything is fetched as the same pages that work without it.

import { localize } from "./locale.js";

const page = async (address) => {
  const answer = await fetch(address, { headers: { accept: "text/html" } });
  return new DOMParser().parseFromString(await answer.text(), "text/html");
};

const morph = (element, fresh, style = "outerHTML") =>
  Idiomorph.morph(element, fresh, {
    morphStyle: style,
    // A field that is typed in is left alone; for any other element it would mean that its text stays as it was.
    ignoreActiveValue: document.activeElement?.matches("input") ?? false,
    callbacks: {
      // What a reader opened stays open, and a drawn chart stays until it is drawn anew.
      beforeAttributeUpdated: (name, node) => !(name === "open" && node.tagName === "DETAILS"),
      beforeNodeMorphed: (node) => !node.classList?.contains("plot") || (copyAttributes(node, fresh), false),
    },
  });

function copyAttributes(node, fresh) {
  const other = fresh.querySelector?.(`#${CSS.escape(node.id)}`);
  for (const { name, value } of other?.attributes ?? []) node.setAttribute(name, value);
}

async function draw() {
  if (!document.querySelector("[data-from], [data-session-charts]")) return;
  const charts = await import("./charts.js");
  await charts.draw();
}

const shown = () => draw().catch((error) => console.warn(error));

// -- links and filters ------------------------------------------------------------------------------------------------

let latest = 0;

async function go(address, how) {
  const turn = ++latest;
  let fresh;
  try {
    fresh = await page(address);
  } catch {
    location.href = address;
    return;
  }
  if (turn !== latest) return; // a later request was faster
  localize(fresh);
  morph(document.getElementById("main"), fresh.getElementById("main"));
  document.title = fresh.title;
  if (how) history[how]({}, "", address);
  shown();
}

const plain = (event) => event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;

function addressOf(form) {
  const address = new URL(form.action);
  address.search = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
  return address.href;
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches("form[data-swap]")) return;
  event.preventDefault();
  go(addressOf(event.target), "pushState");
});

document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-swap]");
  if (form && event.target.matches("select")) go(addressOf(form), "pushState");
});

let typing;
document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-as-you-type]")) return;
  clearTimeout(typing);
  typing = setTimeout(() => go(addressOf(event.target.form), "replaceState"), 250);
});

addEventListener("popstate", () => go(location.href));

// -- texts on demand --------------------------------------------------------------------------------------------------

async function replaced(link) {
  const id = link.dataset.replace;
  const whole = (await page(link.href)).getElementById(id);
  const old = document.getElementById(id);
  if (!whole || !old) {
    location.href = link.href;
    return;
  }
  localize(whole);
  old.replaceWith(whole);
  whole.tabIndex = -1;
  whole.focus({ preventScroll: true });
}

async function older(link) {
  if (link.ariaBusy === "true") return;
  link.ariaBusy = "true";
  const fresh = await page(link.href);
  localize(fresh);
  const list = document.getElementById("rounds");
  for (const article of [...fresh.getElementById("rounds").children]) {
    if (!document.getElementById(article.id)) list.append(article);
  }
  document.getElementById("older").replaceWith(fresh.getElementById("older"));
  watchOlder();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || !plain(event)) return;
  let act;
  if (link.dataset.replace) act = () => replaced(link);
  else if ("older" in link.dataset) act = () => older(link);
  else if ("swap" in link.dataset) act = () => go(link.href, "pushState");
  if (!act) return;
  event.preventDefault();
  act().catch(() => (location.href = link.href));
});

const nearEnd = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) if (entry.isIntersecting) older(entry.target).catch(() => {});
  },
  { rootMargin: "300px" },
);

function watchOlder() {
  nearEnd.disconnect();
  const link = document.querySelector("a[data-older]");
  if (link) nearEnd.observe(link);
}

// -- live -------------------------------------------------------------------------------------------------------------

const AT_MOST_EVERY_MS = 2_000;
const FALLBACK_MS = 30_000;
let busy = false;
let again = false;
let last = 0;

/** Shows what is new on this page: figures in place, new rounds on top; nothing that was opened or loaded is lost. */
async function refresh() {
  if (document.hidden) return; // it is asked again when somebody looks
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  again = false;
  try {
    await new Promise((done) => setTimeout(done, Math.max(0, last + AT_MOST_EVERY_MS - performance.now())));
    last = performance.now();
    const turn = latest;
    const fresh = await page(location.href);
    if (turn !== latest) return; // the reader went elsewhere meanwhile
    localize(fresh);
    for (const element of document.querySelectorAll("[data-live-part]")) {
      const other = fresh.getElementById(element.id);
      if (other) morph(element, other);
    }
    const rows = document.querySelector("[data-live-rows]");
    const fetched = fresh.getElementById("rounds");
    if (rows && fetched) addRows(rows, fetched);
    indicate();
    shown();
  } catch {
    // The server is away for a moment; the next event or the fallback tries again.
  } finally {
    busy = false;
    if (again) refresh();
  }
}

function addRows(rows, fetched) {
  const known = [...fetched.children].some((article) => document.getElementById(article.id));
  const added = [...fetched.children].filter((article) => !document.getElementById(article.id));
  if (!added.length) return;
  if (!known) rows.replaceChildren(); // more came than a page holds
  const anchor = rows.firstElementChild;
  const top = anchor?.getBoundingClientRect().top ?? 0;
  for (const article of added) {
    article.classList.add("new");
    article.querySelector("details").open = false;
  }
  rows.prepend(...added);
  // Those who read further down keep the line that they read, in browsers without scroll anchoring as well.
  const moved = (anchor?.getBoundingClientRect().top ?? 0) - top;
  if (anchor && top < 0 && moved) scrollBy({ top: moved, behavior: "instant" });
}

let state = "";
function indicate(now = state) {
  state = now;
  const sign = document.getElementById("live");
  if (!sign || !state) return;
  sign.textContent = state === "live" ? sign.dataset.liveWords : sign.dataset.pollingWords;
  sign.classList.toggle("polling", state !== "live");
  sign.hidden = false;
}

function follow() {
  if (!document.querySelector("[data-live-part]")) return;
  const session = document.querySelector("[data-live-rows]") ? new URLSearchParams(location.search).get("id") : null;
  const address = document.body.dataset.live + (session ? `?id=${encodeURIComponent(session)}` : "");
  let events;
  // A browser opens six connections to a server; tabs that nobody looks at must not hold them all.
  const listen = () => {
    events?.close();
    if (document.hidden) return;
    events = new EventSource(address);
    events.addEventListener("open", () => indicate("live"));
    events.addEventListener("grown", refresh);
    events.addEventListener("error", () => indicate("polling"));
  };
  listen();
  document.addEventListener("visibilitychange", () => {
    listen();
    if (!document.hidden) refresh();
  });
  // Without events, and for what they do not tell, such as rounds without a session.
  setInterval(() => performance.now() - last >= FALLBACK_MS - 1_000 && refresh(), FALLBACK_MS);
}

// -- colours ----------------------------------------------------------------------------------------------------------

const theme = document.getElementById("theme");
theme.closest("label").hidden = false;
theme.value = document.documentElement.dataset.theme ?? "auto";
theme.addEventListener("change", () => {
  const picked = theme.value;
  if (picked === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = picked;
  try {
    localStorage.setItem("theme", picked);
  } catch {
    // It holds for this page then.
  }
  dispatchEvent(new Event("themechange"));
});

localize(document);
shown();
watchOlder();
follow();
