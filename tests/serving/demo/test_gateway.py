"""The gateway in front of a model that does as told: what it lets through, what it says when it
does not.
"""

import asyncio
import base64
import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image

from figr_common import image_grid, images
from serving.errors import ServingError
from tests.serving.demo import fakes


async def refused(client, status, path="/api/generate", **request):
    """The sentence of an answer with this status."""
    async with client.post(path, **request) as response:
        assert response.status == status, await response.text()
        sentence = (await response.json())["error"]
        assert sentence.endswith(".")
        assert "\n" not in sentence
        assert response.headers["Content-Security-Policy"]
        return sentence


@fakes.asynchronous
async def test_a_request_reaches_the_model_as_arrays_and_comes_back_as_files():
    link = fakes.FakeLink()
    async with fakes.running(link) as client:
        drawings = [fakes.png(200), fakes.png(100)]
        fields = fakes.body(images=[fakes.encoded(file) for file in drawings], num_inner_steps=5)
        async with client.post("/api/generate", json=fields) as response:
            reply = await response.json()
    asked = link.asked[0]
    expected = np.stack([images.decode_drawing(file, fakes.SIZE, 1) for file in drawings])
    np.testing.assert_array_equal(asked.support_images, expected)
    assert asked[1:] == (3, 5, 7)
    files = [base64.b64decode(file) for file in reply["images"]]
    assert len(files) == 3
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(files[2]))), fakes.answer(asked)[2, ..., 0]
    )


@fakes.asynchronous
async def test_whoever_accepts_png_gets_the_picture_of_support_and_samples():
    link = fakes.FakeLink()
    async with fakes.running(link) as client:
        answer = client.post("/api/generate", json=fakes.body(), headers={"Accept": "image/png"})
        async with answer as response:
            assert response.content_type == "image/png"
            picture = Image.open(io.BytesIO(await response.read()))
    expected = image_grid.result_picture(link.asked[0].support_images, fakes.answer(link.asked[0]))
    assert picture.tobytes() == expected.tobytes()


NOT_AN_IMAGE = fakes.encoded(b"not an image, but some bytes")
HUGE_FILE = fakes.encoded(fakes.png() + bytes(5000))


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"images": []}, 400, "1 to 8 drawings"),
        ({"images": [fakes.encoded(fakes.png())] * 9}, 400, "Received: 9"),
        ({"images": "x"}, 400, "1 to 8 drawings"),
        ({"images": [3]}, 400, "Drawing 1 must be the base64"),
        ({"images": ["%%%"]}, 400, "Drawing 1 must be the base64"),
        ({"images": ["é"]}, 400, "Drawing 1 must be the base64"),
        ({"images": [fakes.encoded(fakes.png()), NOT_AN_IMAGE]}, 400, "Drawing 2 cannot be read"),
        ({"images": [fakes.encoded(fakes.png()[:45])]}, 400, "Drawing 1 cannot be read"),
        ({"images": [HUGE_FILE]}, 413, "larger than 4 KiB"),
        ({"images": [fakes.encoded(fakes.png(size=101))]}, 413, "101 pixels"),
        ({"num_inner_steps": 201}, 400, "from 0 to 200"),
        ({"num_inner_steps": -1}, 400, "from 0 to 200"),
        ({"num_inner_steps": 1.5}, 400, "whole number"),
        ({"num_inner_steps": True}, 400, "whole number"),
        ({"num_samples": 0}, 400, "from 1 to 128"),
        ({"num_samples": 129}, 400, "from 1 to 128"),
        ({"seed": 2**53}, 400, "seed must be"),
        ({"seed": "7"}, 400, "seed must be"),
        ({"colour": "red"}, 400, "no other fields"),
    ],
)
@fakes.asynchronous
async def test_what_cannot_be_used_is_refused_with_a_sentence(fields, status, says):
    link = fakes.FakeLink()
    async with fakes.running(link) as client:
        assert says in await refused(client, status, json=fakes.body(**fields))
    assert link.asked == []


@pytest.mark.parametrize(
    ("data", "status", "says"),
    [
        (b"%PDF-1.4", 400, "Not an image of a kind that can be read here"),
        (fakes.png(size=101), 413, "It is 101 pixels long"),
        (fakes.png(shade=0), 400, "It shows no drawing"),
        (b" " * (64 * 1024 + 1), 413, "too large"),
    ],
    ids=["no image", "large", "one shade", "huge"],
)
@fakes.asynchronous
async def test_a_file_without_a_drawing_is_refused_with_a_sentence(data, status, says):
    async with fakes.running(fakes.FakeLink()) as client:
        headers = {"Content-Type": "image/png"}
        assert says in await refused(client, status, "/api/drawing", data=data, headers=headers)


@fakes.asynchronous
async def test_a_file_becomes_the_drawing_in_it_and_other_sites_cannot_send_one_unasked():
    async with fakes.running(fakes.FakeLink()) as client:
        async with client.post(
            "/api/drawing", data=fakes.png(), headers={"Content-Type": "image/png"}
        ) as response:
            pixels = np.frombuffer(base64.b64decode((await response.json())["pixels"]), np.uint8)
        assert pixels.reshape(fakes.SIZE, fakes.SIZE)[0].min() == 255
        assert pixels.min() < 200
        says = await refused(
            client, 400, "/api/drawing", data=fakes.png(), headers={"Content-Type": "text/plain"}
        )
        assert "Content-Type: image/png" in says


@fakes.asynchronous
async def test_a_blank_drawing_is_named():
    blank = io.BytesIO()
    Image.new("L", (16, 16), 255).save(blank, "PNG")
    async with fakes.running(fakes.FakeLink()) as client:
        images = [fakes.encoded(fakes.png()), fakes.encoded(blank.getvalue())]
        assert "Drawing 2 is empty" in await refused(client, 400, json=fakes.body(images=images))


@fakes.asynchronous
async def test_bodies_that_are_too_large_or_no_json_are_refused():
    async with fakes.running(fakes.FakeLink()) as client:
        json_type = {"Content-Type": "application/json"}
        assert "too large" in await refused(
            client, 413, data=b" " * (64 * 1024 + 1), headers=json_type
        )
        assert "not JSON" in await refused(client, 400, data=b"{", headers=json_type)
        assert "not JSON" in await refused(client, 400, data=b"[" * 60000, headers=json_type)
        assert "JSON object" in await refused(client, 400, data=b"[1]", headers=json_type)
        assert "Content-Type" in await refused(client, 400, data=json.dumps(fakes.body()))


@fakes.asynchronous
async def test_many_requests_in_a_row_get_429_and_a_time():
    limits = dataclasses.replace(fakes.LIMITS, burst=2, per_second=0.01)
    async with fakes.running(fakes.FakeLink(), limits) as client:
        for _ in range(2):
            async with client.post("/api/generate", json=fakes.body()) as response:
                assert response.status == 200
        async with client.post("/api/generate", json=fakes.body()) as response:
            assert response.status == 429
            assert response.headers["Retry-After"] in (await response.json())["error"]


@fakes.asynchronous
async def test_so_many_run_and_wait_the_next_gets_503_until_there_is_room():
    limits = dataclasses.replace(fakes.LIMITS, max_running=1, max_queued=1)
    link = fakes.FakeLink()
    link.hold = asyncio.Event()
    async with fakes.running(link, limits) as client:
        first = asyncio.create_task(client.post("/api/generate", json=fakes.body()))
        await link.started.wait()
        second = asyncio.create_task(client.post("/api/generate", json=fakes.body()))
        while (await (await client.get("/api/model")).json())["present"] < 2:
            await asyncio.sleep(0)
        assert "busy" in await refused(client, 503, json=fakes.body())
        assert len(link.asked) == 1
        link.hold.set()
        assert [(await first).status, (await second).status] == [200, 200]
        assert (await client.post("/api/generate", json=fakes.body())).status == 200


@fakes.asynchronous
async def test_a_request_that_takes_too_long_gets_504_and_is_cancelled():
    link = fakes.FakeLink()
    link.hold = asyncio.Event()
    async with fakes.running(link, dataclasses.replace(fakes.LIMITS, deadline=0.05)) as client:
        assert "too long" in await refused(client, 504, json=fakes.body())
        assert link.cancelled.is_set()


@fakes.asynchronous
async def test_whoever_goes_away_cancels_the_request_and_leaves_its_place():
    link = fakes.FakeLink()
    link.hold = asyncio.Event()
    async with fakes.running(link) as client:
        request = asyncio.create_task(client.post("/api/generate", json=fakes.body()))
        await link.started.wait()
        request.cancel()
        await link.cancelled.wait()
        while (await (await client.get("/api/model")).json())["present"]:
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("INVALID_ARGUMENT", 400),
        ("RESOURCE_EXHAUSTED", 503),
        ("UNAVAILABLE", 503),
        ("DEADLINE_EXCEEDED", 504),
        ("UNIMPLEMENTED", 501),
        ("UNKNOWN", 502),
    ],
)
@fakes.asynchronous
async def test_what_the_model_says_is_passed_on_as_a_sentence(code, status):
    link = fakes.FakeLink()
    link.error = ServingError(code, "there is something the matter")
    async with fakes.running(link) as client:
        assert await refused(client, status, json=fakes.body()) == "There is something the matter."


@fakes.asynchronous
async def test_a_fault_of_our_own_is_logged_without_what_was_drawn(caplog):
    link = fakes.FakeLink()
    link.error = KeyError(fakes.encoded(fakes.png()))
    async with fakes.running(link) as client:
        await refused(client, 500, json=fakes.body())
    assert "KeyError" in caplog.text
    assert fakes.encoded(fakes.png())[:12] not in caplog.text


@fakes.asynchronous
async def test_a_model_without_an_inner_loop_is_asked_without_steps():
    link = fakes.FakeLink(fakes.described(limits={"num_inner_steps": {"maximum": 0}}))
    async with fakes.running(link) as client:
        assert (await client.post("/api/generate", json=fakes.body())).status == 200
        await refused(client, 400, json=fakes.body(num_inner_steps=5))
    assert [request.num_inner_steps for request in link.asked] == [None]
