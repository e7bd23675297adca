"""HDF5 files that reach other files, or that are made of next to nothing and expand without end."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import h5py
import numpy as np

from tests.hostile_models.making import WEIGHTS_NAME, archive, content, layer, sequential, weights

#: Where Keras looks for the variables of the layer, and for its kernel.
VARIABLES = "layers/dense/vars"
KERNEL = f"{VARIABLES}/0"
GB = 2**30


def _dense(fill: Callable[[h5py.File], object]) -> bytes:
    """A model with one layer of 4 by 4 numbers, for which HDF5 has what `fill` makes."""
    config = sequential(layer("Dense", "d", units=4, use_bias=False))
    return content(archive(config, **{WEIGHTS_NAME: weights(fill)}))


def no_hdf5() -> bytes:
    return content(
        archive(sequential(layer("Dense", "d", units=4)), **{WEIGHTS_NAME: b"\x89HDF\r\n\x1a\n" + bytes(99)})
    )


def other_shapes() -> bytes:
    return _dense(lambda file: file.create_dataset(KERNEL, data=np.zeros((400, 4), "f4")))


def an_external_link() -> bytes:
    def fill(file: h5py.File) -> None:
        file.create_group(VARIABLES)["0"] = h5py.ExternalLink("/etc/passwd", "/")

    return _dense(fill)


def an_external_group() -> bytes:
    def fill(file: h5py.File) -> None:
        file.create_group("layers/dense")["vars"] = h5py.ExternalLink("/proc/self/environ", "/")

    return _dense(fill)


def a_soft_link() -> bytes:
    def fill(file: h5py.File) -> None:
        file.create_group(VARIABLES)["0"] = h5py.SoftLink("/somewhere")

    return _dense(fill)


def external_storage() -> bytes:
    """The kernel's numbers are 64 bytes of another file."""
    return _dense(
        lambda file: file.create_dataset(KERNEL, (4, 4), "f4", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
    )


def a_virtual_dataset() -> bytes:
    def fill(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((4, 4), "f4")
        layout[:] = h5py.VirtualSource("/proc/self/mem", "data", (4, 4))
        file.create_virtual_dataset(KERNEL, layout)

    return _dense(fill)


def a_terabyte_of_nothing() -> bytes:
    """A dataset with a shape and not one chunk."""
    return _dense(lambda file: file.create_dataset(KERNEL, (2**20, 2**18), "f4", chunks=(2**10, 2**10)))


def gigabytes_of_zeros() -> bytes:
    """3 GB of compressed zeros, which Keras itself does not refuse."""

    def fill(file: h5py.File) -> None:
        made = file.create_dataset(KERNEL, (3 * GB // 2**24, 2**22), "f4", chunks=(1, 2**22), compression="gzip")
        chunk = zlib.compress(bytes(2**24))
        for row in range(len(made)):
            made.id.write_direct_chunk((row, 0), chunk)

    return _dense(fill)


def references_in_a_circle() -> bytes:
    """A group that holds itself, and a dataset of references to it."""

    def fill(file: h5py.File) -> None:
        group = file.create_group(VARIABLES)
        group["again"] = file["layers"]
        made = group.create_dataset("0", (4, 4), h5py.ref_dtype)
        made[:] = np.full((4, 4), group.ref)

    return _dense(fill)


def strings_for_numbers() -> bytes:
    return _dense(lambda file: file.create_dataset(KERNEL, data=np.full((4, 4), b"x" * 1000, object)))


def a_group_for_a_dataset() -> bytes:
    return _dense(lambda file: file.create_group(KERNEL))


def a_dataset_for_a_group() -> bytes:
    return _dense(lambda file: file.create_dataset(VARIABLES, data=np.zeros(3)))
