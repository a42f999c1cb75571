/* Makes the charts from the picture and keeps the legend and the ledger at the moment pointed at. Nothing is ever requested. */
"use strict";

const byId = (id) => document.getElementById(id);
const picture = JSON.parse(byId("picture").textContent);
const { times, bands, cone } = picture;
const last = times.length - 1;
const inPicture = (name) => name in picture;
const held = () => charts.some((chart) => chart.cursor._lock);

const hidden = new Set();
const layers = bands.map(() => ({ bottom: [], top: [] }));
const charts = [];
let current = last;

/* ----- the stack ----- */

/** Puts each layer that is shown on those below it. A layer that is not known is left out, and nothing stands in its place. */
function stack() {
  const height = new Array(times.length).fill(0);
  bands.forEach((band, place) => {
    const off = hidden.has(String(place));
    layers[place].bottom = height.slice();
    layers[place].top = band.values.map((value, index) => (off || value === null ? null : (height[index] += value)));
  });
  return [times, ...layers.map((layer) => layer.top), ...["total", "available"].filter(inPicture).map((name) => picture[name])];
}

function toggle(row) {
  const { key } = row.dataset;
  const show = hidden.delete(key) || !hidden.add(key);
  row.classList.toggle("off", !show);
  row.querySelector("button").setAttribute("aria-pressed", String(show));
  for (const chart of charts) {
    const series = chart.series.findIndex((each) => each.key === key);
    if (series > 0) {
      chart.batch(() => {
        if (chart === charts[0]) {
          chart.setData(stack(), false);
        }
        chart.setSeries(series, { show });
      });
    }
  }
}

/* ----- the time shown ----- */

const span = times[last] - times[0];
const ahead = cone ? Math.max(0, Math.min((cone.high ?? cone.middle) - times[last], 0.4 * span)) : 0;
const whole = span ? [times[0], times[last] + ahead] : [times[0] - 300, times[0] + 300];

/** A window no longer than the whole and no shorter than a second, within the whole. */
function bounded(min, max) {
  const length = Math.min(Math.max(max - min, 1), whole[1] - whole[0]);
  const start = Math.min(Math.max(min, whole[0]), whole[1] - length);
  return [start, start + length];
}

function showTime(min, max) {
  [min, max] = bounded(min, max);
  for (const chart of charts) {
    const { x } = chart.scales;
    if (x.min !== min || x.max !== max) {
      chart.batch(() => chart.setScale("x", { min, max }));
    }
  }
}

/** Makes the window so many times as long around a time: the moment pointed at if it is seen. */
function zoom(factor, around = times[current]) {
  const { min, max } = charts[0].scales.x;
  const middle = around >= min && around <= max ? around : (min + max) / 2;
  showTime(middle - (middle - min) * factor, middle + (max - middle) * factor);
}

/* ----- the moment pointed at ----- */

function write(row, cells) {
  cells.forEach((text, place) => (row.cells[place + 1].textContent = text));
}

function point(index) {
  current = index;
  const total = picture.total?.[index] ?? null;
  byId("when").textContent = stamp(times[index]) + (held() ? " (held, click lets go)" : "");
  byId("charts").classList.toggle("held", held());
  for (const row of byId("legend").rows) {
    const { key } = row.dataset;
    const value = (bands[key]?.values ?? picture[key])[index];
    const known = value !== null;
    if (key.startsWith("psi")) {
      write(row, [known ? percent(value) : "not known"]);
    } else {
      write(row, [known ? size(value) : "not known", key === "swap_used" ? "" : share(value, total)]);
    }
  }
  showLedger(index);
}

/** What explain said last before the moment pointed at. */
function showLedger(index) {
  const [at, said, rows] = picture.moments.findLast((moment) => moment[0] <= index) ?? [null, [], []];
  if (byId("ledger").dataset.at === String(at)) {
    return;
  }
  byId("ledger").dataset.at = at;
  byId("ledger-when").textContent = at === null ? "No ledger at this moment or before it." : stamp(times[at]);
  const copy = (template) => byId(template).content.firstElementChild.cloneNode(true);
  byId("said").replaceChildren(...said.map((word) => {
    const sentence = copy("sentence");
    sentence.textContent = picture.words[word];
    return sentence;
  }));
  const total = at === null ? null : (picture.total?.[at] ?? null);
  byId("ledger").replaceChildren(...rows.map(([word, bytes, culprit]) => {
    const row = copy("row");
    row.className = culprit ? "culprit" : "";
    const name = picture.words[word];
    row.cells[0].textContent = name.trim();
    row.cells[0].classList.toggle("within", name.startsWith(" "));
    row.cells[1].textContent = size(bytes);
    row.cells[2].textContent = share(bytes, total);
    row.querySelector("rect").setAttribute("width", total ? `${Math.min(100, Math.max(0, (100 * bytes) / total))}%` : "0");
    return row;
  }));
}

/** Moves the cursor to a moment, and the window if that is not seen. */
function goTo(index) {
  const target = Math.min(Math.max(index, 0), last);
  const { min, max } = charts[0].scales.x;
  if (times[target] < min || times[target] > max) {
    showTime(times[target] - (max - min) / 2, times[target] + (max - min) / 2);
  }
  charts[0].setCursor({ left: charts[0].valToPos(times[target], "x"), top: 1 });
  point(target);
}

/* ----- the charts ----- */

const MOST_OF_CHART = { height: 0.48, least: 320, most: 500 };
const memoryHeight = () => Math.min(Math.max(byId("charts").clientWidth * MOST_OF_CHART.height, MOST_OF_CHART.least), MOST_OF_CHART.most);
const panelHeight = () => 100;
const lowestHeight = () => 132;
const line = (key, look) => ({ key, scale: "y", stroke: INK, width: 1.5, points: { show: false, size: 5, filter: loneMoments }, ...look });
const drawn = (...lines) => lines.filter(({ key }) => inPicture(key));
const SIZES = { incrs: Array.from({ length: 50 }, (_, power) => 2 ** power), values: sizeLabels };

/** Times are written below the first and the last chart; height is a function of nothing, asked anew when the page's width changes. */
function addChart(title, height, data, series, yAxis, yRange, drawOver) {
  const first = !charts.length;
  byId("charts").appendChild(document.createElement("h3")).textContent = title;
  const grid = { stroke: "rgba(29, 35, 43, .09)", width: 1 };
  const chart = new uPlot({
    width: byId("charts").clientWidth,
    height: height(),
    padding: [first && picture.marks.length ? MARK_ROW * MARK_ROWS + 4 : 8, 26, 0, 0],
    legend: { show: false },
    drawOrder: ["series", "axes"],
    series: [{}, ...series],
    scales: { x: { auto: false, min: whole[0], max: whole[1], range: (_, min, max) => bounded(min, max) }, y: { range: yRange } },
    axes: [{ values: height === panelHeight ? () => [] : timeLabels, size: height === panelHeight ? 10 : 50, space: 64, stroke: INK, grid, ticks: grid }, { size: 64, stroke: INK, grid, ticks: grid, ...yAxis }],
    cursor: {
      sync: { key: "time", scales: ["x", null] }, lock: true, y: false, points: { show: false },
      drag: { x: true, y: false, dist: 5 }, bind: { dblclick: () => () => showTime(...whole) },
    },
    hooks: {
      draw: [(self) => drawMarks(self, picture.marks, first), ...drawOver],
      setScale: [(self, key) => key === "x" && charts.includes(self) && showTime(self.scales.x.min, self.scales.x.max)],
      setCursor: [(self) => self === charts[0] && self.cursor.idx !== null && self.cursor.idx !== undefined && point(self.cursor.idx)],
    },
  }, data, byId("charts"));
  chart.wantedHeight = height;
  charts.push(chart);
}

/** What must not be lost where there are more moments than dots: the least that was available, and the most the culprit held. */
const peaks = [...(picture.available ? [picture.available.map((value) => (value === null ? null : -value))] : []),
  ...bands.filter((band) => band.culprit).map((band) => band.values)];

function addCharts() {
  const areas = bands.map((band, place) => line(String(place), {
    stroke: "#fff", width: 1, fill: band.colour, paths: areaOf(layers[place], peaks), points: { show: false } }));
  addChart("Memory", memoryHeight, stack(), [...areas, ...drawn(line("total", { width: 2.5 }), line("available", { width: 2, dash: [8, 4] }))],
    SIZES, (_, min, max) => [0, 1.03 * max || 1024 ** 3], [
      (self) => drawNames(self, bands, layers, picture.culprit, picture.grew),
      (self) => cone && !hidden.has("available") && drawCone(self, cone),
    ]);
  const pressure = drawn(line("psi_some", { stroke: "#7d8791", fill: "rgba(125, 135, 145, .2)" }), line("psi_full", { width: 2 }));
  if (pressure.length) {
    addChart("Waiting for memory (PSI): some (grey), full (black)", inPicture("swap_used") ? panelHeight : lowestHeight, [times, ...pressure.map(({ key }) => picture[key])], pressure,
      { values: (_, splits) => splits.map((value) => `${value}%`) }, (_, min, max) => [0, Math.max(10, 1.1 * max)], []);
  }
  if (inPicture("swap_used")) {
    addChart("Swap used", lowestHeight, [times, picture.swap_used], [line("swap_used", { fill: "rgba(29, 35, 43, .12)" })],
      SIZES, (_, min, max) => [0, 1.1 * max || 1024 ** 2], []);
  }
}

function fit(width) {
  charts.forEach((chart) => chart.setSize({ width, height: chart.wantedHeight() }));
}

/* ----- hands ----- */

const PAGE = Math.max(1, Math.round(times.length / 20));
const KEYS = {
  ArrowLeft: () => goTo(current - 1), ArrowRight: () => goTo(current + 1), PageUp: () => goTo(current - PAGE), PageDown: () => goTo(current + PAGE),
  Home: () => goTo(0), End: () => goTo(last), "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => showTime(...whole),
  Escape: () => showTime(...whole),
};

function listenToKeys(event) {
  if (KEYS[event.key] && !event.ctrlKey && !event.altKey && !event.metaKey) {
    event.preventDefault();
    KEYS[event.key]();
  }
}

/** One finger points, two fingers zoom, two taps show the whole; up and down still scrolls the page. */
function listenToFingers(chart) {
  const fingers = new Map();
  let tapped = -Infinity;
  const at = (event) => event.clientX - chart.over.getBoundingClientRect().left;
  const pointAt = (event) => chart.setCursor({ left: Math.min(Math.max(at(event), 0), chart.over.clientWidth), top: 1 });
  chart.over.addEventListener("touchstart", (event) => event.touches.length > 1 && event.preventDefault(), { passive: false });
  chart.over.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse") {
      return;
    }
    event.preventDefault();
    fingers.set(event.pointerId, at(event));
    if (fingers.size === 1) {
      if (event.timeStamp - tapped < 350) {
        showTime(...whole);
      }
      tapped = event.timeStamp;
      pointAt(event);
    }
  });
  chart.over.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) {
      return;
    }
    if (fingers.size === 1) {
      pointAt(event);
    } else if (fingers.size === 2) {
      const before = [...fingers.values()];
      fingers.set(event.pointerId, at(event));
      const after = [...fingers.values()];
      const apart = ([one, other]) => Math.max(20, Math.abs(one - other));
      zoom(apart(before) / apart(after), chart.posToVal((after[0] + after[1]) / 2, "x"));
    }
    fingers.set(event.pointerId, at(event));
  });
  for (const end of ["pointerup", "pointercancel", "pointerleave"]) {
    chart.over.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }
}

function start() {
  byId("view").classList.add("live");
  addCharts();
  point(last);
  for (const row of byId("legend").rows) {
    row.querySelector("button").addEventListener("click", () => toggle(row));
  }
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => (Number(button.dataset.zoom) ? zoom(Number(button.dataset.zoom)) : showTime(...whole)));
  }
  for (const button of document.querySelectorAll("#events [data-at]")) {
    const at = Number(button.dataset.at);
    button.textContent = stamp(at);
    button.addEventListener("click", () => goTo(times.findLastIndex((time) => time <= at)));
  }
  byId("zone").textContent = `Times: ${Intl.DateTimeFormat().resolvedOptions().timeZone} (${zone(times[last])})`;
  byId("charts").addEventListener("keydown", listenToKeys);
  charts.forEach(listenToFingers);
  new ResizeObserver(([place]) => fit(Math.floor(place.contentRect.width))).observe(byId("charts"));
  addEventListener("beforeprint", () => fit(680));
  addEventListener("afterprint", () => fit(byId("charts").clientWidth));
}

if (times.length) {
  start();
}
