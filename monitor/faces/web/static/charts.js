// Charts: stacked columns over steps of time or over rounds, drawn by uPlot from the figures that the page has as text.

import { compact, moment, money, whole } from "./locale.js";

const COLOURS = { cached: "--cached", fresh: "--fresh", answer: "--output", reasoning: "--reasoning" };
const FONT = "12px system-ui, sans-serif";
const drawn = new Map();
let loading;

/** uPlot, fetched when the first chart is needed. */
function library() {
  loading ??= new Promise((done, failed) => {
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = document.body.dataset.chartStyle;
    const script = document.createElement("script");
    script.src = document.body.dataset.chartCode;
    script.onload = () => done(window.uPlot);
    script.onerror = () => failed(new Error("the chart library was not loaded"));
    document.head.append(style, script);
  });
  return loading;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);

/** A real colour: canvas does not know light-dark() and variables. */
function resolved(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found || colour(name);
}

/** The columns of the table `id` by the keys in its head; what is unknown is null. */
function columns(id) {
  const table = document.getElementById(id);
  const keys = [...table.tHead.rows[0].cells].map((cell) => cell.dataset.key ?? "label");
  const found = Object.fromEntries(keys.map((key) => [key, []]));
  for (const row of table.tBodies[0].rows) {
    keys.forEach((key, at) => {
      const text = row.cells[at].textContent.trim();
      found[key].push(key === "label" ? text : text === "–" ? null : Number(text));
    });
  }
  return found;
}

const less = (whole, part) => whole.map((value, at) => (value === null ? null : Math.max(0, value - (part[at] ?? 0))));

/** The four parts of a round's tokens, which do not overlap as the counts themselves do. */
function parts(of) {
  return { cached: of.cached, fresh: less(of.input, of.cached), answer: less(of.output, of.reasoning), reasoning: of.reasoning };
}

function seconds(label, step) {
  const full = step === "month" ? `${label}-01` : step === "hour" ? `${label}:00` : label;
  return Date.parse(`${full.length === 10 ? `${full}T00:00` : full}:00Z`) / 1000;
}

/** Sums from the first series up to each, which is how columns are stacked. */
function stacked(series) {
  const sums = [];
  series.forEach((values, at) => {
    sums.push(values.map((value, index) => (value ?? 0) + (at ? sums[at - 1][index] : 0)));
  });
  return sums;
}

function measured(context, text) {
  context.save();
  context.font = FONT;
  const { width } = context.measureText(text);
  context.restore();
  return width;
}

/** At most `most` of the steps within [low, high], evenly apart, the last one among them. */
function thinned(steps, low, high, most) {
  const within = steps.filter((at) => at >= low && at <= high);
  const every = Math.ceil(within.length / Math.max(1, Math.floor(most)));
  return within.filter((_, at) => (within.length - 1 - at) % every === 0);
}

async function plot(element, { x, names, values, labels, shown, time, step, pick }) {
  const uPlot = await library();
  if (!element.isConnected) return;
  const before = drawn.get(element.id);
  before?.chart.destroy();
  element.replaceChildren();
  const sums = stacked(values);
  const quiet = resolved("--quiet");
  const line = resolved("--line");
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  const dense = x.length > 180;
  const widest = { month: 2_419_200, day: 86_400, hour: 3_600 }[step] ?? 1;
  const fill = (name) => resolved(COLOURS[name] ?? "--fresh");
  const axis = { stroke: quiet, font: FONT, grid: { stroke: line, width: 1 }, ticks: { show: false, size: 0 }, gap: 6 };
  // The tallest column is drawn first, so that each shows only its own part above the one before it.
  const order = names.map((_, at) => names.length - 1 - at);
  const options = {
    width: element.clientWidth - 14,
    height: element.clientHeight - 14,
    padding: [8, 20, 0, 0],
    legend: { show: false },
    tzDate: (ts) => uPlot.tzDate(new Date(ts * 1000), "UTC"),
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: {
      x: { time, range: (_, low, high) => [low - widest / 2, high + widest / 2] },
      y: { range: (_, low, high) => [0, high > 0 ? high * 1.05 : 1] },
    },
    axes: [
      {
        ...axis,
        size: 24,
        grid: { show: false },
        splits: time ? (_, _axis, low, high) => thinned(x, low, high, element.clientWidth / 86) : undefined,
        values: (_, ticks) => ticks.map((n) => (time ? moment(n, step) : Number.isInteger(n) ? whole(n) : "")),
      },
      {
        ...axis,
        size: (chart, texts) => 10 + Math.max(24, ...(texts ?? []).map((text) => measured(chart.ctx, text))),
        space: 28,
        values: (_, ticks) => ticks.map((value) => shown(value, true)),
      },
    ],
    series: [
      {},
      ...order.map((at) => ({
        stroke: fill(names[at]),
        fill: fill(names[at]),
        width: 0,
        points: { show: false },
        paths: dense ? uPlot.paths.stepped({ align: 1 }) : uPlot.paths.bars({ size: [0.78, 48, 1], radius: 0 }),
      })),
    ],
    hooks: {
      setCursor: [
        (chart) => {
          const at = chart.cursor.idx;
          tip.hidden = at === null || at === undefined;
          if (tip.hidden) return;
          const rows = names.map((name, index) => [name, values[index][at]]).filter(([, value]) => value !== null);
          tip.textContent = [labels(at), ...rows.map(([name, value]) => `${element.dataset[`word${name}`] ?? ""} ${shown(value, false)}`.trim())].join("\n");
          const left = chart.bbox.left / devicePixelRatio + chart.cursor.left;
          const right = left > element.clientWidth / 2;
          tip.style.left = right ? "" : `${left + 14}px`;
          tip.style.right = right ? `${element.clientWidth - left + 8}px` : "";
        },
      ],
    },
  };
  const chart = new uPlot(options, [x, ...order.map((at) => sums[at])], element);
  element.append(tip);
  if (pick) {
    chart.over.style.cursor = "pointer";
    chart.over.addEventListener("click", () => chart.cursor.idx !== null && pick(chart.cursor.idx));
  }
  drawn.set(element.id, { chart, element });
}

function words(element, legend) {
  const names = ["cached", "fresh", "answer", "reasoning"];
  legend?.querySelectorAll("li").forEach((item, at) => (element.dataset[`word${names[at]}`] = item.textContent));
}

function fromTable(element) {
  const table = columns(element.dataset.from);
  const { step, currency } = element.dataset;
  const kept = table.label.map((label, at) => [label, at]).filter(([label]) => !Number.isNaN(seconds(label, step)));
  const all = { ...table, ...parts(table) };
  const names = element.dataset.series.split(" ");
  words(element, element.parentElement.querySelector(".legend"));
  return plot(element, {
    x: kept.map(([label]) => seconds(label, step)),
    names,
    values: names.map((name) => kept.map(([, at]) => all[name][at])),
    labels: (at) => moment(seconds(kept[at][0], step), step, true),
    shown: currency ? (value, axis) => money(value, currency, axis ? 2 : 4) : (value) => compact(value),
    time: true,
    step,
  });
}

async function fromSession(section) {
  const answer = await fetch(section.dataset.sessionCharts);
  if (!answer.ok) return;
  const found = await answer.json();
  section.hidden = found.round.length < 2;
  if (section.hidden) return;
  const pick = (at) => {
    const article = document.getElementById(`r-${found.ids[at]}`);
    if (!article) {
      location.href = `${section.dataset.roundPage}&round_id=${found.ids[at]}`;
      return;
    }
    const details = article.querySelector("details");
    details.open = true;
    details.querySelector("summary").focus({ preventScroll: true });
    article.scrollIntoView({ block: "start", behavior: "instant" });
  };
  const common = { x: found.round, labels: (at) => `#${whole(found.round[at])}`, time: false, pick };
  const tokens = section.querySelector(".plot");
  words(tokens, section.querySelector(".legend"));
  const split = parts(found);
  const names = Object.keys(split);
  await plot(tokens, { ...common, names, values: names.map((name) => split[name]), shown: (value) => compact(value) });
  for (const [currency, costs] of Object.entries(found.cost)) {
    const id = `plot-cost-${currency}`;
    let element = document.getElementById(id);
    if (!element) {
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      caption.textContent = section.dataset.costWords.replace("{currency}", currency);
      element = document.createElement("div");
      element.id = id;
      element.className = "plot low";
      element.setAttribute("role", "img");
      element.setAttribute(
        "aria-label",
        section.dataset.summaryWords.replace("{what}", caption.textContent).replace("{count}", whole(found.round.length)),
      );
      figure.append(caption, element);
      section.append(figure);
    }
    await plot(element, { ...common, names: ["fresh"], values: [costs], shown: (value, axis) => money(value, currency, axis ? 3 : 6) });
  }
}

/** Draws every chart of the page anew. */
export async function draw() {
  for (const [id, { chart, element }] of drawn) {
    if (!element.isConnected) {
      chart.destroy();
      drawn.delete(id);
    }
  }
  await Promise.all([
    ...[...document.querySelectorAll(".plot[data-from]")].map(fromTable),
    ...[...document.querySelectorAll("[data-session-charts]")].map(fromSession),
  ]);
}

const redraw = () => draw().catch((error) => console.warn(error));
let waiting;
addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(redraw, 150);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
addEventListener("themechange", redraw);
