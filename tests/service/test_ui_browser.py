"""The dashboard in a real browser: keys alone, a phone, the proof checked before the reader's eyes, lies found out."""

import contextlib
import re

import pytest
from playwright.sync_api import expect

from dashboard import browser, key_of, looked_at, policy_in, served, sign_in, traffic
from guarded import ask, digits

PAGES = ["/ui", "/ui/decision/17", "/ui/decision/13", "/ui/decision/0", "/ui/accounts", "/ui/versions", "/ui/log"]


@pytest.fixture(scope="module")
def chromium():
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory, reader_weights):
    """A served guard with some decisions, and its address."""
    with looked_at(policy_in(tmp_path_factory.mktemp("site"), reader_weights)) as guard:
        guard.prober = traffic(guard)
        guard.auditor, guard.admin = key_of(guard, "auditor"), key_of(guard, "admin")
        guard.customer = f"Bearer {key_of(guard, 'client', note='n' * 300)}"
        guard.poll()
        guard.checkpoint()
        with served(guard) as guard.address:
            yield guard


@contextlib.contextmanager
def opened_page(chromium, guard, key=None, **settings):
    """A page of a browser window of its own; at the end, nothing may have gone wrong in it or gone elsewhere."""
    states = guard.__dict__.setdefault("states", {})  # one signs in once, and has the cookie in every later window
    window = chromium.new_context(**settings, storage_state=states.get(key))
    page = window.new_page()
    wrong, asked = [], []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))
    try:
        if key in states:
            page.goto(f"{guard.address}/ui")
        elif key:
            sign_in(page, guard.address, key)
            states[key] = window.storage_state()
        yield page
        assert wrong == []
        assert [url for url in asked if not url.startswith((guard.address + "/ui", "data:"))] == []
    finally:
        window.close()


def verdict(page):
    """What the browser says of the proof, once it has said something."""
    said = page.locator("#browser-verdict")
    expect(said).not_to_contain_text("scripts are off")
    return " ".join(said.inner_text().split())


# ── the proof ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_browser_takes_every_step_of_the_proof_again(chromium, site):
    with opened_page(chromium, site, site.auditor) as page:
        last = int(page.locator("tr[data-index]").first.get_attribute("data-index"))
        for index in (0, 1, 7, 8, 17, last - 1, last):
            page.goto(f"{site.address}/ui/decision/{index}")
            assert verdict(page).startswith("Your browser says: verified: it took all")
            steps = page.locator(".steps > li")
            assert steps.count() == page.locator(".steps > li.ok").count() >= 6


def _other_byte(found):
    """The same, with another byte at its end: a fixed one would now and then be the byte that is there."""
    return f"{found[1]}{int(found[2], 16) ^ 0xFF:02x}"


LIES = {
    "another entry": (r"(&#34;|\")action(&#34;|\"):(&#34;|\")lock", r"\1action\2:\3admit", "at step 1"),
    "another leaf": (r'(=</p>\s*<code class="hash out">)([0-9a-f]{2})', _other_byte, "at step 1"),
    "another neighbour": (r'(data-sibling=")([0-9a-f]{2})', _other_byte, "at step 2"),
    "a step too few": (r'<li data-check="node".*?</li>', "", "at step"),
    "another index": (r'data-index="17" data-size', 'data-index="16" data-size', "at step"),
    "a greater size": (r'data-size="\d+"', 'data-size="4096"', "a hash too few"),
    "another size": (r'data-size="\d+"', 'data-size="18"', "at step"),
    "another count in the note": (r'(<pre id="note" class="raw">digits\n)\d+', r"\g<1>99", "at step"),
    "another signature": (r"(— digits [^\n]{20})[^\n]{4}", r"\1AAAA", "the signature does not hold"),
    "another key": (r'(id="log-key">digits\+[0-9a-f]{8}\+A[^<]{20})[^<]{4}', r"\1AAAA", "the key is not this log"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_lies_is_found_out_by_the_browser(chromium, site, lie):
    pattern, instead, where = LIES[lie]

    def forge(route):
        answer = route.fetch()
        text, count = re.subn(pattern, instead, answer.text(), count=1, flags=re.DOTALL)
        assert count == 1
        route.fulfill(response=answer, body=text)

    with opened_page(chromium, site, site.auditor) as page:
        page.route("**/ui/decision/17", forge)
        page.goto(f"{site.address}/ui/decision/17")
        said = verdict(page)
        assert said.startswith("Your browser says: NOT verified")
        assert where in said
        assert "The guard says: verified." in page.locator("#server-verdict").inner_text()
        assert page.locator(".steps > li.bad").count() == 1


def test_a_tampered_tile_is_shown_as_not_verified(chromium, tmp_path, reader_weights):
    with looked_at(policy_in(tmp_path, reader_weights)) as guard:
        traffic(guard)
        auditor = key_of(guard, "auditor")
        guard.poll()
        guard.checkpoint()
        bundle = max((guard.log / "tile" / "entries" / "000.p").iterdir(), key=lambda path: int(path.name))
        raw = bundle.read_bytes()
        bundle.chmod(0o644)
        bundle.write_bytes(raw.replace(b'"action":"lock"', b'"action":"luck"', 1))
        with served(guard) as guard.address, opened_page(chromium, guard, auditor) as page:
            assert page.get_by_text("Not to be believed:").count() == 1
            page.goto(f"{guard.address}/ui/decision/17")
            assert verdict(page).startswith("Your browser says: NOT verified, at step")
            assert "NOT verified" in page.locator("#server-verdict").inner_text()
            assert page.get_by_role("alert").inner_text().startswith("This entry is not proved")
            page.goto(f"{guard.address}/ui/decision/3")
            assert verdict(page).startswith("Your browser says: verified")


# ── keys, phones, eyes ───────────────────────────────────────────────────────────────────────────────────────────


def tab_to(page, wanted, most=80):
    """Press Tab until that has the focus, which must be seen."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("([e, w]) => e.matches(':focus') && w", [wanted.element_handle(), True]):
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            return
    raise AssertionError("the Tab key does not get there")


def test_keys_alone_lead_from_signing_in_to_a_proof_and_out_again(chromium, site):
    with opened_page(chromium, site) as page:
        page.goto(f"{site.address}/ui")
        page.keyboard.type(site.auditor)  # the field has the focus
        page.keyboard.press("Enter")
        page.wait_for_selector("header nav")
        page.keyboard.press("Tab")
        skip = page.get_by_text("Skip to the content")
        assert skip.evaluate("e => e.matches(':focus') && e.getBoundingClientRect().top >= 0")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        tab_to(page, page.get_by_role("button", name="Filter"))
        tab_to(page, page.get_by_role("link", name="Entry 17", exact=True))
        page.keyboard.press("Enter")
        page.wait_for_selector("#browser-verdict.ok")
        tab_to(page, page.locator("#proof summary").first)
        page.keyboard.press("Enter")
        assert page.locator("#entry-text").is_visible()
        tab_to(page, page.get_by_role("link", name="Download 17.tlog-proof"))
        page.keyboard.press("Shift+Tab")
        page.locator("body").focus()
        tab_to(page, page.get_by_role("button", name="Sign out"))
        page.keyboard.press("Enter")
        page.wait_for_selector("h1:has-text('Sign in')")


def test_an_admin_unlocks_by_keys_alone(chromium, tmp_path, reader_weights):
    with looked_at(policy_in(tmp_path, reader_weights)) as guard:
        locked = traffic(guard)
        admin = key_of(guard, "admin")
        with served(guard) as guard.address, opened_page(chromium, guard, admin) as page:
            page.goto(f"{guard.address}/ui/accounts")
            tab_to(page, page.get_by_role("button", name=f"Unlock of {locked}"))
            page.keyboard.press("Enter")
            expect(page.locator(".chip.lock")).to_have_count(0)
            assert guard.store.standings()[locked].locked_until == 0


def test_nothing_is_wider_than_a_phone(chromium, site):
    site.store.turn(
        ["jwt:" + "x" * 250],
        lambda found: {name: each.model_copy(update={"seen_at": 1e9, "strikes": 1.0}) for name, each in found.items()},
    )
    with opened_page(chromium, site, site.admin, viewport={"width": 360, "height": 740}) as page:
        for path in PAGES:
            page.goto(site.address + path)
            page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
            assert page.evaluate("document.documentElement.scrollWidth") == 360, path
            small = page.evaluate(
                "[...document.querySelectorAll('button, .button, input:not([type=hidden]), select')]"
                ".filter(e => e.offsetParent && e.offsetHeight < 30).map(e => e.outerHTML)"
            )
            assert small == [], path


CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = (color, ground) => {
    if (ground) { canvas.fillStyle = ground; canvas.fillRect(0, 0, 1, 1); }
    canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const css = (c) => `rgb(${c[0]} ${c[1]} ${c[2]})`;
  const line = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (c) => c.slice(0, 3).map((v) => line(v / 255))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const weak = [];
  for (const node of document.querySelectorAll('main *, header *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || !node.checkVisibility() || node.closest('svg, .hidden, [disabled]')) continue;
    const path = [];
    for (let at = node; at; at = at.parentElement) path.unshift(getComputedStyle(at).backgroundColor);
    const ground = path.reduce((below, above) => rgb(above, css(below)), [255, 255, 255, 255]);
    const [a, b] = [light(rgb(getComputedStyle(node).color, css(ground))), light(ground)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) weak.push(`${ratio.toFixed(2)} ${node.outerHTML.slice(0, 120)}`);
  }
  return weak;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_ground(chromium, site, scheme):
    with opened_page(chromium, site, site.admin, color_scheme=scheme, reduced_motion="reduce") as page:
        grounds = set()
        for path in PAGES:
            page.goto(site.address + path)
            page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
            assert page.evaluate(CONTRAST) == [], path
            grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        (ground,) = grounds
        assert (sum(map(int, re.findall(r"\d+", ground))) > 380) == (scheme == "light")


# ── alive, and without scripts ───────────────────────────────────────────────────────────────────────────────────


def test_new_decisions_appear_by_themselves_and_the_focus_stays(chromium, site):
    with opened_page(chromium, site, site.auditor) as page:
        newest = page.locator("tr[data-index]").first
        before = int(newest.get_attribute("data-index"))
        link = page.get_by_role("link", name="Entry 17", exact=True)
        link.focus()
        ask(site, site.customer, digits(1))
        site.checkpoint()
        page.wait_for_selector(f"tr[data-index='{before + 1}'].fresh", timeout=10_000)
        assert page.evaluate("document.activeElement.getAttribute('href')") == "/ui/decision/17"
        pause = page.get_by_role("button", name="Pause")
        pause.click()
        ask(site, site.customer, digits(1))
        site.checkpoint()
        page.wait_for_timeout(3500)
        assert int(newest.get_attribute("data-index")) == before + 1
        page.get_by_role("button", name="Go on").click()
        page.wait_for_selector(f"tr[data-index='{before + 2}']", timeout=10_000)


def test_who_is_signed_out_meanwhile_is_told(chromium, site):
    # the refused request is what this is about; the browser notes it as an error
    window = chromium.new_context()
    page = window.new_page()
    sign_in(page, site.address, site.auditor)
    window.clear_cookies()
    page.wait_for_selector("#live.bad:has-text('Signed out')", timeout=10_000)
    window.close()


def test_without_scripts_all_is_there_but_the_browsers_own_word(chromium, site):
    with opened_page(chromium, site, site.auditor, java_script_enabled=False) as page:
        assert page.locator("tr[data-index]").count() >= 23
        page.get_by_role("link", name="Reload every 10 s").click()
        assert page.url.endswith("refresh=10")
        page.get_by_role("link", name="Entry 17", exact=True).click()
        assert "The guard says: verified." in page.locator("#server-verdict").inner_text()
        assert "its scripts are off" in page.locator("#browser-verdict").inner_text()
        assert page.locator(".steps .out").count() >= 6
