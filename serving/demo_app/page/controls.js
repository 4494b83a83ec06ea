// Sliders and seed: the numbers of a request.

const STOPS = [0, 1, 2, 5, 10, 20, 50, 100, 200];
const MANY_SEEDS = 100000;

/** Numbers of inner steps at which to look on the way to `steps`. */
export function stopsUpTo(steps) {
  return [...STOPS.filter((stop) => stop < steps), steps];
}

export class Controls {
  /** changed: called when a number is another one. */
  constructor(root, model, changed) {
    const find = (id) => root.querySelector(`#${id}`);
    this.model = model;
    this.steps = find("steps");
    this.samples = find("samples");
    this.seed = find("seed");
    this.outputs = { steps: find("steps-value"), samples: find("samples-value") };
    find("steps-control").hidden = !model.max_steps;
    this.samples.max = model.max_samples;
    this.samples.min = Math.min(8, model.max_samples);
    this.seed.max = model.max_seed;
    for (const input of [this.steps, this.samples, this.seed]) {
      input.addEventListener("input", () => this.update(changed));
    }
    this.changed = changed;
    find("reseed").addEventListener("click", () => this.reseed());
  }

  /** Takes another seed. */
  reseed() {
    this.seed.value = Math.floor(Math.random() * MANY_SEEDS);
    this.update(this.changed);
  }

  /** {steps, samples, seed}; steps undefined for a model without an inner loop. */
  get numbers() {
    const seed = Math.min(Math.max(Math.trunc(Number(this.seed.value)) || 0, 0), this.model.max_seed);
    const steps = this.model.max_steps ? this.stops[Number(this.steps.value)] : undefined;
    return { steps, samples: Number(this.samples.value), seed };
  }

  /** Sets what is given, as far as the model allows it; what is undefined gets the model's default. */
  set({ steps, samples, seed }) {
    const wanted = Math.min(steps ?? this.model.num_inner_steps, this.model.max_steps);
    const known = STOPS.filter((stop) => stop <= this.model.max_steps);
    this.stops = [...new Set([...known, this.model.num_inner_steps, wanted])].sort((a, b) => a - b);
    this.steps.max = this.stops.length - 1;
    this.steps.value = this.stops.indexOf(wanted);
    this.samples.step = samples === undefined || samples % 8 === 0 ? 8 : 1;
    this.samples.value = samples ?? this.model.num_samples;
    this.seed.value = seed ?? 0;
    this.update(() => {});
  }

  update(changed) {
    const { steps, samples } = this.numbers;
    this.outputs.steps.textContent = steps ?? "";
    this.steps.setAttribute("aria-valuetext", `${steps} inner steps`);
    this.outputs.samples.textContent = samples;
    changed();
  }
}
