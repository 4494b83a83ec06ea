// Bytes in the forms that the page needs: base64, compressed, PNG files, zip archives.

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) {
    value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  }
  return value >>> 0;
});

function crc32(bytes) {
  return (bytes.reduce((crc, byte) => CRC[(crc ^ byte) & 255] ^ (crc >>> 8), 0xffffffff) ^ 0xffffffff) >>> 0;
}

async function through(stream, bytes) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

export const deflated = (bytes, format) => through(new CompressionStream(format), bytes);
export const inflated = (bytes, format) => through(new DecompressionStream(format), bytes);

export function toBase64(bytes) {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

export function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** base64 that needs no escapes in an address. */
export function toBase64Url(bytes) {
  return toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export function fromBase64Url(text) {
  return fromBase64(text.replaceAll("-", "+").replaceAll("_", "/"));
}

function joined(parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let position = 0;
  for (const part of parts) {
    all.set(part, position);
    position += part.length;
  }
  return all;
}

const bigEndian = (value) => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
const ascii = (text) => Uint8Array.from(text, (character) => character.charCodeAt(0));

/** 1 for a grey image {size, pixels}, 3 for one in colour. */
export const channelsOf = ({ size, pixels }) => pixels.length / (size * size);

/** A PNG file of an image {size, pixels}. */
export async function pngOf(image) {
  const { size, pixels } = image;
  const channels = channelsOf(image);
  const width = size * channels;
  const rows = Array.from({ length: size }, (_, y) => joined([Uint8Array.of(0), pixels.subarray(y * width, (y + 1) * width)]));
  const header = joined([bigEndian(size), bigEndian(size), Uint8Array.of(8, channels === 3 ? 2 : 0, 0, 0, 0)]);
  const chunks = [["IHDR", header], ["IDAT", await deflated(joined(rows), "deflate")], ["IEND", new Uint8Array()]];
  return joined([
    Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10),
    ...chunks.map(([name, data]) => {
      const named = joined([ascii(name), data]);
      return joined([bigEndian(data.length), named, bigEndian(crc32(named))]);
    }),
  ]);
}

/** A zip archive of files [{name, bytes}], stored as they are: PNG files do not get smaller. */
export function zipOf(files) {
  const little = (...pairs) =>
    Uint8Array.from(pairs.flatMap(([value, size]) => Array.from({ length: size }, (_, i) => (value >>> (8 * i)) & 255)));
  const locals = [];
  const entries = [];
  let position = 0;
  for (const { name, bytes } of files) {
    const name8 = ascii(name);
    const [version, flags, method, time, date] = [[20, 2], [0, 2], [0, 2], [0, 2], [0x21, 2]]; // 1980-01-01
    const sizes = [[crc32(bytes), 4], [bytes.length, 4], [bytes.length, 4], [name8.length, 2], [0, 2]];
    const common = [version, flags, method, time, date, ...sizes];
    const local = joined([little([0x04034b50, 4], ...common), name8, bytes]);
    entries.push(joined([little([0x02014b50, 4], [20, 2], ...common, [0, 2], [0, 2], [0, 2], [0, 4], [position, 4]), name8]));
    locals.push(local);
    position += local.length;
  }
  const directory = joined(entries);
  const end = little([0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [directory.length, 4], [position, 4], [0, 2]);
  return joined([...locals, directory, end]);
}
