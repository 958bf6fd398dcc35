"""The shapes of a server that are tried."""

from dataclasses import dataclass
from itertools import product

RUNNERS = {"sqlite": ("embedded", "external"), "postgres": ("embedded", "external", "redis", "rabbitmq")}
MEDIA = ("disk", "s3")


@dataclass(frozen=True)
class Cell:
    """`runner`: embedded or external, or the broker of Celery's workers."""

    database: str
    runner: str
    media: str

    @property
    def name(self) -> str:
        return f"{self.database}-{self.runner}-{self.media}"

    @property
    def broker(self) -> str:
        return self.runner if self.runner in ("redis", "rabbitmq") else ""

    @property
    def job_runner(self) -> str:
        return "celery" if self.broker else self.runner

    @property
    def victims(self) -> tuple[str, ...]:
        found = ["worker", "worker", "web", "gunicorn"]
        found += ["postgres"] if self.database == "postgres" else []
        found += ["broker"] if self.broker else []
        found += ["s3"] if self.media == "s3" else []
        return tuple(found)


CELLS = {
    cell.name: cell
    for database, runners in RUNNERS.items()
    for cell in (Cell(database, runner, media) for runner, media in product(runners, MEDIA))
}


def choose_cells(words: str) -> list[Cell]:
    """Cells whose names have all of one of these words' parts: `postgres-s3,sqlite-embedded-disk`; all where there is no word."""
    asked = [set(word.split("-")) for word in words.split(",") if word]
    return [cell for cell in CELLS.values() if not asked or any(parts <= set(cell.name.split("-")) for parts in asked)]
