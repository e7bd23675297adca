"""The baselines: Flask with model.predict, as people begin with, and with a tf.function, as they go on. Neither stores.

BENCH_MODEL is the .keras file; BENCH_FUNCTION=1 asks for the tf.function.
"""

from __future__ import annotations

import os

import keras
import numpy as np
from flask import Flask, Response, jsonify, request

app = Flask(__name__)
model = keras.saving.load_model(os.environ["BENCH_MODEL"])

if os.environ.get("BENCH_FUNCTION") == "1":
    import tensorflow as tf

    #: Traced once, for any number of rows, into a graph that TensorFlow runs without Python.
    compiled = tf.function(
        lambda rows: model(rows, training=False),
        input_signature=[tf.TensorSpec([None, *model.input_shape[1:]], "float32")],
    )

    def outputs(rows: np.ndarray) -> np.ndarray:
        return compiled(rows).numpy()

else:

    def outputs(rows: np.ndarray) -> np.ndarray:
        return model.predict(rows, verbose=0)


outputs(np.zeros((1, *model.input_shape[1:]), "f4"))  # the first call compiles


@app.post("/predict")
def predict() -> Response:
    rows = np.asarray(request.get_json()["instances"], "f4")
    return jsonify(predictions=outputs(rows).tolist())
