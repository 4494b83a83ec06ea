"""What a visitor does with the page."""

import io
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

STROKES = {
    "cross": [[(0.2, 0.2), (0.8, 0.8)], [(0.8, 0.2), (0.2, 0.8)]],
    "corner": [[(0.1, 0.1), (0.1, 0.35), (0.3, 0.35)]],
    "wave": [[(0.1 + 0.08 * i, 0.5 + 0.2 * np.sin(i / 0.8)) for i in range(11)]],
}


def pad(page: Page, number: int) -> Any:
    return page.locator(".pad").nth(number - 1)


def draw(page: Page, number: int, shape: str = "cross") -> None:
    """With the mouse, into a square."""
    pad(page, number).scroll_into_view_if_needed()
    box = pad(page, number).locator(".ink").bounding_box()
    for stroke in STROKES[shape]:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point)
        page.mouse.up()


def draw_four(page: Page, shape: str = "cross") -> None:
    for number in range(1, 5):
        draw(page, number, shape)


def expect_drawings(page: Page, count: int = 64, steps: int | None = None) -> None:
    """Waits until the page says that it shows so many."""
    after = "" if steps is None else f" after {steps} inner step"
    page.wait_for_function(  # looks at every frame, sooner than `expect` does
        "text => document.querySelector('#status').textContent.startsWith(text)",
        arg=f"{count} drawings{after}",
    )
    expect(page.locator("#grid canvas")).to_have_count(count)


def pixels(page: Page, selector: str, number: int = 0) -> np.ndarray:
    """uint8 [S, S] of a canvas on the page."""
    script = """c => Array.from(
        c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((_, i) => i % 4 === 0)
    )"""
    canvas = page.locator(selector).nth(number)
    values = np.array(canvas.evaluate(script), np.uint8)
    return values.reshape(round(len(values) ** 0.5), -1)


def marks(page: Page) -> tuple[int, int, int]:
    """Steps, seed and number that the fake model wrote into the first sample shown."""
    return tuple(int(value) for value in pixels(page, "#grid canvas")[0, :3])


def file_of(array: np.ndarray, name: str = "drawing.png") -> dict[str, Any]:
    """For `set_input_files`."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": file.getvalue()}
