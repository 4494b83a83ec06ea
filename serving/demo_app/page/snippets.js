// The request on the page as commands.

import { bodyOf } from "./api.js";
import { toBase64 } from "./bytes.js";

/** For a shell: the picture of drawings and samples as figr.png. */
export function asCurl(origin, files, numbers) {
  return `curl --fail-with-body --output figr.png ${origin}/api/generate \\
  --header 'Content-Type: application/json' --header 'Accept: image/png' \\
  --data '${bodyOf(files, numbers)}'
`;
}

/** For Python with figr_tf installed: the same picture, from the model's server itself. */
export function asPython(model, files, { steps, samples, seed }) {
  const { address, model: name } = model.endpoint ?? { address: "HOST:8500", model: "figr" };
  const inner = steps === undefined ? "" : `, num_inner_steps=${steps}`;
  return `import base64

import numpy as np

from figr_common import image_grid, images
from serving import remote

drawings = [
${files.map((file) => `    "${toBase64(file)}",`).join("\n")}
]
support = np.stack([images.decode_image(base64.b64decode(file), ${model.size}, ${model.channels}) for file in drawings])
with remote.RemoteModel(remote.Endpoint(${JSON.stringify(address)}, ${JSON.stringify(name)})) as model:
    samples = model.generate(support, num_samples=${samples}, seed=${seed}${inner})
image_grid.result_picture(support, samples).save("figr.png")
`;
}
