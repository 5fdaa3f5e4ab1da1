// The aliases, and the lines of the configuration for another one.

const section = document.querySelector("#aliases");
const find = (selector) => section.querySelector(selector);
const form = find("form");
let running = [];
let targets = [];

function write(node, text) {
	if (node.textContent !== text) node.textContent = text;
}

/** A YAML scalar in single quotes, which leave backslashes alone. */
const quoted = (text) => `'${text.replaceAll("'", "''")}'`;

function line({ id, target, name }) {
	const model = name ? `{model: ${quoted(target)}, name: ${quoted(name)}}` : quoted(target);
	return `  ${quoted(id)}: ${model}\n`;
}

function read() {
	const [id, target, name] = ["id", "target", "name"].map((field) => form.elements[field].value.trim());
	return { id, target, name };
}

/** What is wrong with a new alias, or worth knowing. */
function note({ id, target }) {
	if (!id || !target) return "";
	if (running.some((alias) => alias.id === target)) return `${target} is an alias, too: choose its model.`;
	if (running.some((alias) => alias.id === id)) return `${id} exists: these lines change its model.`;
	if (targets.includes(id)) return `${id} is the id of a model, which the alias replaces.`;
	return targets.includes(target) ? "" : `No list has ${target}: the alias works, but is not listed.`;
}

function preview() {
	const added = read();
	const others = running.filter(({ id }) => id !== added.id);
	const all = added.id && added.target ? [...others, added] : running;
	write(find("[data-role=note]"), note(added));
	write(find("[data-role=yaml]"), all.length ? `aliases:\n${all.map(line).join("")}` : "");
}

/** Shows the aliases that models.json has. */
export function showAliases({ aliases, upstreams }) {
	running = aliases;
	const ids = upstreams.flatMap(({ prefix, models }) => models.map(({ id }) => prefix + id));
	if (ids.join("\n") !== targets.join("\n")) {
		targets = ids;
		const option = (value) => Object.assign(document.createElement("option"), { value });
		find("#targets").replaceChildren(...ids.map(option));
	}
	const body = find("tbody");
	const row = () => document.querySelector("#alias").content.firstElementChild.cloneNode(true);
	while (body.rows.length < aliases.length) body.append(row());
	while (body.rows.length > aliases.length) body.lastChild.remove();
	aliases.forEach(({ id, target, name, listed }, index) => {
		const texts = [id, target, name ?? "", listed ? "listed" : "not listed"];
		texts.forEach((text, column) => write(body.rows[index].cells[column], text));
		body.rows[index].dataset.alias = id;
	});
	find("table").hidden = aliases.length === 0;
	preview();
}

form.addEventListener("input", preview);
form.addEventListener("submit", (event) => event.preventDefault());
