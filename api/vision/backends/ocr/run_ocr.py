"""Opens what reads pictures: a model of the loader, or an owner's server.  [torch]"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from PIL import Image

from api.model_loader import ModelLoader
from api.vision.backends.ocr.read_picture import read_picture
from api.vision.ocr.alphabets import characters_of_recogniser
from api.vision.ocr.installed import letters_of
from api.vision.ocr.languages import choose_engine, find_language
from api.vision.ocr.lines import PictureText

Progress = Callable[[float, str], None]
ReadPicture = Callable[[Image.Image, Sequence[str]], PictureText]
"""Called with a picture and codes of languages. Raises DarkroomError."""
TASK = "ocr"


@contextmanager
def open_reader(loader: ModelLoader, model_id: str, on_progress: Progress | None = None) -> Iterator[ReadPicture]:
    """Holds the model while it is open. Raises DarkroomError."""
    with loader.use(model_id, TASK, on_progress) as lease:
        letters = characters_of_recogniser(lease.pipeline.folder)

        def read(picture: Image.Image, codes: Sequence[str]) -> PictureText:
            languages = [find_language(code) for code in codes]
            engine = choose_engine(languages, letters, letters_of)
            for attempt in loader.retry_on_oom(lease, batch_size=1):
                with attempt:
                    found = read_picture(lease.pipeline, picture, languages, engine)
            return replace(found, notes=tuple(lease.notes))

        yield read
