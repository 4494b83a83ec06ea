"""Host and port."""

import pytest

from figr_common import addresses


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("localhost:8500", ("localhost", 8500)),
        ("10.0.0.2:2222", ("10.0.0.2", 2222)),
        ("[::1]:8500", ("::1", 8500)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
    ],
)
def test_an_address_is_taken_apart_and_put_together_again(text, parts):
    assert addresses.split(text) == parts
    assert addresses.join(*parts) == text


@pytest.mark.parametrize("text", ["", "a", ":1", "a:", "a:x", "a:-1", "::1:8500", "[a]:1", "[::1]"])
def test_what_is_no_address_is_refused_with_the_form_and_what_was_received(text):
    with pytest.raises(
        ValueError, match="give host:port, with an IPv6 address in brackets"
    ) as caught:
        addresses.split(text)
    assert str(caught.value).endswith(f"Received: {text!r}")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *((host, True) for host in ("localhost", "LOCALHOST", "127.0.0.1", "127.8.8.8", "::1")),
        ("::ffff:127.0.0.1", True),
        *(
            (host, False)
            for host in ("", "0.0.0.0", "10.0.0.1", "::", "2001:db8::1", "127.evil.org")
        ),
    ],
)
def test_only_this_very_machine_is_loopback(host, expected):
    assert addresses.is_loopback(host) is expected
