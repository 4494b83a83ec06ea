"""Which proxy stands on the way to a host, by the variables that gRPC and urllib read.

Loopback never goes through one: a proxy is another machine, to which 127.0.0.1 means itself. Both
libraries send it there all the same unless told otherwise.
"""

import os
import urllib.parse
import urllib.request
from collections.abc import Sequence

from figr_common import addresses

_OF_GRPC = ("grpc_proxy", "https_proxy", "http_proxy")  # The first that is set counts.
_NOT_OF_GRPC_ALONE = "no_grpc_proxy"
_NOT_OF_GRPC = (_NOT_OF_GRPC_ALONE, "no_proxy")


def grpc_options(host: str) -> list[tuple[str, int]]:
    """Options of a gRPC channel to this host."""
    return [("grpc.enable_http_proxy", 0)] if addresses.is_loopback(host) else []


def opener(url: str) -> urllib.request.OpenerDirector:
    """What opens this address over HTTP."""
    direct = addresses.is_loopback(urllib.parse.urlsplit(url).hostname or "")
    return urllib.request.build_opener(*[urllib.request.ProxyHandler({})] * direct)


def on_way_of_grpc(host: str) -> str:
    """Names the proxy for an error message; empty if gRPC goes to this host without one."""
    variable = next((name for name in _OF_GRPC if os.environ.get(name)), None)
    exempt = next((os.environ[name] for name in _NOT_OF_GRPC if os.environ.get(name)), "")
    if variable is None or urllib.request.proxy_bypass_environment(  # type: ignore[attr-defined]
        host, {"no": exempt}
    ):
        return ""
    return _name(host, variable, os.environ[variable])


def on_way_of_url(url: str) -> str:
    """Names the proxy for an error message; empty if urllib goes to this address without one."""
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or urllib.request.proxy_bypass(host):
        return ""
    return _name(host, f"{parts.scheme}_proxy", proxy)


def _name(host: str, variable: str, proxy: str) -> str:
    if addresses.is_loopback(host):
        return ""
    address = proxy.rpartition("://")[2].rpartition("@")[2].rstrip("/")  # Not the password.
    return f" through the proxy {address} of {variable}; no_proxy={host} would go without it"


def bypass(hosts: Sequence[str]) -> None:
    """Makes this process go to these hosts without a proxy, also in libraries that are not ours."""
    exempt = {"no_proxy": os.environ.get("no_proxy") or os.environ.get("NO_PROXY")}
    if alone := os.environ.get(_NOT_OF_GRPC_ALONE):  # Then gRPC does not look at the other.
        exempt[_NOT_OF_GRPC_ALONE] = alone
    for name, value in exempt.items():
        before = [value] if value else []
        os.environ[name] = ",".join([*before, *hosts])
