// What clients will see: the kept models in the order of the menu.

import { changeText, find, on, plural, priceText, stamp, write } from "./text.js";

/** The most models that are listed; the others are counted. */
const MOST = 200;

export class Menu {
	constructor(act) {
		this.list = find("#menu ol");
		on(this.list, "click", ({ target }) => {
			const model = target.closest("li")?.model;
			if (!model) return;
			if (target.matches(".drop")) act.toggle(model);
			else if (target.matches(".first")) act.putFirst(model);
			else act.reveal(model);
		});
	}

	show(upstreams, several) {
		const shown = upstreams.flatMap(({ menu, first }) => menu.map((model) => ({ model, isFirst: model === first })));
		const rows = [...this.list.children].filter((row) => row.model);
		const part = shown.slice(0, MOST);
		part.forEach(({ model, isFirst }, at) => {
			const row = rows[at] ?? stamp("kept");
			this.fill(row, model, isFirst);
			if (!rows[at]) this.list.insertBefore(row, this.list.children[at] ?? null);
		});
		for (const row of [...this.list.children].slice(part.length)) row.remove();
		if (shown.length > MOST) this.say(`and ${shown.length - MOST} more`);
		if (!shown.length) this.say("No model is kept. Clients see an empty list.");
		const sum = (field) => upstreams.reduce((sum, upstream) => sum + upstream[field], 0);
		const changes = changeText(sum("added"), sum("removed"));
		const total = several ? ` of ${upstreams.length} upstreams` : "";
		write(find("#counts"), `${plural(shown.length, "model")}${total}${changes && ` · ${changes}`}`);
		write(find("#open-menu b"), `${shown.length}${changes && ` · ${changes}`}`);
	}

	fill(row, model, isFirst) {
		row.model = model;
		const id = model.prefix + model.id;
		const [mark, name, price, first, drop] = row.children;
		write(mark, model.change === "added" ? "+" : "");
		write(name, id);
		const free = model.input === 0 && model.output === 0;
		write(price, free ? "free" : [model.input, model.output].map((price) => (price === null ? "" : priceText(price))).filter(Boolean).join(" / "));
		first.ariaPressed = isFirst;
		first.ariaLabel = isFirst ? `${id} is the default` : `Put ${id} first`;
		first.title = isFirst ? "First: the default" : "Put first";
		drop.ariaLabel = `Hide ${id}`;
		drop.title = "Hide";
	}

	say(text) {
		const row = document.createElement("li");
		row.className = "soft";
		write(row, text);
		this.list.append(row);
	}
}
