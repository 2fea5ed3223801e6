
// Live: the feed. Lines are kept as text, at most ROWS_MAX of them, and only those in sight are
// parsed and drawn, once a frame: however fast lines arrive, a frame costs the same.

const ROWS_MAX = 2000;
const KINDS = [
	['api', 'API events'], ['client', 'Client events'], ['error', 'Errors and refusals'],
	['connection', 'Connections'], ['subscription', 'Subscriptions'], ['channel', 'Channels'],
	['member', 'Members'], ['webhook', 'Webhooks'], ['node', 'Nodes'],
];
const BAD = new Set(['refused', 'api_error', 'webhook_failed', 'limit', 'dropped']);

const live = {
	/** The newest last; `id` counts all lines, so that a line keeps it. */
	lines: [],
	shown: [],
	held: [],
	next: 0,
	total: 0,
	dropped: 0,
	rate: 0,
	isPaused: false,
	isDirty: false,
	chosen: null,
	stop: null,
	state: 'off',
};

/** Reads the feed, as long as the session lasts, and connects again when it ends. */
async function follow() {
	live.stop?.abort();
	const stop = (live.stop = new AbortController());
	while (!stop.signal.aborted) {
		try {
			const values = new FormData($('filters'));
			const wanted = { app: known.app };
			for (const name of ['channels', 'events', 'socket_id', 'user_id']) {
				if (values.get(name).trim()) wanted[name] = values.get(name).trim();
			}
			const kinds = values.getAll('kinds');
			if (kinds.length) wanted.kinds = kinds.join(',');
			const response = await request(`/api/feed?${query(wanted)}`, { signal: stop.signal });
			live.state = 'on';
			await read(response.body.pipeThrough(new TextDecoderStream()).getReader());
			live.state = 'reconnecting';
		} catch (error) {
			if (stop.signal.aborted) return;
			live.state = error instanceof Failed ? error.message : 'reconnecting';
			live.isDirty = true;
			if (!known.isOpen) return;
		}
		await new Promise((resolve) => setTimeout(resolve, live.state === 'reconnecting' ? 500 : 5000));
	}
}

async function read(reader) {
	let rest = '';
	for (;;) {
		const { done, value } = await reader.read();
		if (done) return;
		const lines = (rest + value).split('\n');
		rest = lines.pop();
		for (const line of lines) add(line);
	}
}

function add(text) {
	if (text === '' || text.startsWith('{"kind":"alive"') || text.startsWith('{"kind":"hello"')) {
		live.isDirty = true;
		return;
	}
	if (text.startsWith('{"kind":"dropped"')) live.dropped += JSON.parse(text).count;
	live.total++;
	const to = live.isPaused ? live.held : live.lines;
	to.push({ id: live.next++, text });
	// Removed in blocks: removing the first of 2,000 for each line would cost more than the line.
	if (to.length >= 2 * ROWS_MAX) to.splice(0, to.length - ROWS_MAX);
	live.isDirty = true;
}

function find() {
	const text = $('find').value.trim().toLowerCase();
	const lines = live.lines.slice(-ROWS_MAX);
	live.shown = text ? lines.filter((line) => line.text.toLowerCase().includes(text)) : lines;
}

function pause(isPaused) {
	if (live.isPaused === isPaused) return;
	live.isPaused = isPaused;
	if (!isPaused) {
		live.lines.push(...live.held);
		live.lines.splice(0, live.lines.length - ROWS_MAX);
		live.held = [];
		$('lines').scrollTop = 0;
	}
	$('pause').setAttribute('aria-pressed', String(isPaused));
	live.isDirty = true;
}

function parsed(line) {
	if (!line.value) {
		try {
			line.value = JSON.parse(line.text);
		} catch {
			line.value = { kind: 'invalid', time_ms: Date.now(), text: line.text };
		}
	}
	return line.value;
}

const clock = (ms) => new Date(ms).toTimeString().slice(0, 8) + '.' + String(ms % 1000).padStart(3, '0');

function placeOf(value) {
	return value.channels?.join(', ') ?? value.channel ?? value.path ?? value.url ?? value.node ?? value.limit ?? value.socket_id ?? '';
}

function restOf(value) {
	const parts = [];
	if (value.event !== undefined) parts.push(value.event);
	if (value.recipients !== undefined) parts.push(`→ ${whole(value.recipients)}`);
	if (value.bytes !== undefined) parts.push(bytes(value.bytes));
	if (value.status !== undefined) parts.push(value.status);
	if (value.code !== undefined) parts.push(value.code);
	if (value.reason !== undefined) parts.push(value.reason);
	if (value.user_id !== undefined) parts.push(`user ${value.user_id}`);
	if (value.address) parts.push(value.address);
	if (value.count !== undefined) parts.push(`${whole(value.count)} lines did not fit`);
	if (value.data !== undefined) parts.push(value.data);
	return parts.join(' · ');
}

function row(line, place, height) {
	const value = parsed(line);
	const tone = BAD.has(value.kind) ? ' bad' : value.kind === 'api_event' ? ' api' : value.kind === 'client_event' ? ' client' : '';
	const made = el('div', { className: 'row' + tone, role: 'option', id: `line-${line.id}` },
		el('time', {}, clock(value.time_ms)),
		el('span', { className: 'kind' }, value.kind.replaceAll('_', ' ')),
		el('span', { className: 'where' }, placeOf(value)),
		el('span', { className: 'rest' }, restOf(value)));
	made.style.top = `${place * height}px`;
	made.ariaSelected = String(line.id === live.chosen);
	made.ariaPosInSet = String(place + 1);
	made.ariaSetSize = String(live.shown.length);
	made.onclick = () => choose(line);
	return made;
}

const rowHeight = () => (narrow.matches ? 46 : 26);

/** Draws the rows in sight. The newest is the first. */
function drawLines() {
	const box = $('lines');
	const room = $('lines-room');
	const height = rowHeight();
	const count = live.shown.length;
	room.style.height = `${count * height}px`;
	const first = Math.max(0, Math.floor(box.scrollTop / height) - 4);
	const last = Math.min(count, Math.ceil((box.scrollTop + box.clientHeight) / height) + 4);
	const rows = [];
	for (let place = first; place < last; place++) rows.push(row(live.shown[count - 1 - place], place, height));
	room.replaceChildren(...rows);
	const chosen = live.chosen === null ? null : $(`line-${live.chosen}`);
	if (chosen) box.setAttribute('aria-activedescendant', chosen.id);
	else box.removeAttribute('aria-activedescendant');
}

function frame() {
	if (known.view === 'live' && live.isDirty) {
		live.isDirty = false;
		find();
		drawLines();
	}
	requestAnimationFrame(frame);
}

/** The status, once a second: a screen reader must not hear each line. */
function showRate() {
	const lines = live.total - live.rate;
	live.rate = live.total;
	const parts = [live.state === 'on' ? `${whole(lines)} lines a second` : live.state === 'reconnecting' ? 'Reconnecting' : live.state];
	if (live.isPaused) parts.push(`paused, ${whole(live.held.length)} new`);
	parts.push(`${whole(live.shown.length)} shown`);
	if (live.dropped) parts.push(`${whole(live.dropped)} dropped`);
	const text = parts.join(', ');
	if (known.view === 'live' && $('live-state').textContent !== text) $('live-state').textContent = text;
}

/** Chooses a line and shows its details. The list stands still from then on. */
function choose(line) {
	pause(true);
	live.chosen = line.id;
	const value = parsed(line);
	const list = el('dl');
	for (const [name, member] of Object.entries(value)) {
		if (name === 'kind' || name === 'cut') continue;
		const text = name === 'time_ms' ? new Date(member).toISOString() : shown(member);
		const long = name === 'data' || name === 'expected' || text.includes('\n');
		list.append(el('dt', {}, name), el('dd', {}, long ? el('pre', {}, text) : text));
	}
	const content = [el('h2', {}, value.kind.replaceAll('_', ' ')), list];
	if (value.cut) content.push(el('p', { className: 'note' }, 'The data is cut at 1,024 bytes.'));
	const channel = value.channel ?? value.channels?.[0];
	const app = value.app ?? oneApp();
	if (channel) {
		content.push(el('button', { onclick: () => only('channels', channel) }, 'Only this channel'));
		content.push(el('button', { onclick: () => openChannel(app, channel) }, 'Show the channel'));
	}
	if (value.socket_id) {
		content.push(el('button', { onclick: () => only('socket_id', value.socket_id) }, 'Only this client'));
		if (known.overview?.write) content.push(el('button', { className: 'danger', onclick: () => kick(app, { socket_id: value.socket_id }) }, 'Disconnect'));
	}
	$('details').replaceChildren(...content);
	live.isDirty = true;
}

/** A member of a line as text; JSON within it is indented. */
function shown(member) {
	if (typeof member !== 'string') return Array.isArray(member) ? member.join(', ') : String(member);
	if (!/^\s*[[{]/.test(member)) return member;
	try {
		return JSON.stringify(JSON.parse(member), null, 2);
	} catch {
		return member;
	}
}

function only(name, value) {
	$('filters').elements[name].value = value;
	restart();
}

function restart() {
	live.lines = [];
	live.held = [];
	live.chosen = null;
	pause(false);
	live.isDirty = true;
	if (known.view === 'live') follow();
}

function moveChoice(step) {
	const at = live.shown.findIndex((line) => line.id === live.chosen);
	const count = live.shown.length;
	if (count === 0) return;
	const to = at < 0 ? count - 1 : Math.min(count - 1, Math.max(0, at - step));
	const height = rowHeight();
	const box = $('lines');
	const top = (count - 1 - to) * height;
	choose(live.shown[to]);
	if (top < box.scrollTop) box.scrollTop = top;
	if (top + height > box.scrollTop + box.clientHeight) box.scrollTop = top + height - box.clientHeight;
}

function startLive() {
	for (const [name, title] of KINDS) {
		$('kinds').append(el('label', {}, el('input', { type: 'checkbox', name: 'kinds', value: name }), title));
	}
	if (narrow.matches) $('more').open = false;
	const later = settled(restart, 300);
	$('filters').addEventListener('input', (event) => {
		if (event.target === $('find')) live.isDirty = true;
		else later();
	});
	$('filters').addEventListener('submit', (event) => event.preventDefault());
	$('pause').onclick = () => pause(!live.isPaused);
	$('clear').onclick = () => {
		live.lines = [];
		live.held = [];
		live.dropped = 0;
		live.isDirty = true;
	};
	$('lines').addEventListener('scroll', () => {
		if ($('lines').scrollTop > rowHeight()) pause(true);
		live.isDirty = true;
	});
	addEventListener('resize', () => (live.isDirty = true));
	const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, End: ROWS_MAX, Home: -ROWS_MAX };
	$('lines').addEventListener('keydown', (event) => {
		if (event.key === 'Enter') $('details').focus();
		if (!(event.key in steps)) return;
		event.preventDefault();
		moveChoice(steps[event.key]);
	});
	setInterval(showRate, 1000);
	requestAnimationFrame(frame);
}

function enterLive() {
	live.isDirty = true;
	follow();
}

function leaveLive() {
	live.stop?.abort();
}
