// Which models are kept and why, a place to try rules, and what passed lately.
// Whatever an upstream or a client had a hand in is written as text, never as HTML.

import { showAliases } from "./aliases.js";

const LISTS = ["regexp", "simple", "exclude.regexp", "exclude.simple"];
/** Rows to show or hide in one frame. */
const SLICE = 300;
const on = (target, type, run) => target.addEventListener(type, run);
const find = (selector, within = document) => within.querySelector(selector);
const stamp = (id) => find(`#${id}`).content.firstElementChild.cloneNode(true);
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

function write(node, text) {
	if (node.textContent !== text) node.textContent = text;
}

/** Moves only what is out of place, so that focus and scroll stay. */
function arrange(parent, elements, next = parent.firstChild) {
	for (const node of elements) {
		if (node === next) next = next.nextSibling;
		else parent.insertBefore(node, next);
	}
}

let announcing;
function announce(text) {
	clearTimeout(announcing);
	announcing = setTimeout(() => write(find("#live"), text), 1000);
}

const dollars = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 4 });
const priceText = (price) => (price === null ? "" : price === 0 ? "free" : dollars.format(price));

/** 8K, 128K, 1M: providers count in thousands or in 1,024s, which the number shows. */
function contextText(count) {
	if (count === null) return "";
	const base = count % 1000 && count % 1024 === 0 ? 1024 : 1000;
	if (count < base) return `${count}`;
	return count < base ** 2 ? `${Math.round(count / base)}K` : `${+(count / base ** 2).toFixed(2)}M`;
}
const changeText = (added, removed) => (added ? ` +${added}` : "") + (removed ? ` −${removed}` : "");

const durationText = (ms) => (ms === null ? "" : `${ms.toFixed(ms < 10 ? 1 : 0)} ms`);

/** When the list that clients get came, and its age. */
function servedText({ came, age_s, stale }) {
	const time = new Date(came * 1000).toLocaleTimeString();
	return `${time}, ${Math.round(age_s)} s old${stale ? ", stale" : ""}`;
}

// Asking the program

/** In a variable only: it must not outlive the page. */
let clientKey;

async function ask(path, options) {
	const headers = clientKey ? { Authorization: `Bearer ${clientKey}` } : {};
	const response = await fetch(path, { headers, cache: "no-store", ...options });
	const answer = await response.json().catch(() => ({}));
	const reason = answer.error?.message ?? `status ${response.status}`;
	if ([401, 403].includes(response.status)) {
		showKeyForm(reason);
		throw new Error("A key is needed.");
	}
	if (!response.ok && !answer.error?.key) throw new Error(reason);
	return answer;
}

function showKeyForm(reason) {
	if (find("#key-form").hidden) setTimeout(() => find("#key").focus());
	find("#key-form").hidden = false;
	write(find("#key-form .error"), reason);
}

function useKey(event) {
	event.preventDefault();
	clientKey = find("#key").value.trim();
	find("#key-form").hidden = true;
	find("#key").value = "";
	pollAll();
}

// The list of models of one upstream

const makerOf = ({ id, owner }) => id.match(/^([^/]+)\//)?.[1] ?? (owner || "other");

class Row {
	node = stamp("model");
	button = find("button", this.node);

	describe(model, prefix) {
		Object.assign(this, model, { maker: makerOf(model), searched: (prefix + model.id).toLowerCase() });
		const name = model.id.startsWith(`${this.maker}/`) ? this.maker.length + 1 : 0;
		const [maker, rest] = this.button.children;
		write(maker, prefix + model.id.slice(0, name));
		write(rest, model.id.slice(name));
		const { cells } = this.node;
		write(cells[3], contextText(model.context));
		write(cells[4], priceText(model.input));
		write(cells[5], priceText(model.output));
		this.node.dataset.model = model.id;
		this.button.row = this;
	}

	decide(rule, wasKept, first) {
		const change = rule.kept === wasKept ? "" : rule.kept ? "added" : "removed";
		Object.assign(this, { rule, first, change, kept: rule.kept });
	}

	/** Writes down what was decided; says whether that was any work. */
	show() {
		const { rule, first } = this;
		const shown = `${rule?.text} ${this.kept} ${this.change} ${first}`;
		const changed = this.node.hidden === this.visible || shown !== this.shown;
		this.node.hidden = !this.visible;
		if (!rule || shown === this.shown) return changed;
		this.shown = shown;
		const state = { added: "+ added", removed: "− removed" }[this.change] ?? (this.kept ? "kept" : "hidden");
		write(this.node.cells[0], first ? `${state}, first` : state);
		write(this.node.cells[2], rule.text);
		this.button.ariaPressed = this.node.dataset.kept = this.kept;
		if (this.change) this.node.dataset.change = this.change;
		else delete this.node.dataset.change;
		return true;
	}
}

/** The models of one maker, below a heading that folds them. */
class Group {
	node = stamp("maker");
	button = find("button", this.node);
	rows = [];
	/** Open or not, by choice: during a search (`true`) and otherwise (`false`). */
	chosen = {};

	constructor(maker) {
		this.button.group = this;
		write(this.button.children[0], maker);
	}

	count(words) {
		const count = (test) => this.rows.filter(test).length;
		this.kept = count((row) => row.kept);
		this.added = count((row) => row.change === "added");
		this.removed = count((row) => row.change === "removed");
		this.found = count((row) => (row.visible = words.every((word) => row.searched.includes(word))));
		const searching = words.length > 0;
		this.open = this.chosen[searching] ?? (searching || this.kept + this.removed > 0);
	}

	/** Brings the heading up to date; says how much there is to lay out by that. */
	show() {
		const folds = this.button.ariaExpanded !== `${this.open}`;
		this.node.hidden = !this.found;
		this.node.toggleAttribute("data-folded", !this.open);
		this.button.ariaExpanded = this.open;
		write(this.button.children[1], `${this.kept} of ${this.rows.length}`);
		write(this.button.children[2], changeText(this.added, this.removed));
		return folds ? this.rows.length : 0;
	}

	stops() {
		const rows = this.open ? this.rows.filter((row) => row.visible).map((row) => row.button) : [];
		return this.found ? [this.button, ...rows] : [];
	}
}

const COMPARE = {
	id: (a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0),
	kept: (a, b) => b.kept - a.kept,
};

class ModelList {
	rows = [];
	groups = new Map();
	sorted = [];
	sortKey = "id";
	direction = 1;
	words = [];

	constructor(table, onToggle) {
		Object.assign(this, { table, onToggle });
		on(table, "click", (event) => this.clicked(event.target));
		on(table, "keydown", (event) => this.keyPressed(event));
		on(table, "focusin", ({ target }) => target.matches("tbody button") && this.setCurrent(target));
	}

	setModels(models, prefix) {
		const old = Map.groupBy(this.rows, (row) => row.id);
		this.rows = models.map((model) => old.get(model.id)?.shift() ?? new Row());
		this.rows.forEach((row, index) => row.describe(models[index], prefix));
		for (const row of [...old.values()].flat()) row.node.remove();
	}

	decide(verdicts, running) {
		const ruleOf = ({ rules, models }, index) => rules[models[index]];
		this.rows.forEach((row, index) =>
			row.decide(ruleOf(verdicts, index), ruleOf(running, index).kept, verdicts.first === index));
	}

	arrange() {
		const compare = (a, b) => this.compare(a, b);
		const byMaker = Map.groupBy([...this.rows].sort(compare), (row) => row.maker);
		for (const [maker, { node }] of this.groups) {
			if (!byMaker.has(maker)) node.remove(this.groups.delete(maker));
		}
		for (const [maker, rows] of byMaker) {
			if (!this.groups.has(maker)) this.groups.set(maker, new Group(maker));
			const { node } = Object.assign(this.groups.get(maker), { rows });
			arrange(node, rows.map((row) => row.node), node.rows[0].nextSibling);
		}
		this.sorted = [...this.groups.values()].sort((a, b) => compare(a.rows[0], b.rows[0]));
		arrange(this.table, this.sorted.map((group) => group.node), this.table.tHead.nextSibling);
	}

	/** What has no figure comes last, whichever way the others are sorted. */
	compare(a, b) {
		const key = this.sortKey;
		const byKey = COMPARE[key] ?? (() => a[key] - b[key]);
		return (a[key] === null) - (b[key] === null) || byKey(a, b) * this.direction || COMPARE.id(a, b);
	}

	sortBy(key) {
		this.direction = key === this.sortKey ? -this.direction : 1;
		this.sortKey = key;
		find("[aria-sort]", this.table).removeAttribute("aria-sort");
		find(`[data-sort="${key}"]`, this.table).parentElement.ariaSort = this.direction > 0 ? "ascending" : "descending";
		this.arrange();
	}

	search(text) {
		this.words = text.toLowerCase().split(/\s+/).filter(Boolean);
		if (!this.words.length) for (const group of this.sorted) delete group.chosen.true;
		this.refresh();
	}

	refresh() {
		for (const group of this.sorted) group.count(this.words);
		const stops = this.stops();
		if (!stops.includes(this.current)) this.setCurrent(stops[0]);
		this.show();
	}

	/** In slices, so that typing goes on meanwhile. */
	async show() {
		const turn = (this.turn = {});
		let work = 0;
		for (const group of this.sorted) {
			work += group.show();
			for (const row of group.rows) {
				work += row.show();
				if (work < SLICE) continue;
				await new Promise(requestAnimationFrame);
				if (turn !== this.turn) return;
				work = 0;
			}
		}
	}

	sum = (field) => this.sorted.reduce((sum, group) => sum + group[field], 0);
	stops = () => this.sorted.flatMap((group) => group.stops());

	/** One button of the list takes part in the tab order; the arrow keys reach the others. */
	setCurrent(button) {
		if (this.current) this.current.tabIndex = -1;
		this.current = button;
		if (button) button.tabIndex = 0;
	}

	clicked(target) {
		const sort = target.closest("[data-sort]");
		if (sort) return this.sortBy(sort.dataset.sort);
		const button = target.closest("tbody tr")?.querySelector("button");
		if (!button || getSelection().type === "Range") return;
		if (button.row) return this.onToggle(button.row);
		button.group.chosen[this.words.length > 0] = !button.group.open;
		this.refresh();
	}

	keyPressed(event) {
		const stops = this.stops();
		const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
		if (!step || !stops.includes(event.target)) return;
		event.preventDefault();
		stops[stops.indexOf(event.target) + step]?.focus();
	}
}

// One upstream: its state, its list, and rules to try

class Upstream {
	node = stamp("upstream");
	form = find("form", this.node);
	fields = this.form.elements;
	list = new ModelList(find("table", this.node), (row) => this.toggle(row));

	constructor(name) {
		this.name = name;
		this.node.dataset.upstream = this.node.ariaLabel = name;
		write(find("h2", this.node), name);
		find(".rules", this.node).open = matchMedia("(min-width: 60rem)").matches;
		this.part("lists").replaceWith(...LISTS.map((list) => this.makeField(list, "textarea")));
		this.part("default").replaceWith(this.makeField("default", "input"));
		on(this.form, "input", () => {
			clearTimeout(this.typing);
			this.typing = setTimeout(() => this.preview(), 100);
		});
		on(this.form, "submit", (event) => event.preventDefault());
		on(this.part("copy"), "click", () => this.copy());
		on(this.part("reset"), "click", () => this.reset());
	}

	part = (role) => find(`[data-role="${role}"]`, this.node);

	makeField(name, tag) {
		const box = stamp("field");
		const [label, tally, error] = box.children;
		const field = document.createElement(tag);
		Object.assign(field, { name, wrap: "off", spellcheck: false });
		field.id = label.htmlFor = `${this.name} ${name}`.replaceAll(/\s/g, "-");
		error.id = `${field.id}-error`;
		field.setAttribute("aria-describedby", error.id);
		write(label, name);
		label.after(field);
		on(field, "scroll", () => (tally.scrollTop = field.scrollTop));
		return box;
	}

	/** Takes in what models.json says, and leaves alone what is being edited. */
	update(data) {
		const old = this.data ?? {};
		if (!data.verdicts) data.models = [];
		const edited = this.running && !same(this.read(), this.running);
		const isNew = (part) => !same(old[part], data[part]);
		this.data = data;
		this.showState(data);
		if (isNew("models")) this.list.setModels(data.models, data.prefix);
		if (isNew("models") || isNew("verdicts")) this.showVerdicts(data.verdicts, isNew("models"));
		if (isNew("rules") && !edited) this.fill(data.rules);
		if (isNew("rules") || (edited && isNew("models"))) this.preview();
	}

	showState({ error, took_ms, age_s, served }) {
		const took = took_ms === null ? "" : ` · list took ${durationText(took_ms)}`;
		const age = age_s === null ? "" : ` · ${Math.round(age_s)} s old`;
		const cached = served ? ` · clients get the list of ${servedText(served)}` : "";
		write(this.part("state"), (error ? `No list: ${error}` : "alive") + took + age + cached);
		this.part("state").classList.toggle("error", Boolean(error));
	}

	fill(rules) {
		const texts = [rules.regexp, rules.simple, rules.exclude.regexp, rules.exclude.simple];
		LISTS.forEach((name, index) => (this.fields[name].value = (texts[index] ?? []).join("\n")));
		this.fields.default.value = rules.default ?? "";
		const more = [...rules.where, ...(rules.order ? [`order: ${rules.order}`] : [])];
		write(this.part("where"), more.join("\n"));
		this.part("where").parentElement.hidden = !more.length;
		this.fields.case_sensitive.checked = rules.case_sensitive;
		this.fields.empty.value = rules.regexp || rules.simple ? "none" : "all";
		this.running = this.read();
	}

	/** The entries of a list, each with the number of its line. */
	entries(name) {
		const lines = this.fields[name].value.split("\n");
		return lines.map((line, at) => ({ text: line.trim(), line: at + 1 })).filter(({ text }) => text);
	}

	read() {
		const [keep, simple, hide, hideSimple] = LISTS.map((name) => this.entries(name).map(({ text }) => text));
		const empty = !keep.length && !simple.length;
		find("fieldset", this.form).hidden = !empty;
		const nothing = empty && this.fields.empty.value === "none" ? [] : null;
		return {
			regexp: keep.length ? keep : nothing,
			simple: simple.length ? simple : nothing,
			exclude: { regexp: hide, simple: hideSimple },
			default: this.fields.default.value.trim() || null,
			case_sensitive: this.fields.case_sensitive.checked,
		};
	}

	reset() {
		this.fill(this.data.rules);
		this.preview();
	}

	async preview() {
		clearTimeout(this.typing);
		this.say("");
		this.overtaken?.abort();
		const { signal } = (this.overtaken = new AbortController());
		const body = JSON.stringify({ upstream: this.name, rules: this.read() });
		const answer = await ask("preview", { method: "POST", body, signal }).catch(({ message }) => ({ failed: message }));
		if (signal.aborted) return;
		if ("failed" in answer) return this.say(`The rules could not be tried. ${answer.failed}`);
		this.showError(answer.error);
		this.showTallies(answer.verdicts?.counts ?? {});
		if (answer.error) return;
		write(this.part("yaml"), answer.yaml);
		this.showVerdicts(answer.verdicts);
	}

	showVerdicts(verdicts, newModels) {
		const { list, data } = this;
		// With another number of models, the list has just changed.
		if (verdicts?.models.length === list.rows.length && data.verdicts) list.decide(verdicts, data.verdicts);
		if (newModels || list.sortKey === "kept") list.arrange();
		list.refresh();
		this.showCounts();
	}

	showCounts() {
		const [kept, added, removed] = ["kept", "added", "removed"].map((field) => this.list.sum(field));
		const counts = this.part("counts");
		const before = counts.textContent;
		write(counts.children[0], this.data.verdicts ? `${kept} of ${this.list.rows.length} kept` : "");
		write(counts.children[1], changeText(added, removed));
		if (counts.textContent !== before) announce(`${this.name}: ${counts.textContent}`);
	}

	showError(error) {
		const [, name, index] = error?.key.match(/^(.*?)(?:\[(\d+)\])?$/) ?? [];
		for (const box of this.form.querySelectorAll(".field")) {
			const field = box.children[1];
			const wrong = field.name === name;
			const line = wrong && index ? `Line ${this.entries(name)[index]?.line}: ` : "";
			const text = wrong ? line + error.message : "";
			write(find(".error", box), text);
			field.ariaInvalid = wrong ? "true" : null;
			if (wrong) announce(`${name}: ${text}`);
		}
	}

	/** How many models each line matches, beside it. */
	showTallies(counts) {
		for (const name of LISTS) {
			const lines = this.fields[name].value.split("\n").map(() => "");
			const entries = this.entries(name);
			entries.forEach(({ line }, index) => (lines[line - 1] = `${counts[name]?.[index] ?? ""}`));
			const tally = this.fields[name].nextElementSibling;
			write(tally, lines.join("\n"));
			const idle = entries.filter((_, index) => counts[name]?.[index] === 0).map(({ text }) => text);
			this.fields[name].title = idle.length ? `No model matches ${idle.join(", ")}` : "";
			tally.toggleAttribute("data-idle", idle.length > 0);
		}
	}

	toggle(row) {
		const { kept, rule, id } = row;
		if (rule.list === "exclude.regexp") return this.say(`${id} stays hidden: ${rule.text} matches it.`);
		const [from, to] = kept ? ["simple", "exclude.simple"] : ["exclude.simple", "simple"];
		// An exclusion decides only where something else keeps the model: without that, it takes both.
		const removed = (!kept || rule.list === from) && this.remove(from, id);
		if (!removed || !rule.list) this.add(to, id);
		this.preview();
	}

	add(name, id) {
		const field = this.fields[name];
		field.value = [field.value.trimEnd(), id].filter(Boolean).join("\n");
	}

	remove(name, id) {
		const fold = (text) => (this.fields.case_sensitive.checked ? text : text.toLowerCase());
		const lines = this.fields[name].value.split("\n");
		const others = lines.filter((line) => fold(line.trim()) !== fold(id));
		this.fields[name].value = others.join("\n");
		return others.length < lines.length;
	}

	say(text) {
		write(this.part("note"), text);
		if (text) find(".rules", this.node).open = true;
	}

	async copy() {
		const lines = this.part("yaml");
		try {
			await navigator.clipboard.writeText(lines.textContent);
			this.say("Copied.");
		} catch {
			// Without https there is no clipboard.
			lines.parentElement.open = true;
			getSelection().selectAllChildren(lines);
			this.say("The lines are selected: press Ctrl+C.");
		}
	}
}

const upstreams = new Map();

function showModels({ version, upstreams: all, aliases }) {
	showAliases({ upstreams: all, aliases });
	write(find("#version"), version);
	for (const [name, { node }] of upstreams) {
		if (!all.some((data) => data.name === name)) node.remove(upstreams.delete(name));
	}
	for (const data of all) {
		if (!upstreams.has(data.name)) upstreams.set(data.name, new Upstream(data.name));
		upstreams.get(data.name).update(data);
	}
	arrange(find("#upstreams"), all.map(({ name }) => upstreams.get(name).node));
	search();
}

function search() {
	let found = 0;
	for (const { list } of upstreams.values()) {
		list.search(find("#search").value);
		found += list.sum("found");
	}
	return found;
}

// The last exchanges

function showExchanges({ exchanges, buckets }) {
	const body = find("#exchanges tbody");
	while (body.rows.length < exchanges.length) body.append(stamp("exchange"));
	while (body.rows.length > exchanges.length) body.lastChild.remove();
	exchanges.forEach((exchange, index) => showExchange(body.rows[index], exchange));
	showPlots(buckets);
}

function showExchange(row, { time, status, method, path, model, target, upstream, first_byte_ms, total_ms }) {
	const named = target ? `${model} → ${target}` : (model ?? "");
	const texts = [new Date(time).toLocaleTimeString("en-GB"), `${status}`, `${method} ${path}`, named, upstream ?? "",
		durationText(first_byte_ms), durationText(total_ms)];
	texts.forEach((text, index) => write(row.cells[index], text));
	row.cells[1].classList.toggle("error", status >= 400);
}

function showPlots({ seconds, requests, first_byte_ms }) {
	const bar = (height, x) => `M${x + 0.15} 20v${-height}h.7v${height}z`;
	draw("requests", bar, requests, `in 15 min, at most ${Math.max(...requests)} in ${seconds} s`);

	// A line with gaps: a value without neighbours is a dot.
	const point = (height, x) => ((first_byte_ms[x - 1] ?? null) === null ? "M" : "L") + `${x + 0.5} ${20 - height}h.01`;
	draw("first-byte", point, first_byte_ms, `in 15 min, at most ${durationText(Math.max(...first_byte_ms))}`);
}

function draw(id, shape, values, text) {
	const most = Math.max(...values) || 1;
	const path = values.map((value, x) => (value === null ? "" : shape((value / most) * 18, x)));
	find(`#${id} path`).setAttribute("d", path.join(""));
	write(find(`#${id} span`), text);
}

// Fetching, while the page is visible

const polls = [
	{ path: "models.json", every: 30_000, show: showModels },
	{ path: "exchanges.json", every: 2_000, show: showExchanges },
];

async function poll(which) {
	clearTimeout(which.timer);
	if (document.hidden) return;
	try {
		which.show(await ask(which.path));
		write(find("#trouble"), "");
	} catch (error) {
		write(find("#trouble"), `No answer: ${error.message}`);
	}
	clearTimeout(which.timer);
	if (find("#key-form").hidden) which.timer = setTimeout(poll, which.every, which);
}

const pollAll = () => polls.forEach(poll);

on(find("#key-form"), "submit", useKey);
let typing;
on(find("#search"), "input", () => {
	clearTimeout(typing);
	typing = setTimeout(() => announce(`${search()} models found`), 100);
});
on(document, "visibilitychange", pollAll);
pollAll();
