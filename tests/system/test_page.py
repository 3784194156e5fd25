# SPDX-License-Identifier: BSD-3-Clause
"""The status page, in a headless Chromium: it shows the router's figures, with two NICs and with
16, light and dark, wide and narrow, and says when there is no answer. Screenshots are kept in
build/screens."""

import os
import signal
import time

import pytest
from scapy.all import IP, UDP, Ether, raw

from browser import CHROMIUM, Browser
from fake_router import FakeRouter
from network import Network, mac
from test_metrics import by_hand, free_port

SCREENS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build/screens")

# Texts whose contrast with what is behind them is below WCAG 2's 4.5, as "text: ratio".
CONTRAST = """(() => {
    const parse = text => {
        const v = text.match(/[0-9.]+/g).map(Number);
        return v.length < 4 ? [...v, 1] : v;
    };
    const over = (a, b) => [0, 1, 2].map(k => a[k] * a[3] + b[k] * (1 - a[3])).concat(1);
    const linear = v => v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
    const light = c => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
    const behind = e => {
        const c = parse(getComputedStyle(e).backgroundColor);
        const parent = e.parentElement;
        return c[3] === 1 ? c : over(c, parent ? behind(parent) : [255, 255, 255, 1]);
    };
    const bad = [];
    for (const e of document.querySelectorAll("body *:not(script, noscript)")) {
        const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
        if (!own || !e.getClientRects().length)
            continue;
        const back = behind(e), b = light(back);
        const a = light(over(parse(getComputedStyle(e).color), back));
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5)
            bad.push(`${e.textContent.slice(0, 20)}: ${ratio.toFixed(2)}`);
    }
    return bad; })()"""


@pytest.fixture(scope="module", name="browser")
def browser_fixture():
    assert CHROMIUM, "chromium: not installed (scripts/setup)"
    browser = Browser()
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture(scope="module", name="answer")
def answer_fixture(permitted, browser):
    """A real router's figures on the page, at rest; its answer is the template of the others."""
    network, port = Network(2), free_port()
    try:
        network.start()
        for n in range(7):
            network.wire[1].send(raw(Ether(dst=mac(1), src=mac(1, 2)) /
                                     IP(src="10.0.1.2", dst="10.0.2.2", ttl=1 if n > 4 else 64) /
                                     UDP(dport=9) / (b"x" * 58)))
        for _ in range(5):
            network.wire[2].receive()
        network.router.at_rest()
        with by_hand("--listen", f"127.0.0.1:{port}", "--runtime",
                     network.router.runtime) as process:
            assert "listens at" in process.stderr.readline()
            browser.look(1280, 800, "light")
            browser.open(f"http://127.0.0.1:{port}/")
            browser.until("document.body?.dataset.shown > 1")
            check_figures(browser, network.router)
            keep(browser, "two-nics")
            answer = network.router.show("metrics")
            network.router.process.send_signal(signal.SIGSTOP)
            try:
                browser.until("document.getElementById('state').textContent === 'no answer'")
            finally:
                network.router.process.send_signal(signal.SIGCONT)
            browser.until("document.getElementById('state').textContent === 'live'")
            assert not browser.complaints and not browser.failed
            browser.open("about:blank")  # before there is nobody to ask
            browser.until("location.href === 'about:blank'")
    finally:
        network.close()
    return answer


def keep(browser, name):
    os.makedirs(SCREENS, exist_ok=True)
    browser.screenshot(f"{SCREENS}/page-{name}.png")


def cells(browser, selector, *keys):
    """{values of the first keys: value of the last, a number}"""
    rows = browser.value(f"[...document.querySelectorAll('{selector}')]"
                         ".map(e => ({...e.dataset}))")
    return {tuple(r[k] for k in keys[:-1]): float(r[keys[-1]]) for r in rows if r.get(keys[0])}


def check_figures(browser, router):
    assert cells(browser, "#matrix td", "from", "to", "packets") == \
        {(r["ingress"], r["egress"]): r["packets"] for r in router.show("ring")}
    assert cells(browser, "#matrix td", "from", "to", "bytes")["nic1", "nic2"] == 500
    assert cells(browser, "#reasons td", "reason", "total") == {("ttl",): 2}
    assert router.dropped() == {"ttl": 2}
    shown = cells(browser, "#routes dd", "key", "value")
    routes = [":" in r["prefix"] for r in router.show("route")]
    assert shown["routes4",] == routes.count(False) and shown["routes6",] == routes.count(True)
    received = browser.value("[...document.querySelectorAll('#nics td[data-key=received]')]"
                             ".map(e => Number(e.dataset.packets))")
    assert received == [r["received"]["packets"] for r in router.show("port")]
    heads = browser.value("[...document.querySelectorAll('#matrix thead th')].map(e => e.scope)")
    assert heads == ["col"] * 4
    assert browser.value("document.querySelectorAll('#matrix tbody th[scope=row]').length") == 3


@pytest.fixture(scope="module", name="fake")
def fake_fixture(answer, browser, tmp_path_factory):
    runtime, port = str(tmp_path_factory.mktemp("r")), free_port()
    fake = FakeRouter(runtime, 16, answer)
    fake.down = {"nic7"}
    with by_hand("--listen", f"127.0.0.1:{port}", "--runtime", runtime) as process:
        assert "listens at" in process.stderr.readline()
        browser.requests.clear()
        browser.failed.clear()  # a fetch that leaving the page has cut short
        browser.open(f"http://127.0.0.1:{port}/")
        browser.until("document.body?.dataset.shown > 2 && !document.body.dataset.x")
        fake.url = f"http://127.0.0.1:{port}/"
        yield fake
    fake.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 380])
def test_look(browser, fake, scheme, width):
    browser.look(width, 900, scheme)
    browser.value("new Promise(requestAnimationFrame)")
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value("document.querySelectorAll('#matrix tbody tr').length") == 17
    assert browser.value("document.querySelectorAll('#nics tbody tr').length") == 16
    red = browser.value("Number(getComputedStyle(document.body).backgroundColor"
                        ".match(/[0-9]+/)[0])")
    assert (red < 128) == (scheme == "dark")
    assert browser.value(CONTRAST) == []
    keep(browser, f"{scheme}-{width}")


def test_rates(browser, fake):
    """What is shown is a difference by the router's clock, whatever the page's own."""
    fake.frozen = 500.0
    browser.until("last && last.time === 1500")
    fake.frozen = 510.0
    browser.until("last.time === 1510")
    want = (fake._packets(1, 2, 510.0) - fake._packets(1, 2, 500.0)) / 10
    shown = browser.value("short(%r)" % want)
    assert browser.value("document.querySelector('td[data-from=nic2][data-to=nic3]')"
                         ".firstChild.data") == shown
    assert browser.value("document.querySelector('td[data-state=down]').textContent") == "down"
    # Nothing new comes: that is said in the end.
    browser.value("came -= 60000")
    browser.until("document.getElementById('state').textContent === 'stale'")
    assert "nothing new" in browser.value("document.getElementById('alarm').textContent")
    fake.frozen, fake.begun = None, time.monotonic() - 1000
    browser.until("document.getElementById('state').textContent === 'live'")


def test_no_answer(browser, fake):
    browser.look(1280, 900, "light")
    fake.silent = True
    browser.until("document.getElementById('state').textContent === 'no answer'")
    assert "does not answer" in browser.value("document.getElementById('alarm').textContent")
    keep(browser, "no-answer")
    fake.silent = False
    browser.until("document.getElementById('state').textContent === 'live'")
    assert browser.value("document.getElementById('alarm').textContent") == ""


def test_nothing_else(browser, fake):
    """No complaint on the console, and no request to elsewhere."""
    assert not browser.complaints and not browser.failed
    assert set(browser.requests) == {fake.url, f"{fake.url}status.json"}
    # Its policy does not even let it.
    tried = browser.value("fetch('http://127.0.0.1:1/').then(() => 'sent', e => e.name)")
    assert tried == "TypeError"
    assert any("Content Security Policy" in str(c) for c in browser.complaints)
    browser.complaints.clear()
