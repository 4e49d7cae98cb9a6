// The page: every image goes through both networks in turns, and every output is compared
// with Keras's before its time counts.
import { bytes, difference, image, Network, quartiles, start } from "./engine.js";

const SIDES = ["dense", "sparse"];
const at = (id) => document.getElementById(id);
const lane = (side) => document.querySelector(`.lane.${side}`);
const percent = (part) => `${(100 * part).toFixed(1)}%`;
const milliseconds = (value) => value.toFixed(value < 9.95 ? 2 : 1);
const whole = (value) => value.toLocaleString("en");
const size = (value) =>
  value < 1e6 ? `${(value / 1e3).toFixed(0)} kB` : `${(value / 1e6).toFixed(2)} MB`;
const most = (values) => values.reduce((best, v, k) => (v > values[best] ? k : best), 0);

function element(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

// What lies in the folder: the images, and of each side its network and Keras's outputs.
async function read() {
  const json = async (path) => (await fetch(path)).json();
  const floats = async (path) => new Float32Array((await bytes(path)).buffer);
  const page = await json("demo.json");
  const pixels = await bytes("images.bin");
  const length = page.shape.reduce((a, b) => a * b);
  page.images = page.labels.map((_, k) => pixels.subarray(k * length, (k + 1) * length));
  for (const side of SIDES) {
    page[side] = await json(`${side}/metadata.json`);
    const outputs = await floats(`${side}/outputs.bin`);
    const classes = page[side].classes.length;
    page[side].expected = page.labels.map((_, k) =>
      outputs.subarray(k * classes, (k + 1) * classes));
  }
  return page;
}

// A result per side: its times, classes, outputs, and how far these are from Keras's.
function emptyResults() {
  const empty = () => ({ times: [], predicted: [], outputs: [], difference: 0 });
  return Object.fromEntries(SIDES.map((side) => [side, empty()]));
}

async function measure(page, networks, tiles) {
  const results = emptyResults();
  let painted = performance.now();
  for (const [place, pixels] of page.images.entries()) {
    const input = image(Float32Array.from(pixels), page.shape);
    // The first of a pair may have to wait until the page is painted.
    for (const side of place % 2 ? SIDES : SIDES.toReversed()) {
      const result = results[side];
      const { milliseconds, values } = await networks[side].run(input);
      const apart = difference(values, page[side].expected[place]);
      if (!(apart <= page.tolerance)) throw new Differs(side, place, apart);
      result.difference = Math.max(result.difference, apart);
      result.times.push(milliseconds);
      result.predicted.push(most(values));
      result.outputs.push(Array.from(values));
    }
    input.delete();
    showPredictions(page, results, tiles[place], place);
    if (performance.now() - painted > 100) {
      at("status").textContent = `Measuring: image ${place + 1} of ${page.labels.length}`;
      showTimes(results);
      await new Promise((resolve) => setTimeout(resolve));
      painted = performance.now();
    }
  }
  return results;
}

// LiteRT.js computes garbage, very fast, where it could not get memory.
class Differs extends Error {
  constructor(side, place, apart) {
    super("What this browser computed differs from Keras: " +
      `${side}, image ${place + 1}, by ${percent(apart)} of the largest output. ` +
      "Its time would mean nothing.");
  }
}

function showTimes(results) {
  const found = SIDES.map((side) => quartiles(results[side].times));
  const end = 1.15 * Math.max(...found.map(([, , high]) => high));
  SIDES.forEach((side, k) => {
    const [low, median, high] = found[k];
    const [number, spread] = [element("b", milliseconds(median)), element("span")];
    spread.textContent = `ms (${milliseconds(low)} to ${milliseconds(high)})`;
    lane(side).querySelector(".time").replaceChildren(number, " ", spread);
    lane(side).querySelector("i").style.width = `${(100 * median) / end}%`;
    const strokes = results[side].times.filter((time) => time <= end)
      .map((time) => `M${((1000 * time) / end).toFixed(1)} 0v10`);
    lane(side).querySelector("path").setAttribute("d", strokes.join(""));
  });
  const [low, median, high] = factors(results);
  at("factor").textContent = `${median.toFixed(median < 10 ? 2 : 1)}×`;
  at("factor-words").textContent = `as fast (${low.toFixed(2)} to ${high.toFixed(2)})`;
}

const factors = ({ dense, sparse }) =>
  quartiles(dense.times.map((time, place) => time / sparse.times[place]));

const accuracy = (page, { predicted }) =>
  predicted.filter((label, place) => label === page.labels[place]).length /
  predicted.length;

function showFacts(page, results) {
  const of = (fact) => SIDES.map((side) => fact(page[side], results?.[side]));
  const images = whole(page.labels.length);
  const tested = whole(page.dense.accuracy.images ?? "");
  const rows = {
    "File": of((told) => size(told.bytes["model.tflite"])),
    "Parameters that are not zero": of((told) => whole(told.parameters_not_zero)),
    [`Right of all ${tested} test images`]: of((told) => percent(told.accuracy.top1)),
    [`Right of these ${images}, here`]:
      of((_, result) => (result ? percent(accuracy(page, result)) : "–")),
    "Largest difference from Keras, here":
      of((_, result) => (result ? result.difference.toExponential(1) : "–")),
  };
  at("facts").replaceChildren(...Object.entries(rows).map(([name, cells]) => {
    const row = element("tr");
    const head = element("th", name);
    head.scope = "row";
    row.append(head, ...cells.map((cell) => element("td", cell)));
    return row;
  }));
}

function tile(page, place) {
  const shown = element("li");
  const canvas = element("canvas");
  const [height, width, channels] = page.shape;
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const pixels = page.images[place], white = page.dense.normalization.scale;
  const rgba = context.createImageData(width, height);
  rgba.data.fill(255);
  for (let k = 0; k < width * height; k++)
    for (let colour = 0; colour < 3; colour++) {
      const value = pixels[k * channels + Math.min(colour, channels - 1)];
      rgba.data[4 * k + colour] = (255 * value) / white;
    }
  context.putImageData(rgba, 0, 0);
  shown.append(canvas, element("b", page.dense.classes[page.labels[place]]),
    ...SIDES.map((side) => element("span", "\u00a0", `key ${side}`)));
  return shown;
}

function showPredictions(page, results, tile, place) {
  for (const side of SIDES) {
    const label = results[side].predicted[place];
    const right = label === page.labels[place];
    const line = tile.querySelector(`.${side}`);
    line.textContent = `${right ? "✓" : "✗"} ${page[side].classes[label]}`;
    line.classList.toggle("wrong", !right);
  }
}

function showFilters(page, { dense, sparse }, tiles) {
  const filters = {
    "All": () => true,
    "They differ": (place) => dense.predicted[place] !== sparse.predicted[place],
    "Dense is wrong": (place) => dense.predicted[place] !== page.labels[place],
    "Sparse is wrong": (place) => sparse.predicted[place] !== page.labels[place],
  };
  const buttons = Object.entries(filters).map(([name, chosen]) => {
    const button = element("button", `${name} `);
    button.append(element("small", tiles.filter((_, place) => chosen(place)).length));
    button.addEventListener("click", () => {
      tiles.forEach((shown, place) => { shown.hidden = !chosen(place); });
      buttons.forEach((other) => other.setAttribute("aria-pressed", other === button));
    });
    return button;
  });
  at("filters").replaceChildren(...buttons);
  buttons[0].click();
}

function describe(page, relaxed) {
  const { network, dataset, method, sparsity } = page.sparse;
  const left = page.sparse.parameters_not_zero / page.sparse.parameters;
  document.title = `${network}, dense and sparse`;
  at("lead").textContent = `${network} with ${percent(left)} of its parameters left ` +
    `(${method} at sparsity ${sparsity}), against the same network trained dense, on ` +
    `${page.labels.length} test images of ${dataset}, in this browser.`;
  at("method").textContent = `${page.engine} runs both files on one thread, ` +
    `${relaxed ? "with" : "without"} relaxed SIMD, an image through the one and ` +
    "through the other in turns. The factor is the median over the images, the middle half in brackets. " +
    "An output counts only if it is the one that Keras computed when this page was made.";
}

function fail(error) {
  document.documentElement.dataset.state = "failed";
  at("status").textContent = "Not measured";
  notice(error.message);
}

function notice(text) {
  at("notice").textContent = text;
  at("notice").hidden = false;
}

async function run(page, networks, tiles) {
  document.documentElement.dataset.state = "measuring";
  at("again").disabled = true;
  const results = await measure(page, networks, tiles);
  showTimes(results);
  showFacts(page, results);
  showFilters(page, results, tiles);
  at("status").textContent = "Measured here, now";
  at("again").disabled = false;
  document.documentElement.dataset.state = "done";
  return results;
}

// Programs that open the page with ?report are told what it found.
const report = (found) => location.search === "?report" &&
  fetch("report", { method: "POST", body: JSON.stringify(found) });

async function main() {
  const page = await read();
  const tiles = page.images.map((_, place) => tile(page, place));
  at("images").replaceChildren(...tiles);
  showFacts(page);
  describe(page, await start());
  if (!page.sparse.litert.qualifies) notice(page.sparse.litert.report);
  const example = image(Float32Array.from(page.images[0]), page.shape);
  const networks = {};
  for (const side of SIDES)
    networks[side] = await Network.load(`${side}/model.tflite`, example);
  at("again").addEventListener("click", () => run(page, networks, tiles).catch(fail));
  const results = await run(page, networks, tiles);
  await report({ ...results, factors: factors(results) });
}

main().catch((error) => {
  fail(error);
  report({ error: error.message, shown: document.body.innerText });
});
