// The rules that are being edited: their shape, their history, and the URL's fragment.

export const LISTS = ["regexp", "simple", "exclude.regexp", "exclude.simple"];
export const WHERE = ["max_price", "min_context", "input", "output", "supports", "max_age", "unknown"];

const texts = (list) => (Array.isArray(list) ? list.map(String) : null);

/** The same rules in one spelling, so that equal ones have equal text. */
export function normal(rules) {
	const where = {};
	for (const key of WHERE) {
		const value = rules.where?.[key] ?? null;
		if (value !== null && value !== "" && !(Array.isArray(value) && !value.length)) where[key] = value;
	}
	if (where.unknown === "keep") delete where.unknown;
	return {
		regexp: texts(rules.regexp),
		simple: texts(rules.simple),
		exclude: { regexp: texts(rules.exclude?.regexp) ?? [], simple: texts(rules.exclude?.simple) ?? [] },
		where,
		order: rules.order || null,
		default: rules.default || null,
		case_sensitive: Boolean(rules.case_sensitive),
	};
}

export const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
export const escaped = (text) => text.replace(/[\\.+*?()|[\]{}^$]/g, "\\$&");

export function listOf(rules, name) {
	return name.split(".").reduce((part, key) => part?.[key], rules) ?? [];
}

/** A copy with other entries in one list. */
export function withList(rules, name, entries) {
	const copy = structuredClone(rules);
	if (name.startsWith("exclude.")) copy.exclude[name.slice(8)] = entries;
	else copy[name] = entries;
	return copy;
}

export class Draft {
	past = [];
	future = [];

	constructor(running) {
		this.running = this.rules = normal(running);
	}

	get edited() {
		return !same(this.rules, this.running);
	}

	/** `merges`: a change that continues the last one, such as another letter. */
	change(rules, merges = null) {
		rules = normal(rules);
		if (same(rules, this.rules)) return false;
		if (!merges || merges !== this.merging) this.past.push(this.rules);
		this.merging = merges;
		this.future = [];
		this.rules = rules;
		return true;
	}

	step(from, to) {
		if (!from.length) return false;
		to.push(this.rules);
		this.rules = from.pop();
		this.merging = null;
		return true;
	}

	undo = () => this.step(this.past, this.future);
	redo = () => this.step(this.future, this.past);
}

/** The edited rules by upstream in the URL's fragment; what is no rules is left out. */
export function readFragment() {
	const found = new Map();
	for (const [name, text] of new URLSearchParams(location.hash.slice(1))) {
		try {
			const rules = JSON.parse(text);
			if (rules && typeof rules === "object") found.set(name, normal(rules));
		} catch {
			// Not ours.
		}
	}
	return found;
}

export function writeFragment(drafts) {
	const params = new URLSearchParams();
	for (const [name, draft] of drafts) if (draft.edited) params.set(name, JSON.stringify(draft.rules));
	const hash = params.size ? `#${params}` : "";
	if (hash !== location.hash) history.replaceState(null, "", hash || location.pathname);
}
