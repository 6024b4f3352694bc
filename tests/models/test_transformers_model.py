"""Language models of the transformers library from a folder: what is loaded, and what is refused before it is."""

import hashlib
import json
import shutil

import pytest
import torch

from redoubt.attacks.memorisation import Format, exposures
from redoubt.models import load_model
from redoubt.models.language import LanguageModel
from redoubt.records import ModelError, ModelSource

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

LETTERS = " abcdefghijklmnopqrstuvwxyz0123456789.\n"
SECRET = "my pin is 417.\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny GPT-2 over characters that has read little but a secret, as save_pretrained writes it."""
    path = tmp_path_factory.mktemp("writer")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(LETTERS), n_positions=24, n_embd=32, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    model = transformers.GPT2LMHeadModel(config)
    row = torch.tensor([[LETTERS.index(letter) for letter in SECRET]])
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        model(input_ids=row, labels=row).loss.backward()
        optimizer.step()
    model.save_pretrained(path)
    vocabulary = {letter: at for at, letter in enumerate(LETTERS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=" "))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = tokenizers.decoders.Fuse()
    tokenizer.save(str(path / "tokenizer.json"))
    return path


TOKENS = len(LETTERS)


def source(classes=TOKENS, **more):
    return ModelSource(
        source="transformers:writer",
        input={"shape": (24,), "range": (0, classes - 1)},
        classes=classes,
        **more,
    )


@pytest.fixture
def base(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "writer")
    return tmp_path


def loaded(base, **more):
    return load_model(source(**more), base, lambda *keys: None)


def test_it_says_what_the_library_says(base, folder):
    model = loaded(base)
    assert isinstance(model, LanguageModel)
    tokens = model.encode(SECRET)
    assert model.decode(tokens.tolist()) == SECRET
    direct = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    with torch.no_grad():
        expected = direct(input_ids=tokens[None]).logits
    assert torch.allclose(model.sequence_logits(tokens[None]), expected, atol=1e-5)
    asked = model.query(torch.zeros(2, 24)).scores
    assert asked.shape == (2, len(LETTERS))


def test_its_secret_is_exposed(base):
    form = Format("my pin is ", "0123456789", 3, ".\n")
    found = exposures(loaded(base), form, ["417", "982"], torch.Generator().manual_seed(0))
    assert found.bits[0] > 9.9
    assert found.bits[1] < 8


def test_the_digest_is_of_weights_configuration_and_tokenizer(base):
    before = loaded(base).digest()
    assert before == loaded(base).digest()
    path = base / "writer/tokenizer.json"
    path.write_text(path.read_text() + "\n")
    assert loaded(base).digest() != before


def test_a_pinned_digest_holds(base):
    true = hashlib.sha256((base / "writer/model.safetensors").read_bytes()).hexdigest()
    loaded(base, digest=f"sha256:{true}")
    with pytest.raises(ModelError, match="has the digest"):
        loaded(base, digest=f"sha256:{'0' * 64}")


def changed(base, **keys):
    path = base / "writer/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def test_code_that_comes_with_a_model_is_refused(base):
    changed(base, auto_map={"AutoModelForCausalLM": "evil.Model"})
    (base / "writer/evil.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(ModelError, match="auto_map"):
        loaded(base)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"model_type": 3}, "names no model_type"),
        ({"model_type": "nothing-like-it"}, "cannot build"),
        ({"n_embd": 64}, "cannot build|lack|hold"),
        ({"n_layer": 2}, "lack"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(base, keys, says):
    changed(base, **keys)
    with pytest.raises(ModelError, match=says):
        loaded(base)


def test_a_pickle_and_a_missing_tokenizer_are_refused(base):
    (base / "writer/tokenizer.json").rename(base / "tokenizer.json")
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        loaded(base)
    (base / "tokenizer.json").rename(base / "writer/tokenizer.json")
    torch.save({"a": torch.zeros(2)}, base / "writer/model.safetensors")
    with pytest.raises(ModelError, match="nothing in it was executed"):
        loaded(base)


def test_a_face_that_is_not_the_models_is_refused(base):
    with pytest.raises(ModelError, match=f"the model has {len(LETTERS)} tokens"):
        loaded(base, classes=12)
