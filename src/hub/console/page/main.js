
// The session, the views, and the poll that keeps them up to date.

const VIEWS = ['overview', 'live', 'channels', 'publish'];

function showView(isFirst = false) {
	const wanted = location.hash.slice(1);
	const view = VIEWS.includes(wanted) ? wanted : 'overview';
	if (wanted === 'main' || !known.isOpen) return;
	if (known.view === 'live' && view !== 'live') leaveLive();
	known.view = view;
	for (const name of [...VIEWS, 'login']) $(`view-${name}`).hidden = name !== view;
	for (const link of $('nav').children) {
		if (link.hash === `#${view}`) link.setAttribute('aria-current', 'page');
		else link.removeAttribute('aria-current');
	}
	document.title = `${$(`h-${view}`).textContent} – reverb`;
	if (!isFirst) $(`h-${view}`).focus();
	if (view === 'overview' && known.overview) {
		showOverview(known.overview);
		fitPlots();
	}
	if (view === 'live') enterLive();
	if (view === 'channels') loadChannels();
	if (view === 'publish') enterPublish();
}

function showLogin() {
	known.isOpen = false;
	leaveLive();
	known.view = 'login';
	for (const name of VIEWS) $(`view-${name}`).hidden = true;
	$('nav').hidden = $('session').hidden = true;
	if (!$('view-login').hidden) return;
	$('view-login').hidden = false;
	document.title = 'Log in – reverb';
	$('token').focus();
}

async function logIn(event) {
	event.preventDefault();
	const error = $('login-error');
	error.textContent = '';
	try {
		await post('/api/login', { token: $('token').value });
		$('token').value = '';
		await openViews();
	} catch (failure) {
		error.textContent = textOf(failure);
		$('token').select();
	}
}

async function openViews() {
	const data = await get('/api/overview');
	overview.samples = [];
	known.isOpen = true;
	$('nav').hidden = $('session').hidden = false;
	apply(data);
	showView(true);
}

function apply(data) {
	known.overview = data;
	$('version').textContent = data.version;
	setState(data.stopping ? 'bad' : 'good', data.stopping ? 'Stopping' : 'Connected');
	const ids = data.apps.map((app) => app.id);
	// With very many apps, only those with the most clients are listed.
	if (known.app && data.apps_total > ids.length && !ids.includes(known.app)) ids.push(known.app);
	const select = $('app');
	if ([...select.options].slice(1).map((option) => option.value).join('\n') !== ids.join('\n')) {
		if (!ids.includes(known.app)) known.app = '';
		select.replaceChildren(...['', ...ids].map((id) => el('option', { value: id }, id || 'All apps')));
		select.value = known.app;
	}
	select.parentElement.hidden = ids.length < 2;
	showOverview(data);
}

async function poll() {
	if (known.isOpen) {
		try {
			apply(await get(`/api/overview?since=${overview.samples.at(-1)?.[0] ?? 0}`));
		} catch {
			if (known.isOpen) setState('bad', 'Reconnecting');
		}
	}
	setTimeout(poll, 1000);
}

startOverview();
startLive();
startChannels();
startPublish();
$('login').addEventListener('submit', logIn);
$('logout').onclick = async () => {
	await post('/api/logout', {}).catch(() => {});
	showLogin();
};
$('app').onchange = () => {
	known.app = $('app').value;
	resetChannels();
	restart();
};
addEventListener('hashchange', () => showView());
openViews().catch(() => showLogin()).finally(() => setTimeout(poll, 1000));
