"""The second tab's addresses in front of a classifier that does as told."""

import io

import numpy as np
import pytest
from PIL import Image

from figr_common import images
from tests.serving.demo import fakes


def _png(row: int) -> bytes:
    """A file of white paper with a stroke in that row."""
    pixels = np.full((fakes.SIZE, fakes.SIZE), 255, np.uint8)
    pixels[row] = 0
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _body(count=3, **fields):
    shapes = [fakes.encoded(_png(row)) for row in range(count)]
    return {"shapes": shapes, "drawing": shapes[1]} | fields


BLANK = fakes.encoded(b"not an image, but some bytes")


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"shapes": []}, 400, "Send 2 to 3 shapes. Received: 0."),
        ({"shapes": "x"}, 400, "Send 2 to 3 shapes. Received: none."),
        (_body(4), 400, "Send 2 to 3 shapes. Received: 4."),
        ({"drawing": None}, 400, "The drawing must be the base64"),
        ({"drawing": BLANK}, 400, "The drawing cannot be read"),
        ({"shapes": [BLANK, BLANK]}, 400, "Shape 1 cannot be read"),
        ({"drawing": fakes.encoded(fakes.png(size=101))}, 413, "101 pixels"),
        ({"seed": 7}, 400, "no other fields than shapes, drawing"),
    ],
)
@fakes.asynchronous
async def test_what_cannot_be_used_is_refused_with_a_sentence(fields, status, says):
    classifier = fakes.FakeClassifier()
    async with (
        fakes.running(fakes.FakeLink(), classifier=classifier) as client,
        client.post("/api/classify", json=_body() | fields) as response,
    ):
        assert response.status == status
        assert says in (await response.json())["error"]
    assert classifier.asked == []


@fakes.asynchronous
async def test_without_a_classifier_its_addresses_say_how_to_get_one():
    async with fakes.running(fakes.FakeLink()) as client:
        assert (await (await client.get("/api/model")).json())["classifies"] is False
        for response in (client.get("/api/classifier"), client.post("/api/classify", json={})):
            async with response as answer:
                assert answer.status == 404
                assert "--classifier_base_path" in (await answer.json())["error"]


@fakes.asynchronous
async def test_a_request_reaches_the_classifier_as_arrays_and_comes_back_as_probabilities():
    classifier = fakes.FakeClassifier()
    async with fakes.running(fakes.FakeLink(), classifier=classifier) as client:
        described = await (await client.get("/api/classifier")).json()
        async with client.post("/api/classify", json=_body()) as response:
            reply = await response.json()
    assert (described["max_classes"], described["size"]) == (3, fakes.SIZE)
    files = [_png(row) for row in range(3)]
    expected = np.stack([images.decode_drawing(file, fakes.SIZE, 1) for file in files])
    np.testing.assert_array_equal(classifier.asked[0].support_images, expected)
    np.testing.assert_array_equal(classifier.asked[0].query_image, expected[1])
    assert reply["probabilities"] == pytest.approx([0.05, 0.9, 0.05])
