// Which models are kept and why, a place to try rules, and what passed lately.
// Whatever an upstream or a client had a hand in is written as text, never as HTML.

const LISTS = ["regexp", "simple", "exclude.regexp", "exclude.simple"];
/** Rows to show or hide in one frame. */
const SLICE = 300;
const find = (selector, within = document) => within.querySelector(selector);
const stamp = (id) => find(`#${id}`).content.firstElementChild.cloneNode(true);
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

function setText(element, text) {
	if (element.textContent !== text) element.textContent = text;
}

/** Moves only what is out of place, so that focus and scroll stay. */
function arrange(parent, elements, next = parent.firstChild) {
	for (const element of elements) {
		if (element === next) next = next.nextSibling;
		else parent.insertBefore(element, next);
	}
}

let announcing;
/** Tells a screen reader, once the user pauses. */
function announce(text) {
	clearTimeout(announcing);
	announcing = setTimeout(() => setText(find("#live"), text), 1000);
}

// Numbers

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const dollars = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 4 });
const tokensText = (tokens) => (tokens === null ? "" : compact.format(tokens));
const priceText = (price) => (price === null ? "" : dollars.format(price));
const changeText = (added, removed) => (added ? ` +${added}` : "") + (removed ? ` −${removed}` : "");

function durationText(ms) {
	return ms === null ? "" : `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
}

// Asking the program

/** In a variable only: it must not outlive the page. */
let clientKey;

class Refused extends Error {}

async function ask(path, options) {
	const headers = clientKey ? { Authorization: `Bearer ${clientKey}` } : {};
	const response = await fetch(path, { headers, cache: "no-store", ...options });
	const answer = await response.json().catch(() => ({}));
	const reason = answer.error?.message ?? `status ${response.status}`;
	if ([401, 403].includes(response.status)) {
		showKeyForm(reason);
		throw new Refused();
	}
	if (!response.ok && !answer.error?.key) throw new Error(reason);
	return answer;
}

function showKeyForm(reason) {
	if (find("#key-form").hidden) setTimeout(() => find("#key").focus());
	find("#key-form").hidden = false;
	setText(find("#key-form .error"), reason);
}

function useKey(event) {
	event.preventDefault();
	clientKey = find("#key").value.trim();
	find("#key-form").hidden = true;
	find("#key").value = "";
	pollAll();
}

// The list of models of one upstream

function makerOf({ id, owner }) {
	return id.indexOf("/") > 0 ? id.slice(0, id.indexOf("/")) : owner || "other";
}

class Row {
	element = stamp("model");
	button = find("button", this.element);

	describe(model, prefix) {
		Object.assign(this, model, { maker: makerOf(model), searched: (prefix + model.id).toLowerCase() });
		const name = model.id.startsWith(`${this.maker}/`) ? this.maker.length + 1 : 0;
		const [maker, rest] = this.button.children;
		setText(maker, prefix + model.id.slice(0, name));
		setText(rest, model.id.slice(name));
		const figures = [tokensText(model.context), priceText(model.input), priceText(model.output)];
		figures.forEach((text, index) => setText(this.element.cells[index + 3], text));
		this.element.dataset.model = model.id;
		this.button.row = this;
	}

	/** Shows a verdict, and whether the running rules differ. Touches only what is new. */
	decide(rule, wasKept, first) {
		this.rule = rule;
		this.kept = rule.kept;
		this.change = rule.kept === wasKept ? "" : rule.kept ? "added" : "removed";
		const state = { added: "+ added", removed: "− removed" }[this.change] ?? (this.kept ? "kept" : "hidden");
		setText(this.element.cells[0], first ? `${state}, first` : state);
		setText(this.element.cells[2], rule.text);
		const { dataset } = this.element;
		if (dataset.kept !== String(this.kept)) this.button.ariaPressed = dataset.kept = String(this.kept);
		if ((dataset.change ?? "") === this.change) return;
		if (this.change) dataset.change = this.change;
		else delete dataset.change;
	}

	show() {
		if (this.element.hidden === !this.visible) return 0;
		this.element.hidden = !this.visible;
		return 1;
	}
}

/** The models of one maker, below a heading that folds them. */
class Group {
	element = stamp("maker");
	button = find("button", this.element);
	rows = [];
	/** What the user chose, apart for a search (`true`) and without one (`false`). */
	chosen = {};

	constructor(maker) {
		this.maker = maker;
		this.button.group = this;
		setText(this.button.children[0], maker);
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

	/** How many rows that took. */
	show() {
		const folds = this.button.ariaExpanded !== `${this.open}`;
		this.element.hidden = !this.found;
		this.element.toggleAttribute("data-folded", !this.open);
		this.button.ariaExpanded = this.open;
		setText(this.button.children[1], `${this.kept} of ${this.rows.length}`);
		setText(this.button.children[2], changeText(this.added, this.removed));
		return this.rows.reduce((sum, row) => sum + row.show(), folds ? this.rows.length : 0);
	}

	/** What the arrow keys stop at. */
	stops() {
		const rows = this.open ? this.rows.filter((row) => row.visible).map((row) => row.button) : [];
		return this.found ? [this.button, ...rows] : [];
	}
}

const COMPARE = {
	id: (a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0),
	maker: (a, b) => a.maker.localeCompare(b.maker),
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
		table.addEventListener("click", (event) => this.clicked(event.target));
		table.addEventListener("keydown", (event) => this.keyPressed(event));
		table.addEventListener("focusin", ({ target }) => target.matches("tbody button") && this.setCurrent(target));
	}

	setModels(models, prefix) {
		const old = Map.groupBy(this.rows, (row) => row.id);
		this.rows = models.map((model) => old.get(model.id)?.shift() ?? new Row());
		this.rows.forEach((row, index) => row.describe(models[index], prefix));
		for (const row of [...old.values()].flat()) row.element.remove();
	}

	decide(verdicts, running) {
		const ruleOf = ({ rules, models }, index) => rules[models[index]];
		this.rows.forEach((row, index) =>
			row.decide(ruleOf(verdicts, index), ruleOf(running, index).kept, verdicts.first === index));
	}

	/** Puts rows into groups, and all into order. */
	arrange() {
		const compare = (a, b) => this.compare(a, b);
		const byMaker = Map.groupBy([...this.rows].sort(compare), (row) => row.maker);
		for (const [maker, { element }] of this.groups) {
			if (!byMaker.has(maker)) element.remove(this.groups.delete(maker));
		}
		for (const [maker, rows] of byMaker) {
			if (!this.groups.has(maker)) this.groups.set(maker, new Group(maker));
			const { element } = Object.assign(this.groups.get(maker), { rows });
			arrange(element, rows.map((row) => row.element), element.rows[0].nextSibling);
		}
		this.sorted = [...this.groups.values()].sort((a, b) => this.sortKey === "id"
			? COMPARE.maker(a, b) * this.direction : compare(a.rows[0], b.rows[0]));
		arrange(this.table, this.sorted.map((group) => group.element), this.table.tHead.nextSibling);
	}

	/** What has no figure comes last, whichever way the others are sorted. */
	compare(a, b) {
		const key = this.sortKey;
		const byKey = COMPARE[key] ?? (() => (a[key] === null || b[key] === null ? 0 : a[key] - b[key]));
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
			if (work < SLICE) continue;
			await new Promise(requestAnimationFrame);
			if (turn !== this.turn) return;
			work = 0;
		}
	}

	sum(field) {
		return this.sorted.reduce((sum, group) => sum + group[field], 0);
	}

	stops() {
		return this.sorted.flatMap((group) => group.stops());
	}

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
		// Who selects an id to copy it does not mean to hide it.
		if (!button || getSelection().type === "Range") return;
		if (button.row) return this.onToggle(button.row);
		this.fold(button.group, !button.group.open);
	}

	fold(group, open) {
		group.chosen[this.words.length > 0] = open;
		this.refresh();
	}

	keyPressed(event) {
		const stops = this.stops();
		const at = stops.indexOf(event.target);
		const to = { ArrowDown: at + 1, ArrowUp: at - 1}[event.key];
		const open = { ArrowRight: true, ArrowLeft: false }[event.key];
		if (at < 0 || (to ?? open) === undefined || event.altKey || event.ctrlKey) return;
		event.preventDefault();
		if (to !== undefined) return stops[to]?.focus();
		const { group = this.groups.get(event.target.row.maker) } = event.target;
		if (!open) group.button.focus();
		this.fold(group, open);
	}
}

// One upstream: its state, its list, and rules to try

// A pattern may hold a line break. It is shown as ␊, so that each entry is one line.
const toText = (entries) => (entries ?? []).map((entry) => entry.replaceAll("\n", "␊")).join("\n");

class Upstream {
	element = stamp("upstream");
	form = find("form", this.element);
	fields = this.form.elements;
	list = new ModelList(find("table", this.element), (row) => this.toggle(row));

	constructor(name) {
		this.name = name;
		this.element.dataset.upstream = this.element.ariaLabel = name;
		setText(find("h2", this.element), name);
		find(".rules", this.element).open = matchMedia("(min-width: 60rem)").matches;
		this.part("lists").replaceWith(...LISTS.map((list) => this.makeField(list, "textarea")));
		this.part("default").replaceWith(this.makeField("default", "input"));
		this.form.addEventListener("input", () => this.typed());
		this.form.addEventListener("submit", (event) => event.preventDefault());
		this.part("copy").addEventListener("click", () => this.copy());
		this.part("reset").addEventListener("click", () => this.reset());
	}

	part(role) {
		return find(`[data-role="${role}"]`, this.element);
	}

	makeField(name, tag) {
		const box = stamp("field");
		const [label, error] = box.children;
		const field = document.createElement(tag);
		Object.assign(field, { name, wrap: "off", rows: 2, spellcheck: false, autocapitalize: "off" });
		field.id = label.htmlFor = `${this.name} ${name}`.replaceAll(/\s/g, "-");
		error.id = `${field.id}-error`;
		field.setAttribute("aria-describedby", error.id);
		setText(label, name);
		label.after(field);
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

	showState({ error, took_ms, age_s }) {
		const took = took_ms === null ? "" : ` · list took ${durationText(took_ms)}`;
		const age = age_s === null ? "" : ` · ${Math.round(age_s)} s old`;
		setText(this.part("state"), (error ? `No list: ${error}` : "alive") + took + age);
		this.part("state").classList.toggle("error", Boolean(error));
	}

	fill(rules) {
		const texts = [rules.regexp, rules.simple, rules.exclude.regexp, rules.exclude.simple].map(toText);
		LISTS.forEach((name, index) => (this.fields[name].value = texts[index]));
		this.fields.default.value = rules.default ?? "";
		this.fields.case_sensitive.checked = rules.case_sensitive;
		this.fields.empty.value = rules.regexp || rules.simple ? "none" : "all";
		this.running = this.read();
	}

	/** The entries of a list, each with the number of its line. */
	entries(name) {
		const lines = this.fields[name].value.split("\n");
		return lines.map((text, index) => ({ text: text.trim().replaceAll("␊", "\n"), line: index + 1 }))
			.filter(({ text }) => text);
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

	typed() {
		this.say("");
		clearTimeout(this.typing);
		this.typing = setTimeout(() => this.preview(), 100);
	}

	reset() {
		this.fill(this.data.rules);
		this.say("");
		this.preview();
	}

	async preview() {
		clearTimeout(this.typing);
		this.overtaken?.abort();
		const { signal } = (this.overtaken = new AbortController());
		const body = JSON.stringify({ upstream: this.name, rules: this.read() });
		const answer = await ask("preview", { method: "POST", body, signal }).catch(({ message }) => ({ failed: message }));
		if (signal.aborted) return;
		if ("failed" in answer) return this.say(`The rules could not be tried. ${answer.failed}`);
		this.showError(answer.error);
		if (answer.error) return;
		setText(this.part("yaml"), answer.yaml);
		this.showVerdicts(answer.verdicts);
		this.sayIfInVain();
	}

	showVerdicts(verdicts, newModels) {
		const { list, data } = this;
		// Another number of models: the list has just changed, and will be fetched.
		if (verdicts?.models.length === list.rows.length && data.verdicts) list.decide(verdicts, data.verdicts);
		if (newModels || list.sortKey === "kept") list.arrange();
		list.refresh();
		this.showCounts();
	}

	showCounts() {
		const [kept, added, removed] = ["kept", "added", "removed"].map((field) => this.list.sum(field));
		const [counts, change] = this.part("counts").children;
		const text = this.data.verdicts ? `${kept} of ${this.list.rows.length} kept` : "";
		if (counts.textContent + change.textContent !== text + changeText(added, removed)) {
			announce(`${this.name}: ${text}, ${added} added, ${removed} removed`);
		}
		setText(counts, text);
		setText(change, changeText(added, removed));
	}

	showError(error) {
		const [, name, index] = error?.key.match(/^(.*?)(?:\[(\d+)\])?$/) ?? [];
		for (const box of this.form.querySelectorAll(".field")) {
			const field = box.children[1];
			const wrong = field.name === name;
			const line = wrong && index && `Line ${this.entries(name)[index]?.line}: `;
			const text = wrong ? `${line ?? ""}${error.message}. The list shows the rules before this.` : "";
			setText(find(".error", box), text);
			field.ariaInvalid = wrong ? "true" : null;
			if (wrong) announce(`${name}: ${text}`);
		}
	}

	// A click on a model adds or removes an exact rule.

	toggle(row) {
		const { kept, rule, id } = row;
		this.say("");
		if (rule.list === "exclude.regexp") return this.say(`${id} stays hidden: ${rule.text} matches it.`);
		this.wanted = { row, kept: !kept };
		const [from, to] = kept ? ["simple", "exclude.simple"] : ["exclude.simple", "simple"];
		// An exclusion decides only where something else keeps the model: without that, it takes both.
		const removed = (!kept || rule.list === from) && this.remove(from, id);
		if (!removed || !rule.list) this.add(to, id);
		this.preview();
	}

	add(name, id) {
		const field = this.fields[name];
		field.value = [field.value.trimEnd(), toText([id])].filter(Boolean).join("\n");
	}

	remove(name, id) {
		const fold = (text) => (this.fields.case_sensitive.checked ? text : text.toLowerCase());
		const lines = this.fields[name].value.split("\n");
		const others = lines.filter((line) => fold(line.trim()) !== fold(toText([id])));
		this.fields[name].value = others.join("\n");
		return others.length < lines.length;
	}

	sayIfInVain() {
		const { row, kept } = this.wanted ?? {};
		this.wanted = null;
		if (!row || row.kept === kept) return;
		this.say(kept ? `${row.id} stays hidden: ${row.rule.text}.`
			: `${row.rule.text} still keeps ${row.id}. Click again to exclude it.`);
	}

	say(text) {
		setText(this.part("note"), text);
		if (text) find(".rules", this.element).open = true;
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

function showModels({ version, upstreams: all }) {
	setText(find("#version"), version);
	for (const [name, { element }] of upstreams) {
		if (!all.some((data) => data.name === name)) element.remove(upstreams.delete(name));
	}
	for (const data of all) {
		if (!upstreams.has(data.name)) upstreams.set(data.name, new Upstream(data.name));
		upstreams.get(data.name).update(data);
	}
	arrange(find("#upstreams"), all.map(({ name }) => upstreams.get(name).element));
	search();
}

function search() {
	let found = 0;
	for (const { list, element } of upstreams.values()) {
		list.search(find("#search").value);
		found += list.sum("found");
		find(".none", element).hidden = list.sum("found") > 0;
	}
	return found;
}

// What passed lately

function showExchanges({ exchanges, buckets }) {
	const body = find("#exchanges tbody");
	while (body.rows.length < exchanges.length) body.append(stamp("exchange"));
	while (body.rows.length > exchanges.length) body.lastChild.remove();
	exchanges.forEach((exchange, index) => showExchange(body.rows[index], exchange));
	showPlots(buckets);
}

function showExchange(row, { time, status, method, path, model, upstream, first_byte_ms, total_ms }) {
	const texts = [new Date(time).toLocaleTimeString("en-GB"), `${status}`, `${method} ${path}`, model ?? "", upstream ?? "",
		durationText(first_byte_ms), durationText(total_ms)];
	texts.forEach((text, index) => setText(row.cells[index], text));
	row.cells[1].classList.toggle("error", status >= 400);
}

function showPlots({ seconds, requests, first_byte_ms }) {
	const total = requests.reduce((sum, count) => sum + count, 0);
	const bar = (height, x) => `M${x + 0.15} 20v${-height}h.7v${height}z`;
	draw("requests", bar, requests, `${total} in 15 min, at most ${Math.max(...requests)} in ${seconds} s`);

	const known = first_byte_ms.filter((ms) => ms !== null).sort((a, b) => a - b);
	// A line with gaps: where a value stands alone, it is a dot.
	const point = (height, x) => ((first_byte_ms[x - 1] ?? null) === null ? "M" : "L") + `${x + 0.5} ${20 - height}h.01`;
	const text = known.length ? `half below ${durationText(known[known.length >> 1])}, at most ${durationText(known.at(-1))}` : "none";
	draw("first-byte", point, first_byte_ms, text);
}

function draw(id, shape, values, text) {
	const most = Math.max(...values) || 1;
	const path = values.map((value, x) => (value === null ? "" : shape((value / most) * 18, x)));
	find(`#${id} path`).setAttribute("d", path.join(""));
	setText(find(`#${id} span`), text);
}

// Fetching, while the page is visible

const polls = [
	{ path: "models.json", every: 30_000, show: showModels },
	{ path: "exchanges.json", every: 2_000, show: showExchanges },
];

async function poll(which) {
	clearTimeout(which.timer);
	if (which.busy || document.hidden) return;
	which.busy = true;
	try {
		which.show(await ask(which.path));
		setText(find("#trouble"), "");
	} catch (error) {
		setText(find("#trouble"), error instanceof Refused ? "" : `No answer (${error.message}). Trying again.`);
	}
	which.busy = false;
	if (find("#key-form").hidden) which.timer = setTimeout(poll, which.every, which);
}

function pollAll() {
	polls.forEach(poll);
}

find("#key-form").addEventListener("submit", useKey);
let typing;
find("#search").addEventListener("input", () => {
	clearTimeout(typing);
	typing = setTimeout(() => announce(`${search()} models found`), 100);
});
document.addEventListener("visibilitychange", pollAll);
pollAll();
