// The page: which models clients see, and a place to choose them.
// Whatever an upstream or a client had a hand in is written as text, never as HTML.

import { showAliases } from "./aliases.js";
import { Draft, LISTS, escaped, listOf, readFragment, same, withList, writeFragment } from "./draft.js";
import { showExchanges } from "./exchanges.js";
import { Finder } from "./finder.js";
import { Form } from "./form.js";
import { Menu } from "./menu.js";
import { Table, makerOf } from "./table.js";
import { announce, changeText, find, on, plural, secondsText, write } from "./text.js";

// Asking the program

/** In a variable only: it must not outlive the page. */
let clientKey;
/** What this process gave the page to change something with. */
let token;
let configFile;

async function ask(path, options = {}) {
	const headers = { ...(clientKey && { Authorization: `Bearer ${clientKey}` }), ...options.headers };
	const response = await fetch(path, { cache: "no-store", ...options, headers });
	const answer = await response.json().catch(() => ({}));
	const reason = answer.error?.message ?? `status ${response.status}`;
	if (response.status === 401 || (response.status === 403 && !options.method)) {
		showKeyForm(clientKey ? "This key is wrong." : reason);
		throw new Error("A key is needed.");
	}
	if (!response.ok && response.status !== 409) throw new Error(reason);
	return { ...answer, status: response.status };
}

const post = (path, body, more) => ask(path, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json", "X-Model-Filter-Token": token ?? "" }, ...more });

function showKeyForm(reason) {
	if (find("#key-form").hidden) setTimeout(() => find("#key").focus());
	find("#key-form").hidden = false;
	find("#shell").hidden = find("#bar").hidden = true;
	write(find("#key-error"), reason);
}

on(find("#key-form"), "submit", (event) => {
	event.preventDefault();
	clientKey = find("#key").value.trim();
	find("#key-form").hidden = true;
	find("#shell").hidden = find("#bar").hidden = false;
	find("#key").value = "";
	pollAll();
});

// One upstream: its models, its verdicts, and the rules that are being edited

class Upstream {
	models = [];
	menu = [];
	added = 0;
	removed = 0;
	counts = {};
	advice = [];

	constructor(data) {
		this.data = data;
		this.draft = new Draft(data.rules);
		this.base = data.file?.digest;
	}

	/** Takes in what models.json says, and leaves alone what is being edited. */
	update(data) {
		const isNew = data.digest !== this.digest || !data.verdicts;
		this.data = data;
		if (isNew) this.setModels(data);
		const running = new Draft(data.rules).running;
		if (!this.draft.edited) {
			this.base = data.file?.digest;
			if (!same(running, this.draft.running)) this.draft = new Draft(running);
			this.show(data.verdicts);
			return this.yaml === undefined;
		}
		this.draft.running = running;
		this.show(this.verdicts?.models.length === this.models.length ? this.verdicts : data.verdicts);
		return true;
	}

	setModels({ models, prefix, digest }) {
		this.digest = digest;
		const seen = new Map();
		this.models = models.map((model) => {
			const nth = (seen.get(model.id) ?? 0) + 1;
			seen.set(model.id, nth);
			return { ...model, prefix, upstream: this, key: `model ${model.id} ${nth}`, maker: makerOf(model), searched: model.id.toLowerCase(), kept: false, why: "" };
		});
		this.isNew = true;
	}

	/** Notes what was decided about each model. */
	show(verdicts) {
		this.verdicts = verdicts;
		const running = this.data.verdicts;
		this.added = this.removed = 0;
		this.menu = [];
		if (!verdicts || verdicts.models.length !== this.models.length) return;
		const wasKept = (at) => (running ? running.rules[running.models[at]].kept : false);
		this.models.forEach((model, at) => {
			const rule = verdicts.rules[verdicts.models[at]];
			model.kept = rule.kept;
			model.rule = rule;
			model.why = rule.text + (verdicts.first === at ? ", default" : "");
			model.change = rule.kept === wasKept(at) ? null : rule.kept ? "added" : "removed";
			if (model.change) this[model.change] += 1;
		});
		this.menu = verdicts.menu.map((at) => this.models[at]);
		this.first = verdicts.first === null ? null : this.models[verdicts.first];
		({ counts: this.counts, advice: this.advice } = verdicts);
	}

	/** Tries the rules; says whether that was the last word on them. */
	async preview() {
		this.overtaken?.abort();
		const { signal } = (this.overtaken = new AbortController());
		const body = { upstream: this.data.name, rules: this.draft.rules };
		const answer = await post("preview", body, { signal }).catch(({ message }) => ({ failed: message }));
		if (signal.aborted) return false;
		this.error = answer.error ?? null;
		this.failed = answer.failed ?? null;
		if (answer.verdicts) {
			this.yaml = answer.yaml;
			this.show(answer.verdicts);
		}
		return true;
	}
}

const upstreams = new Map();
let current;
/** Rules from the URL's fragment, for upstreams that are not there yet. */
let waiting = readFragment();

const drafts = () => [...upstreams].map(([name, { draft }]) => [name, draft]);
const isEdited = () => drafts().some(([, draft]) => draft.edited);

function showModels({ version, token: given, config, upstreams: all, aliases }) {
	showAliases({ upstreams: all, aliases });
	token = given;
	configFile = config;
	write(find("#version"), version);
	for (const name of upstreams.keys()) if (!all.some((data) => data.name === name)) upstreams.delete(name);
	for (const data of all) {
		let upstream = upstreams.get(data.name);
		if (!upstream) upstreams.set(data.name, (upstream = new Upstream(data)));
		if (waiting.has(data.name)) upstream.draft.change(waiting.get(data.name));
		waiting.delete(data.name);
		if (upstream.update(data)) tryOut(upstream);
	}
	const names = all.map(({ name }) => name);
	if (!names.includes(current?.data.name)) current = upstreams.get(names[0]);
	const select = find("#upstream");
	if (!same([...select.options].map(({ value }) => value), names)) select.replaceChildren(...names.map((name) => new Option(name)));
	select.value = current.data.name;
	find("#pick").hidden = names.length < 2;
	find("#fetch").hidden = false;
	showAll();
}

// What is seen

const table = new Table((model) => toggle(model));
const finder = new Finder(() => showFound(true));
const form = new Form((rules, merges) => change(rules, merges));
const menu = new Menu({ toggle: (model) => toggle(model), putFirst, reveal });

function showAll() {
	if (!current) return;
	if (finder.owner !== current || current.isNew) {
		finder.owner = current;
		current.isNew = false;
		finder.setModels(current.models, current.data.prefix);
	}
	showState(current.data);
	showFound();
	form.fill(current.draft.rules, current.draft.running);
	form.showError(current.error);
	form.showTallies(current.counts, current.advice);
	menu.show([...upstreams.values()], upstreams.size > 1);
	find("#order").value = current.draft.rules.order ?? "";
	write(find("#yaml"), current.yaml ?? "");
	showNext();
	writeFragment(drafts());
}

function showFound(announces) {
	const found = finder.run(current.models);
	table.show(current.models, found);
	write(find("#empty span"), current.models.length ? "No model matches." : current.data.error ? `No list: ${current.data.error}` : "The upstream lists no models.");
	find("#clear-empty").hidden = !current.models.length;
	showActions(found);
	if (announces) announce(`${plural(found.length, "model")} found`);
}

function showState({ error, served, age_s }) {
	const age = served?.age_s ?? age_s;
	const stale = served?.stale || error;
	const texts = [age === null || age === undefined ? "" : `list ${secondsText(age)} old`, stale && age !== null ? "stale" : "", error ? `No new list: ${error}` : ""];
	write(find("#state"), texts.filter(Boolean).join(" · "));
	find("#state").classList.toggle("error", Boolean(error));
}

/** What was found as rules, in buttons that say what they will write. */
function showActions(found) {
	const models = found.map((at) => current.models[at]);
	const hidden = models.filter(({ kept }) => !kept), kept = models.filter(({ kept }) => kept);
	const { rules } = current.draft;
	const keepsAll = rules.regexp === null && rules.simple === null;
	find("#actions").hidden = !finder.active || !models.length;
	const names = find("#keep-names");
	write(names, keepsAll ? `Keep only these ${models.length}` : hidden.length < models.length && hidden.length ? `Keep ${hidden.length} more of these` : `Keep these ${models.length}`);
	names.hidden = !keepsAll && !hidden.length;
	names.models = keepsAll ? models : hidden;
	const hide = find("#hide-names");
	write(hide, kept.length < models.length ? `Hide the ${kept.length} kept` : `Hide these ${kept.length}`);
	hide.hidden = !kept.length;
	hide.models = kept;
	const { pattern, where, exclude } = finder.rule;
	const conditions = Object.entries(where).map(([key, value]) => `${key} ${[value].flat().join(", ")}`).join(" · ");
	const sameWhere = same(current.draft.running && normalWhere(where), normalWhere(rules.where));
	const parts = [`${sameWhere ? "adds to" : "replaces"} regexp: ${pattern}`, !sameWhere && (conditions ? `where: ${conditions}` : "removes where"), exclude.length && `adds to exclude: ${exclude.join(", ")}`];
	write(find("#plan"), `Names go into simple or exclude. “Also in future” ${parts.filter(Boolean).join("; ")}.`);
}

const normalWhere = (where) => new Draft({ where }).rules.where;

/** What to do next: undo, save, copy. */
function showNext() {
	const { draft, data, error, failed } = current;
	find("#undo").disabled = !draft.past.length;
	find("#redo").disabled = !draft.future.length;
	find("#revert").disabled = !draft.edited;
	const { file } = data;
	const saves = file && !file.obstacle;
	for (const id of ["#save", "#save-bar"]) {
		find(id).hidden = !saves;
		find(id).disabled = !draft.edited || Boolean(error) || saving;
	}
	find("#copy").disabled = Boolean(error);
	find("#copy").classList.toggle("main", !saves);
	const place = `${data.nested ? `model_filter, ${data.name}` : "model_filter"} in ${configFile ?? "the configuration"}`;
	const texts = {
		true: error ? `${error.key}: ${error.message}` : failed ? `The rules could not be tried. ${failed}` : "",
		false: saves ? (draft.edited ? `Not saved yet. Save writes ${file.path}.` : `Saved in ${file.path}.`)
			: file ? `${file.path} cannot be saved: ${file.obstacle}. Copy the lines into it; they replace all of it.`
			: `Copied lines belong below ${place}, and replace the keys of the same name. To save from here, move them into a file of their own and name it there: “rules: rules.yaml”.`,
	};
	write(find("#place"), texts[Boolean(error || failed)]);
	find("#place").classList.toggle("error", Boolean(error || failed));
	document.title = `${draft.edited ? "• " : ""}model-filter`;
}

// Changing the rules

function change(rules, merges) {
	if (!current.draft.change(rules, merges)) return;
	note("");
	tryOut(current);
	showNext();
}

async function tryOut(upstream) {
	if (!(await upstream.preview())) return;
	showAll();
	const changes = changeText(upstream.added, upstream.removed);
	announce(upstream.error ? `${upstream.error.key}: ${upstream.error.message}` : `${upstream.menu.length} kept ${changes}`);
}

/** One line about what was just done, with a button for what may be wanted instead. */
function note(text, label, act) {
	find("#note").hidden = !text;
	write(find("#note span"), text);
	const button = find("#note button");
	button.hidden = !label;
	write(button, label ?? "");
	button.onclick = act ?? null;
}

const fold = (rules, text) => (rules.case_sensitive ? text : text.toLowerCase());
const without = (rules, name, id) => withList(rules, name, listOf(rules, name).filter((entry) => fold(rules, entry) !== fold(rules, id)));
const lists = (rules, name, id) => listOf(rules, name).some((entry) => fold(rules, entry) === fold(rules, id));

/** Keeps or hides a model by its exact name. */
function toggle(model) {
	const { upstream, id, kept, rule } = model;
	if (upstream !== current) pick(upstream);
	let { rules } = current.draft;
	if (kept) {
		if (rule.list === "simple") rules = without(rules, "simple", id);
		else rules = withList(rules, "exclude.simple", [...rules.exclude.simple, id]);
		change(rules);
		if (rule.list === "regexp") note(`${rule.text} keeps ${id}; it is now excluded by name.`, "Remove the pattern instead", () => dropPattern("regexp", rule, id));
		return;
	}
	if (rule.list === "exclude.regexp") {
		return note(`${id} stays hidden: ${rule.text} matches it.`, "Remove this pattern", () => dropPattern("exclude.regexp", rule, id));
	}
	rules = without(rules, "exclude.simple", id);
	if (rule.list !== "exclude.simple" || Object.keys(rules.where).length) rules = withList(rules, "simple", [...(rules.simple ?? []), id]);
	change(rules);
}

function dropPattern(list, rule, id) {
	let { rules } = current.draft;
	rules = withList(rules, list, listOf(rules, list).filter((_, index) => index !== rule.index));
	if (list === "regexp") rules = without(rules, "exclude.simple", id);
	change(rules);
}

function keepNames(models) {
	let { rules } = current.draft;
	for (const { id } of models) rules = lists(rules, "exclude.simple", id) ? without(rules, "exclude.simple", id) : rules;
	const fresh = models.filter(({ id, rule }) => rule.list !== "exclude.regexp" && !lists(rules, "simple", id));
	const stay = models.filter(({ rule }) => rule.list === "exclude.regexp").length;
	change(withList(rules, "simple", [...(rules.simple ?? []), ...fresh.map(({ id }) => id)]));
	note(`${plural(fresh.length, "name")} added to simple.${stay ? ` ${plural(stay, "model")} stay hidden by an exclude pattern.` : ""}`, "Undo", undo);
}

function hideNames(models) {
	let { rules } = current.draft;
	const named = new Set(models.filter(({ rule }) => rule.list === "simple").map(({ id }) => fold(rules, id)));
	if (named.size) rules = withList(rules, "simple", rules.simple.filter((entry) => !named.has(fold(rules, entry))));
	const others = models.filter(({ rule }) => rule.list !== "simple").map(({ id }) => id);
	change(withList(rules, "exclude.simple", [...rules.exclude.simple, ...others]));
	note(`${plural(models.length, "model")} hidden by name.`, "Undo", undo);
}

function keepLike() {
	const { pattern, where, exclude } = finder.rule;
	const typed = current.draft.rules.case_sensitive && pattern !== ".*" ? `(?i)${pattern}` : pattern;
	const { rules } = current.draft;
	const adds = same(normalWhere(where), normalWhere(rules.where));
	const regexp = adds ? [...new Set([...(rules.regexp ?? []), typed])] : [typed];
	const hidden = [...new Set([...rules.exclude.regexp, ...exclude])];
	change({ ...rules, regexp, where: adds ? rules.where : where, exclude: { ...rules.exclude, regexp: hidden } });
	note(`Rules written: regexp ${typed}${Object.keys(where).length ? ", and where" : ""}.`, "Undo", undo);
}

function putFirst(model) {
	if (model.upstream !== current) pick(model.upstream);
	const isFirst = current.first === model;
	change({ ...current.draft.rules, default: isFirst ? null : escaped(model.id) });
}

function reveal(model) {
	if (model.upstream !== current) pick(model.upstream);
	openMenu(false);
	view("models");
	if (!table.reveal(model)) {
		finder.clear();
		table.reveal(model);
	}
}

function start(simple) {
	change({ ...current.draft.rules, regexp: null, simple, exclude: {}, where: {} });
	note(simple ? "Nothing is kept: pick models in the list." : "Everything is kept: hide models in the list.", "Undo", undo);
}

const undo = () => current.draft.undo() && stepped("Undone.");
const redo = () => current.draft.redo() && stepped("Redone.");

function stepped(text) {
	note("");
	announce(text);
	// A field that is being edited shows the step too.
	if (form.form.contains(document.activeElement)) document.activeElement.blur();
	form.fill(current.draft.rules, current.draft.running);
	tryOut(current);
	showNext();
	return true;
}

// Saving

let saving = false;

async function save(digest = current.base) {
	const upstream = current;
	if (saving || !upstream.data.file || upstream.data.file.obstacle || upstream.error) return;
	saving = true;
	showNext();
	const rules = upstream.draft.rules;
	const answer = await post("save", { upstream: upstream.data.name, rules, digest }).catch(({ message }) => ({ failed: message }));
	saving = false;
	find("#conflict").hidden = answer.status !== 409;
	if (answer.status === 409) {
		find("#mine").digest = answer.digest;
		write(find("#conflict p"), `${upstream.data.file.path} was changed since this page read it. Nothing was saved.`);
	} else if (answer.failed) {
		note(`Not saved: ${answer.failed}`);
	} else {
		upstream.base = answer.digest;
		upstream.draft.running = rules;
		note(answer.warning ? `Saved, but not in use: ${answer.warning}` : `Saved. ${plural(upstream.menu.length, "model")} in the menu.`);
	}
	await poll(polls[0]);
	showAll();
}

async function showTheirs() {
	find("#conflict").hidden = true;
	const upstream = current;
	upstream.draft.change(upstream.data.rules);
	upstream.base = upstream.data.file?.digest;
	note("These are the rules of the file.", "Undo", undo);
	tryOut(upstream);
}

async function copy() {
	const lines = find("#yaml");
	try {
		await navigator.clipboard.writeText(lines.textContent);
		note(find("#place").textContent.startsWith("Copied") ? find("#place").textContent : "Copied.");
	} catch {
		// Without https there is no clipboard.
		view("rules");
		lines.parentElement.open = true;
		getSelection().selectAllChildren(lines);
		lines.scrollIntoView();
		announce("The lines are selected: press Ctrl+C.");
	}
}

// Views, buttons and keys

function view(name) {
	for (const button of document.querySelectorAll("[data-view]")) {
		button.ariaCurrent = button.dataset.view === name ? "page" : null;
		find(`#${button.dataset.view}`).hidden = button.dataset.view !== name;
	}
	if (name === "models") table.draw();
}

function openMenu(open) {
	document.body.toggleAttribute("data-menu", open);
	find("#open-menu").ariaExpanded = open;
}

function pick(upstream) {
	current = upstream;
	find("#upstream").value = upstream.data.name;
	find("#conflict").hidden = true;
	note("");
	showAll();
}

const clicks = {
	"#undo": undo, "#redo": redo, "#revert": () => change(current.draft.running), "#copy": copy, "#save": () => save(), "#save-bar": () => save(),
	"#mine": () => save(find("#mine").digest), "#theirs": showTheirs, "#none": () => start([]), "#all": () => start(null),
	"#keep-names": () => keepNames(find("#keep-names").models), "#hide-names": () => hideNames(find("#hide-names").models), "#keep-like": keepLike,
	"#open-menu": () => openMenu(!document.body.hasAttribute("data-menu")),
	"#fetch": async () => {
		find("#fetch").disabled = true;
		await post("fetch").then(showModels, ({ message }) => note(`Not fetched: ${message}`));
		find("#fetch").disabled = false;
	},
	"#filters-button": () => {
		const open = find("#finder").toggleAttribute("data-open");
		find("#filters-button").ariaExpanded = open;
		table.draw();
	},
};
for (const [id, act] of Object.entries(clicks)) on(find(id), "click", act);
on(find("#order"), "change", ({ target }) => change({ ...current.draft.rules, order: target.value || null }));
on(find("#upstream"), "change", ({ target }) => pick(upstreams.get(target.value)));
for (const button of document.querySelectorAll("[data-view]")) on(button, "click", () => view(button.dataset.view));

on(document, "keydown", (event) => {
	const types = event.target.matches("input:not([type=checkbox], [type=radio], [type=range]), textarea, select");
	const command = event.ctrlKey || event.metaKey;
	if (event.key === "/" && !types && !command) {
		event.preventDefault();
		openMenu(false);
		view("models");
		find("#search").select();
	} else if (command && event.key.toLowerCase() === "z" && !(types && event.target.value) && current) {
		event.preventDefault();
		event.shiftKey ? redo() : undo();
	} else if (command && event.key.toLowerCase() === "y" && !types && current) {
		event.preventDefault();
		redo();
	} else if (command && event.key.toLowerCase() === "s" && current?.data.file) {
		event.preventDefault();
		if (current.draft.edited) save();
	} else if (event.key === "Escape" && document.body.hasAttribute("data-menu")) {
		openMenu(false);
		find("#open-menu").focus();
	}
});
on(find("#search"), "keydown", (event) => {
	if (event.key === "ArrowDown") {
		event.preventDefault();
		table.focus(table.current);
	} else if (event.key === "Escape") {
		event.preventDefault();
		finder.clear();
	}
});
on(window, "beforeunload", (event) => isEdited() && event.preventDefault());
on(window, "hashchange", () => {
	waiting = readFragment();
	for (const [name, rules] of waiting) {
		const upstream = upstreams.get(name);
		if (upstream?.draft.change(rules)) tryOut(upstream);
	}
	waiting.clear();
});

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
on(document, "visibilitychange", pollAll);
pollAll();
