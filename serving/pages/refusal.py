"""A request that is not carried out."""


class Refusal(Exception):
    """A request that is not carried out.

    Attributes:
        status: of HTTP.
        sentence: for the visitor.
        retry_after: seconds after which another try makes sense, or None.
    """

    def __init__(self, status: int, sentence: str, retry_after: int | None = None):
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.retry_after = retry_after
