"""Causal language models of the `transformers` library, from a folder.

1. `config.json`, `model.safetensors` and `tokenizer.json` are read once, within bounds.
2. The weights pass the gate: digest and signature, if the policy wants them, and the scanner's allow-list.
3. A configuration that names code of its own is refused; nothing is fetched, no folder is searched.
4. The library builds the architecture that the configuration names, and takes the weights that passed.

Not covered: weights in several files, adapters, quantised weights, and tokenizers without `tokenizer.json`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from redoubt.models.adapter import face_of
from redoubt.models.base import Face
from redoubt.models.extras import needs
from redoubt.models.language import LanguageModel
from redoubt.models.locate import Locate, first_line, placed
from redoubt.models.weights import digest_of_state
from redoubt.records import ModelError, ModelSource, digest
from redoubt.supply.artefact import read_once
from redoubt.supply.gate import Gate

WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
_MOST_TEXT = 1 << 26  # bytes of configuration and tokenizer
_CODE = ("auto_map", "custom_pipelines")


class TransformersModel(LanguageModel):
    """A causal language model of the `transformers` library, in evaluation mode, in float32.

    Args:
        module: an `AutoModelForCausalLM`.
        tokenizer: a `tokenizers.Tokenizer`.
        face: see `Face`; as many classes as the vocabulary has tokens.
        identity: digest of configuration and tokenizer.
    """

    def __init__(self, module: Any, tokenizer: Any, face: Face, identity: str) -> None:
        super().__init__(face)
        self._module, self._tokenizer, self._identity = module.eval().requires_grad_(False), tokenizer, identity
        self.context = int(face.shape[0])

    @classmethod
    def from_source(cls, source: ModelSource, base: Path, locate: Locate, device: str = "cpu") -> "TransformersModel":
        """Load `transformers:<folder>`.

        Raises:
            ModelError: the library is not installed, a file is missing or refused, the configuration names code, or
                the face that the policy declares is not the model's.
        """
        folder = base / source.source.removeprefix("transformers:")
        with placed(locate, "source"):
            gate = Gate.of(source, base)
            raw = gate.admit(folder / WEIGHTS, "safetensors")
            beside = {
                name: gate.part(folder / name, _MOST_TEXT) if source.signature else read_once(folder / name, _MOST_TEXT)
                for name in (CONFIG, TOKENIZER)
            }
            module = _build(_configuration(beside[CONFIG]), raw)
            tokenizer = _tokenizer(beside[TOKENIZER])
        return cls(
            module.to(device),
            tokenizer,
            _face(source, module, locate),
            digest([digest(beside[CONFIG]), digest(beside[TOKENIZER])]),
        )

    def sequence_logits(self, tokens: Tensor) -> Tensor:
        device = next(self._module.parameters()).device
        with torch.no_grad():
            logits: Tensor = self._module(input_ids=tokens.to(device), use_cache=False).logits
        return logits[..., : self.face.classes].float().to(tokens.device)

    def encode(self, text: str) -> Tensor:
        return torch.tensor(self._tokenizer.encode(text, add_special_tokens=False).ids, dtype=torch.int64)

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))

    def digest(self) -> str:
        return digest([digest_of_state(self._module), self._identity])


def _configuration(raw: bytes) -> dict[str, Any]:
    try:
        plain = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{CONFIG} is no JSON: {first_line(error)}", remedy="save the model again") from error
    if not isinstance(plain, dict) or not isinstance(plain.get("model_type"), str):
        raise ModelError(f"{CONFIG} names no model_type", remedy="save the model with save_pretrained")
    code = next((key for key in _CODE if plain.get(key)), None)
    if code is not None:
        raise ModelError(
            f"{CONFIG} has {code}, which names code that comes with the model; nothing of it was executed",
            remedy="take a model whose architecture the library itself knows",
        )
    if plain.get("quantization_config"):
        raise ModelError(f"{CONFIG} says the weights are quantised", remedy="save the weights as they were trained")
    return plain


def _build(plain: dict[str, Any], raw: bytes) -> Any:
    with needs("text"):
        from transformers import AutoConfig, AutoModelForCausalLM
    try:
        kind = plain.pop("model_type")
        config = AutoConfig.for_model(kind, **plain)
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False, dtype=torch.float32)
        state = safetensors.torch.load(raw)
        missing, unknown = model.load_state_dict(state, strict=False)
        model.tie_weights()
    except (ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise ModelError(
            f"the library cannot build the model: {first_line(error)}", remedy="save it with save_pretrained"
        ) from error
    tied = set(getattr(model, "_tied_weights_keys", None) or ())
    missing = [name for name in missing if name not in tied]
    if missing or unknown:
        what = f"lack '{missing[0]}'" if missing else f"hold '{unknown[0]}', which the model has no place for"
        raise ModelError(f"the weights {what}", remedy="give the weights that belong to this configuration")
    return model


def _tokenizer(raw: bytes) -> Any:
    with needs("text"):
        from tokenizers import Tokenizer
    try:
        return Tokenizer.from_str(raw.decode("utf-8"))
    except Exception as error:  # the library raises Exception itself
        raise ModelError(
            f"{TOKENIZER} is no tokenizer: {first_line(error)}", remedy="save it with save_pretrained"
        ) from error


def _face(source: ModelSource, module: Any, locate: Locate) -> Face:
    """The declared face, if it is the model's: `[L]` token numbers from 0 to V-1, V classes."""
    face = face_of(source)
    tokens = int(module.config.vocab_size)
    if face.classes != tokens or (face.low, face.high) != (0.0, tokens - 1.0):
        raise ModelError(
            f"the model has {tokens} tokens",
            locate("classes"),
            remedy=f"write classes: {tokens}, and range: [0, {tokens - 1}] under input",
        )
    most = int(getattr(module.config, "max_position_embeddings", 0) or 0)
    if len(face.shape) != 1 or (most and face.shape[0] > most):
        raise ModelError(
            f"inputs of {list(face.shape)} are not what a language model takes",
            locate("input", "shape"),
            remedy=f"write shape: [{min(most, 256) or 256}], the tokens that it looks at",
        )
    return face
