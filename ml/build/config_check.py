"""What a model's config.json may name: Keras's own classes and functions, and none that run code or read files."""

from __future__ import annotations

import re
from typing import Any

from ml.build.report import BuildError

# The modules under which Keras 3 writes what a model can be made of (serialization_lib.serialize_with_public_class);
# operations of a functional model and a few unexported layers are written by their source module.
_MODULES = frozenset(
    {
        "keras",
        *(
            f"keras.{name}"
            for name in (
                "activations constraints dtype_policies initializers layers losses metrics models optimizers"
                " optimizers.schedules quantizers random regularizers"
            ).split()
        ),
        "keras.src.activations.activations",
        "keras.src.applications.convnext",
        "keras.src.applications.inception_resnet_v2",
        "keras.src.models.functional",
        "keras.src.quantizers.quantizers",
    }
)
_OPERATIONS = re.compile(r"keras\.src\.ops(\.[a-z_]+)?")
# "builtins" is what Keras up to 3.6 wrote for its own functions; Keras looks such a name up among its own alone.
_FUNCTION_MODULES = frozenset(
    {"builtins"}
    | {f"keras.{name}" for name in "activations constraints initializers losses metrics ops regularizers".split()}
)
# Values, not classes: what serialize_keras_object makes of tensors, slices and the like.
_VALUES = frozenset({"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__slice__", "__ellipsis__"})
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
# Keras takes a function for a class too, and would call what it finds: model_from_json, with a config that nobody read.
_CLASS = re.compile(r"[A-Z][A-Za-z0-9_]*")
_READERS = frozenset({"get", "serialize", "deserialize"})
_REFUSED = {
    "Lambda": "which carries Python code; use a layer or an operation of keras.ops in its place",
    "TorchModuleWrapper": "which carries pickled Python objects",
    "JaxLayer": "which carries Python code",
    "FlaxLayer": "which carries Python code",
    "TFSMLayer": "which loads another model from a path",
}


def check_config(config: Any) -> None:
    """Walk the whole of a parsed config.json; raise BuildError at the first thing that may not be in it."""
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise BuildError("config.json does not describe a Keras model")
    # The optimizer, loss and metrics: never loaded (compile=False), and often a person's own.
    root = {key: value for key, value in config.items() if key != "compile_config"}
    waiting: list[tuple[Any, str]] = [(root, "the model")]
    while waiting:
        node, owner = waiting.pop()
        if isinstance(node, list):
            waiting.extend((item, owner) for item in node)
        elif isinstance(node, dict):
            if "class_name" in node:
                name = "the model" if node is root else _layer(node)
                _check_object(node, f"{name} is" if name else f"{owner} holds")
                owner = name or owner
            if isinstance(node.get("vocabulary"), str):
                raise BuildError(f"{owner} reads its vocabulary from a file; save the model with the words in it")
            waiting.extend((value, owner) for value in node.values())


def _layer(node: dict[str, Any]) -> str | None:
    """How a message names the layer that `node` is; None where it is but part of one."""
    inner = node.get("config")
    # Policies have a name too, but nobody gave it to them.
    if isinstance(inner, dict) and isinstance(inner.get("name"), str) and "trainable" in inner:
        return f"layer {inner['name'][:80]!r}"
    return None


def _check_object(node: dict[str, Any], subject: str) -> None:
    name, module = node["class_name"], node.get("module")
    if name == "__lambda__":
        raise BuildError(f"{subject} a Python lambda; use a named function of Keras in its place")
    if isinstance(name, str) and name in _VALUES:
        return
    if name == "function":
        _check_function(node, subject)
        return
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name):
        raise BuildError(f"{subject} of the class {_short(name)}, which is no class name")
    if not isinstance(module, str) or not (module in _MODULES or _OPERATIONS.fullmatch(module)):
        whence = f" of {_short(module)}" if module else ""
        raise BuildError(f"{subject} a {name}{whence}; only what Keras itself provides can be served")
    if not _CLASS.fullmatch(name):
        raise BuildError(f"{subject} of the class {_short(name)}, which is no class name")
    if name in _REFUSED:
        raise BuildError(f"{subject} a {name}, {_REFUSED[name]}")
    if node.get("registered_name") not in (None, name):
        registered = _short(node["registered_name"])
        raise BuildError(
            f"{subject} a {name} registered as {registered}; only what Keras itself provides can be served"
        )


def _check_function(node: dict[str, Any], subject: str) -> None:
    name, module = node.get("config"), node.get("module")
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name):
        raise BuildError(f"{subject} the function {_short(name)}; only what Keras itself provides can be served")
    if not isinstance(module, str) or module not in _FUNCTION_MODULES or name in _READERS:
        raise BuildError(
            f"{subject} the function {name} of {_short(module)}; only what Keras itself provides can be served"
        )
    if node.get("registered_name") not in (None, name, "function"):
        registered = _short(node["registered_name"])
        raise BuildError(
            f"{subject} the function {name} registered as {registered}; only what Keras itself provides can be served"
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
