"""Which proxy stands on the way, with variables such as companies and clusters set."""

import os

import pytest

from figr_common import proxies

NAMES = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy", "no_proxy", "no_grpc_proxy")
CLOSED = "http://user:secret@127.0.0.1:9/"  # Nothing listens there.


@pytest.fixture(autouse=True)
def _no_proxy_at_first(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("variable", NAMES[:3])
def test_the_proxy_is_named_by_its_variable_and_address_without_the_password(monkeypatch, variable):
    monkeypatch.setenv(variable, CLOSED)
    said = proxies.on_way_of_grpc("10.9.9.9")
    assert f"through the proxy 127.0.0.1:9 of {variable}; no_proxy=10.9.9.9" in said
    assert "secret" not in said


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY"])
def test_upper_case_counts_for_http(monkeypatch, variable):
    monkeypatch.setenv(variable, CLOSED)
    said = proxies.on_way_of_url("http://10.9.9.9:8501/v1")
    assert "through the proxy 127.0.0.1:9 of http_proxy; no_proxy=10.9.9.9" in said
    assert proxies.on_way_of_url("https://10.9.9.9/") == ""


def test_no_proxy_is_on_the_way_to_loopback_and_to_exempt_hosts(monkeypatch):
    assert proxies.on_way_of_grpc("10.9.9.9") == proxies.on_way_of_url("http://10.9.9.9") == ""
    monkeypatch.setenv("http_proxy", CLOSED)
    monkeypatch.setenv("no_proxy", "10.9.9.9,.example.org")
    for host in ("localhost", "127.0.0.1", "10.9.9.9", "a.example.org"):
        assert proxies.on_way_of_grpc(host) == ""
        assert proxies.on_way_of_url(f"http://{host}:1") == ""
    assert proxies.on_way_of_url("http://[::1]:1") == ""


@pytest.mark.parametrize("given", ["no_proxy", "NO_PROXY", "no_grpc_proxy"])
def test_hosts_are_added_to_those_that_are_exempt_already(monkeypatch, given):
    monkeypatch.setenv(given, "a,b")
    monkeypatch.setattr(os, "environ", dict(os.environ))
    proxies.bypass(["10.0.0.1", "::1"])
    assert os.environ[given.lower()] == "a,b,10.0.0.1,::1"
    assert os.environ["no_proxy"].endswith("10.0.0.1,::1")
