"""What can go wrong between a client and a server, under the names that gRPC gives it."""

import re

# TensorFlow Serving's own mapping, tensorflow_serving/model_servers/http_server.cc.
HTTP_STATUS = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}

# gRPC's numbers, https://grpc.github.io/grpc/core/md_doc_statuscodes.html; TensorFlow's are the
# same.
CODES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
    *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"),
    *("ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    "UNAUTHENTICATED",
)

# What TensorFlow adds to a sentence: the node that failed, and a list where several have.
_NODE = re.compile(r"\s*\[\[\{\{(?:function_)?node .*", re.DOTALL)
_FIRST_OF_MANY = re.compile(r"\d+ root error\(s\) found\.\s*\(0\) (?:[A-Z_]+: )?")
_ASSERTION = re.compile(r"assertion failed: \[(.*)\]$", re.DOTALL)


class ServingError(Exception):
    """A request that was not answered.

    Attributes:
        code: the gRPC status' name, such as "INVALID_ARGUMENT".
        message: one line.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


def code_for_http(status: int) -> str:
    """The most general status name that has this HTTP status."""
    return next((code for code, number in HTTP_STATUS.items() if number == status), "UNKNOWN")


def plain_sentence(message: str) -> str:
    """A runtime's error message on one line, without the names of graph nodes.

    Of an assertion only its own sentence is left.
    """
    text = _NODE.sub("", _FIRST_OF_MANY.sub("", message)).strip()
    asserted = _ASSERTION.search(text)
    return " ".join((asserted.group(1) if asserted else text).split())
