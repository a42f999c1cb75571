/* What is drawn into uPlot's canvas: layers as areas, and over them marks, the projected end and names. */
"use strict";

const INK = "#1d232b";
const PLAIN_FONT = "12px system-ui, 'DejaVu Sans', sans-serif";
const STRONG_FONT = "600 13px system-ui, 'DejaVu Sans', sans-serif";
const DASHES = { boot: [7, 4], alarm: [2, 3], recorder: [1, 5] };
const MARK_ROW = 15;
const MARK_ROWS = 3;
const NARROW = 420;

const unknown = (values, index) => (values[index] ?? null) === null;

/** The stretches [start, stop) from first to last in which values are known. */
function stretches(values, first, last) {
  const found = [];
  for (let index = first; index <= last; index++) {
    if (unknown(values, index)) {
      continue;
    }
    if (index > first && !unknown(values, index - 1)) {
      found[found.length - 1][1] = index + 1;
    } else {
      found.push([index, index + 1]);
    }
  }
  return found;
}

/** For uPlot's points: the known moments between two unknown ones, which make no line. */
const loneMoments = (chart, series) =>
  stretches(chart.data[series], 0, chart.data[0].length - 1).filter(([start, stop]) => stop - start === 1).map(([start]) => start);

/**
 * Of the moments first to last those that are drawn: all, if there is room; else for each column of dots the moment at which
 * each of peaks is largest. The same ones for every layer, so that they fit together, and a peak of one moment is seen.
 */
function drawnMoments(chart, first, last, peaks) {
  const times = chart.data[0];
  const moments = Array.from({ length: last - first + 1 }, (_, place) => first + place);
  if (!peaks.length || moments.length < 2 * chart.bbox.width) {
    return moments;
  }
  const largest = new Map();
  for (const index of moments) {
    const column = Math.floor(chart.valToPos(times[index], "x", true));
    peaks.forEach((values, peak) => {
      const key = column * peaks.length + peak;
      if (!largest.has(key) || (values[index] ?? -Infinity) > (values[largest.get(key)] ?? -Infinity)) {
        largest.set(key, index);
      }
    });
  }
  return [...new Set(largest.values())].sort((one, other) => one - other);
}

/** For uPlot's paths: a layer between its bottom and its top, apart on either side of a gap; a moment alone is a narrow bar. */
const areaOf = (layer, peaks) => (chart, series, first, last) => {
  const times = chart.data[0];
  const fill = new Path2D();
  const stroke = new Path2D();
  const follow = (path, points) => points.forEach(([x, y], place) => (place ? path.lineTo(x, y) : path.moveTo(x, y)));
  const moments = drawnMoments(chart, first, last, peaks);
  let next = 0;
  for (const [start, stop] of stretches(layer.top, first, last)) {
    const inside = [start];
    for (; moments[next] < stop - 1; next++) {
      if (moments[next] > start) {
        inside.push(moments[next]);
      }
    }
    inside.push(stop - 1);
    const half = stop - start > 1 ? 0 : (times.length > 1 ? 2 : 20) * devicePixelRatio;
    const edge = (values) => inside.map((index, place) => [
      chart.valToPos(times[index], "x", true) + (place ? half : -half), chart.valToPos(values[index], "y", true)]);
    const top = edge(layer.top);
    follow(stroke, top);
    follow(fill, [...top, ...edge(layer.bottom).reverse()]);
    fill.closePath();
  }
  // The white line between layers would hide what is as narrow as itself.
  const roomy = last - first < chart.bbox.width / (2 * devicePixelRatio);
  return { stroke: roomy ? stroke : null, fill, clip: null, band: null, gaps: null, flags: 0 };
};

/** Calls draw with the canvas in CSS pixels and the plot's box, whose x and y turn a time and a value into a place. */
function paint(chart, draw) {
  const pen = chart.ctx;
  const [left, top, width, height] = ["left", "top", "width", "height"].map((side) => chart.bbox[side] / devicePixelRatio);
  const place = { x: (at) => left + chart.valToPos(at, "x"), y: (value) => top + chart.valToPos(value, "y") };
  pen.save();
  pen.scale(devicePixelRatio, devicePixelRatio);
  pen.font = PLAIN_FONT;
  pen.lineJoin = "round";
  pen.textAlign = "left";
  pen.textBaseline = "alphabetic";
  draw(pen, { left, top, width, height, right: left + width, bottom: top + height, ...place });
  pen.restore();
}

function cutToPlot(pen, box) {
  pen.beginPath();
  pen.rect(box.left, box.top, box.width, box.height);
  pen.clip();
}

function shortened(pen, text, most) {
  let end = text.length;
  while (end > 1 && pen.measureText(text.slice(0, end)).width > most) {
    end = Math.min(end - 1, Math.floor(end * 0.95));
  }
  return end < text.length ? text.slice(0, end) + "\u2026" : text;
}

/** Text that can be read over whatever lies there. */
function drawText(pen, text, x, y) {
  pen.setLineDash([]);
  pen.lineWidth = 3;
  pen.strokeStyle = "rgba(255, 255, 255, .8)";
  pen.strokeText(text, x, y);
  pen.fillStyle = INK;
  pen.fillText(text, x, y);
}

/** Lines of text in a white box around x, y, moved to lie within the plot. */
function drawLabel(pen, box, x, y, texts, colour) {
  pen.font = STRONG_FONT;
  const shown = texts.filter(Boolean).map((text) => shortened(pen, text, box.width - 24));
  const wide = Math.max(...shown.map((text) => pen.measureText(text).width)) + 16;
  const high = 17 * shown.length + 9;
  const left = Math.max(box.left + 4, Math.min(x - wide / 2, box.right - wide - 4));
  const top = Math.max(box.top + 4, Math.min(y - high / 2, box.bottom - high - 4));
  pen.setLineDash([]);
  pen.lineWidth = 1.5;
  pen.fillStyle = "rgba(255, 255, 255, .96)";
  pen.strokeStyle = colour;
  pen.fillRect(left, top, wide, high);
  pen.strokeRect(left, top, wide, high);
  pen.fillStyle = colour;
  shown.forEach((text, row) => pen.fillText(text, left + 8, top + 17 * (row + 1)));
}

/** From a label to the place it speaks of, where there is no room for it at that place. */
function drawLeader(pen, x, y, labelY, colour) {
  pen.strokeStyle = colour;
  pen.lineWidth = 1.5;
  pen.beginPath();
  pen.moveTo(x - 2, labelY);
  pen.lineTo(x - 2, y);
  pen.stroke();
}

/** Lines down the plot; their words, if wanted, in rows above it, as many as there is room for: the later a mark, the lower its row. */
function drawMarks(chart, marks, named) {
  const starts = new Array(MARK_ROWS).fill(Infinity);
  paint(chart, (pen, box) => {
    const seen = marks.map(([at, kind, words]) => ({ x: Math.round(box.x(at)), kind, words })).filter(({ x }) => x >= box.left && x <= box.right);
    const labels = [];
    pen.strokeStyle = INK;
    for (const { x, kind, words } of seen.reverse()) {
      const text = shortened(pen, words, Math.min(240, box.width / 2));
      const left = Math.min(x + 5, box.right - pen.measureText(text).width);
      const row = named ? starts.findIndex((start) => left + pen.measureText(text).width + 4 < start) : -1;
      if (row >= 0) {
        starts[row] = left - 5;
        labels.push([text, left, box.top - MARK_ROW * row - 4]);
      }
      pen.lineWidth = kind === "oom" ? 2 : 1.25;
      pen.setLineDash(DASHES[kind] ?? []);
      pen.beginPath();
      pen.moveTo(x, box.top - MARK_ROW * (row + 1));
      pen.lineTo(x, box.bottom);
      pen.stroke();
    }
    labels.forEach((label) => drawText(pen, ...label));
  });
}

/** From what is available now to nothing left: the earliest, the middle and the latest end, as far as the plot goes. */
function drawCone(chart, cone) {
  const clock = (at, known) => (day(at) === day(known) ? minute(at) : `${day(at).slice(5)} ${minute(at)}`);
  paint(chart, (pen, box) => {
    const [x, y, ground] = [box.x(cone.start), box.y(cone.available), box.y(0)];
    const latest = cone.high === null ? [[box.right, ground], [box.right, y]] : [[box.x(cone.high), ground]];
    cutToPlot(pen, box);
    pen.beginPath();
    [[x, y], [box.x(cone.low), ground], ...latest].forEach((point) => pen.lineTo(...point));
    pen.closePath();
    pen.fillStyle = "rgba(29, 35, 43, .18)";
    pen.fill();
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(box.x(cone.middle), ground);
    pen.setLineDash([6, 4]);
    pen.lineWidth = 1.5;
    pen.strokeStyle = INK;
    pen.stroke();
    const [low, high] = [cone.low, cone.high].map((at) => at !== null && clock(at, cone.middle));
    const range = low === high ? "" : high ? `between ${low} and ${high}` : `${low} at the earliest`;
    const words = [`Gone about ${clock(cone.middle, cone.start)}`, ...(box.width < NARROW ? [] : [range])];
    if (x < box.right) {
      drawLabel(pen, box, box.right, box.top, words, INK);
    }
  });
}

/**
 * Where a text fits best into a layer within [first, last], of twelve places: its left end, its middle, and how much height
 * the layer has all along it.
 */
function roomFor(wide, { top, bottom }, first, last, times, box) {
  const [from, to] = [box.x(times[first]) + 6, box.x(times[last]) - wide - 6];
  let best = { high: 0 };
  for (let place = 0; place < 12 && from <= to; place++) {
    const left = from + ((to - from) * place) / 11;
    let [ceiling, floor] = [-Infinity, Infinity];
    for (let index = first; index <= last; index++) {
      const x = box.x(times[index]);
      if (x >= left - 6 && x <= left + wide + 6) {
        ceiling = Math.max(ceiling, box.y(top[index]));
        floor = Math.min(floor, box.y(bottom[index]));
      }
    }
    if (Number.isFinite(ceiling) && floor - ceiling > best.high) {
      best = { left, middle: (floor + ceiling) / 2, high: floor - ceiling };
    }
  }
  return best;
}

/**
 * Names each layer in its longest stretch, if there is room, and the culprit, with its growth, where it is largest in the time
 * it grew in; if that is not seen, where it is largest.
 */
function drawNames(chart, bands, layers, colour, grew) {
  const times = chart.data[0];
  const [first, last] = chart.series[0].idxs;
  const longest = (values) => stretches(values, first, last).map(([start, stop]) => [start, stop - 1])
    .reduce((best, each) => (times[each[1]] - times[each[0]] > times[best[1]] - times[best[0]] ? each : best), [first, first]);
  paint(chart, (pen, box) => {
    cutToPlot(pen, box);
    bands.forEach((band, place) => {
      const text = shortened(pen, band.words, box.width / 2);
      const { left, middle, high } = roomFor(pen.measureText(text).width, layers[place], ...longest(layers[place].top), times, box);
      if (!band.culprit && high > 14) {
        drawText(pen, text, left, middle + 4);
      }
    });
    bands.forEach((band, place) => {
      const { top, bottom } = layers[place];
      const seen = times.map((at, index) => index).filter((index) => index >= first && index <= last && !unknown(top, index));
      const growing = seen.filter((index) => grew && times[index] >= grew[0] && times[index] <= grew[1]);
      const known = growing.length ? growing : seen;
      if (band.culprit && known.length) {
        const largest = known.reduce((best, index) => (band.values[index] >= band.values[best] ? index : best));
        const [x, y] = [box.x(times[largest]), box.y((top[largest] + bottom[largest]) / 2)];
        if (box.width < NARROW) {
          drawLeader(pen, x, y, box.top + 60, colour);
        }
        drawLabel(pen, box, x, box.width < NARROW ? box.top + 60 : y, [band.words, band.growth], colour);
      }
    });
  });
}
