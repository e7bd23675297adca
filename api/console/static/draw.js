// Drawing a row: strokes, or an image, become as many numbers as the model takes, in the range that it was trained on.
"use strict";

{
  //: Each pixel of the model is the mean of so many by so many of ours.
  const FINE = 8;
  const INK = "#fff";
  const PAPER = "#000";

  class Drawing {
    constructor(root) {
      this.root = root;
      this.height = Number(root.dataset.height);
      this.width = Number(root.dataset.width);
      this.shape = JSON.parse(root.dataset.shape);
      this.whole = root.dataset.whole === "yes";
      this.paper = root.querySelector(".paper");
      this.seen = root.querySelector(".seen");
      this.text = document.getElementById(`v.${root.dataset.number}`);
      this.file = root.parentElement.querySelector("input[type=file]");
      this.range = root.querySelector(".range");
      this.invert = root.querySelector(".invert");
      this.centre = root.querySelector(".centre");
      this.strokes = []; // of points [x, y] in pixels of the paper
      this.image = null;
      this.cursor = null;
      this.listen();
      this.text.value ? this.show() : this.show(null);
    }

    listen() {
      const { paper } = this;
      paper.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) return;
        event.preventDefault();
        paper.focus({ preventScroll: true });
        paper.setPointerCapture(event.pointerId);
        this.begin([this.place(event)]);
      });
      paper.addEventListener("pointermove", (event) => {
        if (!paper.hasPointerCapture(event.pointerId)) return;
        const events = event.getCoalescedEvents?.() ?? [];
        for (const each of events.length ? events : [event]) this.strokes.at(-1).push(this.place(each));
        this.show();
      });
      paper.addEventListener("pointerup", () => this.write());
      paper.addEventListener("pointercancel", () => this.write());
      paper.addEventListener("keydown", (event) => this.key(event));
      paper.addEventListener("keyup", (event) => {
        if (event.key === " ") this.held = false;
      });
      paper.addEventListener("blur", () => {
        this.cursor = null;
        this.held = false;
        this.show();
      });
      this.root.querySelector(".clear").addEventListener("click", () => this.clear());
      for (const each of [this.range, this.invert, this.centre]) each.addEventListener("change", () => this.write());
      this.file.addEventListener("change", () => this.file.files.length && this.load(this.file.files[0]));
      paper.addEventListener("dragover", (event) => event.preventDefault());
      paper.addEventListener("drop", (event) => {
        event.preventDefault();
        if (event.dataTransfer.files.length) this.load(event.dataTransfer.files[0]);
      });
    }

    place(event) {
      const box = this.paper.getBoundingClientRect();
      return [
        ((event.clientX - box.left) * this.paper.width) / box.width,
        ((event.clientY - box.top) * this.paper.height) / box.height,
      ];
    }

    begin(points) {
      this.image = null;
      this.strokes.push(points);
      this.show();
    }

    key(event) {
      const step = this.paper.width / this.width / 2;
      const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
      this.cursor ??= [this.paper.width / 2, this.paper.height / 2];
      if (event.key in moves) {
        const [x, y] = moves[event.key];
        this.cursor = [
          Math.min(Math.max(this.cursor[0] + x, 0), this.paper.width),
          Math.min(Math.max(this.cursor[1] + y, 0), this.paper.height),
        ];
        if (this.held) this.strokes.at(-1).push([...this.cursor]);
      } else if (event.key === " ") {
        if (!this.held) this.begin([[...this.cursor]]);
        this.held = true;
      } else if (event.key === "Delete" || event.key === "Backspace") {
        this.clear();
      } else {
        return;
      }
      event.preventDefault();
      this.write();
    }

    clear() {
      this.strokes = [];
      this.image = null;
      this.held = false;
      this.text.value = "";
      this.file.value = "";
      this.show(null);
    }

    async load(file) {
      try {
        this.image = await createImageBitmap(file);
      } catch {
        this.clear();
        this.file.setAttribute("aria-invalid", "true");
        return;
      }
      this.strokes = [];
      this.file.removeAttribute("aria-invalid");
      this.file.value = ""; // its numbers are sent, in the range that was chosen
      this.invert.checked = this.isLight();
      this.write();
    }

    // Models are mostly trained on light figures: an image with a light edge is turned.
    isLight() {
      const [canvas, pen] = sheet(16, 16);
      pen.drawImage(this.image, 0, 0, 16, 16);
      const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
      let sum = 0;
      for (let at = 0; at < 16; at++) {
        for (const [x, y] of [[at, 0], [at, 15], [0, at], [15, at]]) sum += grey(pixels, 4 * (16 * y + x));
      }
      return sum / 64 > 0.5;
    }

    // The pen, in pixels of the model: as thick as in the pictures that such models are trained on.
    get pen() {
      const side = Math.min(this.width, this.height);
      return Math.max(1, side <= 16 ? side * 0.145 : side * 0.085);
    }

    // How much ink is where: shares from 0 to 1, row by row.
    ink() {
      const [canvas, pen] = sheet(this.width * FINE, this.height * FINE);
      if (this.image) {
        const scale = Math.min(canvas.width / this.image.width, canvas.height / this.image.height);
        const [width, height] = [this.image.width * scale, this.image.height * scale];
        if (this.invert.checked) {
          pen.fillStyle = INK; // what is beside the image is paper too
          pen.fillRect(0, 0, canvas.width, canvas.height);
        }
        pen.imageSmoothingQuality = "high";
        pen.imageSmoothingEnabled = scale < 1; // an image of the model's own size stays as it is
        pen.drawImage(this.image, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
      } else {
        draw(pen, this.strokes.map((points) => points.map(this.fitted())), this.pen * FINE);
      }
      const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
      const shares = new Float64Array(this.width * this.height);
      for (let y = 0; y < canvas.height; y++) {
        for (let x = 0; x < canvas.width; x++) {
          const at = Math.floor(y / FINE) * this.width + Math.floor(x / FINE);
          shares[at] += grey(pixels, 4 * (y * canvas.width + x)) / (FINE * FINE);
        }
      }
      return this.invert.checked ? shares.map((share) => 1 - share) : shares;
    }

    // Where a point of the paper is on the fine sheet: centred, and as large as in training data, where that is asked.
    fitted() {
      const [width, height] = [this.width * FINE, this.height * FINE];
      const plain = width / this.paper.width;
      if (!this.centre.checked) return ([x, y]) => [x * plain, y * plain];
      const points = this.strokes.flat();
      const [left, right] = extent(points.map(([x]) => x));
      const [top, bottom] = extent(points.map(([, y]) => y));
      // Small pictures are filled, larger ones have a margin, as those of MNIST.
      const share = Math.min(this.width, this.height) <= 16 ? 1 : 20 / 28;
      const pen = this.pen * FINE;
      const scale = Math.min(
        (width * share - pen) / Math.max(right - left, 1),
        (height * share - pen) / Math.max(bottom - top, 1),
        4 * plain, // a dot stays one
      );
      const [x0, y0] = [(left + right) / 2, (top + bottom) / 2];
      return ([x, y]) => [width / 2 + (x - x0) * scale, height / 2 + (y - y0) * scale];
    }

    get empty() {
      return !this.image && !this.strokes.length;
    }

    write() {
      if (this.empty) return this.show(null);
      const shares = this.ink();
      const { low, high } = this.range.selectedOptions[0].dataset;
      const whole = this.whole || high - low >= 16;
      const values = Array.from(shares, (share) => {
        const value = Number(low) + share * (high - low);
        return whole ? Math.round(value) : Math.round(value * 1000) / 1000;
      });
      this.text.value = JSON.stringify(nested(values, this.shape));
      this.show(shares);
    }

    show(shares) {
      const { paper, seen } = this;
      const pen = paper.getContext("2d");
      pen.fillStyle = PAPER;
      pen.fillRect(0, 0, paper.width, paper.height);
      if (this.image) {
        const scale = Math.min(paper.width / this.image.width, paper.height / this.image.height);
        const [width, height] = [this.image.width * scale, this.image.height * scale];
        pen.drawImage(this.image, (paper.width - width) / 2, (paper.height - height) / 2, width, height);
      }
      draw(pen, this.strokes, (this.pen * paper.width) / this.width);
      if (this.cursor) {
        pen.strokeStyle = "#6ea8fe";
        pen.lineWidth = 2;
        pen.strokeRect(this.cursor[0] - 6, this.cursor[1] - 6, 12, 12);
      }
      if (shares === undefined) return;
      const small = seen.getContext("2d");
      const pixels = small.createImageData(this.width, this.height);
      for (let at = 0; at < this.width * this.height; at++) {
        const tone = shares ? Math.round(255 * shares[at]) : 0;
        pixels.data.set([tone, tone, tone, 255], 4 * at);
      }
      small.putImageData(pixels, 0, 0);
    }
  }

  const sheet = (width, height) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.fillStyle = PAPER;
    pen.fillRect(0, 0, width, height);
    return [canvas, pen];
  };

  const draw = (pen, strokes, thickness) => {
    pen.strokeStyle = INK;
    pen.lineWidth = thickness;
    pen.lineCap = pen.lineJoin = "round";
    for (const points of strokes) {
      pen.beginPath();
      pen.moveTo(...points[0]);
      for (const point of points) pen.lineTo(...point);
      pen.stroke();
    }
  };

  const grey = (pixels, at) => (0.299 * pixels[at] + 0.587 * pixels[at + 1] + 0.114 * pixels[at + 2]) / 255;

  const extent = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);

  const nested = (flat, shape) => {
    if (shape.length <= 1) return shape.length ? flat : flat[0];
    const step = flat.length / shape[0];
    return Array.from({ length: shape[0] }, (_, index) => nested(flat.slice(index * step, (index + 1) * step), shape.slice(1)));
  };

  for (const root of document.querySelectorAll(".draw")) new Drawing(root);
}
