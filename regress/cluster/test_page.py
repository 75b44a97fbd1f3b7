"""The status page in a real browser, on a real mesh of two nodes. What it
looked like is kept in BUILD/regress/page for people to see."""

import base64
import hashlib
import http.server
import json
import re
import threading
import urllib.request

import pytest

from browser import PHONE, Browser
from hermes_cli import Cli
from hermes_node import START, Mesh, Node, until

# Two colours of text this far apart can be read: WCAG 2.1, 1.4.3.
CONTRAST = 4.5


@pytest.fixture(scope="module")
def mesh():
    with Mesh(2) as two:
        yield two


@pytest.fixture(scope="module")
def light():
    with Browser() as browser:
        yield browser


def page(node):
    """(headers, text) of the page."""
    with urllib.request.urlopen(f"http://{node.admin}/",
                                timeout=START) as answer:
        return answer.headers, answer.read().decode()


def visit(browser, address):
    """What is complained of and asked for from now on is this page's: the one
    before may have lost its node."""
    browser.open("about:blank")
    browser.complaints(), browser.requests()
    browser.open(f"http://{address}/")
    until("the page has drawn itself", lambda: browser.text("#state") in
          ("ready", "not ready"))


def foreign(browser, address):
    """What the page asked of anybody but its node. The browser's own first
    tab and its icon of no icon are not the page's."""
    return [url for url in browser.requests() if not url.startswith(
        (f"http://{address}/", "chrome:", "data:"))]


def nodes_drawn(browser):
    """{name: state} as the picture says it."""
    return dict(title.split(": ") for title in
                browser.texts("#mesh-nodes title"))


def nodes_listed(browser):
    return {row[0].removesuffix(" (this node)"): row[1] for row in
            browser.run("return [...document.querySelectorAll('#members tr')]"
                        ".map((r) => [...r.cells].map((c) => c.textContent))")}


# --- what is served -----------------------------------------------------------

def test_the_page_is_self_contained(mesh):
    headers, text = page(mesh[0])
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    policy = headers["Content-Security-Policy"]
    parts = {words.split()[0]: words.split()[1:] for words in
             policy.split(";")}
    assert parts["default-src"] == ["'none'"]
    assert parts["connect-src"] == ["'self'"]
    assert parts["frame-ancestors"] == parts["base-uri"] == \
        parts["form-action"] == ["'none'"]
    assert "unsafe" not in policy and "*" not in policy
    # The policy allows the one style and the one script that are there.
    for kind, tag in (("style-src", "style"), ("script-src", "script")):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        assert len(inside) == 1
        digest = base64.b64encode(hashlib.sha256(
            inside[0].encode()).digest()).decode()
        assert parts[kind] == [f"'sha256-{digest}'"]
    assert set(re.findall(r'(?:href|src)="([^"]*)"', text)) == {
        "data:,", "#nodes", "/readyz", "/mesh/members", "/metrics"}
    outside = text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|//[a-z]|@import|url\(", outside)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write"
                         r"|eval\(|Function\(|style=", outside)


def test_other_pages_allow_nothing(mesh):
    with urllib.request.urlopen(f"http://{mesh[0].admin}/metrics",
                                timeout=START) as answer:
        assert answer.headers["Content-Security-Policy"] == \
            "default-src 'none'; frame-ancestors 'none'"


def test_history_is_kept_by_the_node(mesh):
    """Who opens the page sees the minutes before."""
    def kept():
        found = re.search(r'id="history">(.*?)</script>', page(mesh[0])[1],
                          re.S).group(1)
        assert "<" not in found
        return json.loads(found)
    until("samples", lambda: len(kept()["samples"]) >= 3)
    history = kept()
    assert history["every"] == 2 and history["node_id"] == "alpha"
    assert set(history["names"]) == {"messages", "bytes", "sessions",
                                     "chats", "rekeys", "errors"}
    assert all(len(row) == 6 for row in history["samples"])


# --- what is seen -------------------------------------------------------------

def test_the_mesh_as_it_lives(light):
    """Both nodes; rates that move; one is killed and comes back; a process
    dies. Light, dark, on a phone; nobody complains, nobody else is asked."""
    with Mesh(2) as two, Browser(dark=True) as dark, \
            Browser(size=PHONE) as phone:
        alpha, beta = two.nodes
        windows = {"light": light, "dark": dark, "phone": phone}
        with Cli("recv", beta.app, "page-b", "--chat", "page", "--stay",
                 Cli.id("page-a")), \
                Cli("send", alpha.app, "page-a", "--chat", "page", "--count",
                    1000000, "--interval", "0.01", Cli.id("page-b")) as anna:
            anna.wait("ACKED", 2)
            alpha.ctl("rekey", "all", "--wait")
            for browser in windows.values():
                visit(browser, alpha.admin)
            for name, browser in windows.items():
                until(f"{name}: both alive", lambda b=browser:
                      nodes_drawn(b) == nodes_listed(b) ==
                      {"alpha": "alive", "beta": "alive"})
                until(f"{name}: messages a second", lambda b=browser: not
                      b.text("#card-messages .now").startswith("0/"))
                until(f"{name}: a curve", lambda b=browser: b.run(
                    "return document.querySelector('#card-messages .spark')"
                    ".getAttribute('d').split('L').length") > 2)
                assert browser.text("h1").startswith("alpha ")
                # Of a second in which every process had time to answer.
                until(f"{name}: its numbers", lambda b=browser:
                      b.text("#card-chats .now") == "1" and
                      "operator100" in b.texts("#rekeys tr") and
                      "writtenworks" in b.text("#store"))
                assert browser.run("return document.documentElement."
                                   "scrollWidth <= innerWidth"), name
                browser.shoot(name)
            ground = [b.run("return getComputedStyle(document.body)"
                            ".backgroundColor") for b in (light, dark)]
            assert ground == ["rgb(246, 245, 241)", "rgb(16, 19, 23)"]
        alpha.kill_process("router")
        beta.sigkill()
        for name, browser in windows.items():
            until(f"{name}: beta failed", lambda b=browser:
                  nodes_drawn(b)["beta"] == "failed" ==
                  nodes_listed(b)["beta"])
            until(f"{name}: why it is not ready", lambda b=browser:
                  b.texts("#reasons li") == ["no mesh member"])
            assert browser.text("#state") == "not ready"
            assert browser.run("return document.title").startswith("! ")
            until(f"{name}: the restart", lambda b=browser:
                  "routerruns1" in b.texts("#processes tr"))
            until(f"{name}: the events", lambda b=browser: {
                "beta has failed", "router was started again (1)"} <= set(
                    b.texts("#events li span")))
            browser.shoot(f"{name}-failed")
        beta.start()
        for name, browser in windows.items():
            until(f"{name}: beta is back", lambda b=browser:
                  b.text("#state") == "ready" and
                  nodes_drawn(b)["beta"] == "alive")
            assert browser.complaints() == []
            assert foreign(browser, alpha.admin) == []
        # The node that serves the page goes: the page says so, and that
        # what it shows is old.
        alpha.sigkill()
        until("no answer", lambda: light.text("#state") == "no answer")
        until("it is old", lambda: light.text("#age").endswith(" ago"))
        alpha.start()
        until("it goes on by itself", lambda: light.text("#state") in
              ("ready", "not ready"))
        light.complaints()  # the browser's, of the refused connections


def test_nothing_but_the_page_runs(mesh, light):
    """What somebody smuggles in is not run, and not fetched."""
    visit(light, mesh[0].admin)
    light.run("""
        const script = document.createElement('script');
        script.textContent = 'window.smuggled = 1';
        document.body.append(script);
        const other = document.createElement('script');
        other.src = 'http://127.0.0.1:1/x.js';
        document.body.append(other);
        const image = document.createElement('img');
        image.src = 'http://127.0.0.1:1/x.png';
        document.body.append(image);
        document.body.setAttribute('style', 'color: rgb(1, 2, 3)');""")
    found = []

    def complained():  # of one after the other
        found.extend(light.complaints())
        return len(found) >= 4
    until("four complaints", complained)
    assert all("Content Security Policy" in text for text in found), found
    assert light.run("return window.smuggled === undefined")
    assert light.run("return getComputedStyle(document.body).color") != \
        "rgb(1, 2, 3)"
    light.requests()  # those that were stopped


# --- names and numbers of others ----------------------------------------------

class Liar:
    """Serves the node's own page with members and metrics of its own."""

    def __init__(self, node, members, metrics):
        headers, text = page(node)
        answers = {
            "/": ("text/html; charset=utf-8", text),
            "/mesh/members": ("application/json", json.dumps(members)),
            "/metrics": ("text/plain", metrics),
        }

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                kind, body = answers.get(self.path, (None, ""))
                self.send_response(200 if kind else 404)
                self.send_header("Content-Type", kind or "text/plain")
                self.send_header("Content-Security-Policy",
                                 headers["Content-Security-Policy"])
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever,
                         daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def member(name, state="alive", **more):
    return {"node_id": name, "node_key": "0" * 12, "endpoint": "192.0.2.1:1",
            "state": state, "self": False, "incarnation": 1,
            "rtt_seconds": 0.0123, "last_seen_seconds": 1.5,
            "certificate_not_after": "2027-01-01T00:00:00Z", "apps": 1,
            "connected": True, **more}


EVIL = ["<img src=x onerror=window.pwned=1>", "\"><script>window.pwned=1"
        "</script>", "</title></svg><b id=pwned>", "\u202egnp.exe", "__proto__"]


def test_every_name_is_escaped(mesh, light):
    metrics = mesh[0].http("/metrics")[1] + (
        'hermes_process_up{process="<b id=pwned>"} 1\n'
        'hermes_not_ready{reason="<b id=pwned>"} 1\n'
        'hermes_router_errors_total{code="<b id=pwned>"} 7\n')
    members = [member(name, state, endpoint=name) for name in EVIL
               for state in ("alive", "<b id=pwned>")]
    with Liar(mesh[0], members, metrics) as liar:
        visit(light, liar.address)
        until("all listed", lambda: set(EVIL) <= set(nodes_listed(light)))
        assert set(EVIL) <= set(light.texts("#members td"))
        assert light.run("return window.pwned === undefined && "
                         "!document.querySelector('b, main img, main script')")
        assert light.complaints() == []
        assert foreign(light, liar.address) == []


def test_a_large_mesh_stays_a_picture(mesh, light):
    members = [member("self", self=True)] + [
        member(f"node-{i:03}", ("alive", "alive", "alive", "suspect",
                                "failed")[i % 5], connected=i % 3 == 0)
        for i in range(79)]
    with Liar(mesh[0], members, mesh[0].http("/metrics")[1]) as liar:
        visit(light, liar.address)
        until("all drawn", lambda: len(nodes_drawn(light)) == 80)
        inside = light.run("""
            const r = document.getElementById('mesh').getBoundingClientRect();
            return [...document.querySelectorAll('#mesh circle')].every((c) => {
                const b = c.getBoundingClientRect();
                return b.left >= r.left && b.right <= r.right &&
                    b.top >= r.top && b.bottom <= r.bottom; })""")
        assert inside
        light.shoot("many")


# --- for everybody ------------------------------------------------------------

def luminance(colour):
    parts = [int(n) / 255 for n in re.findall(r"\d+", colour)[:3]]
    parts = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4
             for p in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.parametrize("dark", [False, True])
def test_it_can_be_read_and_heard(mesh, light, dark):
    """Contrast; and what a screen reader is told."""
    light.command("Emulation.setEmulatedMedia", features=[{
        "name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
    visit(light, mesh[0].admin)
    until("both", lambda: len(nodes_listed(light)) == 2)
    pairs = light.run("""
        const probe = document.createElement('p');
        document.body.append(probe);
        const names = ['ink', 'quiet', 'good', 'warn', 'bad', 'gone',
            'ground', 'panel'];
        const read = (name) => {
            probe.style.color = 'var(--' + name + ')';
            return getComputedStyle(probe).color; };
        const out = Object.fromEntries(names.map((n) => [n, read(n)]));
        probe.remove();
        return out;""")
    for text in ("ink", "quiet", "good", "warn", "bad", "gone"):
        for ground in ("ground", "panel"):
            a, b = sorted((luminance(pairs[text]), luminance(pairs[ground])))
            assert (b + 0.05) / (a + 0.05) >= CONTRAST, (text, ground)
    until("both alive", lambda: any(
        "2 nodes: 2 alive" in n.get("description", {}).get("value", "")
        for n in light.command("Accessibility.getFullAXTree")["nodes"]))
    tree = light.command("Accessibility.getFullAXTree")["nodes"]
    seen = [(n["role"]["value"], n.get("name", {}).get("value", ""))
            for n in tree if not n.get("ignored") and "role" in n]
    for role in ("image", "img", "table", "region", "meter", "log", "status",
                 "main", "banner", "link"):
        for kind, name in seen:
            if kind == role and role not in ("main", "banner", "status",
                                             "table"):
                assert name, role
    names = [name for role, name in seen if role in ("image", "img")]
    assert any(name.startswith("messages: now ") for name in names)
    assert light.run("return document.documentElement.lang") == "en"
    assert light.run("return [...document.querySelectorAll('thead th')]"
                     ".every((h) => h.scope === 'col')")
    assert light.run("return document.getElementById('state')."
                     "getAttribute('aria-live')") == "polite"


def test_without_scripts_it_says_where_to_look(mesh):
    with Browser(scripts=False) as browser:
        browser.open(f"http://{mesh[0].admin}/")
        text = browser.driver.find_element("tag name", "body").text
        assert "/readyz" in text and "/metrics" in text


def test_a_node_alone(light):
    """No mesh, nobody, nothing: still a picture and not an error."""
    with Node("lonely") as node:
        visit(light, node.admin)
        until("itself", lambda: list(nodes_drawn(light)) == ["lonely"])
        until("ready", lambda: light.text("#state") == "ready")
        assert light.complaints() == []
