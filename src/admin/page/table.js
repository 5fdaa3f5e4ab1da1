// The list of models: sorted, grouped by maker if sorted by name, and only the rows in sight.

import { ageText, contextText, find, on, priceText, stamp, write } from "./text.js";

/** Rows beyond both edges, so that scrolling shows no gap. */
const MARGIN = 12;

const byId = (a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
const COMPARE = { id: byId, kept: (a, b) => b.kept - a.kept, created: (a, b) => b.created - a.created };

export const makerOf = ({ id, owner }) => id.match(/^([^/]+)\//)?.[1] ?? (owner || "other");

export class Table {
	models = [];
	found = [];
	items = [];
	folded = new Set();
	sortKey = "id";
	direction = 1;
	current = 0;
	/** The rows in the document by the key of their item. */
	nodes = new Map();

	constructor(toggled) {
		this.toggled = toggled;
		this.scroller = find("#scroller");
		this.body = find("tbody", this.scroller);
		const later = () => (this.frame ??= requestAnimationFrame(() => this.draw()));
		on(this.scroller, "scroll", later);
		new ResizeObserver(() => {
			this.measure();
			later();
		}).observe(this.scroller);
		this.measure();
		on(find("thead", this.scroller), "click", ({ target }) => target.closest("[data-sort]") && this.sortBy(target.closest("[data-sort]").dataset.sort));
		on(find("#fold"), "click", () => this.foldAll());
		on(this.body, "click", (event) => this.clicked(event));
		on(this.body, "keydown", (event) => this.keyPressed(event));
		on(this.body, "focusin", ({ target }) => this.setCurrent(target.closest("tr")?.at ?? 0));
	}

	measure() {
		const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
		this.height = parseFloat(getComputedStyle(this.scroller).getPropertyValue("--row")) * rem;
	}

	/** Takes in models with their verdicts, and the indices of those in view. */
	show(models, found) {
		this.models = models;
		this.found = found;
		this.arrange();
	}

	get grouped() {
		return this.sortKey === "id";
	}

	sortBy(key) {
		this.direction = key === this.sortKey ? -this.direction : 1;
		this.sortKey = key;
		for (const cell of this.scroller.querySelectorAll("[aria-sort]")) cell.removeAttribute("aria-sort");
		find(`[data-sort="${key}"]`).parentElement.ariaSort = this.direction > 0 ? "ascending" : "descending";
		this.scroller.scrollTop = 0;
		this.arrange();
	}

	/** What has no figure comes last, whichever way the others are sorted. */
	compare(a, b) {
		const key = this.sortKey;
		const compare = COMPARE[key] ?? ((a, b) => a[key] - b[key]);
		return (a[key] === null) - (b[key] === null) || compare(a, b) * this.direction || byId(a, b);
	}

	/** The indices of all models in their order, which seldom changes. */
	sorted() {
		const { models, sortKey, direction } = this;
		const last = this.order;
		if (sortKey !== "kept" && last?.models === models && last.sortKey === sortKey && last.direction === direction) return last.all;
		const all = models.map((_, at) => at).sort((a, b) => this.compare(models[a], models[b]));
		this.order = { models, sortKey, direction, all };
		return all;
	}

	foldAll() {
		const makers = this.makers ?? [];
		const folds = !makers.every((maker) => this.folded.has(maker));
		this.folded = new Set(folds ? makers : []);
		this.arrange();
	}

	arrange() {
		const inView = new Set(this.found);
		const rows = this.sorted().filter((at) => inView.has(at)).map((at) => this.models[at]);
		if (this.grouped) {
			const groups = Map.groupBy(rows, (row) => row.maker);
			this.makers = [...groups.keys()];
			const makers = this.makers.sort((a, b) => (a < b ? -1 : 1) * this.direction);
			this.items = makers.flatMap((maker) => {
				const members = groups.get(maker);
				const head = { key: `maker ${maker}`, maker, members };
				return this.folded.has(maker) ? [head] : [head, ...members];
			});
		} else {
			this.items = rows;
		}
		find("#fold").hidden = !this.grouped;
		const all = this.grouped && this.makers.length > 0 && this.makers.every((maker) => this.folded.has(maker));
		find("#fold").ariaPressed = all;
		write(find("#fold"), all ? "Unfold all" : "Fold all");
		this.current = Math.min(this.current, Math.max(0, this.items.length - 1));
		find("table", this.scroller).ariaRowCount = this.items.length + 1;
		find("#empty").hidden = this.items.length > 0;
		this.draw();
	}

	draw() {
		if (this.frame) cancelAnimationFrame(this.frame);
		this.frame = null;
		const { height } = this;
		this.body.style.height = `${this.items.length * height}px`;
		const { scrollTop, clientHeight } = this.scroller;
		const first = Math.max(0, Math.floor(scrollTop / height) - MARGIN);
		const last = Math.min(this.items.length, Math.ceil((scrollTop + clientHeight) / height) + MARGIN);
		const focused = document.activeElement?.closest?.("#scroller tbody tr");
		const wanted = new Set();
		for (let at = first; at < last; at += 1) wanted.add(at);
		if (this.items.length) wanted.add(this.current);
		const keys = new Set([...wanted].map((at) => this.items[at].key));
		for (const [key, node] of this.nodes) {
			if (keys.has(key)) continue;
			this.nodes.delete(key);
			if (node === focused) this.lost = true;
			node.remove();
		}
		// In the order of the list, for readers of the document.
		const active = document.activeElement;
		let next = this.body.firstChild;
		for (const at of [...wanted].sort((a, b) => a - b)) {
			const node = this.place(this.items[at], at);
			if (node === next) next = next.nextSibling;
			else this.body.insertBefore(node, next);
		}
		if (active?.isConnected && active !== document.activeElement) active.focus({ preventScroll: true });
		// A filter took the focused row away.
		if (this.lost) this.focus(this.current);
		this.lost = false;
	}

	place(item, at) {
		let node = this.nodes.get(item.key);
		if (!node) {
			node = stamp(item.members ? "maker" : "model");
			this.nodes.set(item.key, node);
		}
		node.at = at;
		node.item = item;
		node.ariaRowIndex = at + 2;
		const y = `translateY(${at * this.height}px)`;
		if (node.style.transform !== y) node.style.transform = y;
		if (item.members) this.fillMaker(node, item);
		else this.fillModel(node, item);
		find("button, input", node).tabIndex = at === this.current ? 0 : -1;
		return node;
	}

	fillMaker(node, { maker, members }) {
		const button = find("button", node);
		button.ariaExpanded = !this.folded.has(maker);
		write(button.children[0], maker);
		write(button.children[1], `${members.filter(({ kept }) => kept).length} of ${members.length} kept`);
	}

	fillModel(node, model) {
		const { cells, dataset } = node;
		if (node.model !== model) {
			node.model = model;
			dataset.model = model.id;
			const cut = model.id.startsWith(`${model.maker}/`) ? model.maker.length + 1 : 0;
			write(cells[1].children[0], model.prefix + model.id.slice(0, cut));
			write(cells[1].children[1], model.id.slice(cut));
			cells[1].title = model.name ?? "";
			[priceText(model.input), priceText(model.output), contextText(model.context), ageText(model.created)].forEach((text, at) => write(cells[at + 2], text));
		}
		const box = cells[0].lastChild;
		box.checked = model.kept;
		const mark = { added: "+", removed: "−" }[model.change] ?? "";
		write(cells[0].firstChild, mark);
		box.ariaLabel = model.prefix + model.id + ({ added: ", added", removed: ", removed" }[model.change] ?? "");
		dataset.kept = model.kept;
		dataset.change = model.change ?? "";
		write(cells[6], model.why);
		node.title = model.why;
	}

	setCurrent(at) {
		if (this.current === at) return;
		const old = this.nodes.get(this.items[this.current]?.key);
		if (old) find("button, input", old).tabIndex = -1;
		this.current = at;
		const node = this.nodes.get(this.items[at]?.key);
		if (node) find("button, input", node).tabIndex = 0;
	}

	/** Moves the focus to an item, and that into sight. */
	focus(at) {
		if (!this.items.length) return find("#search").focus();
		at = Math.max(0, Math.min(this.items.length - 1, at));
		this.setCurrent(at);
		const { scroller, height } = this;
		const top = at * height, room = scroller.clientHeight - find("thead", scroller).offsetHeight;
		if (top < scroller.scrollTop) scroller.scrollTop = top;
		else if (top + height > scroller.scrollTop + room) scroller.scrollTop = top + height - room;
		this.draw();
		find("button, input", this.nodes.get(this.items[at].key)).focus({ preventScroll: true });
	}

	/** Brings a model into sight. */
	reveal(model) {
		this.folded.delete(model.maker);
		this.arrange();
		const at = this.items.indexOf(model);
		if (at >= 0) this.focus(at);
		return at >= 0;
	}

	clicked(event) {
		const node = event.target.closest("tr");
		if (!node) return;
		if (node.item.members) {
			const { maker } = node.item;
			this.folded[this.folded.has(maker) ? "delete" : "add"](maker);
			return this.arrange();
		}
		if (!event.target.matches("input") && getSelection().type === "Range") return;
		// The verdict of the program decides what the box shows.
		if (event.target.matches("input")) setTimeout(() => (event.target.checked = node.item.kept));
		this.toggled(node.item);
	}

	keyPressed(event) {
		const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.height) - 2);
		const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
		const step = steps[event.key];
		if (step === undefined || event.ctrlKey || event.altKey || event.metaKey) {
			if (event.key === "Enter" && event.target.matches("input")) event.target.click();
			return;
		}
		event.preventDefault();
		if (step === -1 && this.current === 0) return find("#search").focus();
		this.focus(this.current + step);
	}
}
