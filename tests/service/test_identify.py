"""Step 1: who is let in, who is not, and what nobody is told."""

import base64
import hmac
import json
import logging
import re
import time
import traceback
from hashlib import sha256

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redoubt.records import PolicyError, StorageError
from redoubt.records.guard import Tokens
from redoubt.service.identify import Caller, Identifier, TokenChecker, Unidentified, make_key, parse_key
from redoubt.service.identify.identifier import REMEMBERED
from redoubt.service.identify.keys import _checksum, _encode
from redoubt.service.identify.tokens import LEEWAY, MOST
from redoubt.service.stores import open_store
from redoubt.service.stores.sqlite import SqliteStore

NOW = 1_800_000_000.0
LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def refused(identifier, credential, now=NOW):
    """The reason of a refusal, whose message is always the same."""
    with pytest.raises(Unidentified) as caught:
        identifier.identify(credential, now)
    assert str(caught.value) == str(Unidentified("missing"))
    assert caught.value.__cause__ is None
    return caught.value.reason


# ── API keys ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def store(tmp_path):
    store = open_store("keys.db", tmp_path)
    yield store
    store.close()


@pytest.fixture
def key(store):
    made = make_key("public", ["client", "auditor"], "Ann", NOW)
    store.add_key(made.stored, "root")
    return made


def test_a_key_says_whose_it_is(store, key):
    caller = Caller(key.stored.id, "public", frozenset({"client", "auditor"}))
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert Identifier(store).identify(f"{scheme} {key.text}", NOW) == caller


def test_a_key_s_text_is_what_secret_scanners_look_for():
    texts = {make_key("public", ["client"], "", NOW).text for _ in range(200)}
    assert len(texts) == 200
    for text in texts:
        assert re.fullmatch(r"rdt_[a-z2-7]{12}_[0-9A-Za-z]{49}", text)
        identity, secret = parse_key(text)
        assert text.split("_")[1] == identity
        assert len(secret) == 32


def test_only_the_hash_of_32_random_bytes_is_kept(store, key):
    _, secret = parse_key(key.text)
    assert store.key(key.stored.id).secret == sha256(secret).digest()
    raw = b"".join(path.read_bytes() for path in store.path.parent.iterdir())
    assert key.stored.secret in raw
    for form in (secret, secret.hex().encode(), base64.b64encode(secret), key.text.encode(), key.text[17:60].encode()):
        assert form not in raw


def test_every_mistyped_key_is_seen_without_a_look_into_the_store(key):
    """One letter wrong, left out or twice, or two swapped."""
    text = key.text
    wrong = {text[:at] + letter + text[at + 1 :] for at in range(len(text)) for letter in LETTERS + "_-é"} - {text}
    wrong |= {text[:at] + text[at + 1 :] for at in range(len(text))}
    wrong |= {text[:at] + text[at] + text[at:] for at in range(len(text))}
    wrong |= {text[:at] + text[at + 1] + text[at] + text[at + 2 :] for at in range(len(text) - 1)} - {text}
    assert len(wrong) > 4000
    assert {parse_key(one) for one in wrong} == {None}


def test_a_secret_beyond_256_bits_is_none():
    head = "rdt_" + "a" * 12 + "_" + "z" * 43
    assert parse_key(head + _checksum(head)) is None
    largest = head[:-43] + _encode(2**256 - 1, 43)
    assert parse_key(largest + _checksum(largest)) == ("a" * 12, b"\xff" * 32)


@pytest.mark.parametrize(
    ("credential", "reason"),
    [
        (None, "missing"),
        ("", "malformed"),
        ("Bearer", "malformed"),
        ("Bearer ", "malformed"),
        ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "malformed"),
        ("Bearer rdt_", "malformed"),
        ("Bearer rdt_\u0430bc", "malformed"),
        ("Bearer " + "x" * 100_000, "malformed"),
        ("Bearer a.b.c", "malformed"),
        ("Bearer\t{key}", "malformed"),
        ("Bearer {key}\n", "malformed"),
        ("Bearer {key},{key}", "malformed"),
        ("{key}", "malformed"),
    ],
)
def test_what_is_no_key_is_refused(credential, reason, store, key):
    assert refused(Identifier(store), credential and credential.replace("{key}", key.text)) == reason


def test_a_good_form_is_not_enough(store, key):
    identifier = Identifier(store)
    stranger = make_key("public", ["client"], "", NOW)
    assert refused(identifier, f"Bearer {stranger.text}") == "unknown"
    mixed = stranger.text.replace(stranger.stored.id, key.stored.id)[:-6]
    mixed += _checksum(mixed)
    assert parse_key(mixed)[0] == key.stored.id
    assert refused(identifier, f"Bearer {mixed}") == "unknown"
    assert identifier.identify(f"Bearer {key.text}", NOW).account == key.stored.id


def test_a_revoked_key_is_refused_within_two_seconds_whatever_the_clock_does(store, key):
    identifier, credential = Identifier(store), f"Bearer {key.text}"
    identifier.identify(credential, NOW)
    store.revoke(key.stored.id, NOW + 1000, "root")
    assert REMEMBERED == 2
    assert identifier.identify(credential, NOW + 1.9).account  # remembered
    assert refused(identifier, credential, NOW + 2) == "revoked"
    assert refused(identifier, credential, NOW - 1e6) == "revoked"
    assert refused(Identifier(store), credential, NOW) == "revoked"


def test_a_clock_set_back_does_not_keep_a_key_alive(store, key):
    identifier, credential = Identifier(store), f"Bearer {key.text}"
    identifier.identify(credential, NOW)
    store.revoke(key.stored.id, NOW, "root")
    assert refused(identifier, credential, NOW - 0.1) == "revoked"


def test_a_new_key_is_served_at_once(store):
    identifier = Identifier(store)
    made = make_key("public", ["client"], "", NOW)
    store.add_key(made.stored, "root")
    assert identifier.identify(f"Bearer {made.text}", NOW).account == made.stored.id


def test_lookups_are_remembered_and_their_number_is_bounded(store, key, monkeypatch):
    asked = []
    look = SqliteStore.key
    monkeypatch.setattr(SqliteStore, "key", lambda self, identity: asked.append(identity) or look(self, identity))
    identifier = Identifier(store)
    for _ in range(5):
        identifier.identify(f"Bearer {key.text}", NOW)
    assert asked == [key.stored.id]
    monkeypatch.setattr(SqliteStore, "key", lambda self, identity: None)
    for _ in range(5000):
        refused(identifier, f"Bearer {make_key('public', [], '', NOW).text}")
    assert len(identifier._remembered) <= 4096


def test_a_wrong_secret_is_refused_right_after_the_right_one_and_before_it(store, key):
    identifier = Identifier(store)
    other = make_key("public", ["client"], "", NOW).text
    head = f"rdt_{key.stored.id}_{other[17:-6]}"
    wrong = head + _checksum(head)
    for _ in range(3):
        assert refused(identifier, f"Bearer {wrong}") == "unknown"
        assert identifier.identify(f"Bearer {key.text}", NOW).account == key.stored.id
        assert refused(identifier, f"Bearer {key.text[:-1]}{'A' if key.text[-1] != 'A' else 'B'}") == "malformed"


def test_a_store_that_fails_is_no_refusal_and_no_admission(store, key, monkeypatch):
    def fail(self, identity):
        raise StorageError("gone")

    monkeypatch.setattr(SqliteStore, "key", fail)
    with pytest.raises(StorageError):
        Identifier(store).identify(f"Bearer {key.text}", NOW)


def test_the_same_comparison_is_made_for_known_unknown_and_revoked_keys(store, key, monkeypatch):
    gone = make_key("public", ["client"], "", NOW)
    store.add_key(gone.stored, "root")
    store.revoke(gone.stored.id, NOW, "root")
    compared = []
    compare = hmac.compare_digest

    def watch(presented, expected):
        compared.append((presented, expected))
        return compare(presented, expected)

    monkeypatch.setattr(hmac, "compare_digest", watch)
    identifier = Identifier(store)
    identifier.identify(f"Bearer {key.text}", NOW)
    refused(identifier, f"Bearer {gone.text}")
    refused(identifier, f"Bearer {make_key('public', [], '', NOW).text}")
    assert len(compared) == 3
    assert {(type(a), len(a), type(b), len(b)) for a, b in compared} == {(bytes, 32, bytes, 32)}


def test_secrets_are_in_no_repr_no_log_and_no_traceback(store, key, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    store._engine.echo = True
    made = make_key("public", ["client"], "", NOW)
    store.add_key(made.stored, "root")
    identifier = Identifier(store)
    identifier.identify(f"Bearer {made.text}", NOW)
    said = [repr(made), repr(made.stored), repr(identifier), repr(store.keys()), caplog.text]
    for call in (
        lambda: store.add_key(made.stored, "root"),
        lambda: identifier.identify(f"Bearer {made.text[:-1]}", NOW),
        lambda: identifier.identify(f"Bearer {made.text}x.y.z", NOW),
    ):
        try:
            call()
        except Exception as error:
            said.append("".join(traceback.format_exception(error)))
    assert len(said) == 8
    assert "redoubt_keys" in caplog.text
    _, secret = parse_key(made.text)
    for form in (made.text, made.text[17:], secret.hex(), repr(secret)[2:-1], repr(made.stored.secret)[2:-1]):
        assert not any(form in words for words in said)


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────────

KINDS = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
CLAIMS = {"iss": "https://id.example", "aud": "redoubt", "exp": NOW + 60, "sub": "ann@example", "tier": "public"}
SETTINGS = Tokens(public_key="id.pem", issuer="https://id.example", audience="redoubt")


def pem(private):
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def checker(algorithm="EdDSA", **changes):
    return TokenChecker(SETTINGS.model_copy(update=changes), pem(KINDS[algorithm]))


def token(algorithm="EdDSA", headers=None, key=None, **changes):
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not ...}
    return jwt.encode(claims, key or KINDS[algorithm], algorithm=algorithm, headers=headers)


def b64(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def reason(text, now=NOW, algorithm="EdDSA", **changes):
    with pytest.raises(Unidentified) as caught:
        checker(algorithm, **changes).check(text, now)
    return caught.value.reason


@pytest.mark.parametrize("algorithm", [*KINDS, "RS512", "PS256", "PS384"])
def test_a_token_says_whose_it_is(algorithm, tmp_path, store):
    private = KINDS.get(algorithm, KINDS["RS256"])
    (tmp_path / "id.pem").write_bytes(pem(private))
    identifier = Identifier(store, SETTINGS, tmp_path)
    text = token(algorithm, key=private)
    assert identifier.identify(f"Bearer {text}", NOW) == Caller("jwt:ann@example", "public", frozenset({"client"}))
    assert refused(Identifier(store), f"Bearer {text}") == "malformed"


def test_keys_and_tokens_stand_side_by_side_and_never_for_each_other(tmp_path, store, key):
    (tmp_path / "id.pem").write_bytes(pem(KINDS["EdDSA"]))
    identifier = Identifier(store, SETTINGS, tmp_path)
    by_key = identifier.identify(f"Bearer {key.text}", NOW)
    by_token = identifier.identify(f"Bearer {token(sub=key.stored.id)}", NOW)
    assert by_key.account != by_token.account
    assert by_token.scopes == {"client"}


def test_the_claims_that_name_account_and_tier_can_be_chosen():
    seen = checker(account="email", tier="https://x/plan").check(token(email="a@b", **{"https://x/plan": "gold"}), NOW)
    assert (seen.account, seen.tier) == ("jwt:a@b", "gold")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        *[({name: ...}, "claims") for name in CLAIMS],
        ({"iss": "https://id.example/"}, "claims"),
        ({"iss": "https://evil.example"}, "claims"),
        ({"aud": "other"}, "claims"),
        ({"aud": ["other", "more"]}, "claims"),
        ({"aud": []}, "claims"),
        ({"aud": ""}, "claims"),
        ({"exp": NOW - LEEWAY}, "expired"),
        ({"exp": -1}, "expired"),
        ({"exp": str(NOW + 60)}, "claims"),
        ({"exp": True}, "claims"),
        ({"exp": [NOW + 60]}, "claims"),
        ({"exp": float("inf")}, "claims"),
        ({"exp": float("nan")}, "claims"),
        ({"exp": None}, "claims"),
        ({"nbf": NOW + LEEWAY + 1}, "expired"),
        ({"nbf": "0"}, "claims"),
        ({"iat": NOW + LEEWAY + 1}, "expired"),
        ({"iat": None}, "claims"),
        ({"sub": ""}, "claims"),
        ({"sub": "x" * 256}, "claims"),
        ({"sub": "é" * 128}, "claims"),
        ({"sub": "a\nb"}, "claims"),
        ({"sub": "a\0b"}, "claims"),
        ({"sub": "\ud800"}, "claims"),
        ({"tier": ["public"]}, "claims"),
        ({"tier": 5}, "claims"),
        ({"tier": "x" * 65}, "claims"),
        ({"tier": None}, "claims"),
    ],
)
def test_a_signed_token_with_wrong_claims_is_refused(changes, why):
    assert reason(token(**changes)) == why


def test_the_time_is_the_one_that_is_given():
    text = token(exp=1000, nbf=500, iat=500)
    assert checker().check(text, 1000 + LEEWAY - 0.1)
    assert checker().check(text, 500 - LEEWAY)
    for now in (0.0, 500 - LEEWAY - 0.1, 1000 + LEEWAY, time.time()):
        assert reason(text, now) == "expired"


def test_another_s_signature_is_refused():
    assert reason(token(key=ed25519.Ed25519PrivateKey.generate())) == "forged"
    header, payload, signature = token().split(".")
    assert reason(f"{header}.{b64(CLAIMS | {'tier': 'trusted'})}.{signature}") == "forged"
    assert reason(f"{header}.{payload}.{b64(bytes(64))}") == "forged"


def test_unsigned_tokens_are_refused():
    for alg in ("none", "None", "NONE", "nOnE", ""):
        text = f"{b64({'alg': alg, 'typ': 'JWT'})}.{b64(CLAIMS)}."
        assert reason(text) == "forged"
        assert reason(text + token().split(".")[2]) == "forged"
    assert reason(f"{b64({'typ': 'JWT'})}.{b64(CLAIMS)}.") == "forged"


@pytest.mark.parametrize("algorithm", KINDS)
def test_hmac_with_the_public_key_is_refused(algorithm):
    """The public key is public: whoever knows it could sign so."""
    public = pem(KINDS[algorithm])
    for name, digest in (("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512")):
        for secret in (public, public.strip()):
            body = f"{b64({'alg': name, 'typ': 'JWT'})}.{b64(CLAIMS)}"
            assert reason(f"{body}.{b64(hmac.digest(secret, body.encode(), digest))}", algorithm=algorithm) == "forged"


def test_the_algorithm_follows_from_the_key_not_from_the_token():
    assert reason(token("ES384"), algorithm="ES256") == "forged"
    assert reason(token("RS256"), algorithm="EdDSA") == "forged"
    _, payload, signature = token("ES256").split(".")
    assert reason(f"{b64({'alg': 'ES384'})}.{payload}.{signature}", algorithm="ES256") == "forged"
    assert reason(f"{b64({'alg': 'ES256K'})}.{payload}.{signature}", algorithm="ES256") == "forged"


def test_keys_that_a_token_brings_along_are_not_used():
    evil = ed25519.Ed25519PrivateKey.generate()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(evil.public_key().public_bytes_raw())}
    for headers in ({"jwk": jwk}, {"jku": "https://evil.example/keys"}, {"x5u": "https://evil"}, {"kid": "../../x"}):
        assert reason(token(key=evil, headers=headers)) == "forged"


def test_extensions_that_must_be_understood_are_refused():
    assert reason(token(headers={"crit": ["exp"], "exp": NOW})) == "malformed"
    assert reason(token(headers={"crit": []})) == "malformed"
    assert reason(token(headers={"b64": False, "crit": ["b64"]})) in ("malformed", "forged")


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"alg":' + b"[" * 3000,
        b'{"alg":["EdDSA"]}',
        b'{"alg":{"EdDSA":1}}',
        b'{"alg":1}',
        b'{"alg":"EdDSA","kid":5}',
        b'{"alg":"EdDSA","x":' + b"9" * 5000 + b"}",
        b"\xff\xfe",
        b'{"alg":"EdDSA"}' + b" " * 10_000,
    ],
)
def test_hostile_headers_and_payloads_are_refused(header):
    good_header, payload, signature = token().split(".")
    assert reason(f"{b64(header)}.{payload}.{signature}") in ("malformed", "forged")
    body = f"{good_header}.{b64(header)}"  # the provider itself has signed it
    assert reason(f"{body}.{b64(KINDS['EdDSA'].sign(body.encode()))}") in ("malformed", "claims")


def test_the_size_of_a_token_is_bounded():
    assert checker().check(token(extra="x" * 4000), NOW)
    text = token(extra="x" * MOST)
    assert len(text) > MOST
    assert reason(text) == "malformed"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(max_size=200)
    | st.lists(st.binary(max_size=60).map(b64), min_size=2, max_size=4).map(".".join)
    | st.integers(0, 300).flatmap(lambda at: st.characters().map(lambda c: TOKEN[:at] + c + TOKEN[at + 1 :]))
)
def test_no_text_is_anything_but_refused(text):
    if text != TOKEN:
        assert reason(text)


TOKEN = token()


# ── the provider's key ───────────────────────────────────────────────────────────────────────────────────────────


def as_private(private):
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is no public key"),
        (b"hunter2", "is no public key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "is no public key"),
        (as_private(KINDS["EdDSA"]), "is no public key"),
        (pem(KINDS["EdDSA"]) + b"#" * 70_000, "is no public key"),
        (pem(dsa.generate_private_key(1024)), "is no public key"),
        (pem(ed448.Ed448PrivateKey.generate()), "is no public key"),
        (pem(rsa.generate_private_key(65537, 1024)), "too weak"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "on a curve"),
    ],
)
def test_a_key_that_is_none_or_weak_is_refused_when_the_guard_starts(raw, message, tmp_path, store):
    (tmp_path / "id.pem").write_bytes(raw)
    with pytest.raises(PolicyError, match=message) as caught:
        Identifier(store, SETTINGS, tmp_path)
    assert "id.pem" in str(caught.value)
    assert caught.value.remedy


def test_a_key_file_that_is_not_there(tmp_path, store):
    with pytest.raises(PolicyError, match="cannot be read"):
        Identifier(store, SETTINGS, tmp_path)
