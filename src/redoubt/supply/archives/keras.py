"""Keras models: a .keras archive with its configuration as JSON, or an HDF5 file with the same in an attribute.

A configuration names the class of each layer.  Most are layers of Keras; some are code in disguise: a `Lambda` holds
marshalled bytecode, a `TorchModuleWrapper` a pickle, a `TFSMLayer` a folder with a program, and a class of another
module is imported by its name.

Source: keras/src/saving/serialization_lib.py, keras/src/saving/saving_lib.py, keras/src/legacy/saving.
"""

from collections.abc import Iterator
from typing import Any

from redoubt.supply.archives.nested import mappings
from redoubt.supply.archives.zips import Zip
from redoubt.supply.findings import Kind
from redoubt.supply.flaw import Flaw, shown, words
from redoubt.supply.tensors.safetensors import json_once

_CODE = {
    "Lambda": "holds Python bytecode, which runs when the model is loaded or called",
    "TorchModuleWrapper": "holds a pickle",
    "TFSMLayer": "loads a TensorFlow program from a folder",
    "FlaxLayer": "holds functions as pickles",
    "JaxLayer": "holds functions as pickles",
}
_WORDS = {
    "__lambda__": "holds Python bytecode, which runs when it is loaded",
    "__class_method__": "names a method to be looked up and called",
}
_PLAIN_CODES = frozenset(
    words("__tensor__ __numpy__ __bytes__ __ellipsis__ __tuple__ __keras_tensor__ __typespec__ __tf_tensor__")
)
_MODULES = ("keras", "tf_keras", "tensorflow.keras", "builtins")
_MEMBERS = frozenset({"config.json", "metadata.json", "model.weights.h5", "model.weights.npz"})
_FUNCTIONS = frozenset(
    words(
        "elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear "
        "log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign "
        "sparse_plus sparse_sigmoid squareplus swish tanh tanh_shrink threshold sparsemax celu "
        "cosine_similarity mean_squared_error mean_absolute_error categorical_crossentropy "
        "sparse_categorical_crossentropy binary_crossentropy accuracy mse mae"
    )
)
_REMEDY = "do not load it; ask for the model without custom code, or as ONNX"
_MOST_CONFIG = 64 * 2**20  # bytes
_MOST_VALUES = 2_000_000


def is_keras(archive: Zip) -> bool:
    """Whether the archive is one of Keras 3."""
    return {"config.json", "metadata.json"} <= set(archive.names())


def keras_flaws(archive: Zip) -> Iterator[Flaw]:
    """What speaks against a .keras archive.

    Raises:
        Damaged: a member cannot be read.
    """
    for member in archive.members:
        if member.name not in _MEMBERS and not member.name.startswith("assets/"):
            yield Flaw(Kind.UNKNOWN_FORMAT, shown(member.name), "is nothing that Keras writes", _REMEDY)
        elif member.name.startswith("assets/") and member.size:
            yield Flaw(Kind.UNKNOWN_FORMAT, shown(member.name), "is a file that a layer of its own reads", _REMEDY)
    yield from config_flaws(json_once(archive.read("config.json", _MOST_CONFIG), "config.json"), "config.json")
    json_once(archive.read("metadata.json", _MOST_CONFIG), "metadata.json")
    if "model.weights.h5" in archive.names():
        from redoubt.supply.archives.hdf5 import hdf5_flaws

        for flaw in hdf5_flaws(archive.read("model.weights.h5")):
            yield flaw._replace(place=", ".join(filter(None, ("model.weights.h5", flaw.place))))


def config_flaws(config: Any, place: str) -> Iterator[Flaw]:
    """What speaks against a model's configuration."""

    def spot(value: Any, here: str, _: object) -> str:
        """That of the nearest layer around it."""
        inner = value.get("config") if isinstance(value, dict) else None
        name = inner.get("name") if isinstance(inner, dict) else None
        return f"{place}, layer '{shown(name)}'" if isinstance(name, str) else here

    for value, here in mappings(config, place, _MOST_VALUES, spot):
        yield from _object(value, spot(value, here, None))


def _object(value: dict[str, Any], here: str) -> Iterator[Flaw]:
    kind, module = value.get("class_name"), value.get("module")
    if kind is None:
        return
    if not isinstance(kind, str):
        yield Flaw(Kind.DAMAGED, here, "has a class name that is no text", _REMEDY)
        return
    bare = kind.rpartition(">")[2]
    if bare in _CODE or kind in _WORDS:
        yield Flaw(Kind.RUNS_CODE, here, f"is a {shown(bare)}: it {_CODE.get(bare) or _WORDS[kind]}", _REMEDY)
    elif kind == "function":
        function = value.get("config")
        if not (module in (None, "builtins") and isinstance(function, str) and function in _FUNCTIONS):
            yield Flaw(
                Kind.RUNS_CODE,
                here,
                f"names the function '{shown(module)}.{shown(function)}', which is looked up and called",
                _REMEDY,
            )
    elif ">" in kind or (value.get("registered_name") not in (None, kind, f"keras>{kind}") and module is None):
        yield Flaw(Kind.UNKNOWN_NAME, here, f"is of the custom class '{shown(kind)}', whose code is needed", _REMEDY)
    elif module is not None and not _of_keras(module):
        yield Flaw(
            Kind.RUNS_CODE,
            here,
            f"is of the class '{shown(module)}.{shown(kind)}', a module that would be imported",
            _REMEDY,
        )
    elif not kind.isidentifier() and kind not in _PLAIN_CODES:
        yield Flaw(Kind.UNKNOWN_NAME, here, f"is of the class '{shown(kind)}', which is no name", _REMEDY)
    elif module is None and kind not in _PLAIN_CODES and not _is_layer(kind):
        yield Flaw(Kind.UNKNOWN_NAME, here, f"is of the class '{shown(kind)}', which is none of Keras's", _REMEDY)


def _of_keras(module: object) -> bool:
    """Whether Keras's own classes come from a module.  Its utilities can load files, and are not among them."""
    if not isinstance(module, str):
        return False
    top = module.split(".")
    return (module in _MODULES or module.startswith(tuple(f"{name}." for name in _MODULES[:3]))) and not (
        {"utils", "saving", "config", "datasets", "applications", "export"} & set(top)
    )


_LAYERS = frozenset(
    words(
        "Functional Model Sequential InputLayer Dense Activation Dropout Flatten Reshape Permute RepeatVector "
        "Masking Embedding BatchNormalization LayerNormalization GroupNormalization UnitNormalization "
        "SpectralNormalization Conv1D Conv2D Conv3D Conv1DTranspose Conv2DTranspose Conv3DTranspose "
        "SeparableConv1D SeparableConv2D DepthwiseConv1D DepthwiseConv2D MaxPooling1D MaxPooling2D "
        "MaxPooling3D AveragePooling1D AveragePooling2D AveragePooling3D GlobalMaxPooling1D "
        "GlobalMaxPooling2D GlobalMaxPooling3D GlobalAveragePooling1D GlobalAveragePooling2D "
        "GlobalAveragePooling3D LSTM GRU SimpleRNN LSTMCell GRUCell SimpleRNNCell RNN StackedRNNCells "
        "Bidirectional TimeDistributed ConvLSTM1D ConvLSTM2D ConvLSTM3D Add Subtract Multiply Average Maximum "
        "Minimum Concatenate Dot ReLU LeakyReLU PReLU ELU Softmax ThresholdedReLU ZeroPadding1D ZeroPadding2D "
        "ZeroPadding3D Cropping1D Cropping2D Cropping3D UpSampling1D UpSampling2D UpSampling3D GaussianNoise "
        "GaussianDropout AlphaDropout SpatialDropout1D SpatialDropout2D SpatialDropout3D "
        "ActivityRegularization Attention AdditiveAttention MultiHeadAttention GroupQueryAttention Identity "
        "Rescaling Resizing CenterCrop Normalization CategoryEncoding Discretization RandomFlip "
        "RandomRotation RandomZoom RandomCrop RandomTranslation RandomContrast RandomBrightness GlorotUniform "
        "GlorotNormal HeUniform HeNormal LecunUniform LecunNormal Zeros Ones Constant RandomUniform "
        "RandomNormal TruncatedNormal VarianceScaling Orthogonal Identity L1 L2 L1L2 OrthogonalRegularizer "
        "MaxNorm NonNeg UnitNorm MinMaxNorm DTypePolicy Policy SGD RMSprop Adam AdamW Adadelta Adagrad Adamax "
        "Nadam Ftrl Lion ExponentialDecay CosineDecay PiecewiseConstantDecay MeanMetricWrapper Mean Accuracy "
        "BinaryAccuracy CategoricalAccuracy SparseCategoricalAccuracy AUC Precision Recall MeanSquaredError "
        "MeanAbsoluteError BinaryCrossentropy CategoricalCrossentropy SparseCategoricalCrossentropy Huber "
        "KLDivergence Hinge"
    )
)


def _is_layer(kind: str) -> bool:
    """Whether a class that is named without its module is one of Keras's."""
    return kind in _LAYERS
