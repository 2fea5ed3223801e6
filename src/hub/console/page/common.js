'use strict';
// What all views use. Whatever comes from the server reaches the page as text, never as HTML.

/** As in the style. */
const narrow = matchMedia('(max-width: 760px)');
const $ = (id) => document.getElementById(id);

/** An element with these properties and children; a text becomes a text node. */
function el(name, properties = {}, ...children) {
	const made = document.createElement(name);
	for (const [key, value] of Object.entries(properties)) {
		if (key in made) made[key] = value;
		else made.setAttribute(key, value);
	}
	made.append(...children.filter((child) => child !== null && child !== undefined));
	return made;
}

/** A table, or a note without rows. A column is [title, cell of a row, class]. */
function table(columns, rows, none) {
	if (rows.length === 0) return el('p', { className: 'note' }, none);
	const style = (column) => ({ className: column[2] ?? '' });
	const head = columns.map((column) => el('th', { scope: 'col', ...style(column) }, column[0]));
	const body = rows.map((row) =>
		el('tr', {}, ...columns.map((column) => el('td', style(column), column[1](row) ?? '–'))),
	);
	return el('table', {}, el('thead', {}, el('tr', {}, ...head)), el('tbody', {}, ...body));
}

const some = (count, noun) => `${whole(count)} ${noun}${count === 1 ? '' : 's'}`;
const whole = (number) => Math.round(number).toLocaleString('en-US');

function bytes(number) {
	const units = ['B', 'KB', 'MB', 'GB', 'TB'];
	let at = 0;
	for (; number >= 1000 && at < units.length - 1; at++) number /= 1000;
	return `${at === 0 || number >= 100 ? Math.round(number) : number.toFixed(1)} ${units[at]}`;
}

function duration(ms) {
	if (ms < 1000) return `${Math.round(ms)} ms`;
	const s = Math.floor(ms / 1000);
	if (s < 60) return `${s} s`;
	if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
	if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
	return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

const known = { overview: null, app: '', view: '', isOpen: false };

function setState(state, text) {
	const shown = $('state');
	if (shown.textContent !== text) shown.textContent = text;
	shown.dataset.state = state;
}

class Failed extends Error {}

const textOf = (error) => (error instanceof Failed ? error.message : 'The server does not answer.');

/** A request of the page. Throws [Failed] with the server's text. */
async function request(path, { body, signal } = {}) {
	const options = { signal, credentials: 'same-origin', cache: 'no-store' };
	if (body !== undefined) Object.assign(options, { method: 'POST', body: JSON.stringify(body) });
	const response = await fetch(path, options);
	if (response.status === 401 && path !== '/api/login') showLogin();
	if (!response.ok) {
		const text = await response.text();
		throw new Failed(messageOf(text) || `The server has answered ${response.status}.`);
	}
	return response;
}

/** The text of an error, of the console or of the API. */
function messageOf(text) {
	try {
		const value = JSON.parse(text);
		return value.error ?? Object.values(value).flat().join(' ');
	} catch {
		return text.trim();
	}
}

const get = async (path, signal) => (await request(path, { signal })).json();
const post = async (path, body) => (await request(path, { body })).json();
const query = (values) => new URLSearchParams(values).toString();

/** The app for what needs one: the chosen one, or the first. */
const oneApp = () => known.app || known.overview?.apps[0]?.id || '';

/** Calls a function once no further call has come for a while. */
function settled(call, ms = 250) {
	let timer;
	return () => {
		clearTimeout(timer);
		timer = setTimeout(call, ms);
	};
}

async function kick(app, who) {
	const dialog = $('confirm');
	const name = who.socket_id ? `the client ${who.socket_id}` : `all clients of the user ${who.user_id}`;
	$('confirm-text').textContent = `Disconnect ${name}? pusher-js does not reconnect after that.`;
	dialog.returnValue = '';
	dialog.showModal();
	await new Promise((resolve) => dialog.addEventListener('close', resolve, { once: true }));
	if (dialog.returnValue !== 'yes') return false;
	return post(`/api/kick?${query({ app })}`, who).then(() => true, (error) => alert(textOf(error)));
}
