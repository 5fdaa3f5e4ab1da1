// The last exchanges and the load of the last minutes.

import { durationText, find, stamp, write } from "./text.js";

export function showExchanges({ exchanges, buckets }) {
	const body = find("#exchanges tbody");
	find("#no-exchanges").hidden = exchanges.length > 0;
	find("#exchanges [role=group]").hidden = !exchanges.length;
	while (body.rows.length < exchanges.length) body.append(stamp("exchange"));
	while (body.rows.length > exchanges.length) body.lastChild.remove();
	exchanges.forEach((exchange, index) => showExchange(body.rows[index], exchange));
	showPlots(buckets);
}

function showExchange(row, { time, status, method, path, model, target, upstream, failure, first_byte_ms, total_ms }) {
	const named = target ? `${model} → ${target}` : (model ?? "");
	const texts = [new Date(time).toLocaleTimeString("en-GB"), `${status}`, `${method} ${path}`, named, upstream ?? "", failure ?? "",
		durationText(first_byte_ms), durationText(total_ms)];
	texts.forEach((text, index) => write(row.cells[index], text));
	row.cells[1].classList.toggle("error", status >= 400);
}

function showPlots({ seconds, requests, first_byte_ms }) {
	const minutes = Math.round((requests.length * seconds) / 60);
	const bar = (height, x) => `M${x + 0.15} 20v${-height}h.7v${height}z`;
	const most = Math.max(...requests);
	draw("requests", bar, requests, most ? `in ${minutes} min, at most ${most} in ${seconds} s` : "none yet");

	// A line with gaps: a value without neighbours is a dot.
	const point = (height, x) => ((first_byte_ms[x - 1] ?? null) === null ? "M" : "L") + `${x + 0.5} ${20 - height}h.01`;
	const slowest = Math.max(...first_byte_ms);
	draw("first-byte", point, first_byte_ms, most ? `in each ${seconds} s; the highest is ${durationText(slowest)}` : "none yet");
}

function draw(id, shape, values, text) {
	const most = Math.max(...values) || 1;
	const path = values.map((value, x) => (value === null ? "" : shape((value / most) * 18, x)));
	find(`#${id} path`).setAttribute("d", path.join(""));
	write(find(`#${id} span`), text);
}
