// Drawings to start from: figures by a few points each, drawn several times by a hand that is never quite the same.

const STEPS = 12; // points between two given ones

const FIGURES = {
  Spiral: [[[0.52, 0.5], [0.62, 0.44], [0.66, 0.58], [0.48, 0.68], [0.32, 0.52], [0.42, 0.3], [0.7, 0.26], [0.86, 0.5], [0.74, 0.8]]],
  Hook: [[[0.3, 0.2], [0.68, 0.24], [0.72, 0.5], [0.4, 0.56], [0.34, 0.8], [0.72, 0.8]], [[0.2, 0.5], [0.56, 0.4]]],
  Tree: [[[0.5, 0.88], [0.5, 0.55], [0.48, 0.16]], [[0.5, 0.62], [0.3, 0.44], [0.24, 0.3]], [[0.5, 0.5], [0.68, 0.36], [0.78, 0.2]]],
  Fish: [[[0.84, 0.32], [0.6, 0.56], [0.36, 0.66], [0.16, 0.5], [0.36, 0.34], [0.6, 0.44], [0.84, 0.68]], [[0.32, 0.46], [0.33, 0.47]]],
  Rune: [[[0.34, 0.14], [0.35, 0.5], [0.34, 0.86]], [[0.35, 0.2], [0.52, 0.3], [0.7, 0.44]], [[0.34, 0.48], [0.5, 0.58], [0.7, 0.74]]],
};

export const NAMES = Object.keys(FIGURES);

/** Strokes [[[x, y], …], …] in [0, 1] of a figure, in the given variant. */
export function example(name, variant) {
  const random = generator(variant * 7919 + NAMES.indexOf(name) + 1);
  const around = (width) => (random() + random() + random() - 1.5) * width;
  const [turn, shear] = [around(0.16), around(0.16)];
  const [wide, high] = [1 + around(0.16), 1 + around(0.16)];
  return FIGURES[name].map((points) => {
    const moved = points.map(([x, y]) => [x - 0.5 + around(0.04), y - 0.5 + around(0.04)]);
    const turned = moved.map(([x, y]) => [
      0.5 + 0.9 * wide * (x + (shear - turn) * y),
      0.5 + 0.9 * high * (y + turn * x),
    ]);
    return smooth(turned);
  });
}

/** A Catmull-Rom curve through the points. */
function smooth(points) {
  const at = (i) => points[Math.min(Math.max(i, 0), points.length - 1)];
  const curve = [];
  for (let i = 0; i < points.length - 1; i++) {
    for (let step = 0; step < STEPS; step++) {
      const t = step / STEPS;
      curve.push([0, 1].map((axis) => {
        const [a, b, c, d] = [-1, 0, 1, 2].map((k) => at(i + k)[axis]);
        return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t ** 2 + (3 * b - a - 3 * c + d) * t ** 3);
      }));
    }
  }
  return [...curve, points[points.length - 1]];
}

/** Numbers in [0, 1) that are the same for the same seed: a linear congruential generator. */
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
