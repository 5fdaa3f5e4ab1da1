// The rules as text: one field for each key of the configuration.

import { LISTS, WHERE, listOf } from "./draft.js";
import { announce, find, on, stamp, write } from "./text.js";

const HINTS = {
	max_price: "US dollars per million tokens, such as 5, or input=1 output=5; 0 is free",
	min_context: "tokens, such as 64k",
	input: "accepts all of these, such as image audio",
	output: "produces all of these, such as text",
	supports: "all of these, such as tools reasoning",
	max_age: "such as 365d",
	unknown: "keep or hide what the list does not say",
};

function makeField(name, tag, hint = "") {
	const box = stamp("field");
	const [label, tally, error] = box.children;
	const field = document.createElement(tag);
	Object.assign(field, { name, wrap: "off", spellcheck: false, autocomplete: "off", placeholder: hint });
	field.id = label.htmlFor = `field-${name}`;
	error.id = `${field.id}-error`;
	field.setAttribute("aria-describedby", error.id);
	write(label, name);
	label.after(field);
	on(field, "scroll", () => (tally.scrollTop = field.scrollTop));
	return box;
}

const lines = (text) => text.split("\n").map((line) => line.trim());

function whereText(key, value) {
	if (value === undefined) return "";
	if (key === "max_price" && typeof value === "object") return Object.entries(value).map(([part, price]) => `${part}=${price}`).join(" ");
	return Array.isArray(value) ? value.join(" ") : `${value}`;
}

function whereValue(key, text) {
	const words = text.split(/[\s,]+/).filter(Boolean);
	if (!words.length) return null;
	if (key === "max_price" && text.includes("=")) return Object.fromEntries(words.map((word) => word.split("=", 2)));
	return ["input", "output", "supports"].includes(key) ? words : text.trim();
}

export class Form {
	constructor(changed) {
		this.form = find("#rules form");
		this.fields = this.form.elements;
		find("#lists").replaceWith(...LISTS.map((name) => makeField(name, "textarea")));
		const title = document.createElement("p");
		title.className = "soft";
		write(title, "where: what a pattern keeps must also meet all of these; names in simple need not.");
		find("#wheres").replaceWith(title, ...WHERE.map((key) => makeField(`where.${key}`, "input", HINTS[key])), makeField("default", "input", "pattern of the model to put first"), this.makeCase());
		on(this.form, "submit", (event) => event.preventDefault());
		on(this.form, "input", ({ target }) => changed(this.read(), `typing ${target.name}`));
	}

	makeCase() {
		const label = document.createElement("label");
		label.append(Object.assign(document.createElement("input"), { type: "checkbox", name: "case_sensitive" }), " case_sensitive");
		return label;
	}

	fill(rules, running) {
		Object.assign(this, { rules, running });
		const put = (name, text) => {
			const field = this.fields[name];
			if (field !== document.activeElement && field.value !== text) field.value = text;
		};
		for (const name of LISTS) put(name, listOf(rules, name).join("\n"));
		for (const key of WHERE) put(`where.${key}`, whereText(key, rules.where[key]));
		put("default", rules.default ?? "");
		this.fields.case_sensitive.checked = rules.case_sensitive;
	}

	entries(name) {
		return lines(this.fields[name].value).map((text, at) => ({ text, line: at + 1 })).filter(({ text }) => text);
	}

	read() {
		const [keep, names, hide, hideNames] = LISTS.map((name) => this.entries(name).map(({ text }) => text));
		let lists = { regexp: keep.length ? keep : null, simple: names.length ? names : null };
		if (!keep.length && !names.length) {
			const { regexp, simple } = this.rules;
			// Emptied lists keep all models if the running rules do, else none.
			if (!regexp?.length && !simple?.length) lists = { regexp, simple };
			else if (this.running.regexp || this.running.simple) lists.simple = [];
		}
		const where = Object.fromEntries(WHERE.map((key) => [key, whereValue(key, this.fields[`where.${key}`].value)]));
		return {
			...this.rules,
			...lists,
			exclude: { regexp: hide, simple: hideNames },
			where,
			default: this.fields.default.value.trim() || null,
			case_sensitive: this.fields.case_sensitive.checked,
		};
	}

	showError(error) {
		let [, name, index] = error?.key.match(/^(.*?)(?:\[(\d+)\])?$/) ?? [];
		const key = name === "where" && WHERE.find((key) => error.message.startsWith(key));
		if (name === "where") name = `where.${key || WHERE[0]}`;
		for (const box of this.form.querySelectorAll(".field")) {
			const field = box.children[1];
			const wrong = field.name === name;
			const line = wrong && index && LISTS.includes(name) ? `Line ${this.entries(name)[index]?.line}: ` : "";
			const text = wrong ? line + error.message : "";
			write(find(".error", box), text);
			field.ariaInvalid = wrong ? "true" : null;
			if (wrong) announce(`${name}: ${text}`);
		}
	}

	/** How many models each line matches, beside it; and why some match none. */
	showTallies(counts, advice) {
		for (const name of LISTS) {
			const texts = lines(this.fields[name].value).map(() => "");
			this.entries(name).forEach(({ line }, index) => (texts[line - 1] = `${counts[name]?.[index] ?? ""}`));
			const tally = this.fields[name].nextElementSibling;
			write(tally, texts.join("\n"));
			tally.toggleAttribute("data-idle", (counts[name] ?? []).includes(0));
		}
		find("#advice").replaceChildren(...advice.map((text) => {
			const item = document.createElement("li");
			write(item, text);
			return item;
		}));
	}
}
