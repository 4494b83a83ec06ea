import pytest

from figr_tf.data.datasets import DataSettings
from tests.data.trees import write_tree


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "tree")


@pytest.fixture
def settings(tmp_path):
    return DataSettings(image_size=16, cache_dir=str(tmp_path / "cache"))
