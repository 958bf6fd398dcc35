"""A storage that did not answer is left in peace for some seconds."""

import time


class Rest:
    """Meanwhile whoever asks is refused at once; after it one asks again, and the others go on being refused until that one has its answer.

    Else each request for a picture would hold a thread of the server, and a connection to the database, for as long as its tries take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.until = seconds, 0.0

    def may_ask(self) -> bool:
        now = time.monotonic()
        if now < self.until:
            return False
        if self.until:
            self.until = now + self.seconds
        return True

    def record(self, *, answered: bool) -> None:
        self.until = 0.0 if answered else time.monotonic() + self.seconds
