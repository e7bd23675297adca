#!/bin/sh
# Drops from a virtual environment what serving and building models never read; docs/deploy.md says what each part weighs.
set -eu
site=$(echo "$1"/lib/python3.*/site-packages)
# C++ headers, and a compiler's library, for those who build on TensorFlow.
rm -rf "$site/tensorflow/include" "$site/clang" "$site"/libclang-*.dist-info
find "$site" -type d -name tests -prune -exec rm -rf {} +
rm -rf "$site/onnx/backend/test"
# Names of what no one links against; those that are looked up at run time are in another table, which stays.
find "$site/tensorflow" -name '*.so*' -type f -size +1M -exec strip --strip-unneeded {} +
