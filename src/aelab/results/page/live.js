"use strict";
// The model in the page: a program of layers from code to input, an RBM's Gibbs chain, a net that generates by label.
// Numbers come as base64 float32 in row-major order; images are drawn between the least and greatest of the data.
const aelab = (window.aelab = { parts: {} });

function floats(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

const slopes = {
  identity: (x) => x,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  tanh: Math.tanh,
  relu: (x) => Math.max(0, x),
  leaky_relu: (x) => (x > 0 ? x : 0.01 * x),
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
  selu: (x) => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x)),
  silu: (x) => x / (1 + Math.exp(-x)),
  softplus: (x) => (x > 20 ? x : Math.log1p(Math.exp(x))),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
};

function erf(x) {
  // the series near 0, the continued fraction further out: both to about 1e-7
  const a = Math.abs(x);
  if (a > 5.5) return Math.sign(x);
  if (a < 2.5) {
    let term = a, sum = a;
    for (let n = 1; n < 60; n++) { term *= (-a * a) / n; sum += term / (2 * n + 1); }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let f = 0;
  for (let n = 60; n > 0; n--) f = n / 2 / (a + f);
  return Math.sign(x) * (1 - Math.exp(-a * a) / ((a + f) * Math.sqrt(Math.PI)));
}

function affine(x, layer) {
  // W is (out, in): out_i = b_i + sum_j W_ij x_j
  const out = new Float32Array(layer.b.length);
  for (let i = 0, k = 0; i < out.length; i++) {
    let sum = layer.b[i];
    for (let j = 0; j < x.length; j++) sum += layer.W[k++] * x[j];
    out[i] = sum;
  }
  return out;
}

function upConvolved(x, layer) {
  // a transposed convolution: each input pixel adds its kernel to the output; W is (in, out, kernel, kernel)
  const [channels, height, width] = layer.in, [outs, rows, columns] = layer.out, k = layer.kernel;
  const y = new Float32Array(outs * rows * columns);
  for (let o = 0; o < outs; o++) y.fill(layer.b[o], o * rows * columns, (o + 1) * rows * columns);
  for (let c = 0; c < channels; c++)
    for (let i = 0; i < height; i++)
      for (let j = 0; j < width; j++) {
        const value = x[(c * height + i) * width + j];
        for (let o = 0; o < outs; o++)
          for (let a = 0; a < k; a++)
            for (let b = 0; b < k; b++) {
              const row = i * layer.stride - layer.padding + a, column = j * layer.stride - layer.padding + b;
              if (row >= 0 && row < rows && column >= 0 && column < columns)
                y[(o * rows + row) * columns + column] += value * layer.W[((c * outs + o) * k + a) * k + b];
            }
      }
  return y;
}

function read(program) {
  return program.map((step) => (step.W ? { ...step, W: floats(step.W), b: floats(step.b) } : step));
}

function run(program, x) {
  for (const step of program) {
    if (step.op === "linear") x = affine(x, step);
    else if (step.op === "up_convolution") x = upConvolved(x, step);
    else x = Float32Array.from(x, slopes[step.op]);
  }
  return x;
}

function show(canvas, x, shape, range) {
  const [low, high] = range, context = canvas.getContext("2d");
  if (shape.length < 2) {
    canvas.width = 240; canvas.height = 160;
    context.clearRect(0, 0, 240, 160);
    context.fillStyle = "#0b62a8";
    const middle = 160 * (1 - Math.max(0, -low) / (high - low));
    x.forEach((value, i) => {
      const height = (160 * value) / (high - low);
      context.fillRect((240 * i) / x.length, middle - Math.max(height, 0), Math.max(1, 240 / x.length - 1), Math.abs(height));
    });
    return;
  }
  const [height, width] = shape.slice(-2), channels = x.length / (height * width);
  canvas.width = width; canvas.height = height;
  const image = context.createImageData(width, height);
  for (let p = 0; p < height * width; p++) {
    for (let c = 0; c < 3; c++) {
      const value = x[(channels === 3 ? c : 0) * height * width + p];
      image.data[4 * p + c] = (255 * (value - low)) / (high - low);
    }
    image.data[4 * p + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

const COLOURS = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#000000", "#ee7733", "#009988"];

function pad(canvas, points, labels, moved) {
  // A map of the points on which a person drags a cross, or moves it with the arrow keys; moved(u, v) is told.
  const size = (canvas.width = canvas.height = 320), context = canvas.getContext("2d");
  const us = points.filter((_, i) => i % 2 === 0), vs = points.filter((_, i) => i % 2 === 1);
  const limits = [us, vs].map((xs) => {
    const low = xs.reduce((a, b) => Math.min(a, b), 0), high = xs.reduce((a, b) => Math.max(a, b), 0);
    const margin = 0.08 * (high - low || 1);
    return [low - margin, high + margin];
  });
  const place = (u, v) => [(size * (u - limits[0][0])) / (limits[0][1] - limits[0][0]), size * (1 - (v - limits[1][0]) / (limits[1][1] - limits[1][0]))];
  const at = (x, y) => [limits[0][0] + (x / size) * (limits[0][1] - limits[0][0]), limits[1][0] + (1 - y / size) * (limits[1][1] - limits[1][0])];
  let here = [0, 0];
  function draw() {
    context.clearRect(0, 0, size, size);
    context.globalAlpha = 0.6;
    for (let i = 0; i < us.length; i++) {
      context.fillStyle = labels ? COLOURS[labels[i] % COLOURS.length] : COLOURS[0];
      const [x, y] = place(us[i], vs[i]);
      context.fillRect(x - 1.5, y - 1.5, 3, 3);
    }
    context.globalAlpha = 1;
    context.lineWidth = 2;
    context.strokeStyle = "#000";
    const [x, y] = place(...here);
    context.beginPath();
    context.arc(x, y, 7, 0, 7);
    context.moveTo(x - 12, y); context.lineTo(x + 12, y);
    context.moveTo(x, y - 12); context.lineTo(x, y + 12);
    context.stroke();
  }
  function go(u, v) { here = [u, v]; draw(); moved(u, v); }
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    go(...at(((event.clientX - box.left) * size) / box.width, ((event.clientY - box.top) * size) / box.height));
  };
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); point(event); });
  canvas.addEventListener("pointermove", (event) => { if (event.buttons) point(event); });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [x, y] = place(...here);
    go(...at(x + 8 * step[0], y + 8 * step[1]));
  });
  draw();
  return { go, mark: (u, v) => { here = [u, v]; draw(); } };
}

function legend(root, labels) {
  if (!labels) return;
  const line = document.createElement("small");
  for (const label of [...new Set(labels)].sort((a, b) => a - b).slice(0, COLOURS.length)) {
    const dot = document.createElement("span");
    dot.style.cssText = `background:${COLOURS[label % COLOURS.length]};display:inline-block;width:.7em;height:.7em;margin:0 .2em 0 .6em`;
    line.append(dot, label);
  }
  root.querySelector(".pad").after(line);
}

function decoder(root, about) {
  const program = read(about.program), mean = floats(about.mean), plane = floats(about.plane), n = mean.length;
  const canvas = root.querySelector(".image"), part = (aelab.parts[about.name] = { code: Float32Array.from(mean) });
  part.decode = (code) => run(program, Float32Array.from(code));
  const sliders = [...root.querySelectorAll(".sliders input")];
  function draw() {
    part.input = part.decode(part.code);
    show(canvas, part.input, about.shape, about.range);
  }
  const map = pad(root.querySelector(".pad"), floats(about.points), about.labels, (u, v) => {
    for (let i = 0; i < n; i++) part.code[i] = mean[i] + u * plane[i] + v * plane[n + i];
    sliders.forEach((slider) => { slider.value = part.code[slider.dataset.unit]; });
    draw();
  });
  sliders.forEach((slider) => slider.addEventListener("input", () => {
    part.code[slider.dataset.unit] = slider.valueAsNumber;
    let u = 0, v = 0;
    for (let i = 0; i < n; i++) { u += (part.code[i] - mean[i]) * plane[i]; v += (part.code[i] - mean[i]) * plane[n + i]; }
    map.mark(u, v);
    draw();
  }));
  legend(root, about.labels);
  part.go = map.go;
  map.go(0, 0);
}

function random(seed) {
  // mulberry32: a small generator, so that a chain can be told again from its seed
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function normal(next) { return Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()); }

function sampled(means, unit, next) {
  if (unit === "bernoulli") return Float32Array.from(means, (p) => (next() < p ? 1 : 0));
  if (unit === "gaussian") return Float32Array.from(means, (m) => m + normal(next));
  return Float32Array.from(means, (m) => Math.max(0, m + normal(next) * Math.sqrt(slopes.sigmoid(m))));
}

function chain(root, about) {
  const up = read(about.up), down = read(about.down), below = read(about.below);
  const start = floats(about.start), n = about.visible, images = start.length / n;
  const canvas = root.querySelector(".image"), count = root.querySelector("output");
  const choice = root.querySelector("select"), next = random(1), labels = about.n_labels;
  const part = (aelab.parts[about.name] = { steps: 0, v: null });
  let image = 0;
  function labelled(v) {
    if (!labels) return v;
    const wanted = choice && choice.value !== "" ? Number(choice.value) : null;
    const group = v.subarray(n - labels);
    if (wanted === null) {
      let total = 0;
      group.forEach((p) => { total += p; });
      let left = next() * total, pick = total > 0 ? 0 : Math.floor(next() * labels);
      while (total > 0 && pick < labels - 1 && (left -= group[pick]) > 0) pick++;
      group.fill(0); group[pick] = 1;
    } else { group.fill(0); group[wanted] = 1; }
    return v;
  }
  function step(times) {
    let mean = null;
    for (let i = 0; i < times; i++) {
      const h = sampled(run(up, part.v), about.hidden_unit, next);
      const total = affine(h, down[0]);
      if (labels) {
        const top = Math.max(...total.subarray(n - labels));
        for (let j = n - labels; j < n; j++) total[j] = Math.exp(total[j] - top);
        for (let j = 0; j < n - labels; j++) total[j] = slopes.sigmoid(total[j]);
        mean = total;
        const units = sampled(total.subarray(0, n - labels), "bernoulli", next);
        const v = new Float32Array(n);
        v.set(units); v.set(total.subarray(n - labels), n - labels);
        part.v = labelled(v);
      } else {
        mean = run(down.slice(1), total);
        part.v = sampled(mean, about.visible_unit, next);
      }
    }
    part.steps += times;
    draw(mean || part.v);
  }
  function draw(v) {
    part.input = run(below, labels ? v.slice(0, n - labels) : v);
    show(canvas, part.input, about.shape, about.range);
    count.textContent = part.steps;
  }
  function begin(v) { part.v = labelled(v); part.steps = 0; draw(part.v); }
  const actions = {
    step: () => step(1),
    hundred: () => step(100),
    image: () => begin(start.slice((image % images) * n, (image++ % images) * n + n)),
    noise: () => begin(Float32Array.from({ length: n }, () => (about.visible_unit === "bernoulli" ? Number(next() < 0.5) : normal(next)))),
  };
  root.querySelectorAll("button").forEach((button) => button.addEventListener("click", actions[button.dataset.do]));
  if (choice) choice.addEventListener("change", () => { actions.noise(); step(200); });
  Object.assign(part, actions);
  actions.image();
}

document.querySelectorAll(".live").forEach((root) => {
  const about = JSON.parse(root.querySelector("script").textContent);
  (about.kind === "chain" ? chain : decoder)(root, about);
});
