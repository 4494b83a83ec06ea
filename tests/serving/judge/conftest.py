import pytest

from figr_common import decks
from tests.browsing import browser, visit  # noqa: F401
from tests.serving.judge import made


@pytest.fixture(scope="session")
def deck_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("deck") / "deck.npz"
    made.deck().write(path)
    return path


@pytest.fixture(scope="session")
def deck(deck_file):
    """As a file has it, with a digest."""
    return decks.read(deck_file)


@pytest.fixture
def judge(deck):
    running = made.JudgeThread(deck)
    yield running
    running.close()
