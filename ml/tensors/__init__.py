"""Tensors between the forms they come and go in (JSON, BSON, .npy) and numpy, with dtype and shape checks."""

from ml.tensors.images import read_image, read_image_row
from ml.tensors.issues import TensorIssues
from ml.tensors.json_fast import read_body
from ml.tensors.json_named import array_of, read_named, shape_of
from ml.tensors.json_rows import infer_json, parse_instances
from ml.tensors.npy import NPY_MAGIC, batch_from_npy, from_npy, to_npy
from ml.tensors.raw import dtype_of, from_raw, to_raw
from ml.tensors.stored import from_stored, is_packed, outline, to_stored, to_stored_rows
from ml.tensors.stored_rows import alike, row_of, stack_stored

__all__ = [
    "NPY_MAGIC",
    "TensorIssues",
    "alike",
    "array_of",
    "batch_from_npy",
    "dtype_of",
    "from_npy",
    "from_raw",
    "from_stored",
    "infer_json",
    "is_packed",
    "outline",
    "parse_instances",
    "read_body",
    "read_image",
    "read_image_row",
    "read_named",
    "row_of",
    "shape_of",
    "stack_stored",
    "to_npy",
    "to_raw",
    "to_stored",
    "to_stored_rows",
]
