
// Channels: a page of the list, and one channel. The server searches and sorts.

const channels = {
	sort: 'subscribers',
	order: 'desc',
	/** The last entry of each page before this one. */
	before: [],
	last: null,
	chosen: null,
	stop: null,
	clientsFrom: 0,
	membersFrom: 0,
};

const SORTS = [['name', 'Channel', 'asc'], ['subscribers', 'Subscribers', 'desc'], ['users', 'Users', 'desc']];

async function loadChannels() {
	channels.stop?.abort();
	const stop = (channels.stop = new AbortController());
	const wanted = { app: oneApp(), search: $('search').value.trim(), sort: channels.sort, order: channels.order };
	const after = channels.before.at(-1);
	if (after) Object.assign(wanted, { after: after.name, after_count: after.count });
	try {
		const page = await get(`/api/channels?${query(wanted)}`, stop.signal);
		channels.last = page.more ? page.channels.at(-1) : null;
		drawChannels(page);
	} catch (error) {
		if (!stop.signal.aborted) $('channels-state').textContent = textOf(error);
	}
}

function drawChannels(page) {
	const first = channels.before.length * 100;
	const range = page.channels.length ? `${whole(first + 1)} to ${whole(first + page.channels.length)} of ` : '';
	$('channels-state').textContent = `${range}${whole(page.found)} found, ${whole(page.all)} in all`;
	const heads = SORTS.map(([sort, title, order]) => {
		const head = el('th', { scope: 'col', className: sort === 'name' ? '' : 'number' }, el('button', { onclick: () => sortBy(sort, order) }, title));
		if (sort === channels.sort) head.ariaSort = channels.order === 'asc' ? 'ascending' : 'descending';
		return head;
	});
	const rows = page.channels.map((it) => {
		const open = el('button', { className: 'link', onclick: () => openChannel(oneApp(), it.name) }, it.name);
		const made = el('tr', {}, el('td', {}, open), el('td', { className: 'number' }, whole(it.subscribers)), el('td', { className: 'number' }, it.users === null ? '–' : whole(it.users)), el('td', {}, it.kind + (it.cache ? ', cache' : '')));
		made.dataset.name = it.name;
		return made;
	});
	const focused = document.activeElement?.closest('#channels') ? document.activeElement.textContent : null;
	$('channels').replaceChildren(
		rows.length || first ? el('table', {}, el('thead', {}, el('tr', {}, ...heads, el('th', { scope: 'col' }, 'Kind'))), el('tbody', {}, ...rows)) : el('p', { className: 'note' }, page.all ? 'No channel has this text in its name.' : 'No channel has a subscriber.'),
	);
	if (focused !== null) [...$('channels').querySelectorAll('button')].find((button) => button.textContent === focused)?.focus();
	$('previous').disabled = channels.before.length === 0;
	$('next').disabled = !page.more;
	markChannel();
}

function sortBy(sort, order) {
	channels.order = channels.sort === sort ? (channels.order === 'asc' ? 'desc' : 'asc') : order;
	channels.sort = sort;
	channels.before = [];
	loadChannels();
}

function markChannel() {
	for (const row of $('channels').querySelectorAll('tbody tr')) {
		if (row.dataset.name === channels.chosen?.name) row.setAttribute('aria-current', 'true');
		else row.removeAttribute('aria-current');
	}
}

function openChannel(app, name) {
	channels.chosen = { app, name };
	channels.clientsFrom = channels.membersFrom = 0;
	if (known.view !== 'channels') location.hash = '#channels';
	markChannel();
	loadChannel(true);
}

async function loadChannel(moves = false) {
	const chosen = channels.chosen;
	if (!chosen) return;
	const wanted = { ...chosen, clients_from: channels.clientsFrom, members_from: channels.membersFrom };
	let content;
	try {
		content = channelContent(chosen, await get(`/api/channel?${query(wanted)}`));
	} catch (error) {
		const text = textOf(error);
		content = [el('h2', {}, chosen.name), el('p', { className: 'note' }, text)];
	}
	if (channels.chosen !== chosen) return;
	const room = $('channel');
	// A refresh must not take the focus of a button that it replaces.
	const at = [...room.querySelectorAll('button')].indexOf(document.activeElement);
	room.replaceChildren(...content);
	if (at >= 0) room.querySelectorAll('button')[at]?.focus();
	if (moves) room.focus({ preventScroll: !narrow.matches });
}

function channelContent({ app, name }, it) {
	const write = known.overview?.write;
	const content = [el('h2', {}, name)];
	const parts = [it.kind ?? 'cache', some(it.subscribers, 'subscriber')];
	if (it.clients_here !== undefined && it.clients_here !== it.subscribers) parts.push(`${whole(it.clients_here)} at this node`);
	if (it.users != null) parts.push(some(it.users, 'user'));
	content.push(el('p', { className: 'note' }, parts.join(', ')));
	if (it.cached) {
		content.push(el('h2', {}, `Cached event, for another ${duration(it.cached.ttl_s * 1000)}`), el('pre', {}, shown(it.cached.text)));
		if (it.cached.is_cut) content.push(el('p', { className: 'note' }, 'The event is cut.'));
	}
	const disconnect = (who) => el('button', {
		className: 'kick', ariaLabel: `Disconnect ${who.socket_id ?? who.user_id}`,
		onclick: async () => { if (await kick(app, who)) setTimeout(loadChannel, 300); },
	}, 'Disconnect');
	if (it.members) {
		content.push(el('h2', {}, 'Members'), el('div', { className: 'wide' }, table([
			['User', (user) => user],
			...(write ? [['', (user) => disconnect({ user_id: user }), 'number']] : []),
		], it.members, 'None.')), pages('membersFrom', it.members.length, it.users));
	}
	if (it.clients) {
		content.push(el('h2', {}, 'Clients of this node'), el('div', { className: 'wide' }, table([
			['Socket', (client) => client.socket_id, 'short'],
			['Address', (client) => client.address, 'short'],
			['Origin', (client) => client.origin],
			['User', (client) => client.user_id],
			['Channels', (client) => whole(client.channels), 'number'],
			['Waiting', (client) => bytes(client.waiting_bytes), 'number'],
			['Idle', (client) => duration(client.idle_ms), 'number'],
			...(write ? [['', (client) => disconnect({ socket_id: client.socket_id }), 'number']] : []),
		], it.clients, 'None.')), pages('clientsFrom', it.clients.length, it.clients_here));
	}
	return content.filter(Boolean);
}

function pages(key, length, all) {
	const from = channels[key];
	if (from === 0 && length >= all) return null;
	const go = (to) => () => { channels[key] = to; loadChannel(); };
	return el('p', { className: 'pages' },
		el('button', { disabled: from === 0, onclick: go(Math.max(0, from - 100)) }, 'Previous'), ' ',
		el('button', { disabled: from + length >= all, onclick: go(from + 100) }, 'Next'), ' ',
		`${whole(from + 1)} to ${whole(from + length)} of ${whole(all)}`);
}

function startChannels() {
	$('search').addEventListener('input', settled(() => {
		channels.before = [];
		loadChannels();
	}));
	$('previous').onclick = () => {
		channels.before.pop();
		loadChannels();
	};
	$('next').onclick = () => {
		if (channels.last) channels.before.push(channels.last);
		channels.last = null;
		loadChannels();
	};
	setInterval(() => {
		if (known.view !== 'channels' || document.hidden || !known.isOpen) return;
		loadChannels();
		loadChannel();
	}, 5000);
}

function resetChannels() {
	channels.before = [];
	channels.chosen = null;
	$('channel').replaceChildren(el('p', { className: 'note' }, 'Choose a channel.'));
	if (known.view === 'channels') loadChannels();
}
