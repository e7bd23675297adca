"""Configs that name code, files and other modules, or that are made to choke whoever reads them."""

from __future__ import annotations

import json
from typing import Any

from tests.hostile_models.making import archive, content, described, file, function, layer, sequential

MB = 2**20


def a_lambda() -> bytes:
    """What keras.layers.Lambda(lambda x: ...) is saved as."""
    code = {"class_name": "__lambda__", "config": {"code": "4wAAAAA=", "defaults": None, "closure": None}}
    return file(layer("Lambda", "l", function=code))


def a_lambda_as_activation() -> bytes:
    code = {"class_name": "__lambda__", "config": {"value": "4wAAAAA="}}
    return file(layer("Dense", "d", units=4, activation=code))


def a_lambda_inside_a_wrapper() -> bytes:
    return file(layer("TimeDistributed", "t", layer=layer("Lambda", "l")))


def a_lambda_inside_a_model() -> bytes:
    return file(sequential(layer("Lambda", "l")))


def a_registered_layer() -> bytes:
    return file({**layer("Mine", "m"), "module": None, "registered_name": "mine>Mine"})


def a_registered_name_for_dense() -> bytes:
    return file({**layer("Dense", "d", units=4), "registered_name": "mine>Dense"})


def a_model_of_its_own() -> bytes:
    return content(archive(described("MyModel", None, "mine>MyModel")))


def a_module_of_python() -> bytes:
    return file({**layer("system", "s"), "module": "os"})


def a_module_of_tensorflow() -> bytes:
    return file({**layer("load", "s"), "module": "tensorflow.saved_model"})


def a_module_beside_keras() -> bytes:
    return file({**layer("Layer", "s"), "module": "keras_hub.layers"})


def a_path_as_module() -> bytes:
    return file({**layer("Relu", "r"), "module": "keras.src.ops.nn/../../../../evil"})


def an_internal_module() -> bytes:
    return file({**layer("SavedModelLayer", "s"), "module": "keras.src.saving.saving_lib"})


def a_download() -> bytes:
    return file({**layer("get_file", "g", origin="http://203.0.113.1/x"), "module": "keras.utils"})


def another_loader() -> bytes:
    """A function in a class's place: Keras would call it on whatever the layer gets."""
    return file({**layer("load_model", "l"), "module": "keras.models"})


def a_config_in_a_string() -> bytes:
    """Keras would read the text as a config, which nobody has checked."""
    return file({**layer("model_from_json", "m"), "module": "keras.models"})


def an_attribute_trick() -> bytes:
    return file(layer("__class__", "c"))


def a_dotted_class() -> bytes:
    return file(layer("Dense.__init__.__globals__", "c"))


def a_class_that_is_a_list() -> bytes:
    return file({**layer("Dense", "d"), "class_name": ["Dense"]})


def an_activation_of_os() -> bytes:
    return file(layer("Activation", "a", activation=function("system", "os")))


def an_activation_of_builtins() -> bytes:
    """What old Keras calls builtins are its own functions, and `eval` is none; it is looked up by name alone."""
    return file(layer("Activation", "a", activation=function("eval", "builtins", "eval")))


def an_initializer_of_numpy() -> bytes:
    return file(layer("Dense", "d", units=4, kernel_initializer=function("load", "numpy")))


def a_deserializer_as_activation() -> bytes:
    return file(layer("Activation", "a", activation=function("deserialize", "keras.activations")))


def a_typespec() -> bytes:
    spec = {"class_name": "__typespec__", "module": "tensorflow", "spec_name": "TensorSpec", "config": []}
    return file(layer("Dense", "d", units=4, spec=spec))


def a_saved_model_layer() -> bytes:
    return file(layer("TFSMLayer", "t", filepath="/tmp/evil"))


def a_torch_module() -> bytes:
    return file(layer("TorchModuleWrapper", "t", module="gASVAAAA"))


def a_jax_layer() -> bytes:
    return file(layer("JaxLayer", "j", call_fn=None))


def a_flax_layer() -> bytes:
    return file(layer("FlaxLayer", "f", module=None))


def a_vocabulary_from_a_file() -> bytes:
    return file(layer("StringLookup", "v", vocabulary="/etc/passwd"))


def a_loss_of_an_inner_model() -> bytes:
    """The training of the whole model is not loaded; that of a model within it would be."""
    return file({**sequential(), "compile_config": {"loss": function("system", "os")}})


def _text(config: bytes) -> bytes:
    return content(archive(config))


def a_config_of_100_mb() -> bytes:
    return _text(b'{"class_name": "' + b"a" * (100 * MB) + b'"}')


def a_config_10_000_deep() -> bytes:
    return _text(b'{"a":' * 10_000 + b"1" + b"}" * 10_000)


def lists_10_000_deep() -> bytes:
    node: bytes = b"[" * 10_000 + b"]" * 10_000
    return _text(b'{"class_name": "Sequential", "module": "keras", "config": ' + node + b"}")


def a_config_of_a_million_lists() -> bytes:
    return _text(b'{"class_name": "Sequential", "module": "keras", "config": [' + b"[]," * 1_000_000 + b"[]]}")


def a_config_of_many_numbers() -> bytes:
    """16 MB, which is not refused for its size: five million numbers in one list, that name no layer."""
    return _text(b'{"class_name": "Lambda", "module": "keras.layers", "config": [' + b"1," * 5_000_000 + b"1]}")


def a_long_number() -> bytes:
    return _text(b'{"class_name": ' + b"1" * 1_000_000 + b"}")


def a_long_string_of_quotes() -> bytes:
    """Patterns that look for the end of a string can be made to look for very long."""
    return _text(b'{"class_name": "' + b'\\"' * 4_000_000 + b"}")


def no_json() -> bytes:
    return _text(b"\x80\x04\x95not json")


def a_config_in_utf_16() -> bytes:
    return _text(json.dumps(sequential()).encode("utf-16"))


def no_model() -> bytes:
    return _text(b"[]")


def an_input_of_a_terabyte() -> bytes:
    """A row of 1 TB: what proves the build would have to make some."""
    config: dict[str, Any] = sequential(layer("Flatten", "f"), inputs=2**38)
    return content(archive(config))


def a_node_that_points_nowhere() -> bytes:
    """A functional model whose only layer takes what no layer gives."""
    tensor = {
        "class_name": "__keras_tensor__",
        "config": {"shape": [None, 4], "dtype": "float32", "keras_history": ["nobody", 0, 0]},
    }
    odd = {**layer("Activation", "a", activation="relu"), "name": "a"}
    odd["inbound_nodes"] = [{"args": [tensor], "kwargs": {}}]
    config = {"name": "f", "trainable": True, "layers": [odd]}
    config |= {"input_layers": [["nobody", 0, 0]], "output_layers": [["a", 0, 0]]}
    return content(archive({**described("Functional", "keras.src.models.functional"), "config": config}))
