
// Overview: plots of the last ten minutes, and tables of the present state.

/** Title, columns, format, the least height of the scale, names of the lines. */
const PLOTS = [
	['Clients', ['clients'], whole, 4],
	['Channels', ['channels'], whole, 4],
	['Messages per second', ['messages_out', 'messages_in'], whole, 4, ['sent', 'received']],
	['Bytes per second', ['bytes_out', 'bytes_in'], bytes, 100, ['sent', 'received']],
	['API requests per second', ['api_requests', 'api_errors'], whole, 4, ['all', 'errors']],
	['API latency', ['api_mean_us', 'api_max_us'], (us) => `${(us / 1000).toFixed(us < 10000 ? 1 : 0)} ms`, 1000, ['mean', 'longest']],
	['Event loop busy', ['busy_ppm'], (ppm) => `${(ppm / 10000).toFixed(1)} %`, 20000],
	['Memory', ['memory_bytes'], bytes, 1000],
	['Bytes waiting for clients', ['waiting_bytes'], bytes, 100],
];
const SECONDS = 600;
const overview = { columns: [], samples: [], plots: [] };

function showOverview(data) {
	overview.columns = data.columns;
	const newest = overview.samples.at(-1)?.[0] ?? 0;
	overview.samples.push(...data.samples.filter((sample) => sample[0] > newest));
	overview.samples.splice(0, overview.samples.length - SECONDS);
	if (known.view !== 'overview') return;
	const { apps, nodes, limits, webhooks } = data;
	const unshown = data.apps_total - apps.length;
	$('summary').textContent =
		`${data.stopping ? 'Stopping. ' : ''}Up for ${duration((data.time_s - data.started_s) * 1000)}, ` +
		`${whole(data.connections)} of at most ${whole(data.connections_max)} connections of any kind.` +
		(unshown > 0 ? ` The ${whole(apps.length)} apps with the most clients are shown; there are ${whole(unshown)} more.` : '');
	drawPlots();
	$('apps').replaceChildren(table([
		['App', (it) => it.id + (it.enabled ? '' : ' (disabled)')],
		['Clients', (it) => whole(it.clients), 'number'],
		...(nodes ? [['On all nodes', (it) => whole(it.all_clients), 'number']] : []),
		['Channels', (it) => whole(it.channels), 'number'],
		['Received', (it) => whole(it.messages_in), 'number'],
		['Sent', (it) => whole(it.messages_out), 'number'],
	], apps, 'There is no app.'));
	const others = nodes?.others.map((node) => [node.id, node.live ? (node.synced ? 'live' : 'syncing') : 'silent']);
	$('nodes').replaceChildren(table(
		[['Node', (it) => it[0]], ['State', (it) => it[1]]],
		nodes ? [[nodes.id, nodes.redis ? 'this node' : 'this node; Redis is not connected'], ...others] : [],
		'A single node (REVERB_SCALING_ENABLED is off).',
	));
	$('webhooks').replaceChildren(table([
		['URL', (it) => it.url],
		['State', (it) => (it.failures ? `${it.failures} failed in a row, next attempt in ${duration(it.retry_in_ms ?? 0)}` : 'good')],
		['Waiting', (it) => `${whole(it.batches_waiting)} (${bytes(it.bytes_waiting)})`, 'number'],
	], webhooks, 'No webhook is configured.'));
	$('limits').replaceChildren(table([
		['Setting', (it) => it.setting],
		['Times', (it) => whole(it.times), 'number'],
		['What happened', (it) => it.what],
	], limits, 'None since the start.'));
}

function makePlots() {
	const colors = getComputedStyle(document.documentElement);
	const color = (name) => colors.getPropertyValue(name).trim();
	const axis = { stroke: color('--soft'), grid: { stroke: color('--line'), width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
	overview.plots.forEach(({ plot }) => plot.destroy());
	$('plots').replaceChildren();
	overview.plots = PLOTS.map(([title, names, format, least, keys]) => {
		const value = el('b', {}, '–');
		const caption = el('figcaption', {}, el('span', {}, title), value);
		if (keys) caption.append(el('span', { className: 'key' }, ...keys.flatMap((key) => [el('i'), el('span', {}, key)])));
		const room = el('div', { className: 'plot', 'aria-hidden': 'true' });
		$('plots').append(el('figure', {}, caption, room));
		const plot = new uPlot({
			width: Math.max(room.clientWidth, 200),
			height: 110,
			cursor: { show: false },
			legend: { show: false },
			padding: [8, 4, 0, 0],
			scales: { y: { range: (u, low, high) => [0, Math.max(high * 1.1, least)] } },
			axes: [
				{ ...axis, size: 24, space: 70, values: (u, ticks) => ticks.map((s) => new Date(s * 1000).toTimeString().slice(0, s % 60 ? 8 : 5)) },
				{ ...axis, size: 62, space: 30, values: (u, ticks) => ticks.map((tick) => format(tick)) },
			],
			series: [{}, ...names.map((name, n) => ({
				stroke: color(n === 0 ? '--accent' : '--second'),
				width: 1.5,
				points: { show: false },
			}))],
		}, [[], ...names.map(() => [])], room);
		return { plot, names, format, value, room };
	});
}

function drawPlots() {
	if (overview.plots.length === 0) makePlots();
	const { columns, samples } = overview;
	const time = samples.map((sample) => sample[0]);
	const last = time.at(-1) ?? 0;
	const first = Math.max(Math.min(time[0] ?? 0, last - 60), last - SECONDS);
	for (const { plot, names, format, value } of overview.plots) {
		const at = names.map((name) => columns.indexOf(name));
		plot.setData([time, ...at.map((column) => samples.map((sample) => sample[column]))], false);
		plot.setScale('x', { min: first, max: last });
		const now = samples.length ? at.map((column) => format(samples.at(-1)[column])).join(' / ') : '–';
		if (value.textContent !== now) value.textContent = now;
	}
}

const fitPlots = settled(() => {
	for (const { plot, room } of overview.plots) {
		if (room.clientWidth) plot.setSize({ width: room.clientWidth, height: 110 });
	}
	if (known.view === 'overview' && known.overview) drawPlots();
}, 100);

function startOverview() {
	addEventListener('resize', fitPlots);
	matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
		if (overview.plots.length) {
			makePlots();
			drawPlots();
		}
	});
}
