// Lines over time, drawn by uPlot on a canvas; what they say last stands above them as text.
import { clock } from "../format.js";
import { now } from "../live.js";
import { html, useEffect, useRef, useState } from "../html.js";

const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
const HEIGHT = 190;
const LEAST_SECONDS = 60; // of a chart's width

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/**
 * @param title what it shows
 * @param unit in a word or two
 * @param data [times, values of each series ...]; null is a gap
 * @param series [{label, tone (a colour of base.css), isFilled, dash}]
 * @param isStacked each series stands on the one before
 * @param none what is said in the place of lines when there is no value at all
 * @param format of a value, as text
 * @param tick the same, beside the axis
 */
export function Chart({ title, unit = "", data, series, isStacked = false, none = "Nothing is known of this time yet.", format = String, tick = format }) {
  const place = useRef(null);
  const plot = useRef(null);
  const [at, setAt] = useState(null);
  const scheme = useScheme();
  const latest = useRef({});
  latest.current = { data, tick };

  useEffect(() => {
    const made = new uPlot(options(place.current.clientWidth, series, isStacked, latest, setAt), stacked(data, isStacked), place.current);
    plot.current = made;
    const watch = new ResizeObserver(() => made.setSize({ width: place.current?.clientWidth || 300, height: HEIGHT }));
    watch.observe(place.current);
    return () => {
      watch.disconnect();
      made.destroy();
    };
  }, [scheme, series.length, isStacked]);

  useEffect(() => {
    plot.current?.setData(stacked(data, isStacked));
  }, [data]);

  const last = data[0].length - 1;
  const index = at !== null && at <= last ? at : last;
  const value = (i) => (index < 0 ? null : data[i + 1][index]);
  const text = series.map(({ label }, i) => `${label} ${value(i) === null || value(i) === undefined ? "none" : format(value(i))}`).join(", ");
  const isEmpty = data.slice(1).every((values) => values.every((one) => one === null || one === undefined));
  return html`<figure class="card chart">
    <div class="chart-head">
      <h2>${title}${unit && html` <span class="soft small">${unit}</span>`}</h2>
      <ul class="legend" aria-hidden="true">
        ${series.map(({ label, tone, isFilled }, i) => html`<li><span class=${isFilled ? "swatch fill" : "swatch"} style=${{ background: `var(--${tone})` }}></span>${label} <b>${value(i) === null || value(i) === undefined ? "–" : format(value(i))}</b></li>`)}
        <li class="mono">${at === null || index < 0 ? "" : clock(data[0][index])}</li>
      </ul>
    </div>
    <div class="canvas"><div ref=${place} role="img" aria-label=${`${title}, last: ${text}`}></div>${isEmpty && html`<p class="none">${none}</p>`}</div>
  </figure>`;
}

function options(width, series, isStacked, latest, setAt) {
  const axis = { stroke: colour("ink-soft"), font: FONT, grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
  return {
    width: width || 300,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    padding: [8, 8, 0, 0],
    scales: { x: { time: true, range: () => reach(latest.current.data[0]) }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
    axes: [
      { ...axis, grid: { show: false }, values: (_, splits, __, ___, step) => splits.map((split) => label(split, step)), space: 70, size: 28 },
      { ...axis, values: (_, splits) => splits.map((split) => latest.current.tick(split)), space: 38, size: widest },
    ],
    series: [{}, ...series.map((one) => line(one))],
    bands: isStacked ? series.slice(1).map((_, i) => ({ series: [i + 2, i + 1] })) : [],
    hooks: { setCursor: [(made) => setAt(made.cursor.idx ?? null)] },
  };
}

const widest = (made, values) => 14 + 7 * Math.max(3, ...(values ?? [""]).map((value) => String(value).length));

function label(split, step) {
  const at = new Date(split * 1000);
  if (step >= 86400) return at.toLocaleDateString("en", { month: "short", day: "numeric" });
  return step < 60 ? clock(split) : clock(split).slice(0, 5);
}

function line({ tone, isFilled, dash }) {
  return {
    stroke: colour(tone),
    width: 1.6,
    fill: isFilled ? colour(tone) + (isFilled === "full" ? "" : "22") : undefined,
    dash,
    points: { show: false, size: 4, fill: colour(tone), filter: alone },
    spanGaps: false,
  };
}

/** From the first time to the last one, a minute at least: uPlot would show years around a single time. */
function reach(times) {
  const last = times.at(-1) ?? now();
  return [Math.min(times[0] ?? last, last - LEAST_SECONDS), last];
}

/** The places of values without a neighbour: no line goes through them, so they are shown as points. */
function alone(made, index) {
  const values = made.data[index];
  const isThere = (i) => values[i] !== null && values[i] !== undefined;
  const found = [...values.keys()].filter((i) => isThere(i) && !isThere(i - 1) && !isThere(i + 1));
  return found.length ? found : null;
}

/** Each series on top of those before it. */
function stacked(data, isStacked) {
  if (!isStacked) return data;
  const sums = data[0].map(() => 0);
  return [data[0], ...data.slice(1).map((values) => values.map((value, i) => (sums[i] += value ?? 0)))];
}

/** Changes when light becomes dark: a canvas does not follow a stylesheet by itself. */
function useScheme() {
  const [scheme, setScheme] = useState(() => colour("paper"));
  useEffect(() => {
    const look = () => setScheme(colour("paper"));
    const system = matchMedia("(prefers-color-scheme: dark)");
    const watch = new MutationObserver(look);
    system.addEventListener("change", look);
    watch.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    return () => {
      system.removeEventListener("change", look);
      watch.disconnect();
    };
  }, []);
  return scheme;
}
