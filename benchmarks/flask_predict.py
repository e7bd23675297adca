"""The baseline: Flask and model.predict, as people begin with. It stores nothing."""

from __future__ import annotations

import os

import keras
import numpy as np
from flask import Flask, jsonify, request

app = Flask(__name__)
model = keras.saving.load_model(os.environ["BENCH_MODEL"])


@app.post("/predict")
def predict():  # type: ignore[no-untyped-def]
    rows = np.asarray(request.get_json()["instances"], "f4")
    return jsonify(predictions=model.predict(rows, verbose=0).tolist())
