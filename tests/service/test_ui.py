"""The dashboard: who may see it, who may act, and what it makes of what strangers wrote into the log."""

import re

import lxml.html
import pytest
from starlette.testclient import TestClient

from dashboard import key_of, looked_at, policy_in, traffic
from guarded import ask, digits
from redoubt.data import load_data
from redoubt.ledger import Algorithm, Proof, Signer, leaf_hash
from redoubt.policy import read_policy
from redoubt.records import LogEntry, StorageError
from redoubt.service.log import LogReader, parse_entry, read_verifier, verifier_file, witness_log
from redoubt.service.ui.entrance.sessions import LASTS

PAGES = ["/ui", "/ui/", "/ui/recent", "/ui/decision/17", "/ui/decision/0", "/ui/accounts", "/ui/versions", "/ui/log"]
ACTS = {
    "/ui/accounts/unlock": {"account": "somebody"},
    "/ui/keys/revoke": {"key": "somebody"},
    "/ui/versions/rollback": {"number": "1"},
}
OPEN = {("GET", "/ui/login"), ("POST", "/ui/login"), ("GET", "/ui/static/{name}")}


@pytest.fixture(scope="module")
def watched(tmp_path_factory, reader_weights):
    """A guard that is only looked at, with some decisions."""
    with looked_at(policy_in(tmp_path_factory.mktemp("watched"), reader_weights)) as guard:
        guard.prober = traffic(guard)
        guard.auditor, guard.admin = key_of(guard, "auditor"), key_of(guard, "admin")
        yield guard


@pytest.fixture
def guard(tmp_path, reader_weights):
    """A guard of the test's own."""
    with looked_at(policy_in(tmp_path, reader_weights)) as opened:
        yield opened


def visitor(guard, base="http://testserver"):
    return TestClient(guard.app, base_url=base, follow_redirects=False, raise_server_exceptions=False)


def token_in(page):
    return re.search(r'name="token" value="([0-9a-f]{64})"', page)[1]


def words(page):
    """What a reader reads."""
    return " ".join(" ".join(lxml.html.fromstring(page).itertext()).split())


def enter(client, key, then=""):
    page = client.get(f"/ui/login?next={then}").text
    return client.post("/ui/login", data={"key": key, "token": token_in(page), "next": then})


def signed_in(guard, key):
    client = visitor(guard)
    assert enter(client, key).status_code == 303
    client.token = token_in(client.get("/ui/accounts").text)
    return client


def entries(guard):
    guard.poll()
    guard.checkpoint()
    reader = LogReader(guard.log)
    return [parse_entry(raw) for raw in reader.entries()]


# ── who may see what ─────────────────────────────────────────────────────────────────────────────────────────────


def routes(guard):
    found = [route for route in guard.app.routes if route.path.startswith("/ui")]
    assert len(found) > 12
    return [(method, route.path) for route in found for method in route.methods - {"HEAD"}]


def test_no_route_but_three_is_open_to_strangers(watched):
    client = visitor(watched)
    for method, path in routes(watched):
        if (method, path) in OPEN:
            continue
        answer = client.request(method, path.replace("{index}", "17"), data={"x": "y"} if method == "POST" else None)
        if path == "/ui/recent":
            assert answer.status_code == 401
        elif path == "/ui/logout":
            assert answer.status_code == 403
        else:
            assert answer.status_code == 303, path
            assert answer.headers["location"].startswith("/ui/login"), path
        assert watched.prober not in answer.text


def test_the_api_key_as_bearer_opens_no_page(watched):
    answer = visitor(watched).get("/ui", headers={"authorization": f"Bearer {watched.admin}"})
    assert answer.status_code == 303


@pytest.mark.parametrize("page", PAGES)
def test_auditors_see_every_page(watched, page):
    answer = signed_in(watched, watched.auditor).get(page)
    assert answer.status_code == 200


def test_every_admins_act_is_refused_to_auditors(watched):
    client = signed_in(watched, watched.auditor)
    acts = [path for method, path in routes(watched) if method == "POST"]
    assert set(acts) == {*ACTS, "/ui/login", "/ui/logout", "/ui/log/verify"}
    size = watched._log.size
    for path, form in ACTS.items():
        answer = client.post(path, data=form | {"token": client.token})
        assert answer.status_code == 403, path
        assert "only an admin" in answer.text
    assert watched._log.size == size


@pytest.mark.parametrize("token", [None, "", "0" * 64, "another's"])
def test_every_act_needs_the_sessions_token(watched, token):
    client, other = signed_in(watched, watched.admin), signed_in(watched, watched.admin)
    size = watched._log.size
    for path, form in [*ACTS.items(), ("/ui/log/verify", {}), ("/ui/logout", {})]:
        sent = {"x": "y"} | form
        if token is not None:
            sent["token"] = other.token if token == "another's" else token
        assert client.post(path, data=sent).status_code == 403, path
    assert watched._log.size == size
    assert client.get("/ui").status_code == 200


# ── signing in ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_only_keys_of_auditors_and_admins_open_the_door(guard):
    good = key_of(guard, "auditor")
    revoked = key_of(guard, "admin")
    guard.store.revoke(revoked.split("_")[1], guard.clock.now(), "test")
    wrong = [key_of(guard, "client"), revoked, good[:-1] + ("a" if good[-1] != "a" else "b"), "", "rdt_x", "x" * 5000]
    for key in wrong:
        answer = enter(visitor(guard), key)
        assert answer.status_code == 403, key
        assert "set-cookie" not in {name for name, value in answer.headers.items() if "redoubt=" in value}
    assert enter(visitor(guard), f" {good}\n").status_code == 303


def test_the_cookie_is_strict_and_the_key_is_nowhere(watched):
    client = visitor(watched)
    answer = enter(client, watched.auditor)
    cookie = answer.headers["set-cookie"]
    assert re.match(r"redoubt=[\w-]{43}; HttpOnly; Max-Age=3600; Path=/; SameSite=strict$", cookie)
    assert not any(watched.auditor in client.get(page).text for page in PAGES)


def test_under_tls_the_cookie_is_bound_to_it(watched):
    client = visitor(watched, "https://testserver")
    cookie = enter(client, watched.auditor).headers["set-cookie"]
    assert cookie.startswith("__Host-redoubt=")
    assert "; Secure" in cookie
    assert client.get("/ui").status_code == 200


def test_signing_in_needs_the_forms_own_token(watched):
    client, other = visitor(watched), visitor(watched)
    page = client.get("/ui/login").text
    assert other.post("/ui/login", data={"key": watched.admin, "token": token_in(page)}).status_code == 403
    assert client.post("/ui/login", data={"key": watched.admin, "token": "0" * 64}).status_code == 403
    assert client.post("/ui/login", data={"key": watched.admin}).status_code == 403


@pytest.mark.parametrize("then", ["/ui/decision/17", "/ui?action=lock&before=9"])
def test_one_is_led_where_one_wanted_to_go(watched, then):
    client = visitor(watched)
    sent = client.get(then).headers["location"]
    page = client.get(sent)
    form = lxml.html.fromstring(page.text).forms[0]
    answer = client.post("/ui/login", data=dict(form.fields) | {"key": watched.auditor})
    assert answer.headers["location"] == then


@pytest.mark.parametrize(
    "then",
    ["https://evil.example", "//evil.example", "/ui//evil.example", "/ui/\\evil", "/log", "/ui@evil", "ui", "/ui\n"],
)
def test_nobody_is_led_elsewhere(watched, then):
    client = visitor(watched)
    page = client.get("/ui/login").text
    answer = client.post("/ui/login", data={"key": watched.auditor, "token": token_in(page), "next": then})
    assert answer.headers["location"] == "/ui"


def test_a_session_ends_by_time_by_signing_out_and_with_its_key(guard):
    keys = [key_of(guard, "auditor") for _ in range(3)]
    late, left, revoked = (signed_in(guard, key) for key in keys)
    before = left.cookies["redoubt"]
    answer = left.post("/ui/logout", data={"token": left.token})
    assert answer.headers["location"] == "/ui/login"
    left.cookies.set("redoubt", before)
    assert left.get("/ui").status_code == 303
    guard.store.revoke(keys[2].split("_")[1], guard.clock.now(), "test")
    assert revoked.get("/ui").status_code == 303
    guard.patience.wait(LASTS - 1)
    assert late.get("/ui").status_code == 200
    guard.patience.wait(1)
    assert late.get("/ui").status_code == 303


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"key=" + b"x" * 9000, "application/x-www-form-urlencoded", 413),
        (b"{}", "application/json", 415),
        (b"&".join(b"k%d=1" % at for at in range(40)), "application/x-www-form-urlencoded", 400),
        (b"key=\xff", "application/x-www-form-urlencoded", 400),
    ],
)
def test_forms_are_bounded(watched, body, kind, status):
    client = signed_in(watched, watched.admin)
    for path in ("/ui/login", "/ui/keys/revoke", "/ui/logout"):
        assert client.post(path, content=body, headers={"content-type": kind}).status_code == status, path


def test_without_the_store_nobody_is_let_in_and_told_why(guard, monkeypatch):
    client = signed_in(guard, key_of(guard, "auditor"))

    def gone(_identity):
        raise StorageError("the store is gone", remedy="bring it back")

    monkeypatch.setattr(guard.store, "key", gone)
    answer = client.get("/ui")
    assert answer.status_code == 503
    assert "the store is gone" in answer.text


# ── what strangers wrote ─────────────────────────────────────────────────────────────────────────────────────────

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}\u202e</pre>"


def test_nothing_that_strangers_wrote_becomes_part_of_a_page(guard):
    entry = {"kind": "decision", "at": 5, "account": EVIL, "request": EVIL, "rule": EVIL, "why": EVIL, "step": 7}
    guard.record(LogEntry.model_validate(entry | {"action": "refuse", "row": 0, "signals": {EVIL: 1.0}}))
    guard.record(LogEntry(kind="unlock", at=5, account=EVIL, detail={EVIL: EVIL, "list": [EVIL]}))
    key_of(guard, "client", note=EVIL.replace("\u202e", ""))
    guard.store.add_version("sha256:" + "0" * 64, EVIL, 6.0, EVIL)
    guard.store.turn([EVIL], lambda found: {EVIL: found[EVIL].model_copy(update={"locked_until": 2e9, "seen_at": 5.0})})
    guard.checkpoint()
    client = signed_in(guard, key_of(guard, "admin"))
    pages = ["/ui", "/ui/recent", "/ui/decision/1", "/ui/decision/2", "/ui/accounts", "/ui/versions", "/ui/log"]
    pages += [f"/ui?account={EVIL}&tier={EVIL}&action={EVIL}", f"/ui/accounts?find={EVIL}", f"/ui/login?next={EVIL}"]
    for page in pages:
        answer = client.get(page)
        assert answer.status_code == 200, page
        tree = lxml.html.fromstring(answer.text)
        assert not tree.xpath("//script[not(@src)] | //style | //img[not(starts-with(@src, 'data:image/png'))]"), page
        assert not [name for each in tree.iter() for name in each.attrib if name.startswith("on") or name == "style"]
        if page not in ("/ui/decision/1", "/ui/decision/2"):  # there the entry itself stands, byte for byte
            assert "\u202e" not in tree.text_content(), page
        assert "49" not in answer.text.partition("img src=x")[2][:60], page
    assert "&lt;script&gt;alert(1)" in client.get("/ui").text  # so it was there to be escaped
    # who is unlocked is whoever was named, whatever the name
    assert client.post("/ui/accounts/unlock", data={"account": EVIL, "token": client.token}).status_code == 303
    assert guard.store.standings()[EVIL].locked_until == 0


def test_pages_run_nothing_from_elsewhere_and_nothing_inline(watched):
    client = signed_in(watched, watched.auditor)
    for page in [*PAGES, "/ui/login", "/ui/decision/99999"]:
        answer = client.get(page)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', answer.text), page
    for name, kind in (("ui.css", "text/css"), ("ui.js", "text/javascript")):
        assert client.get(f"/ui/static/{name}").headers["content-type"].startswith(kind)
    for name in ("", "x", "..%2f__init__.py", "ui.css%00"):
        assert client.get(f"/ui/static/{name}").status_code == 404


# ── decisions ────────────────────────────────────────────────────────────────────────────────────────────────────


def shown(answer):
    tree = lxml.html.fromstring(answer.text)
    return [int(row.get("data-index")) for row in tree.xpath("//tr[@data-index]")]


def test_the_latest_decisions_stand_first_with_their_reasons(watched):
    answer = signed_in(watched, watched.auditor).get("/ui")
    found = shown(answer)
    assert found == sorted(found, reverse=True)
    assert set(range(23)) <= set(found)
    text = lxml.html.fromstring(answer.text).text_content()
    assert "similar_queries is 3, must be < 3" in text
    assert "nobody known" in text


def test_decisions_are_filtered(watched):
    client = signed_in(watched, watched.auditor)
    assert shown(client.get("/ui?action=lock")) == [18, 17]
    assert shown(client.get("/ui?action=refuse")) == [22, 21, 20, 19, 13]
    assert shown(client.get(f"/ui?account={watched.prober[:8]}&action=admit")) == [16, 15, 14]
    assert shown(client.get("/ui?action=events"))[-1] == 0
    assert shown(client.get("/ui?tier=trusted")) == []
    assert shown(client.get("/ui?before=3")) == [2, 1, 0]
    for page in ("/ui?before=x", "/ui?before=-1", "/ui/decision/x", "/ui/decision/" + "9" * 5000, "/ui/decision/999"):
        assert client.get(page).status_code == 404, page


def test_a_filter_looks_through_a_bounded_number_of_entries(watched, monkeypatch):
    monkeypatch.setattr("redoubt.service.ui.views.listing._LOOKED", 7)
    client = signed_in(watched, watched.auditor)
    answer = client.get("/ui?account=nobodys&before=20")
    assert shown(answer) == []
    assert "before=13" in answer.text


def test_one_decision_shows_input_neighbours_bounds_and_proof(watched):
    client = signed_in(watched, watched.auditor)
    answer = client.get("/ui/decision/17")
    tree = lxml.html.fromstring(answer.text)
    assert len(tree.xpath("//figure[@class='input']/img")) == 1
    assert len(tree.xpath("//ul[@class='near']/li")) == 8
    assert len(tree.xpath("//ul[@class='near']/li[@class='same']")) == 8
    text = words(answer.text)
    assert "not probing signals.similar_queries < 3 similar_queries 3 < 3 does not hold otherwise lock" in text
    assert "this comes to the same: lock" in text
    assert "The guard says: verified." in text
    assert "version 1" in text


def test_neighbours_are_those_of_the_data_that_the_detector_learnt_from(guard):
    traffic(guard)
    client = signed_in(guard, key_of(guard, "auditor"))
    tree = lxml.html.fromstring(client.get("/ui/decision/3").text)
    rows = [int(row.replace(",", "")) for row in re.findall(r"row ([\d,]+)", tree.text_content())]
    file = read_policy(guard.path)
    data = load_data(file.policy.data.train, guard.chain.book.face, file.base, lambda *keys: None)
    labels = [figure.text for figure in tree.xpath("//ul[@class='near']//figcaption/b")]
    assert labels == [str(int(data.y[row])) for row in rows]
    (detector,) = (each for each in guard.chain.book.detectors if "credibility" in each.signals)
    detector.labels[0] = (detector.labels[0] + 1) % 10
    assert "not those any more that deep k-NN learnt from" in client.get("/ui/decision/3").text


def test_the_proof_can_be_taken_away_and_checked(watched):
    answer = signed_in(watched, watched.auditor).get("/ui/decision/17/proof")
    assert answer.headers["content-disposition"] == 'attachment; filename="17.tlog-proof"'
    proof = Proof.parse(answer.content)
    proof.verify(leaf_hash(proof.extra), read_verifier(str(verifier_file(watched.log))))
    assert parse_entry(proof.extra).action == "lock"


def test_what_is_not_kept_is_said_so(tmp_path, reader_weights):
    with looked_at(policy_in(tmp_path, reader_weights, keep="decision")) as guard:
        ask(guard, f"Bearer {key_of(guard, 'client')}", digits(1))
        guard.checkpoint()
        text = signed_in(guard, key_of(guard, "auditor")).get("/ui/decision/1").text
        assert "The input is not kept" in text
        assert "The signals are not kept" in text
        assert "<img" not in text


# ── a log that was tampered with ─────────────────────────────────────────────────────────────────────────────────


def damage(path, at):
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(raw)


def tile(guard, kind):
    (found,) = sorted((guard.log / "tile" / kind).glob("000.p/*"), key=lambda path: -int(path.name))[:1]
    return found


def test_a_changed_entry_is_shown_as_such(guard):
    traffic(guard)
    auditor = key_of(guard, "auditor")
    entries(guard)  # all of it published
    path = tile(guard, "entries")
    damage(path, path.read_bytes().index(b'"step":7') + 7)
    client = signed_in(guard, auditor)
    answer = client.get("/ui/decision/1")
    text = words(answer.text)
    assert "nothing on this page is to be believed" in text
    assert "The guard says: NOT verified" in text
    assert "The guard says: verified." not in text
    assert "<img" not in answer.text
    listed = client.get("/ui")
    assert listed.status_code == 200
    assert "Not to be believed:" in listed.text
    assert client.get("/ui/decision/1/proof").status_code == 500
    client.post("/ui/log/verify", data={"token": client.token})
    assert "NOT verified" in settled(client)


def test_a_changed_hash_is_shown_as_such(guard):
    traffic(guard)
    auditor = key_of(guard, "auditor")
    entries(guard)
    damage(tile(guard, "0"), 1 * 32)  # the leaf of entry 1, which the proof of entry 0 needs, and that of 1 does not
    client = signed_in(guard, auditor)
    assert "The guard says: NOT verified" in words(client.get("/ui/decision/0").text)
    neighbour = words(client.get("/ui/decision/1").text)
    assert "The log is damaged here, though this entry is proved" in neighbour
    assert "The guard says: verified." in neighbour
    assert "Not to be believed:" in client.get("/ui").text


def settled(client):
    """The page of the log when its verification has ended."""
    for _ in range(200):
        page = client.get("/ui/log").text
        if 'http-equiv="refresh"' not in page:
            return page
    raise AssertionError("it does not end")


def test_a_forged_checkpoint_is_shown_as_such(guard):
    traffic(guard)
    auditor = key_of(guard, "auditor")
    entries(guard)
    note = (guard.log / "checkpoint").read_text()
    name, number, root, *rest = note.split("\n")
    (guard.log / "checkpoint").write_text("\n".join([name, str(int(number) - 1), root, *rest]))
    client = signed_in(guard, auditor)
    for page in ("/ui", "/ui/log"):
        assert "cannot be believed" in client.get(page).text, page
    text = client.get("/ui/decision/3").text
    assert "nothing on this page is to be believed" in text
    assert client.get("/ui/decision/3/proof").status_code == 500


def test_a_log_whose_files_are_gone_is_no_fault(guard):
    traffic(guard)
    client = signed_in(guard, key_of(guard, "auditor"))
    entries(guard)
    for path in (guard.log / "tile").rglob("*"):
        if path.is_file():
            path.unlink()
    for page in ("/ui", "/ui/decision/3", "/ui/log"):
        answer = client.get(page)
        assert answer.status_code == 200, page
        assert "<html" in answer.text
    assert "NOT verified" in client.get("/ui/decision/3").text
    (guard.log / "checkpoint").unlink()
    for page in PAGES[:5]:
        assert client.get(page).status_code == 500, page


# ── acts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_admin_unlocks_an_account_and_the_log_says_who(guard):
    locked = traffic(guard)
    admin = key_of(guard, "admin")
    client = signed_in(guard, admin)
    assert "locked" in client.get("/ui/accounts").text
    answer = client.post("/ui/accounts/unlock", data={"account": locked, "token": client.token})
    assert answer.headers["location"] == "/ui/accounts"
    standing = guard.store.standings()[locked]
    assert (standing.locked_until, standing.strikes) == (0, 0)
    assert standing.today == 5  # what was asked stays asked
    entry = next(entry for entry in entries(guard) if entry.kind == "unlock")
    assert entry.account == locked
    assert entry.detail == {"by": admin.split("_")[1]}
    size = guard._log.size
    assert client.post("/ui/accounts/unlock", data={"account": "x", "token": client.token}).status_code == 400
    assert guard._log.size == size


def test_an_unlock_that_cannot_be_recorded_is_not_done(guard, monkeypatch):
    locked = traffic(guard)
    client = signed_in(guard, key_of(guard, "admin"))

    def full(_entry):
        raise StorageError("the disk is full")

    monkeypatch.setattr(guard, "record", full)
    answer = client.post("/ui/accounts/unlock", data={"account": locked, "token": client.token})
    assert answer.status_code == 503
    assert guard.store.standings()[locked].locked_until > guard.clock.now()


def test_an_admin_revokes_a_key_and_the_log_says_who(guard):
    admin, customer = key_of(guard, "admin"), key_of(guard, "client")
    client = signed_in(guard, admin)
    name = customer.split("_")[1]
    assert client.post("/ui/keys/revoke", data={"key": name, "token": client.token}).status_code == 303
    assert client.post("/ui/keys/revoke", data={"key": name, "token": client.token}).status_code == 400
    assert ask(guard, f"Bearer {customer}", digits(1))[0] == 401
    detail = [entry.detail for entry in entries(guard) if entry.kind == "key"][-1]
    assert detail["key"] == name
    assert detail["by"] == admin.split("_")[1]


def test_an_admin_rolls_back_and_the_log_says_who(guard):
    admin = key_of(guard, "admin")
    client = signed_in(guard, admin)
    first = guard.store.latest_version()
    text = first.text.replace("confidence >= 0.3", "confidence >= 0.9")
    guard.store.add_version("sha256:" + "1" * 64, text, guard.clock.now(), "reload")
    page = client.get("/ui/versions").text
    assert "confidence &gt;= 0.9" in page
    assert "Version 2 is the latest and is being put in force" in page
    assert client.post("/ui/versions/rollback", data={"number": "1", "token": client.token}).status_code == 303
    assert guard.store.latest_version().number == 3
    guard.poll()
    assert guard.chain.book.digest == first.digest
    assert f"rollback to 1 by {admin.split('_')[1]}" in client.get("/ui/versions").text
    for number in ("0", "9", "x", "", "1" * 100):
        sent = {"number": number, "token": client.token}
        assert client.post("/ui/versions/rollback", data=sent).status_code == 400, number
    assert client.get("/ui/versions?number=9").status_code == 404


def test_a_version_that_is_no_policy_is_not_put_in_force(guard):
    client = signed_in(guard, key_of(guard, "admin"))
    guard.store.add_version("sha256:" + "1" * 64, "redoubt: 7", 6.0, "somebody")
    answer = client.post("/ui/versions/rollback", data={"number": "2", "token": client.token})
    assert answer.status_code == 400
    assert guard.store.latest_version().number == 2


def test_the_whole_log_is_verified_on_demand_and_witnesses_are_shown(tmp_path, reader_weights):
    witness = Signer("witness.example/w1", b"w" * 32, Algorithm.COSIGNATURE_V1)
    other = Signer("witness.example/w2", b"v" * 32, Algorithm.COSIGNATURE_V1)
    keys = f"'{witness.verifier}', '{other.verifier}'"
    with looked_at(policy_in(tmp_path, reader_weights, witnesses=keys)) as guard:
        traffic(guard)
        client = signed_in(guard, key_of(guard, "auditor"))
        size = len(entries(guard))
        key = read_verifier(str(verifier_file(guard.log)))
        witness_log(guard.log, key, witness, tmp_path / "state", int(guard.clock.now()))
        ask(guard, None, digits(1))
        entries(guard)
        page = client.get("/ui/log").text
        text = words(page)
        assert f"witness.example/w1 {size} entries 2026-09-21 15:33:28 1" in text
        assert "witness.example/w2 no cosignature" in text
        assert "not verified" in text
        assert client.post("/ui/log/verify", data={"token": client.token}).status_code == 303
        assert f"{size + 1} entries in" in settled(client)


def test_readiness_is_shown(guard, monkeypatch):
    client = signed_in(guard, key_of(guard, "auditor"))
    assert "not ready" not in client.get("/ui/log").text
    monkeypatch.setattr(guard, "unready", lambda: "the disk is full")
    text = client.get("/ui/log").text
    assert "not ready" in text
    assert "the disk is full" in text
