import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from api.files.models import StoredFile
from api.files.services import link_inputs, open_image
from api.jobs.kinds import JobKind
from api.jobs.running import Finished, Outcome, RunningJob
from api.specs import InputImage, Spec, param


@dataclass(frozen=True, kw_only=True)
class ColourSpec(Spec):
    kind = "colour"
    image: InputImage
    rounds: int = param(default=1, minimum=1, maximum=200, help="How often it is measured, 50 ms each.")


def mean_colour(image: Image.Image) -> str:
    red, green, blue = image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))  # type: ignore[misc]
    return f"#{red:02x}{green:02x}{blue:02x}"


class Colour(JobKind[ColourSpec]):
    name = ColourSpec.kind
    spec_class = ColourSpec
    link_inputs = staticmethod(link_inputs)

    def run(self, batch: Sequence[RunningJob[ColourSpec]]) -> Iterator[Outcome]:
        [run] = batch
        for step in range(run.spec.rounds):
            run.raise_if_cancelled()
            colour = mean_colour(open_image(StoredFile.objects.get(pk=run.spec.image)))
            time.sleep(0.05)
            run.progress(step=step + 1, steps=run.spec.rounds)
        yield Finished(run, {"colour": colour})
