// The page at /-/: which models are kept and why, a place to try rules, and what passed lately.
// Whatever an upstream or a client had a hand in is written with textContent, never as HTML.

const MODELS_EVERY = 30_000;
const EXCHANGES_EVERY = 2_000;
const TYPING_PAUSE = 100;
const ANNOUNCE_PAUSE = 1_000;
const LISTS = ["regexp", "simple", "exclude.regexp", "exclude.simple"];

const find = (selector, within = document) => within.querySelector(selector);
const stamp = (id) => find(`#${id}`).content.firstElementChild.cloneNode(true);
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

function make(tag, text, className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Moves only what is out of place, so that focus, scroll and selection stay. */
function arrange(parent, elements, after = null) {
  let next = after ? after.nextSibling : parent.firstChild;
  for (const element of elements) {
    if (element === next) next = next.nextSibling;
    else parent.insertBefore(element, next);
  }
}

let announcing;
/** Tells a screen reader, once the user pauses. */
function announce(text) {
  clearTimeout(announcing);
  announcing = setTimeout(() => setText(find("#live"), text), ANNOUNCE_PAUSE);
}

// Numbers

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const dollars = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 4 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

const contextText = (tokens) => (tokens === null ? "" : compact.format(tokens));
const priceText = (price) => (price === null ? "" : price === 0 ? "free" : dollars.format(price));

function durationText(ms) {
  if (ms === null) return "";
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 10_000 ? `${whole.format(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function ageText(seconds) {
  if (seconds < 90) return `${whole.format(seconds)} s`;
  return seconds < 5400 ? `${whole.format(seconds / 60)} min` : `${whole.format(seconds / 3600)} h`;
}

function changeText(added, removed) {
  return [added && `+${added}`, removed && `−${removed}`].filter(Boolean).join(" ");
}

// Asking the program

/** In a variable only: it must not outlive the page. */
let clientKey = null;

class Refused extends Error {}

async function ask(path, options = {}) {
  const headers = { "Content-Type": "application/json" };
  if (clientKey) headers.Authorization = `Bearer ${clientKey}`;
  const response = await fetch(path, { ...options, headers, cache: "no-store" });
  const answer = await response.json().catch(() => null);
  if (response.status === 401 || response.status === 403) {
    askForKey(answer?.error?.message ?? "");
    throw new Refused();
  }
  if (!answer || !(response.ok || answer.error?.key)) {
    throw new Error(answer?.error?.message ?? `status ${response.status}`);
  }
  return answer;
}

function askForKey(reason) {
  const form = find("#key-form");
  const first = form.hidden;
  form.hidden = false;
  setText(find("#key-reason"), reason);
  if (first && document.activeElement === document.body) find("#key").focus();
}

function useKey(event) {
  event.preventDefault();
  const typed = find("#key").value.trim();
  if (!/^[\x21-\x7e]+$/.test(typed)) return askForKey("A key has no spaces and no accents.");
  clientKey = typed;
  for (const poll of polls) poll.now();
}

function keyAccepted() {
  const form = find("#key-form");
  if (form.hidden) return;
  const focused = form.contains(document.activeElement);
  form.hidden = true;
  find("#key").value = "";
  if (focused) find("#search").focus();
}

// Rules as text: one entry a line

// A pattern may hold a line break; it is shown as ␊, so that the entry stays on one line.
const toText = (entries) => (entries ?? []).map((entry) => entry.replaceAll("\n", "␊")).join("\n");

/** The entries of a textarea, each with the number of its line. */
function toEntries(text) {
  const lines = text.split("\n").map((line, index) => ({ text: line.trim(), line: index + 1 }));
  return lines.filter(({ text }) => text).map((entry) => ({ ...entry, text: entry.text.replaceAll("␊", "\n") }));
}

// The list of models of one upstream

const COMPARE = {
  id: (a, b) => (a.sortId < b.sortId ? -1 : a.sortId > b.sortId ? 1 : 0),
  kept: (a, b) => b.kept - a.kept,
  context: (a, b) => a.model.context - b.model.context,
  input: (a, b) => a.model.input - b.model.input,
  output: (a, b) => a.model.output - b.model.output,
};

function makerOf({ id, owner }) {
  const slash = id.indexOf("/");
  return slash > 0 ? id.slice(0, slash) : owner || "other";
}

class Row {
  constructor() {
    this.element = stamp("model-template");
    this.button = find("button", this.element);
    [this.state, this.idCell, this.rule] = this.element.children;
    this.visible = true;
  }

  describe(model, prefix) {
    this.model = model;
    this.maker = makerOf(model);
    this.sortId = model.id.toLowerCase();
    this.searched = `${prefix}${model.id} ${model.owner ?? ""}`.toLowerCase();
    const name = model.id.startsWith(`${this.maker}/`) ? this.maker.length + 1 : 0;
    setText(find(".maker-part", this.button), prefix + model.id.slice(0, name));
    setText(find(".name-part", this.button), model.id.slice(name));
    setText(find(".context", this.element), contextText(model.context));
    setText(find(".input", this.element), priceText(model.input));
    setText(find(".output", this.element), priceText(model.output));
    this.element.dataset.model = model.id;
  }

  /** `wasKept` is what the running rules say. Touches the page only where something is new. */
  decide(decision, wasKept, first) {
    this.decision = decision;
    this.kept = decision.kept;
    this.change = this.kept === wasKept ? "" : this.kept ? "added" : "removed";
    const shown = `${this.kept} ${this.change} ${first} ${decision.text}`;
    if (shown === this.shown) return;
    this.shown = shown;
    this.element.dataset.kept = this.kept;
    this.button.setAttribute("aria-pressed", this.kept);
    if (this.change) this.element.dataset.change = this.change;
    else delete this.element.dataset.change;
    const states = { added: "+ added", removed: "− removed", "": this.kept ? "kept" : "hidden" };
    setText(this.state, states[this.change] + (first ? ", first" : ""));
    setText(this.rule, decision.text);
  }

  matches(words, show) {
    const wanted = show === "all" || this.change || (show !== "changed" && this.kept === (show === "kept"));
    return wanted && words.every((word) => this.searched.includes(word));
  }

  setVisible(visible) {
    if (visible !== this.visible) this.element.hidden = !(this.visible = visible);
  }
}

/** The models of one maker, below a heading that folds them. */
class Group {
  constructor(maker) {
    this.maker = maker;
    this.element = stamp("maker-template");
    this.element.firstElementChild.hidden = maker === null;
    this.button = find("button", this.element);
    this.button.group = this;
    setText(find(".name", this.button), maker ?? "");
    this.rows = [];
    this.chosen = null;
    this.chosenInSearch = null;
  }

  /** Until the user chooses, a group is open where there is something kept, new or found in it. */
  isOpen(searching) {
    if (this.maker === null) return true;
    if (searching) return this.chosenInSearch ?? true;
    return this.chosen ?? (this.kept > 0 || this.removed > 0);
  }

  setOpen(open, searching) {
    if (searching) this.chosenInSearch = open;
    else this.chosen = open;
  }

  refresh(words, show, searching) {
    this.kept = this.added = this.removed = this.found = 0;
    for (const row of this.rows) {
      this.kept += row.kept;
      this.added += row.change === "added";
      this.removed += row.change === "removed";
      const visible = row.matches(words, show);
      this.found += visible;
      row.setVisible(visible);
    }
    this.open = this.isOpen(searching);
    this.element.hidden = this.found === 0;
    this.element.toggleAttribute("data-folded", !this.open);
    this.button.setAttribute("aria-expanded", this.open);
    setText(find(".count", this.button), `${this.kept} of ${this.rows.length}`);
    setText(find(".change", this.button), changeText(this.added, this.removed));
  }

  /** What the arrow keys stop at. */
  stops() {
    if (this.found === 0) return [];
    const rows = this.open ? this.rows.filter((row) => row.visible).map((row) => row.button) : [];
    return this.maker === null ? rows : [this.button, ...rows];
  }
}

class ModelList {
  constructor(table, onToggle) {
    this.table = table;
    this.onToggle = onToggle;
    this.rows = [];
    this.groups = new Map();
    this.sortKey = "id";
    this.descending = false;
    this.words = [];
    this.show = "all";
    this.grouped = true;
    table.addEventListener("click", (event) => this.clicked(event));
    table.addEventListener("keydown", (event) => this.keyPressed(event));
    table.addEventListener("focusin", ({ target }) => target.matches("tbody button") && this.setCurrent(target));
  }

  setModels(models, prefix) {
    const old = Map.groupBy(this.rows, (row) => row.model.id);
    this.rows = models.map((model) => {
      const row = old.get(model.id)?.shift() ?? new Row();
      row.describe(model, prefix);
      row.button.row = row;
      return row;
    });
    for (const row of [...old.values()].flat()) row.element.remove();
  }

  decide(verdicts, running) {
    const ruleOf = (from, index) => from.rules[from.models[index]];
    this.rows.forEach((row, index) => {
      row.decide(ruleOf(verdicts, index), ruleOf(running, index).kept, verdicts.first === index);
    });
  }

  /** Puts rows into their groups and all into order. */
  arrange() {
    const compare = this.comparison();
    const byMaker = Map.groupBy([...this.rows].sort(compare), (row) => (this.grouped ? row.maker : null));
    for (const [maker, group] of this.groups) {
      if (byMaker.has(maker)) continue;
      group.element.remove();
      this.groups.delete(maker);
    }
    for (const [maker, rows] of byMaker) {
      if (!this.groups.has(maker)) this.groups.set(maker, new Group(maker));
      const group = this.groups.get(maker);
      group.rows = rows;
      arrange(group.element, rows.map((row) => row.element), group.element.firstElementChild);
    }
    this.sorted = [...this.groups.values()].sort((a, b) =>
      this.sortKey === "id" ? this.byName(a, b) : compare(a.rows[0], b.rows[0]));
    arrange(this.table, this.sorted.map((group) => group.element), this.table.tHead);
  }

  byName(a, b) {
    const order = String(a.maker).localeCompare(String(b.maker));
    return this.descending ? -order : order;
  }

  comparison() {
    const { sortKey, descending } = this;
    const unknown = (row) => sortKey in row.model && row.model[sortKey] === null;
    return (a, b) => {
      // What has no figure comes last, whichever way the others are sorted.
      const order = unknown(a) - unknown(b);
      if (order || (unknown(a) && unknown(b))) return order || COMPARE.id(a, b);
      return COMPARE[sortKey](a, b) * (descending ? -1 : 1) || COMPARE.id(a, b);
    };
  }

  sortBy(key) {
    this.descending = key === this.sortKey && !this.descending;
    this.sortKey = key;
    for (const button of this.table.tHead.querySelectorAll("button")) {
      const heading = button.closest("th");
      if (button.dataset.sort !== key) heading.removeAttribute("aria-sort");
      else heading.setAttribute("aria-sort", this.descending ? "descending" : "ascending");
    }
    this.arrange();
    this.refresh();
  }

  filter(text, show, grouped) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) for (const group of this.groups.values()) group.chosenInSearch = null;
    const regroup = grouped !== this.grouped;
    Object.assign(this, { words, show, grouped });
    if (regroup) this.arrange();
    this.refresh();
  }

  get searching() {
    return this.words.length > 0 || this.show !== "all";
  }

  refresh() {
    for (const group of this.groups.values()) group.refresh(this.words, this.show, this.searching);
    this.found = this.sum("found");
    const stops = this.stops();
    if (!stops.includes(this.current)) this.setCurrent(stops[0] ?? null);
  }

  sum(field) {
    return [...this.groups.values()].reduce((sum, group) => sum + group[field], 0);
  }

  stops() {
    return this.sorted.flatMap((group) => group.stops());
  }

  /** Only one button of the list takes part in the tab order; the arrow keys reach the others. */
  setCurrent(button) {
    if (this.current) this.current.tabIndex = -1;
    this.current = button;
    if (button) button.tabIndex = 0;
  }

  clicked({ target }) {
    const sort = target.closest("[data-sort]");
    if (sort) return this.sortBy(sort.dataset.sort);
    const button = target.closest("tbody tr")?.querySelector("button");
    if (!button || (getSelection().type === "Range" && !target.closest("button"))) return;
    if (button.group) this.fold(button.group, !button.group.open);
    else this.onToggle(button.row);
  }

  fold(group, open) {
    group.setOpen(open, this.searching);
    this.refresh();
  }

  keyPressed(event) {
    const button = event.target.closest("tbody button");
    if (!button || event.ctrlKey || event.altKey || event.metaKey) return;
    const stops = this.stops();
    const at = stops.indexOf(button);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: stops.length - 1 }[event.key];
    const open = { ArrowRight: true, ArrowLeft: false }[event.key];
    if (next === undefined && open === undefined) return;
    event.preventDefault();
    if (next !== undefined) return stops[next]?.focus();
    const group = button.group ?? this.groups.get(this.grouped ? button.row.maker : null);
    if (group.maker === null) return;
    if (!open) group.button.focus();
    this.fold(group, open);
  }
}

// One upstream: its state, its list, and rules to try

class Upstream {
  constructor(name) {
    this.name = name;
    this.element = stamp("upstream-template");
    this.form = find("form", this.element);
    this.fields = this.form.elements;
    this.list = new ModelList(find("table", this.element), (row) => this.toggle(row));
    this.element.dataset.upstream = name;
    this.element.id = `upstream-${Upstream.count++}`;
    setText(find("h2", this.element), name);
    this.element.setAttribute("aria-labelledby", (find("h2", this.element).id = `${this.element.id}-heading`));
    find("details.rules", this.element).open = matchMedia("(min-width: 60rem)").matches;
    this.nameFields();
    this.listen();
  }

  static count = 0;

  part(role) {
    return find(`[data-role="${role}"]`, this.element);
  }

  /** Ties labels and errors to their fields, with ids that no other upstream has. */
  nameFields() {
    for (const box of this.element.querySelectorAll(".field")) {
      const field = find("textarea, input", box);
      const error = find(".error", box);
      field.id = `${this.element.id}-${field.name}`;
      error.id = `${field.id}-error`;
      find("label", box).htmlFor = field.id;
      field.setAttribute("aria-describedby", error.id);
      field.spellcheck = false;
      field.autocapitalize = "off";
      if (field.type === "textarea") Object.assign(field, { wrap: "off", rows: 2 });
    }
  }

  listen() {
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("input", () => {
      this.showWhenEmpty();
      this.say("");
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.preview(), TYPING_PAUSE);
    });
    this.part("copy").addEventListener("click", () => this.copy());
    this.part("reset").addEventListener("click", () => this.reset());
  }

  /** Takes in what models.json says, and leaves alone what is being edited. */
  update(data) {
    const old = this.data;
    this.data = data;
    this.showState();
    const edited = old && this.edited();
    const newRules = !same(old?.rules, data.rules);
    if (newRules && !edited) this.fill(data.rules);
    const newModels = !same(old?.models, data.models) || old.prefix !== data.prefix;
    const newVerdicts = newModels || !same(old.verdicts, data.verdicts);
    if (newModels) this.list.setModels(data.models, data.prefix);
    if (newVerdicts) {
      this.showVerdicts(data.verdicts);
      if (newModels) this.list.arrange();
      this.refresh();
    }
    if (newRules || (newVerdicts && edited)) this.preview();
  }

  showState() {
    const { error, took_ms, age_s } = this.data;
    const parts = [error ? `No list: ${error}` : "alive"];
    if (took_ms !== null) parts.push(`list took ${durationText(took_ms)}`);
    if (age_s !== null) parts.push(age_s < 1 ? "fetched just now" : `${ageText(age_s)} old`);
    setText(this.part("state"), parts.join(" · "));
    this.part("state").classList.toggle("dead", Boolean(error));
  }

  // The fields

  fill(rules) {
    const texts = [rules.regexp, rules.simple, rules.exclude.regexp, rules.exclude.simple].map(toText);
    LISTS.forEach((name, index) => (this.fields[name].value = texts[index]));
    this.fields.default.value = rules.default ?? "";
    this.fields.case_sensitive.checked = rules.case_sensitive;
    this.fields["when-empty"].value = rules.regexp || rules.simple ? "none" : "all";
    this.running = this.read();
    this.showWhenEmpty();
  }

  entries(name) {
    return toEntries(this.fields[name].value);
  }

  read() {
    const [regexp, simple, hideRegexp, hideSimple] =
      LISTS.map((name) => this.entries(name).map((entry) => entry.text));
    const empty = !regexp.length && !simple.length;
    const none = empty && this.fields["when-empty"].value === "none" ? [] : null;
    return {
      regexp: regexp.length ? regexp : none,
      simple: simple.length ? simple : none,
      exclude: { regexp: hideRegexp, simple: hideSimple },
      default: this.fields.default.value.trim() || null,
      case_sensitive: this.fields.case_sensitive.checked,
    };
  }

  edited() {
    return !same(this.read(), this.running);
  }

  showWhenEmpty() {
    const full = this.entries("regexp").length || this.entries("simple").length;
    find(".when-empty", this.form).hidden = Boolean(full);
  }

  reset() {
    this.fill(this.data.rules);
    this.say("");
    this.preview();
  }

  // The preview

  async preview() {
    clearTimeout(this.typing);
    this.overtaken?.abort();
    const { signal } = (this.overtaken = new AbortController());
    const body = JSON.stringify({ upstream: this.name, rules: this.read() });
    try {
      const answer = await ask("preview", { method: "POST", body, signal });
      if (!signal.aborted) this.previewed(answer);
    } catch (error) {
      if (signal.aborted || error instanceof Refused) return;
      this.say(`The rules could not be tried: ${error.message}`);
    }
  }

  previewed({ error, verdicts, yaml }) {
    this.showError(error);
    if (error) return;
    setText(this.part("yaml"), yaml);
    this.showVerdicts(verdicts);
    if (this.list.sortKey === "kept") this.list.arrange();
    this.refresh();
    this.sayIfInVain();
  }

  showVerdicts(verdicts) {
    // Another number of models: the list changed meanwhile, and is about to be fetched.
    if (verdicts?.models.length !== this.list.rows.length || !this.data.verdicts) return;
    this.list.decide(verdicts, this.data.verdicts);
  }

  refresh() {
    this.list.refresh();
    const { data: { error, verdicts }, list } = this;
    const counts = this.part("counts");
    const total = list.rows.length;
    const kept = verdicts ? `${list.sum("kept")} of ${total} kept` : "";
    const change = verdicts ? changeText(list.sum("added"), list.sum("removed")) : "";
    if (counts.textContent !== [kept, change].filter(Boolean).join(" ")) {
      counts.replaceChildren(kept, ...(change ? [" ", make("span", change, "change")] : []));
      if (kept) announce(`${this.name}: ${kept}${change && `, ${list.sum("added")} added, ${list.sum("removed")} removed`}`);
    }
    find(".list", this.element).classList.toggle("empty", total === 0);
    const noMatch = find(".no-match", this.element);
    noMatch.hidden = list.found > 0;
    setText(noMatch, total ? "No model matches." : error ? "No models, since there is no list." : "The list is empty.");
  }

  showError(error) {
    const [, name, index] = error?.key.match(/^(.*?)(?:\[(\d+)\])?$/) ?? [];
    for (const field of this.form.querySelectorAll(".field :is(textarea, input)")) {
      const wrong = field.name === name;
      const line = wrong && index !== undefined ? this.entries(name)[index]?.line : null;
      const text = wrong ? `${line ? `Line ${line}: ` : ""}${error.message}. The list shows the rules before this.` : "";
      if (wrong) announce(`${name}: ${text}`);
      setText(find(".error", field.parentElement), text);
      field.toggleAttribute("aria-invalid", wrong);
      if (wrong) field.setAttribute("aria-invalid", "true");
    }
    if (error && !this.fields[name]) this.say(`${error.key}: ${error.message}`);
  }

  // Clicks on models

  toggle(row) {
    if (!this.data.verdicts) return;
    this.say("");
    const { list, text } = row.decision;
    if (!row.kept && list === "exclude.regexp") return this.say(`${row.model.id} stays hidden: ${text} matches it.`);
    this.wanted = { row, kept: !row.kept };
    if (row.kept) list === "simple" ? this.remove("simple", row) : this.add("exclude.simple", row);
    else this.unhide(row);
    this.showWhenEmpty();
    this.preview();
  }

  unhide(row) {
    const removed = this.remove("exclude.simple", row);
    // An exclusion is only named where something else keeps the model; without that, it needs both.
    if (!removed || !row.decision.list) this.add("simple", row);
  }

  add(name, { model }) {
    const field = this.fields[name];
    const text = field.value.replace(/\n+$/, "");
    field.value = (text ? `${text}\n` : "") + toText([model.id]);
  }

  remove(name, { model }) {
    const fold = (text) => (this.fields.case_sensitive.checked ? text : text.toLowerCase());
    const field = this.fields[name];
    const lines = field.value.split("\n");
    const others = lines.filter((line) => fold(line.trim()) !== fold(toText([model.id])));
    field.value = others.join("\n");
    return others.length < lines.length;
  }

  sayIfInVain() {
    const { wanted } = this;
    this.wanted = null;
    if (!wanted || wanted.row.kept === wanted.kept) return;
    const { row: { model, kept, decision } } = wanted;
    this.say(kept ? `${decision.text} still keeps ${model.id}. Click again to exclude it.`
      : `${model.id} stays hidden: ${decision.text}.`);
  }

  say(text) {
    setText(this.part("note"), text);
    if (text) find("details.rules", this.element).open = true;
  }

  // The lines for the configuration file

  async copy() {
    const lines = this.part("yaml");
    try {
      await navigator.clipboard.writeText(lines.textContent);
      this.say("Copied.");
    } catch {
      // Without https there is no clipboard, but what is selected can still be copied.
      lines.parentElement.open = true;
      getSelection().selectAllChildren(lines);
      this.say(document.execCommand("copy") ? "Copied." : "The lines are selected: press Ctrl+C.");
    }
  }
}

// What passed lately

const EXCHANGE_CELLS = ["time", "status", "request", "model", "upstream", "number first-byte", "number total"];

function exchangeRow() {
  const row = document.createElement("tr");
  row.setAttribute("role", "row");
  for (const className of EXCHANGE_CELLS) {
    row.append(make("td", "", className));
    row.lastChild.setAttribute("role", "cell");
  }
  return row;
}

function showExchanges({ exchanges, buckets }) {
  const table = find("#exchanges table");
  const body = table.tBodies[0];
  while (body.rows.length < exchanges.length) body.append(exchangeRow());
  while (body.rows.length > exchanges.length) body.lastChild.remove();
  exchanges.forEach((exchange, index) => showExchange(body.rows[index], exchange));
  table.hidden = exchanges.length === 0;
  find("#no-exchanges").hidden = exchanges.length > 0;
  showPlots(buckets);
}

function showExchange(row, { time, method, path, model, upstream, status, first_byte_ms, total_ms }) {
  const texts = [clock.format(time), String(status), `${method} ${path}`, model ?? "", upstream ?? "",
    durationText(first_byte_ms), durationText(total_ms)];
  texts.forEach((text, index) => setText(row.cells[index], text));
  row.classList.toggle("failed", status >= 400);
}

function showPlots({ seconds, requests, first_byte_ms }) {
  const minutes = whole.format((seconds * requests.length) / 60);
  const total = requests.reduce((sum, count) => sum + count, 0);
  const most = Math.max(...requests);
  setText(find("#requests-summary"), total
    ? `${total} in ${minutes} min, at most ${most} in ${seconds} s` : `none in ${minutes} min`);
  drawBars(find("#requests-plot"), requests);

  const known = first_byte_ms.filter((ms) => ms !== null).sort((a, b) => a - b);
  setText(find("#first-byte-summary"), known.length
    ? `mostly ${durationText(known[known.length >> 1])}, at most ${durationText(known.at(-1))}` : "nothing to measure");
  drawLine(find("#first-byte-plot"), first_byte_ms);
}

function draw(svg, shape, path) {
  let element = find("path", svg);
  if (!element) element = svg.appendChild(document.createElementNS(svg.namespaceURI, "path"));
  element.setAttribute("class", shape);
  element.setAttribute("d", path);
}

const heightOf = (value, most) => (most ? (value / most) * 18 : 0);

function drawBars(svg, values) {
  const most = Math.max(...values);
  const bar = (value, x) => (value ? `M${x + 0.15} 20v${-heightOf(value, most)}h.7V20z` : "");
  draw(svg, "bars", values.map(bar).join(""));
}

/** A line with gaps; where a value stands alone, it is a dot. */
function drawLine(svg, values) {
  const most = Math.max(...values.map((value) => value ?? 0));
  const point = (value, x) => {
    if (value === null) return "";
    const place = `${x + 0.5} ${19 - heightOf(value, most)}`;
    return (values[x - 1] ?? null) === null ? `M${place}h.01` : `L${place}`;
  };
  draw(svg, "curve", values.map(point).join(""));
}

// Putting it together

const upstreams = new Map();

function showModels({ version, upstreams: all }) {
  setText(find("#version"), version);
  for (const [name, view] of upstreams) {
    if (all.some((data) => data.name === name)) continue;
    view.element.remove();
    upstreams.delete(name);
  }
  for (const data of all) {
    if (!upstreams.has(data.name)) upstreams.set(data.name, new Upstream(data.name));
    upstreams.get(data.name).update(data);
  }
  const views = all.map(({ name }) => upstreams.get(name));
  arrange(find("#upstreams"), views.map((view) => view.element));
  showContents(views);
  applySearch();
}

function showContents(views) {
  const links = [...views.map((view) => [view.name, view.element.id]), ["Exchanges", "exchanges"]];
  if (same(links, showContents.shown)) return;
  showContents.shown = links;
  find("#contents").replaceChildren(...links.map(([text, id]) => {
    const item = document.createElement("li");
    item.append(make("a", text));
    item.firstChild.href = `#${id}`;
    return item;
  }));
}

const searched = { text: "", show: "all", grouped: true };

function applySearch() {
  const { text, show, grouped } = searched;
  for (const view of upstreams.values()) {
    view.list.filter(text, show, grouped);
    view.refresh();
  }
}

function search() {
  Object.assign(searched, { text: find("#search").value, show: find("#show").value, grouped: find("#grouped").checked });
  applySearch();
  const found = [...upstreams.values()].reduce((sum, view) => sum + view.list.found, 0);
  announce(`${found} ${found === 1 ? "model" : "models"} found`);
}

/** Fetches again and again, while the page is visible. */
class Poll {
  constructor(path, every, show) {
    Object.assign(this, { path, every, show });
  }

  async now() {
    clearTimeout(this.timer);
    if (this.busy || document.hidden) return;
    this.busy = true;
    const again = await this.fetch();
    this.busy = false;
    if (again) this.timer = setTimeout(() => this.now(), this.every);
  }

  async fetch() {
    try {
      this.show(await ask(this.path));
      setText(find("#trouble"), "");
      keyAccepted();
      return true;
    } catch (error) {
      if (error instanceof Refused) return false;
      setText(find("#trouble"), `No answer (${error.message}). Trying again.`);
      return true;
    }
  }
}

const polls = [
  new Poll("models.json", MODELS_EVERY, (answer) => {
    showModels(answer);
    find("#tools").hidden = false;
  }),
  new Poll("exchanges.json", EXCHANGES_EVERY, (answer) => {
    showExchanges(answer);
    find("#exchanges").hidden = false;
  }),
];

find("#key-form").addEventListener("submit", useKey);
find("#tools").addEventListener("input", search);
document.addEventListener("visibilitychange", () => polls.forEach((poll) => poll.now()));
polls.forEach((poll) => poll.now());
