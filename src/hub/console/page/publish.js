
// Publish: an event creator with what was sent before, and the check of a signature.

const HISTORY_MAX = 20;

/** What was sent before, the newest first; kept by the browser until the tab closes. */
function sentBefore() {
	try {
		return JSON.parse(sessionStorage.getItem('history')) ?? [];
	} catch {
		return [];
	}
}

function drawHistory() {
	const items = sentBefore().map((sent) => el('li', {},
		el('span', { className: 'text' }, `${sent.name} to ${sent.channels}: ${sent.data}`),
		el('button', { type: 'button', onclick: () => fill(sent), ariaLabel: `Use ${sent.name} to ${sent.channels} again` }, 'Use')));
	$('history').replaceChildren(...items);
}

function fill(sent) {
	for (const name of ['channels', 'name', 'data', 'socket_id']) $('publish').elements[name].value = sent[name];
	$('publish').elements.name.focus();
}

async function publish(event) {
	event.preventDefault();
	const form = Object.fromEntries(new FormData($('publish')));
	const channels = form.channels.split(',').map((name) => name.trim()).filter(Boolean);
	const body = { name: form.name, data: form.data, channels, info: 'subscription_count,user_count' };
	if (form.socket_id.trim()) body.socket_id = form.socket_id.trim();
	const result = $('published');
	try {
		const answer = await post(`/api/publish?${query({ app: oneApp() })}`, body);
		const counts = Object.entries(answer.channels ?? {}).map(([name, info]) =>
			`${name}: ${info.user_count === undefined ? some(info.subscription_count ?? 0, 'subscriber') : some(info.user_count, 'user')}`);
		result.className = 'good';
		result.textContent = `Published at ${new Date().toTimeString().slice(0, 8)}. ${counts.join(', ')}`;
		const same = JSON.stringify(form);
		const items = [form, ...sentBefore().filter((sent) => JSON.stringify(sent) !== same)];
		sessionStorage.setItem('history', JSON.stringify(items.slice(0, HISTORY_MAX)));
		drawHistory();
	} catch (error) {
		result.className = 'bad';
		result.textContent = textOf(error);
	}
}

/** Takes the parts out of a whole message, if one was pasted. */
function takeApart() {
	const { elements } = $('signature');
	try {
		const message = JSON.parse(elements.auth.value);
		const data = typeof message.data === 'string' ? JSON.parse(message.data) : (message.data ?? message);
		if (typeof data.auth !== 'string') return;
		elements.auth.value = data.auth;
		if (data.channel !== undefined) elements.channel.value = data.channel;
		elements.data.value = data.channel_data ?? data.user_data ?? '';
	} catch {
		// It is `auth` alone.
	}
}

async function checkSignature(event) {
	event.preventDefault();
	takeApart();
	const { auth, socket_id, channel, data } = Object.fromEntries(new FormData($('signature')));
	const body = { auth: auth.trim(), socket_id: socket_id.trim(), channel, data };
	try {
		const { right, expected, parts } = await post(`/api/signature?${query({ app: oneApp() })}`, body);
		const verdict = right ? 'The signature is right.' : 'The signature is wrong.';
		$('verdict').replaceChildren(
			el('p', { className: right ? 'good' : 'bad' }, el('strong', {}, verdict)),
			el('div', { className: 'wide' }, table([
				['Part', (part) => part.name, 'short'],
				['', (part) => el('strong', { className: part.right ? 'good' : 'bad' }, part.right ? 'right' : 'wrong'), 'short'],
				['Why', (part) => part.text],
			], parts, '')),
			el('p', { className: 'note' }, 'The text that must be signed:'),
			el('pre', {}, expected));
	} catch (error) {
		const text = textOf(error);
		$('verdict').replaceChildren(el('p', { className: 'bad' }, text));
	}
}

function startPublish() {
	$('publish').addEventListener('submit', publish);
	$('signature').addEventListener('submit', checkSignature);
	drawHistory();
}

function enterPublish() {
	const write = known.overview?.write ?? false;
	$('read-only').hidden = write;
	$('publish').querySelector('.main').disabled = !write;
}
