// A drawing is {strokes: [[x, y, x, y, …], …]}, whole numbers from 0 to GRID, or {pixels: Uint8Array}, an image
// as the network gets it, size × size × its channels. Both are never changed, only replaced.

export const GRID = 255;
const TOLERANCE = 0.6; // of GRID; half a pixel of Omniglot's drawings

/** A stroke of whole numbers from points in [0, 1], without those that a straight line makes needless. */
export function strokeOf(points) {
  const whole = points.map(([x, y]) => [onGrid(x), onGrid(y)]);
  return simplified(whole).flat();
}

function onGrid(value) {
  return Math.round(Math.min(Math.max(value, 0), 1) * GRID);
}

/** Ramer, Douglas and Peucker's simplification. */
function simplified(points) {
  if (points.length < 3) {
    return points;
  }
  const first = points[0];
  const last = points[points.length - 1];
  let farthest = 0;
  let distance = 0;
  for (let i = 1; i < points.length - 1; i++) {
    const d = distanceToSegment(points[i][0], points[i][1], first[0], first[1], last[0], last[1]);
    if (d > distance) {
      [farthest, distance] = [i, d];
    }
  }
  if (distance <= TOLERANCE) {
    return [first, last];
  }
  const before = simplified(points.slice(0, farthest + 1));
  return [...before.slice(0, -1), ...simplified(points.slice(farthest))];
}

/** From (x, y) to the line from (x0, y0) to (x1, y1). */
export function distanceToSegment(x, y, x0, y0, x1, y1) {
  const dx = x1 - x0;
  const dy = y1 - y0;
  const squared = dx * dx + dy * dy;
  const t = squared ? Math.min(Math.max(((x - x0) * dx + (y - y0) * dy) / squared, 0), 1) : 0;
  return Math.hypot(x - x0 - t * dx, y - y0 - t * dy);
}

export function isEmpty(drawing) {
  return !drawing || (drawing.strokes ? drawing.strokes.length === 0 : false);
}
