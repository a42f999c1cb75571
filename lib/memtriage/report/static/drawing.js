/* What is drawn into uPlot's canvas: layers as areas, and over them marks, the projected end and names. */
"use strict";

const INK = "#1d232b";
const PLAIN_FONT = "12px system-ui, 'DejaVu Sans', sans-serif";
const STRONG_FONT = "600 13px system-ui, 'DejaVu Sans', sans-serif";
const DASHES = { oom: [], boot: [7, 4], alarm: [2, 3], recorder: [1, 5] };
const MARK_ROW = 15;
const MARK_ROWS = 3;

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

/** For uPlot's paths: a layer between its bottom and its top, apart on either side of a gap; a moment alone is a narrow bar. */
const areaOf = (layer) => (chart, series, first, last) => {
  const fill = new Path2D();
  const stroke = new Path2D();
  const follow = (path, points) => points.forEach(([x, y], place) => (place ? path.lineTo(x, y) : path.moveTo(x, y)));
  for (const [start, stop] of stretches(layer.top, first, last)) {
    const edge = (values) => {
      const points = [];
      for (let index = start; index < stop; index++) {
        points.push([chart.valToPos(chart.data[0][index], "x", true), chart.valToPos(values[index], "y", true)]);
      }
      const [[x, y]] = points;
      return points.length > 1 ? points : [[x - 2 * devicePixelRatio, y], [x + 2 * devicePixelRatio, y]];
    };
    const top = edge(layer.top);
    follow(stroke, top);
    follow(fill, [...top, ...edge(layer.bottom).reverse()]);
    fill.closePath();
  }
  return { stroke, fill, clip: null, band: null, gaps: null, flags: 0 };
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
  pen.fillStyle = "rgba(255, 255, 255, .93)";
  pen.strokeStyle = colour;
  pen.fillRect(left, top, wide, high);
  pen.strokeRect(left, top, wide, high);
  pen.fillStyle = colour;
  shown.forEach((text, row) => pen.fillText(text, left + 8, top + 17 * (row + 1)));
}

/** Lines down the plot; their words, if wanted, in rows above it, as many as there is room for. */
function drawMarks(chart, marks, named) {
  const ends = new Array(MARK_ROWS).fill(-Infinity);
  paint(chart, (pen, box) => {
    for (const [at, kind, words] of marks) {
      const x = Math.round(box.x(at));
      if (x < box.left || x > box.right) {
        continue;
      }
      const text = shortened(pen, words, Math.min(240, box.width / 2));
      const wide = pen.measureText(text).width + 8;
      const left = Math.min(x, box.right - wide);
      const row = named ? ends.findIndex((end) => end < left) : -1;
      pen.strokeStyle = INK;
      pen.fillStyle = INK;
      pen.lineWidth = kind === "oom" ? 2 : 1.25;
      pen.setLineDash(DASHES[kind] ?? []);
      pen.beginPath();
      pen.moveTo(x, box.top - (row < 0 ? 0 : MARK_ROW * (row + 1)));
      pen.lineTo(x, box.bottom);
      pen.stroke();
      if (row >= 0) {
        ends[row] = left + wide;
        pen.fillText(text, left + 5, box.top - MARK_ROW * row - 4);
      }
    }
  });
}

/** From what is available now to nothing left: the earliest, the middle and the latest end, as far as the plot goes. */
function drawCone(chart, cone) {
  const short = (at) => (day(at) === day(cone.start) ? minute(at) : `${day(at).slice(5)} ${minute(at)}`);
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
    const range = cone.high === null ? `${short(cone.low)} at the earliest` : `between ${short(cone.low)} and ${short(cone.high)}`;
    drawLabel(pen, box, box.right, box.top + 40, [`Gone about ${short(cone.middle)}`, range], INK);
  });
}

/** Names each layer where the plot begins, if there is room, and the culprit, with its growth, where it is largest. */
function drawNames(chart, bands, layers, colour) {
  const times = chart.data[0];
  const { min, max } = chart.scales.x;
  paint(chart, (pen, box) => {
    cutToPlot(pen, box);
    bands.forEach((band, place) => {
      const { top, bottom } = layers[place];
      const seen = times.map((at, index) => index).filter((index) => times[index] >= min && times[index] <= max && !unknown(top, index));
      if (!seen.length) {
        return;
      }
      const middle = (index) => box.y((top[index] + bottom[index]) / 2);
      if (band.culprit) {
        const largest = seen.reduce((best, index) => (band.values[index] >= band.values[best] ? index : best));
        drawLabel(pen, box, box.x(times[largest]), middle(largest), [band.words, band.growth], colour);
      } else if (box.y(bottom[seen[0]]) - box.y(top[seen[0]]) > 15) {
        pen.font = PLAIN_FONT;
        pen.fillStyle = INK;
        pen.fillText(shortened(pen, band.words, box.width / 2.5), box.x(times[seen[0]]) + 8, middle(seen[0]) + 4);
      }
    });
  });
}
