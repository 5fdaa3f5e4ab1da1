// Search and filter bar: which models are in view, how many each control would leave, and the rules
// that mean the same. Judges as `where` does, the program's own filter included.

import { contextText, find, on, plural, priceText, write } from "./text.js";
import { escaped } from "./draft.js";

const CONTEXTS = [8000, 32_000, 64_000, 100_000, 128_000, 200_000, 1_000_000];
const AGES = [30, 90, 180, 365, 730];
const CHIPS = ["supports:tools", "supports:reasoning", "supports:structured_outputs", "input:image"];
const SETS = { input: "accepts", output: "produces", supports: "supports" };
const COMMON_WORDS = 40;
const DAY = 86_400;

/** For each word, which models have it: 1, have it not: 0, or whose list does not say: -1. */
function columns(models, field) {
	const found = new Map();
	models.forEach((model, at) => {
		const said = model[field];
		for (const word of Array.isArray(said) ? said : said.yes) {
			if (!found.has(word)) found.set(word, new Int8Array(models.length));
			found.get(word)[at] = 1;
		}
	});
	models.forEach(({ [field]: said }, at) => {
		if (Array.isArray(said)) return;
		for (const [word, column] of found) if (!column[at] && !said.no.includes(word)) column[at] = -1;
	});
	return [...found].sort();
}

const twoDigitsUp = (value) => {
	const unit = 10 ** (Math.floor(Math.log10(value)) - 1);
	return Number((Math.ceil(value / unit - 1e-6) * unit).toPrecision(2));
};

export class Finder {
	models = [];
	text = "";
	show = "all";
	price = null;
	context = 0;
	age = 0;
	unknown = "keep";
	chosen = new Set();

	constructor(changed) {
		this.changed = changed;
		on(find("#search"), "input", ({ target }) => this.set({ text: target.value }));
		on(find("#show"), "change", ({ target }) => this.set({ show: target.value }));
		on(find("#price"), "input", ({ target }) => this.set({ price: this.priceAt(Number(target.value)) }));
		on(find("#context"), "change", ({ target }) => this.set({ context: Number(target.value) }));
		on(find("#age"), "change", ({ target }) => this.set({ age: Number(target.value) }));
		on(find("#unknown"), "change", ({ target }) => this.set({ unknown: target.value }));
		on(find("#without"), "change", ({ target }) => this.set({ text: `${this.text.trim()} -${target.value}`.trim() }));
		on(find("#filters"), "change", ({ target }) => target.name === "word" && this.toggle(target.value, target.checked));
		on(find("#more"), "toggle", () => this.changed());
		for (const id of ["#clear", "#clear-empty"]) on(find(id), "click", () => this.clear());
	}

	set(change) {
		Object.assign(this, change);
		// Once for all letters that are typed within a frame.
		this.frame ??= requestAnimationFrame(() => {
			this.frame = null;
			this.changed();
		});
	}

	toggle(word, chosen) {
		if (word === "free") return this.set({ price: chosen ? 0 : null });
		this.chosen[chosen ? "add" : "delete"](word);
		this.changed();
	}

	clear() {
		this.chosen.clear();
		this.set({ text: "", show: "all", price: null, context: 0, age: 0, unknown: "keep" });
		find("#show input").checked = true;
		find("#search").focus();
	}

	/** Whether anything but the search is set that `where` can say. */
	get filters() {
		return this.price !== null || this.context > 0 || this.age > 0 || this.chosen.size > 0;
	}

	get active() {
		return this.filters || this.text.trim() !== "";
	}

	/** Takes in the models of an upstream, each with its facts. */
	setModels(models, prefix) {
		this.prefix = prefix.toLowerCase();
		this.models = models;
		const prices = models.flatMap(({ input, output }) => [input, output]).filter((price) => price > 0);
		this.range = prices.length ? [prices.reduce((a, b) => Math.min(a, b)), prices.reduce((a, b) => Math.max(a, b))] : [0.01, 100];
		this.words = new Map();
		for (const [set, field] of Object.entries(SETS)) {
			for (const [word, column] of columns(models, field)) this.words.set(`${set}:${word}`, column);
		}
		for (const word of this.chosen) if (!this.words.has(word)) this.chosen.delete(word);
		const common = new Map();
		for (const { id } of models) {
			for (const word of new Set(id.toLowerCase().split(/[^a-z0-9.]+/))) {
				if (/[a-z]{3}/.test(word)) common.set(word, (common.get(word) ?? 0) + 1);
			}
		}
		this.common = [...common].sort((a, b) => b[1] - a[1]).slice(0, COMMON_WORDS).map(([word]) => word).sort();
		this.holds = new Map(this.common.map((word) => [word, Uint8Array.from(models, ({ searched }) => searched.includes(word))]));
		this.makeControls();
	}

	makeControls() {
		const options = (id, values) => find(id).replaceChildren(...values.map(([value, text]) => Object.assign(new Option(text, value), { text0: text })));
		options("#context", [[0, "any"], ...CONTEXTS.map((count) => [count, `${contextText(count)}+`])]);
		options("#age", [[0, "any"], ...AGES.map((days) => [days, `≤ ${days} days`])]);
		options("#without", [["", "–"], ...this.common.map((word) => [word, word])]);
		const known = [...this.words.keys()];
		find("#chips").replaceChildren(...["free", ...CHIPS.filter((word) => this.words.has(word))].map((word) => this.chip(word)));
		const sets = Object.keys(SETS).map((set) => {
			const box = document.createElement("fieldset");
			const title = document.createElement("legend");
			write(title, { input: "Accepts", output: "Produces", supports: "Supports" }[set]);
			box.append(title, ...known.filter((word) => word.startsWith(`${set}:`) && !CHIPS.includes(word)).map((word) => this.chip(word)));
			return box;
		});
		find("#more div div").replaceChildren(...sets);
	}

	chip(word) {
		const label = document.createElement("label");
		const input = Object.assign(document.createElement("input"), { type: "checkbox", name: "word", value: word });
		const text = word === "free" ? "Free" : word === "input:image" ? "image input" : word.replace(/^\w+:/, "").replaceAll("_", " ");
		label.className = "chip";
		label.append(input, text, document.createElement("output"));
		return label;
	}

	priceAt(position) {
		const [low, high] = this.range;
		if (position === 0) return 0;
		return position >= 100 ? null : twoDigitsUp(low * (high / low) ** ((position - 1) / 98));
	}

	positionOf(price) {
		const [low, high] = this.range;
		if (!price) return price === 0 ? 0 : 100;
		return Math.round(1 + (98 * Math.log(price / low)) / Math.log(high / low || 2));
	}

	/** The words of the search: those to be there, and those not to be. */
	get search() {
		const typed = this.text.toLowerCase().split(/\s+/).filter((word) => word && word !== "-");
		const bare = (word) => (this.prefix && word.startsWith(this.prefix) ? word.slice(this.prefix.length) : word);
		const yes = typed.filter((word) => !word.startsWith("-")).map(bare).filter(Boolean);
		const no = typed.filter((word) => word.startsWith("-")).map((word) => bare(word.slice(1))).filter(Boolean);
		return { yes, no };
	}

	/** The models in view by their indices. Also writes how many each control would leave. */
	run(verdicts) {
		const { models } = this;
		const { yes, no } = this.search;
		const hides = this.unknown === "hide";
		const now = Date.now() / 1000;
		const chosen = [...this.chosen].map((word) => this.words.get(word));
		const costs = (price) => (model) => {
			if (price === null) return true;
			if (hides && (model.input === null || model.output === null)) return false;
			return (model.input ?? 0) <= price && (model.output ?? 0) <= price;
		};
		const holds = (least) => ({ context }) => !least || (context === null ? !hides : context >= least);
		const isYoung = (days) => ({ created }) => !days || (created === null ? !hides : now - created <= days * DAY);
		const says = (column, at) => (hides ? column[at] === 1 : column[at] !== 0);
		const cheap = costs(this.price), large = holds(this.context), young = isYoung(this.age);
		const found = [];
		// For each model in search, the only control that leaves it out: 0 for none, 1 price, 2 context, 3 age.
		const near = [];
		let total = 0, kept = 0, changed = 0;
		models.forEach((model, at) => {
			if (!yes.every((word) => model.searched.includes(word)) || no.some((word) => model.searched.includes(word))) return;
			if (!chosen.every((column) => says(column, at))) return;
			const fails = (cheap(model) ? 0 : 1) | (large(model) ? 0 : 2) | (young(model) ? 0 : 4);
			near.push([at, fails]);
			if (fails) return;
			total += 1;
			const verdict = verdicts[at];
			kept += verdict.kept;
			changed += Boolean(verdict.change);
			if (this.show === "all" || (this.show === "kept" ? verdict.kept : verdict.change)) found.push(at);
		});
		const count = (control, test) => near.reduce((sum, [at, fails]) => sum + ((fails & ~control) === 0 && test(models[at], at)), 0);
		this.total = total;
		this.write(count, { costs, holds, isYoung, says }, [total, kept, changed]);
		return found;
	}

	write(count, { costs, holds, isYoung, says }, shows) {
		if (find("#search").value !== this.text) find("#search").value = this.text;
		find("#show").querySelectorAll("output").forEach((output, at) => write(output, `${shows[at]}`));
		const slider = find("#price");
		if (this.priceAt(Number(slider.value)) !== this.price) slider.value = this.positionOf(this.price);
		const price = this.price === null ? "any" : this.price === 0 ? "free" : `$${priceText(this.price)}`;
		write(slider.nextElementSibling, `${price} (${count(1, costs(this.price))})`);
		slider.ariaValueText = `${price}, ${plural(this.total, "model")}`;
		const options = (id, value, control, test) => {
			const select = find(id);
			for (const option of select.options) write(option, `${option.text0} (${count(control, test(Number(option.value)))})`);
			select.value = value;
		};
		options("#context", this.context, 2, holds);
		options("#age", this.age, 4, isYoung);
		for (const option of find("#without").options) {
			if (option.value) write(option, `${option.text0} (${count(0, (_, at) => !this.holds.get(option.value)[at])})`);
		}
		find("#without").value = "";
		find("#unknown").value = this.unknown;
		// The others are written when they are opened.
		const boxes = find("#more").open ? "#filters [name=word]" : "#chips [name=word]";
		for (const input of document.querySelectorAll(boxes)) {
			const free = input.value === "free";
			const column = this.words.get(input.value);
			input.checked = free ? this.price === 0 : this.chosen.has(input.value);
			const left = free ? count(1, costs(0)) : count(0, (_, at) => says(column, at));
			write(input.parentElement.lastChild, `${left}`);
		}
		const active = this.active || this.show !== "all" || this.unknown !== "keep";
		find("#clear").hidden = !active;
		const set = [this.price !== null, this.context, this.age, this.unknown !== "keep"].filter(Boolean).length + this.chosen.size;
		write(find("#filters-button"), set ? `Filters (${set})` : "Filters");
	}

	/** What is found as rules: a pattern, the conditions, and patterns of what is left out. */
	get rule() {
		const { yes, no } = this.search;
		// Without look-around, each order of the words is an alternative.
		const orders = (list) => (list.length < 2 ? [list] : list.flatMap((word, at) => orders(list.toSpliced(at, 1)).map((rest) => [word, ...rest])));
		const all = yes.length > 3 ? [yes] : orders(yes);
		const pattern = yes.length ? all.map((list) => `.*${list.map(escaped).join(".*")}.*`).join("|") : ".*";
		const where = {};
		if (this.price !== null) where.max_price = `${this.price}`;
		if (this.context) where.min_context = this.context;
		for (const set of Object.keys(SETS)) {
			const chosen = [...this.chosen].filter((word) => word.startsWith(`${set}:`)).map((word) => word.slice(set.length + 1));
			if (chosen.length) where[set] = chosen;
		}
		if (this.age) where.max_age = `${this.age}d`;
		if (this.unknown === "hide" && this.filters) where.unknown = "hide";
		return { pattern, where, exclude: no.map((word) => `.*${escaped(word)}.*`) };
	}
}
