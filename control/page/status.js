"use strict";
/* The status page. It asks what anybody may ask, every two seconds, and
 * draws it. Whatever came over the wire becomes text nodes and attributes,
 * never markup. */
(function () {

const EVERY = 2000, KEEP = 300, LABELS = 24, DRAWN = 300, EVENTS = 200;
const SVG = "http://www.w3.org/2000/svg";
const history = JSON.parse(document.getElementById("history").textContent);
const $ = (id) => document.getElementById(id);

/* --- small tools ----------------------------------------------------- */

function make(name, attributes, ...children) {
	const element = name.startsWith("svg:") ?
	    document.createElementNS(SVG, name.slice(4)) :
	    document.createElement(name);
	for (const key of Object.keys(attributes || {}))
		element.setAttribute(key, attributes[key]);
	element.append(...children);
	return element;
}

/* Set text only where it differs: screen readers are told of changes. */
function say(element, text) {
	if (element.textContent !== text)
		element.textContent = text;
}

const units = ["", "k", "M", "G", "T"];
function short(value, base) {
	let i = 0;
	while (value >= base && i < units.length - 1) {
		value /= base;
		i++;
	}
	return (value >= 100 || value === Math.round(value) ?
	    Math.round(value) : value.toFixed(value < 1 ? 2 : 1)) +
	    (i ? "\u202f" + units[i] : "");
}
const count = (value) => short(value, 1000);
const bytes = (value) => short(value, 1024) + (value < 1024 ? " B" : "B");
function ago(seconds) {
	if (seconds < 90)
		return Math.round(seconds) + " s";
	if (seconds < 5400)
		return Math.round(seconds / 60) + " min";
	return seconds < 172800 ? Math.round(seconds / 3600) + " h" :
	    Math.round(seconds / 86400) + " d";
}

/* --- metrics --------------------------------------------------------- */

function parse(text) {
	const values = new Map();
	for (const line of text.split("\n")) {
		const at = line.lastIndexOf(" ");
		if (at > 0 && line[0] !== "#")
			values.set(line.slice(0, at), Number(line.slice(at)));
	}
	return values;
}

/* The sum of the series of a name whose labels contain all words. */
function sum(values, name, ...words) {
	let total = 0;
	for (const [key, value] of values)
		if ((key === name || key.startsWith(name + "{")) &&
		    words.every((word) => key.includes(word)))
			total += value;
	return total;
}

/* As /readyz, from the same answer as the rest. */
function readiness(values) {
	const reasons = [];
	for (const [key, value] of values)
		if (value && key.startsWith("hermes_not_ready{"))
			reasons.push(label(key, "reason").replace(/_/g, " "));
	return { ready: values.get("hermes_node_ready") === 1, reasons };
}

function label(key, name) {
	const found = key.match(new RegExp(name + '="([^"]*)"'));
	return found ? found[1] : "";
}

/* --- the last minutes ------------------------------------------------ */

const chart = [
	{ id: "messages", what: "messages", unit: "/s", rate: 1,
	    read: (v) => sum(v, "hermes_messages_total") },
	{ id: "bytes", what: "payload", unit: "/s", rate: 1, show: bytes,
	    read: (v) => sum(v, "hermes_message_bytes_total") },
	{ id: "sessions", what: "apps connected", unit: "",
	    read: (v) => sum(v, "hermes_sessions_active") },
	{ id: "chats", what: "chats", unit: "",
	    read: (v) => sum(v, "hermes_chats_active") },
	{ id: "rekeys", what: "rekeys", unit: "/min", rate: 60,
	    read: (v) => sum(v, "hermes_rekeys_total", 'result="applied"') },
	{ id: "errors", what: "errors to apps", unit: "/min", rate: 60,
	    trouble: true, read: (v) => sum(v, "hermes_router_errors_total") },
];

const samples = [];	/* { at: ms, values: { id: number } } */
history.samples.forEach((row, i) => samples.push({
	at: Date.now() - ((history.samples.length - 1 - i) * history.every +
	    history.age) * 1000,
	values: Object.fromEntries(history.names.map((n, k) => [n, row[k]])) }));

function points(one) {
	const out = [];
	for (let i = 1; i < samples.length; i++) {
		const now = samples[i].values[one.id];
		const was = samples[i - 1].values[one.id];
		const seconds = (samples[i].at - samples[i - 1].at) / 1000;
		if (!one.rate)
			out.push([samples[i].at, now]);
		else if (seconds > 0.2)	/* a counter that fell started anew */
			out.push([samples[i].at,
			    (now >= was ? now - was : now) / seconds * one.rate]);
	}
	return out;
}

/* Each point the mean of the last few: a counter is not a seismograph. */
function smooth(list, width) {
	return list.map(([at], i) => {
		const some = list.slice(Math.max(0, i - width + 1), i + 1);
		return [at, some.reduce((s, p) => s + p[1], 0) / some.length];
	});
}

const cards = new Map();
for (const one of chart) {
	const card = { now: make("p", { class: "now" }),
	    top: make("span"),
	    area: make("svg:path", { class: "area" }),
	    line: make("svg:path", { class: "spark" }) };
	card.svg = make("svg:svg", { role: "img", viewBox: "0 0 300 44",
	    preserveAspectRatio: "none" },
	    make("svg:line", { class: "floor", x1: 0, x2: 300, y1: 43.5,
		y2: 43.5 }), card.area, card.line);
	$("cards").append(make("div", { id: "card-" + one.id,
	    class: one.trouble ? "card trouble" : "card" },
	    make("p", { class: "what" }, make("span", {}, one.what), card.top),
	    card.now, card.svg));
	cards.set(one.id, card);
}

function drawCards() {
	const end = Date.now(), span = EVERY * KEEP;
	for (const one of chart) {
		const card = cards.get(one.id), show = one.show || count;
		const list = smooth(points(one), one.rate ? 5 : 1);
		const top = Math.max(...list.map((p) => p[1]), 0);
		const now = list.length ? list[list.length - 1][1] : 0;
		const path = list.map(([at, value]) =>
		    (300 - (end - at) / span * 300).toFixed(1) + " " +
		    (43 - (top ? value / top : 0) * 39).toFixed(1));
		card.line.setAttribute("d",
		    path.length ? "M" + path.join("L") : "");
		card.area.setAttribute("d", path.length ?
		    "M" + path[0].split(" ")[0] + " 43L" + path.join("L") + "L" +
		    path[path.length - 1].split(" ")[0] + " 43Z" : "");
		say(card.now, show(now) + one.unit);
		say(card.top, top ? "top " + show(top) + one.unit : "");
		card.svg.setAttribute("aria-label", one.what + ": now " +
		    show(now) + one.unit + ", at most " + show(top) + one.unit);
	}
}

/* --- the mesh -------------------------------------------------------- */

/* Where the i-th of n others stands: on one ring, on more when many. */
function place(i, n) {
	const rings = n <= 24 ? 1 : n <= 90 ? 2 : 4;
	const ring = i % rings, on = Math.ceil((n - ring) / rings);
	const turn = (Math.floor(i / rings) / on + ring / rings / on) * 2 *
	    Math.PI - (n <= 2 ? Math.PI : Math.PI / 2);
	const far = rings === 1 ? 1 : 0.45 + 0.55 * (ring + 1) / rings;
	return [Math.cos(turn) * (n <= 2 ? 120 : 150) * far,
	    Math.sin(turn) * 98 * far];
}

function drawNode(node, x, y, size, named) {
	const group = make("svg:g", { transform: "translate(" + x.toFixed(1) +
	    " " + y.toFixed(1) + ")" },
	    make("svg:title", {}, node.node_id + ": " + node.state),
	    make("svg:circle", { class: "node " + node.state, r: size }));
	if (node.self)
		group.append(make("svg:circle", { class: "halo",
		    r: size + 4 }));
	if (node.state === "failed")
		group.append(make("svg:path", { class: "cross",
		    d: "M-4-4L4 4M4-4L-4 4" }));
	if (named) {
		const name = node.node_id.length > 18 ?
		    node.node_id.slice(0, 17) + "\u2026" : node.node_id;
		group.append(make("svg:text", { y: size + 17 }, name));
		group.append(make("svg:text", { y: size + 30, class: "sub" },
		    node.self ? "this node" : node.state !== "alive" ?
		    node.state : node.rtt_seconds ?
		    (node.rtt_seconds * 1000).toFixed(1) + " ms" : "alive"));
	}
	return group;
}

function drawMesh(nodes) {
	const others = nodes.filter((n) => !n.self);
	const self = nodes.find((n) => n.self);
	const size = others.length > 90 ? 4 : others.length > 24 ? 6 : 10;
	const links = [], dots = [], states = {};
	/* Two stand side by side. */
	const home = others.length === 1 ? 85 : 0;
	others.slice(0, DRAWN).forEach((node, i) => {
		let [x, y] = place(i, Math.min(others.length, DRAWN));
		if (home)
			[x, y] = [-home, 0];
		links.push(make("svg:line", { x1: home, y1: 0, x2: x.toFixed(1),
		    y2: y.toFixed(1), class: node.connected ? "up" : "" }));
		dots.push(drawNode(node, x, y, size,
		    others.length <= LABELS));
	});
	if (self)
		dots.push(drawNode(self, home, 0, Math.max(size, 8), true));
	$("mesh-links").replaceChildren(...links);
	$("mesh-nodes").replaceChildren(...dots);
	for (const node of nodes)
		states[node.state] = (states[node.state] || 0) + 1;
	const text = Object.keys(states).map((s) => states[s] + " " + s)
	    .join(", ");
	say($("mesh-count"), text);
	say($("mesh-text"), nodes.length + " nodes: " + text + ". " +
	    nodes.slice(0, LABELS).map((n) => n.node_id + " is " + n.state)
	    .join(", ") + ".");
}

/* --- tables ---------------------------------------------------------- */

function rows(body, list) {
	body.replaceChildren(...list.map((cells) => make("tr", {},
	    ...cells.map(([text, look]) =>
	    make("td", look ? { class: look } : {}, String(text))))));
}

const looks = { alive: "good", suspect: "warn", failed: "bad", left: "gone",
    revoked: "bad", expired: "bad" };

function drawMembers(nodes) {
	rows($("members"), nodes.map((node) => [
		[node.node_id + (node.self ? " (this node)" : ""), ""],
		[node.state, looks[node.state] || ""],
		[node.endpoint, "mono"],
		[node.rtt_seconds ?
		    (node.rtt_seconds * 1000).toFixed(1) + " ms" : "\u2013",
		    "n"],
		[node.last_seen_seconds === null ? "\u2013" :
		    ago(node.last_seen_seconds) + " ago", "n"],
		[node.apps, "n"],
		[node.certificate_not_after ?
		    node.certificate_not_after.slice(0, 16).replace("T", " ") :
		    "\u2013", "n"],
	]));
}

function drawProcesses(values) {
	const list = [];
	for (const [key, value] of values)
		if (key.startsWith("hermes_process_up{")) {
			const name = label(key, "process");
			const again = sum(values,
			    "hermes_process_restarts_total",
			    'process="' + name + '"');
			list.push([[name, ""],
			    value ? ["runs", "good"] : ["silent", "bad"],
			    [again, again ? "n warn" : "n"]]);
		}
	rows($("processes"), list);
}

function drawStore(values) {
	const failed = sum(values, "hermes_store_failed");
	const used = sum(values, "hermes_store_disk_used_percent");
	const refused = sum(values, "hermes_new_chats_refused");
	const facts = [
		["written", failed ? "fails" : "works", failed ? "bad" : "good"],
		["new chats", refused ? "refused" : "taken",
		    refused ? "bad" : "good"],
		["transactions",
		    count(sum(values, "hermes_store_transactions_total")), ""],
		["store keys destroyed",
		    count(sum(values, "hermes_store_key_rotations_total")), ""],
		["disk free",
		    bytes(sum(values, "hermes_store_disk_free_bytes")), ""]];
	$("store").replaceChildren(...facts.flatMap(([name, text, look]) =>
	    [make("dt", {}, name), make("dd", { class: look }, text)]));
	$("disk").value = used;
	say($("disk-text"), used + " % used");
}

function drawRekeys(values) {
	const causes = ["app", "operator", "age", "count", "resume",
	    "recovery"];
	const of = (cause, result) => sum(values, "hermes_rekeys_total",
	    'result="' + result + '"', 'cause="' + cause + '"');
	rows($("rekeys"), causes.map((cause) => {
		const late = of(cause, "throttled"), bad = of(cause, "failed");
		return [[cause, ""], [count(of(cause, "applied")), "n"],
		    [count(late), late ? "n warn" : "n"],
		    [count(bad), bad ? "n bad" : "n"]];
	}));
}

function drawTrouble(values) {
	const list = [], families = [
		["hermes_router_errors_total", "code", ""],
		["hermes_ratchet_failures_total", "reason", "ratchet: "],
		["hermes_mesh_refused_total", "reason", "mesh refused: "],
		["hermes_mesh_evicted_peers_total", "", "nodes evicted"],
		["hermes_mesh_join_failure_total", "", "joins refused"],
		["hermes_auth_failures_total", "", "connects refused"]];
	for (const [key, value] of values)
		for (const [name, of, text] of families)
			if (value && (key === name ||
			    key.startsWith(name + "{")))
				list.push([text + label(key, of), value]);
	list.sort((a, b) => b[1] - a[1]);
	rows($("trouble"), list.length ? list.slice(0, 7).map(([text, value]) =>
	    [[text, ""], [count(value), "n"]]) : [[["none", "quiet"],
	    ["", ""]]]);
}

/* --- what happens ---------------------------------------------------- */

const was = new Map();	/* what was last said of a thing */
let opened = false;

function happened(text, look) {
	const now = new Date().toTimeString().slice(0, 8);
	$("events").prepend(make("li", {}, make("time", {}, now),
	    make("span", look ? { class: look } : {}, text)));
	while ($("events").childElementCount > EVENTS)
		$("events").lastElementChild.remove();
}

/* Something has a state: an event when it is not what it was. */
function note(thing, state, look) {
	if (was.get(thing) === state)
		return;
	was.set(thing, state);
	if (opened)
		happened(thing + " " + state, look);
}

const verbs = { alive: "is alive", suspect: "is suspected",
    failed: "has failed", left: "has left", revoked: "is revoked",
    expired: "has expired" };

function noteAll(ready, nodes, values) {
	for (const node of nodes)
		note(node.node_id, verbs[node.state] || node.state,
		    looks[node.state]);
	note("this node", ready.ready ? "is ready" :
	    "is not ready: " + ready.reasons.join(", "),
	    ready.ready ? "good" : "bad");
	for (const [key, value] of values)
		if (key.startsWith("hermes_process_restarts_total{"))
			note(label(key, "process"), value ?
			    "was started again (" + value + ")" : "runs",
			    "warn");
	opened = true;
}

/* --- the round ------------------------------------------------------- */

let answered = 0;
/* What needs somebody stands first. */
const worst = ["failed", "suspect", "alive", "expired", "revoked", "left"];

function drawState(ready, nodes) {
	const self = nodes.find((n) => n.self);
	const name = self ? self.node_id : history.node_id;
	say($("name"), name);
	document.title = (ready.ready ? "" : "! ") + name + " \u2013 hermes";
	say($("version"), history.version);
	$("state").className = "pill " + (ready.ready ? "ready" : "not-ready");
	say($("state"), ready.ready ? "ready" : "not ready");
	$("reasons").hidden = ready.ready;
	if ($("reasons").textContent !== ready.reasons.join(""))
		$("reasons").replaceChildren(...ready.reasons.map((text) =>
		    make("li", {}, text)));
}

function drawAge() {
	if (!answered)
		return;
	const seconds = (Date.now() - answered) / 1000;
	say($("age"), seconds < 2 * EVERY / 1000 ? "up to date" :
	    "as of " + ago(seconds) + " ago");
}

async function get(path) {
	const stop = new AbortController();
	const timer = setTimeout(() => stop.abort(), 10000);
	try {
		const answer = await fetch(path, { cache: "no-store",
		    signal: stop.signal });
		return await answer.text();
	} finally {
		clearTimeout(timer);
	}
}

async function round() {
	try {
		const [text, members] = await Promise.all([
		    get("/metrics"), get("/mesh/members")]);
		const values = parse(text), ready = readiness(values);
		const known = JSON.parse(members);
		/* Without an answer of mesh: the members are not known. */
		const nodes = Array.isArray(known) ? known : [];
		nodes.sort((a, b) => b.self - a.self ||
		    worst.indexOf(a.state) - worst.indexOf(b.state) ||
		    (a.node_id < b.node_id ? -1 : 1));
		samples.push({ at: Date.now(), values: Object.fromEntries(
		    chart.map((one) => [one.id, one.read(values)])) });
		while (samples.length > KEEP + 1)
			samples.shift();
		answered = Date.now();
		drawState(ready, nodes);
		drawMesh(nodes);
		drawMembers(nodes);
		drawProcesses(values);
		drawStore(values);
		drawRekeys(values);
		drawTrouble(values);
		drawCards();
		noteAll(ready, nodes, values);
	} catch (error) {
		$("state").className = "pill lost";
		say($("state"), "no answer");
	}
	drawAge();
	setTimeout(round, document.hidden ? 5 * EVERY : EVERY);
}

say($("name"), history.node_id);
say($("version"), history.version);
setInterval(drawAge, 1000);
round();

})();
