"""What is said below the table."""

import numpy as np

from figr_tf.data.class_images import ClassImages
from figr_tf.data.datasets import Dataset, DataSettings
from figr_tf.data.splits import Split
from figr_tf.evaluation import features, protocol, report


def _notes(dataset: str, names: tuple[str, ...]) -> str:
    images = np.zeros([12 * len(names), 32, 32, 1], np.uint8)
    data = ClassImages(images, dict.fromkeys(names, 12))
    held = Dataset(data, Split("own", (), names))
    plan = protocol.Plan(held.images_of(names), 4, 64, (0,))
    about = report.Data(DataSettings(dataset), held, features.Embedding())
    return " ".join(report.notes_on(about, plan))


def test_characters_that_the_feature_network_was_trained_on_are_counted():
    seen, unseen = "Greek/character01", "Tengwar/character01"
    said = "was trained on 1 of these 2 classes"
    assert said in _notes("omniglot", (seen, unseen))
    # Of other data the names alone say nothing.
    assert "of these" not in _notes("folder", (seen, unseen))
    assert "of these" not in _notes("omniglot", (unseen,))
