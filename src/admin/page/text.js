// Small tools: elements, numbers, dates, and text for people.

export const on = (target, type, run) => target.addEventListener(type, run);
export const find = (selector, within = document) => within.querySelector(selector);
export const stamp = (id) => find(`template#${id}`).content.querySelector("*").cloneNode(true);

export function write(node, text) {
	if (node.textContent !== text) node.textContent = text;
}

let announcing;
/** For screen readers, once it has rested. */
export function announce(text) {
	clearTimeout(announcing);
	announcing = setTimeout(() => write(find("#live"), text), 700);
}

const dollars = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 4 });
export const priceText = (price) => (price === null ? "" : price === 0 ? "free" : dollars.format(price));

/** 8K, 128K, 1M: providers count in thousands or in 1,024s, which the number shows. */
export function contextText(count) {
	if (count === null) return "";
	const base = count % 1000 && count % 1024 === 0 ? 1024 : 1000;
	if (count < base) return `${count}`;
	return count < base ** 2 ? `${Math.round(count / base)}K` : `${+(count / base ** 2).toFixed(2)}M`;
}

const DAY = 86_400;
export function ageText(created, now = Date.now() / 1000) {
	if (created === null) return "";
	const days = Math.max(0, Math.floor((now - created) / DAY));
	return days < 60 ? `${days}d` : days < 730 ? `${Math.floor((days * 12) / 365)}mo` : `${Math.floor(days / 365)}y`;
}

export const changeText = (added, removed) => [added && `+${added}`, removed && `−${removed}`].filter(Boolean).join(" ");
export const durationText = (ms) => (ms === null ? "" : `${ms.toFixed(ms < 10 ? 1 : 0)} ms`);
export const secondsText = (s) => (s < 90 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`);
export const plural = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;
