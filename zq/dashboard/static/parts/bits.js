// Small things that many pages show.
import { duration, moment } from "../format.js";
import { html } from "../html.js";
import { now } from "../live.js";
import { link } from "../route.js";

const TONES = {
  done: "good", live: "good", running: "accent", leased: "accent", waiting: "", scheduled: "", parked: "",
  dead: "bad", failed: "bad", lost: "bad", gone: "bad", stuck: "bad", absent: "bad",
  suspect: "warn", expired: "warn", cancelled: "warn", paused: "warn", draining: "warn", open: "accent",
};

/** A state as a word in a colour; the word alone says it, too. */
export const State = ({ of, children }) => html`<span class=${"badge " + (TONES[of] ?? "")}><span class="pip" aria-hidden="true"></span>${children ?? of}</span>`;

export const Badge = ({ tone = "", children }) => html`<span class=${"badge " + tone}>${children}</span>`;

export const Tile = ({ name, value, more = null, href = null, tone = "" }) => {
  const inside = html`<span class="name">${name}</span><span class=${"value " + tone}>${value}</span>${more && html`<span class="more">${more}</span>`}`;
  return href ? html`<a class="tile" href=${href}>${inside}</a>` : html`<div class="tile">${inside}</div>`;
};

/** A time as how long ago it was, with the date on hovering. */
export const Ago = ({ time, ahead = false }) => {
  if (time === null || time === undefined) return html`<span class="soft">–</span>`;
  const left = now() - time;
  const away = ahead ? left : Math.max(0, left); // what has happened is not still to come because of a second's rounding
  const text = away >= 0 ? `${duration(Math.max(1, Math.floor(away)))} ago` : `in ${duration(Math.max(1, Math.ceil(-away)))}`;
  return html`<time dateTime=${new Date(time * 1000).toISOString()} title=${moment(time)}>${ahead && away > 0 ? "now" : text}</time>`;
};

export const QueueLink = ({ name }) => (name ? html`<a class="any" href=${link("queues", name)}>${name.split("/").map((part, i) => (i ? html`/<wbr />${part}` : part))}</a>` : html`<span class="soft">–</span>`);
export const TaskLink = ({ id }) => html`<a class="mono any" href=${link("tasks", id)}>${id}</a>`;

/** The last values as a line; what it shows stands beside it as a number. */
export function Spark({ values }) {
  if (!values || values.length < 2) return html`<svg class="spark" viewBox="0 0 100 20" aria-hidden="true"><path d="M0 19.2H100" /></svg>`;
  const most = Math.max(...values, 1e-9);
  const points = values.map((value, i) => `${((i * 100) / (values.length - 1)).toFixed(1)} ${(19 - (18 * (value ?? 0)) / most).toFixed(1)}`);
  return html`<svg class="spark" viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true">
    <path class="area" d=${`M0 20L${points.join("L")}L100 20Z`} /><path d=${"M" + points.join("L")} />
  </svg>`;
}

/** What stands in the place of an answer that is not there. */
export function Missing({ error, what = "this" }) {
  if (!error) return html`<p class="empty" aria-busy="true">Loading.</p>`;
  return html`<p class="empty bad" role="alert">${error.status === 404 ? error.message : `Could not load ${what}: ${error.message}`}</p>`;
}

export const Empty = ({ children }) => html`<p class="empty">${children}</p>`;

/** A definition list of what is known; what is null is left out. */
export const Facts = ({ of }) => html`<dl class="facts">
  ${of.filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}
</dl>`;

/**
 * A table that becomes cards on a phone.
 *
 * @param by what a row is known by, whatever its place
 * @param columns [{name, label, cell(row), isNumber, isWide, isEnd, isHidden (its heading), keep}]
 */
export function Table({ caption, columns, rows, by, empty = "None.", isCards = true }) {
  if (!rows.length) return html`<${Empty}>${empty}</${Empty}>`;
  const kind = ({ isNumber, isWide, isEnd, keep }) => [isNumber && "number", isWide && "wide", isEnd && "end", keep && "keep"].filter(Boolean).join(" ");
  return html`<div class="scroll" tabindex=${isCards ? null : 0} role=${isCards ? null : "region"} aria-label=${isCards ? null : caption}><table class=${isCards ? "cards" : ""} role="table">
    <caption class="unseen">${caption}</caption>
    <thead role="rowgroup"><tr role="row">${columns.map((column) => html`<th role="columnheader" scope="col" class=${kind(column)}>${column.isHidden ? html`<span class="unseen">${column.label}</span>` : (column.heading ?? column.label)}</th>`)}</tr></thead>
    <tbody role="rowgroup">${rows.map((row, i) => html`<tr role="row" key=${by ? by(row) : i}>
      ${columns.map((column) => html`<td role="cell" class=${kind(column)} data-name=${column.isHidden ? null : column.label}>${column.cell(row)}</td>`)}
    </tr>`)}</tbody>
  </table></div>`;
}
