"use strict";
// Draws the state that the page brings along, then what /events sends: first the closed windows, then the present once a second.
// Everything goes in as text, never as HTML.
const HISTORY_MAX = 60, ROWS_MAX = 12, SILENCE_MS = 5000;
const at = (id) => document.getElementById(id);
let windows = [], lastMessage = Date.now(), goneSince = null;

function make(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}
function short(number) {
  for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (number >= size) return (number / size).toFixed(number >= 100 * size ? 0 : 1) + " " + unit;
  return number >= 100 || Number.isInteger(number) ? number.toFixed(0) : number.toFixed(1);
}
const bytes = (number) => short(number) + (/[a-zA-Z]$/.test(short(number)) ? "B" : " B");
function time(seconds) {
  if (seconds >= 1) return seconds.toFixed(2) + " s";
  return (seconds * 1e3).toFixed(seconds >= 0.1 ? 0 : 1) + " ms";
}
function clock(ms) { return new Date(ms).toLocaleTimeString(); }

function spark(values) {
  const NS = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(NS, "svg"), path = document.createElementNS(NS, "path");
  const max = Math.max(...values, 1e-12), step = 100 / Math.max(values.length - 1, 1);
  svg.setAttribute("viewBox", "0 0 100 28");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", values.map((v, i) => `${i ? "L" : "M"}${(i * step).toFixed(2)} ${(27 - 25 * v / max).toFixed(2)}`).join(""));
  svg.append(path);
  return svg;
}
function cards(id, list) {
  at(id).replaceChildren(...list.map(([name, value, values]) => {
    const card = make("div", undefined, "card");
    card.append(make("div", name, "name"), make("div", value, "value"), spark(values));
    return card;
  }));
}
function facts(id, list) {
  at(id).replaceChildren(...list.map(([name, value, bad]) => {
    const line = make("div", undefined, bad ? "bad" : "");
    line.append(make("dt", name), make("dd", value));
    return line;
  }));
}

let slowestShown = "";
function slowest(batches) {
  // Only changes are drawn, so that a link stays under the finger.
  const seen = batches.map((batch) => batch.end_unix_ms + "/" + batch.id + (batch.has_input ? "+" : "-")).join();
  if (seen === slowestShown) return;
  slowestShown = seen;
  at("slowest").replaceChildren(...batches.map((b) => {
    const row = make("tr"), input = make("td", b.has_input ? undefined : "not kept");
    if (b.has_input) {
      const link = make("a", "download");
      link.href = `debug/batches/${b.id}/input`;
      link.setAttribute("aria-label", `download the input of batch ${b.id}`);
      input.append(link);
    }
    const context = make("td", b.context_id || "–", "name");
    context.title = b.context_id;
    // The link comes early: on a phone the rest is reached by scrolling.
    const cells = (texts) => texts.map((text) => make("td", text));
    row.append(...cells([clock(b.end_unix_ms), time(b.seconds)]), input, ...cells([time(b.queue_wait_seconds), b.old_batch_num, b.fork_id, b.txs, short(b.gas), bytes(b.bytes)]), context);
    return row;
  }));
}

function draw({ now, totals }) {
  const last = windows[windows.length - 1] || now.open_window;
  const all = (read) => windows.length ? windows.map(read) : [0];
  at("window").textContent = now.window_seconds + " s";
  cards("rates", [["gas_per_second", "gas/s"], ["txs_per_second", "transactions/s"], ["batches_per_second", "batches/s"], ["bytes_per_second", "batch data/s"]]
    .map(([key, name]) => [name, (key === "bytes_per_second" ? bytes : short)(last.rates[key]), all((w) => w.rates[key])]));
  cards("latency", [["p50_seconds", "p50"], ["p90_seconds", "p90"], ["p99_seconds", "p99"], ["max_seconds", "max"]]
    .map(([key, name]) => [name, time(last.latency[key]), all((w) => w.latency[key])]));
  facts("queue", [
    ["batches waiting", `${now.queue_length} of ${now.queue_capacity}`, now.queue_length >= now.queue_capacity],
    ["executors busy", `${now.executors_busy} of ${now.executors}`],
    ["taking batches", now.draining ? "no, draining" : "yes", now.draining],
    ["running since", new Date(totals.start_unix_ms).toLocaleString()],
    ["batches since then", short(totals.sums.batches)],
    ...Object.entries(totals.batches_by_engine).map(([engine, count]) => [`answered by the engine ${engine}`, short(count)]),
    ...(totals.rom_steps > 0 ? [["ROM steps per second", short(totals.rom_steps / totals.rom_seconds)]] : []),
  ]);
  const counts = (map, ok) => Object.entries(map).filter(([name]) => !ok || !name.endsWith("NO_ERROR")).map(([name, count]) => [name.toLowerCase().replaceAll("_", " "), short(count), name !== "" && !name.endsWith("NO_ERROR")]);
  const sums = totals.sums;
  facts("errors", [
    ...counts(totals.answers_by_executor_error), ...counts(totals.batches_by_rom_error, true), ...counts(totals.txs_by_rom_error, true),
    ...Object.entries(totals.engine_differences).map(([field, count]) => [`engines differ in ${field}`, short(count), true]),
    ["calls refused", short(sums.refused), sums.refused > 0], ["clients that left", short(sums.cancelled)], ["deadlines passed", short(sums.expired)],
    ["invalid requests", short(sums.invalid_requests), sums.invalid_requests > 0], ["executor restarts", short(totals.executor_restarts), totals.executor_restarts > 0],
  ]);
  const share = (hits, misses) => hits + misses ? (100 * hits / (hits + misses)).toFixed(1) + " %" : "–";
  const { state: memory, cache, flush } = now;
  facts("store", [
    ["nodes in memory", short(memory.nodes)], ["programs in memory", short(memory.programs)],
    ["permanent state", `${bytes(memory.permanent_bytes)} of ${bytes(memory.permanent_bytes_max)}`],
    ["volatile", `${bytes(memory.volatile_bytes)} of ${bytes(memory.volatile_bytes_max)}`],
    ["reads found in memory", share(memory.hits, memory.misses)], ["reads found in the cache", share(cache.hits, cache.misses)],
    ["cache", `${bytes(cache.bytes)} of ${bytes(cache.bytes_max)}`],
    ["flush id stored / last", `${flush.stored_flush_id} / ${flush.last_flush_id}`],
    ["nodes waiting for the database", short(flush.pending_nodes)],
  ]);
  at("windows").replaceChildren(...windows.slice(-ROWS_MAX).reverse().map((w) => {
    const row = make("tr");
    row.append(...[clock(w.end_unix_ms), w.sums.batches, w.sums.failed_batches, w.sums.refused, short(w.rates.txs_per_second), short(w.rates.gas_per_second), time(w.latency.p50_seconds), time(w.latency.p99_seconds)].map((text) => make("td", text)));
    return row;
  }));
}

function status(text, className) {
  // Only changes are written: a screen reader speaks each of them.
  if (at("status").textContent !== text) at("status").textContent = text;
  at("status").className = className;
  document.body.className = className;
}
function gone() {
  goneSince ??= lastMessage;
  status(`no answer since ${clock(goneSince)}, trying again`, "gone");
}
function take(report) {
  const known = windows.length ? windows[windows.length - 1].sequence : 0;
  // A server that was started again counts its windows from 1.
  if (report.history.length && report.history[report.history.length - 1].sequence < known) windows = [];
  const newest = windows.length ? windows[windows.length - 1].sequence : 0;
  windows = windows.concat(report.history.filter((w) => w.sequence > newest)).slice(-HISTORY_MAX);
  lastMessage = Date.now();
  goneSince = null;
  status(report.now.draining ? "live, draining" : "live", "live");
  draw(report);
  slowest(report.slowest_batches);
}
function listen() {
  const events = new EventSource("events");
  events.onmessage = (message) => take(JSON.parse(message.data));
  events.onerror = () => {
    gone();
    // A refused listener (503) is not tried again by the browser itself.
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  };
}
const first = JSON.parse(at("state").textContent);
if (first) take(first);
setInterval(() => { if (Date.now() - lastMessage > SILENCE_MS) gone(); }, 1000);
listen();
