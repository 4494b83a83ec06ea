"""The gateway: headers and policy, which files it serves, and to whose pages it answers."""

import pytest

from serving.demo_app import gateway
from serving.pages import site
from tests.serving.demo import fakes


@pytest.mark.parametrize(
    "path", ["/", "/page/main.js", "/page/style.css", "/api/model", "/nothing", "/page/no.js"]
)
@fakes.asynchronous
async def test_every_answer_carries_the_security_headers(path):
    async with fakes.running(fakes.FakeLink()) as client, client.get(path) as response:
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert "*" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert "no-" in response.headers["Cache-Control"]


@pytest.mark.parametrize(
    "name", ["..%2fgateway.py", "%2e%2e/limits.py", "__init__.py", ".", "", "main.js%00"]
)
@fakes.asynchronous
async def test_only_the_files_of_the_page_are_served(name):
    async with fakes.running(fakes.FakeLink()) as client, client.get(f"/page/{name}") as response:
        assert response.status in (400, 404)


@pytest.mark.parametrize(
    ("headers", "public", "status"),
    [
        ({"Origin": "https://elsewhere.example"}, False, 403),
        ({"Origin": "https://elsewhere.example"}, True, 403),
        ({"Origin": "null"}, False, 403),
        ({"Host": "rebound.example:8080"}, False, 403),
        ({"Host": "rebound.example"}, True, 200),
        ({"Host": "localhost:8080"}, False, 200),
        ({"Host": "[::1]:8080"}, False, 200),
        ({"Host": "localhost:8080", "Origin": "http://localhost:8080"}, False, 200),
    ],
)
@fakes.asynchronous
async def test_pages_of_other_sites_get_nothing(headers, public, status):
    async with fakes.running(fakes.FakeLink(), public=public) as client:
        async with client.post("/api/generate", json=fakes.body(), headers=headers) as response:
            assert response.status == status
        async with client.get("/api/model", headers=headers) as response:
            assert response.status == status


@fakes.asynchronous
async def test_the_address_of_the_model_is_shown_on_loopback_only():
    for public, shown in ((False, "127.0.0.1:1"), (True, None)):
        async with (
            fakes.running(fakes.FakeLink(), public=public) as client,
            client.get("/api/model") as response,
        ):
            endpoint = (await response.json())["endpoint"]
            assert (endpoint and endpoint["address"]) == shown


def test_the_page_loads_nothing_from_elsewhere_and_holds_no_inline_code():
    for path in [*gateway.PAGE.iterdir(), *site.SHARED.iterdir()]:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not any(scheme in text for scheme in ("http://", "https://")), path
        assert not any(sink in text for sink in ("innerHTML", "eval(", "style=", " onclick=")), path
    html = (gateway.PAGE / "index.html").read_text()
    assert html.count("<script") == html.count('<script type="module" src="/page/') == 1
    assert "<style" not in html
