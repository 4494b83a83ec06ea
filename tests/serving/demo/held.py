"""The page of `serving.demo` before a model that never answers."""

import asyncio

from serving.demo_app import gateway
from serving.demo_app.limits import VisitorLimits
from tests.serving.demo import fakes

if __name__ == "__main__":
    link = fakes.FakeLink()
    link.hold = asyncio.Event()
    gateway.serve(link, VisitorLimits(deadline=3600.0), "127.0.0.1", 0)
