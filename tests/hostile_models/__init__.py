"""Model files that mean harm: each with its maker, what its failure must say, and the seconds that it may take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.hostile_models import archives, configs, greedy, weights

#: Of a build of its own, on a busy machine: a file that is refused unread, and one that Keras is imported for.
REFUSED_SECONDS, LOADED_SECONDS = 10.0, 60.0


@dataclass(frozen=True)
class Hostile:
    """A file: `reason` is a pattern that the reason of its failure must match somewhere."""

    make: Callable[[], bytes]
    reason: str
    seconds: float


#: What never reaches Keras.
REFUSED: Mapping[Callable[[], bytes], str] = {
    archives.truncated: "cut off: it cannot be read as a zip archive",
    archives.a_single_byte: "cut off: it cannot be read as a zip archive",
    archives.a_pickle: "not a .keras file",
    archives.plain_hdf5: "not a .keras file but HDF5",
    archives.a_zip_bomb: "'assets/a.txt' expands more than 100 times",
    archives.a_bomb_of_many_parts: "expands to 5,000 MB; 4,096 MB are allowed",
    archives.overlapping_members: "members overlap",
    archives.a_zip64_that_lies: "'model.weights.h5' expands more than 100 times",
    archives.more_than_declared: "cannot be read as a zip archive .Bad CRC-32 for file 'config.json'",
    archives.many_members: "lists far too many members",
    archives.an_encrypted_member: "'config.json' is encrypted",
    archives.another_compression: "compressed in a way that Keras does not use",
    archives.a_path_that_climbs: "'../../climbed' has a path that leads out of the archive",
    archives.an_absolute_path: "'/etc/cron.d/absolute' has a path that leads out of the archive",
    archives.a_climb_within_assets: "leads out of the archive",
    archives.backslashes: "leads out of the archive",
    archives.a_drive: "'C:climbed.txt' has a path that leads out of the archive",
    archives.a_name_of_nul: "leads out of the archive",
    archives.a_name_in_other_letters: "is no part of a .keras file",
    archives.a_symlink: "'assets/link.txt' is a link or special file",
    archives.a_device: "'assets/device.txt' is a link or special file",
    archives.a_pickled_member: "'model.pkl', which is no part of a .keras file",
    archives.weights_as_npz: "'model.weights.npz', which is no part of a .keras file",
    archives.an_archive_in_the_archive: "'assets/inner.keras', which is no part of a .keras file",
    archives.a_duplicate_member: "two members named 'config.json'",
    archives.no_metadata: "holds no metadata.json",
    archives.metadata_of_keras_2: "saved with Keras 2.15.0: load it with Keras 3",
    archives.metadata_that_is_a_list: "does not say which version of Keras",
    archives.metadata_of_many_versions: "does not say which version of Keras",
    archives.no_weights: "holds no model.weights.h5",
    configs.a_lambda: "layer 'l' is a Lambda, which carries Python code",
    configs.a_lambda_as_activation: "layer 'd' holds a Python lambda",
    configs.a_lambda_inside_a_wrapper: "layer 'l' is a Lambda",
    configs.a_lambda_inside_a_model: "layer 'l' is a Lambda",
    configs.a_registered_layer: "layer 'm' is a Mine; only what Keras itself provides can be served",
    configs.a_registered_name_for_dense: "registered as 'mine>Dense'",
    configs.a_model_of_its_own: "the model is a MyModel",
    configs.a_module_of_python: "a system of 'os'",
    configs.a_module_of_tensorflow: "a load of 'tensorflow.saved_model'",
    configs.a_module_beside_keras: "a Layer of 'keras_hub.layers'",
    configs.a_path_as_module: "only what Keras itself provides can be served",
    configs.an_internal_module: "of 'keras.src.saving.saving_lib'",
    configs.a_download: "a get_file of 'keras.utils'",
    configs.another_loader: "'load_model', which is no class name",
    configs.a_config_in_a_string: "'model_from_json', which is no class name",
    configs.an_attribute_trick: "'__class__', which is no class name",
    configs.a_dotted_class: "which is no class name",
    configs.a_class_that_is_a_list: r"the class \['Dense'\], which is no class name",
    configs.an_activation_of_os: "the function system of 'os'",
    configs.an_initializer_of_numpy: "the function load of 'numpy'",
    configs.a_deserializer_as_activation: "the function deserialize of 'keras.activations'",
    configs.a_typespec: "a __typespec__ of 'tensorflow'",
    configs.a_saved_model_layer: "layer 't' is a TFSMLayer, which loads another model from a path",
    configs.a_torch_module: "layer 't' is a TorchModuleWrapper, which carries pickled Python objects",
    configs.a_jax_layer: "layer 'j' is a JaxLayer",
    configs.a_flax_layer: "layer 'f' is a FlaxLayer",
    configs.a_vocabulary_from_a_file: "layer 'v' reads its vocabulary from a file",
    configs.a_loss_of_an_inner_model: "the function system of 'os'",
    configs.a_config_of_100_mb: "config.json is larger than 16,384 kB",
    configs.a_config_10_000_deep: "config.json is nested more than 200 levels deep",
    configs.lists_10_000_deep: "config.json is nested more than 200 levels deep",
    configs.a_config_of_a_million_lists: "config.json holds more than 500,000 objects",
    configs.a_config_of_many_numbers: "the model is a Lambda",
    configs.a_long_number: "a number of thousands of digits",
    configs.a_long_string_of_quotes: "config.json is not valid JSON",
    configs.no_json: "config.json is not valid JSON .it is no text in UTF-8",
    configs.a_config_in_utf_16: "config.json is not valid JSON .it is no text in UTF-8",
    configs.no_model: "does not describe a Keras model",
}

#: What Keras gets to see, and refuses.
LOADED: Mapping[Callable[[], bytes], str] = {
    configs.an_activation_of_builtins: "Keras could not load it: .*eval",
    configs.a_node_that_points_nowhere: "Keras could not load it: .*nobody",
    weights.no_hdf5: "Keras could not load it: OSError",
    weights.other_shapes: r"<Dense name=d.*\(400, 4\)",
    weights.an_external_link: "Not allowed: H5 file with ExternalLink",
    weights.an_external_group: "Not allowed: H5 file with ExternalLink",
    weights.a_soft_link: "Not allowed: H5 file with SoftLink",
    weights.external_storage: "Not allowed: H5 file with external Dataset",
    weights.a_virtual_dataset: "Not allowed: H5 file with virtual Dataset",
    weights.a_terabyte_of_nothing: "Not allowed: H5 dataset '0' declares 1.00 TB",
    weights.references_in_a_circle: "expected 1 variables, but received 2",
    weights.strings_for_numbers: "could not convert string to float",
    weights.a_group_for_a_dataset: "Invalid H5 file, expected Dataset",
    weights.a_dataset_for_a_group: "Invalid H5 file, expected Group",
}

#: What a limit ends, or the want of memory.
GREEDY: Mapping[Callable[[], bytes], str] = {
    configs.an_input_of_a_terabyte: "MemoryError: Unable to allocate",
    weights.gigabytes_of_zeros: r"more than [\d,]+ MB of memory|longer than",
    greedy.a_layer_of_a_terabyte: "OOM when allocating|more than [0-9,]+ MB of memory",
    greedy.one_that_eats_memory: "OOM when allocating|more than [0-9,]+ MB of memory|longer than",
    greedy.one_that_repeats: "OOM when allocating|more than [0-9,]+ MB of memory|longer than",
    greedy.one_that_never_ends: r"longer than [\d.]+ s",
}


def named(makers: Mapping[Callable[[], bytes], str], seconds: float) -> dict[str, Hostile]:
    """By the names of the makers, in words."""
    return {make.__name__.replace("_", " "): Hostile(make, reason, seconds) for make, reason in makers.items()}


CORPUS: Mapping[str, Hostile] = {
    **named(REFUSED, REFUSED_SECONDS),
    **named(LOADED, LOADED_SECONDS),
    **named(GREEDY, LOADED_SECONDS),
}
