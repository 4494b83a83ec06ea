"""Few-shot image generation in TensorFlow (FIGR: Clouâtre & Demers 2019, arXiv:1901.02199).

import figr_tf
model = figr_tf.load("omniglot-32")  # or a run folder, "runs/00001-omniglot-resnet-h64"
images = model.generate(model.read_support("my_drawings/"), num_samples=64, seed=7)

classifier = figr_tf.load_classifier("omniglot-3way")
shares = classifier.classify(support, queries)  # uint8 [classes, shots, S, S, C], [q, S, S, C]
"""


def load(name_or_folder: str):
    """Loads a shipped model by its name, or a run folder; see `figr_tf.models.load`."""
    # Imported here so that `import figr_tf` (and every --help) does not wait for TensorFlow.
    from figr_tf import models

    return models.load(name_or_folder)


def load_classifier(name_or_folder: str):
    """Loads a shipped classifier by its name, or a run folder of figr_tf.train_classifier."""
    from figr_tf import models
    from figr_tf.classifier.model import ClassifierModel

    return ClassifierModel(models.find(name_or_folder))
