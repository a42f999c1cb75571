/* Numbers and times in words: sizes and shares as memtriage.wording has them (but for a tie, which goes up here), times in the reader's zone. */
"use strict";

const UNITS = [[1024 ** 4, "TiB"], [1024 ** 3, "GiB"], [1024 ** 2, "MiB"], [1024, "KiB"]];
const ZONES = new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" });

function size(count) {
  const [factor, unit] = UNITS.find(([least]) => Math.abs(count) >= least) ?? [1, "B"];
  const value = count / factor;
  return `${value.toFixed(factor === 1 || Math.abs(value) >= 100 ? 0 : Math.abs(value) < 10 ? 2 : 1)} ${unit}`;
}

const percent = (value) => value.toFixed(Math.abs(value) < 10 ? 2 : 1) + "%";
const share = (part, total) => (part === null || !total ? "" : percent((100 * part) / total));

const date = (at) => new Date(at * 1000);
const two = (number) => String(number).padStart(2, "0");
const day = (at) => `${date(at).getFullYear()}-${two(date(at).getMonth() + 1)}-${two(date(at).getDate())}`;
const minute = (at) => `${two(date(at).getHours())}:${two(date(at).getMinutes())}`;
const second = (at) => `${minute(at)}:${two(date(at).getSeconds())}`;
const zone = (at) => ZONES.formatToParts(date(at)).find((part) => part.type === "timeZoneName").value;
const stamp = (at) => `${day(at)} ${second(at)} ${zone(at)}`;

/** For the axis of times: the day only where it changes. */
function timeLabels(chart, splits, axis, space, step) {
  return splits.map((at, place) => {
    const newDay = place === 0 || day(at) !== day(splits[place - 1]);
    const clock = step < 60 ? second(at) : minute(at);
    return step >= 86400 ? day(at).slice(5) : clock + (newDay ? "\n" + day(at) : "");
  });
}

/** For an axis of sizes, which has round ones only: without the noughts behind the point, and the point. */
const sizeLabels = (chart, splits) => splits.map((value) => (value ? size(value).replace(/\.0+ |(\.\d*[1-9])0+ /, "$1 ") : "0"));
