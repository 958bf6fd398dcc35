"""Flat pictures, one box in each, and one word of a chat: written, recorded and answered as real ones are."""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from api.chat.handler import ChatKind
from api.chat.spec import ChatSpec
from api.images.handler import Img2Img, Txt2Img
from api.images.output_sinks import GeneratedPicture, SelectedPictures
from api.images.pictures import Run, file_notes, save
from api.images.spec import Txt2ImgSpec
from api.jobs.kinds import Session
from api.jobs.running import Finished, Outcome, RunningJob
from api.runtime.input_pictures import open_input
from api.scoring.embeddings import Embedded, Embedding
from api.scoring.embeddings import Run as EmbeddingRun
from api.vision.boxes import Box
from api.vision.detection import Found
from api.vision.handler import Detect, Detected
from api.vision.handler import Run as DetectRun


class QuickTxt2Img(Txt2Img):
    def without_models(self) -> bool:
        return True

    def batch_key(self, spec: Txt2ImgSpec) -> str:
        return ""

    def open_session(self, spec: Txt2ImgSpec) -> Session | None:
        return None

    def run(self, batch: Sequence[Run]) -> Iterator[Outcome]:
        for run in batch:
            size = (run.spec.width, run.spec.height)
            made = [GeneratedPicture(Image.new("RGB", size, "teal"), seed) for seed in run.spec.seeds]
            yield save(run, SelectedPictures(made), file_notes(run.spec))


class QuickImg2Img(QuickTxt2Img, Img2Img):
    pass


class QuickDetect(Detect):
    def without_models(self) -> bool:
        return True

    def run(self, batch: Sequence[DetectRun]) -> Iterator[Outcome]:
        for run in batch:
            picture = open_input(run.spec.image)
            found = [Found("boat", 1, 0.9, Box(1.5, 2.5, 30.5, 31.5))]
            yield Finished(run, Detected(picture.width, picture.height, found, None))


class QuickEmbedding(Embedding):
    def without_models(self) -> bool:
        return True

    def run(self, batch: Sequence[EmbeddingRun]) -> Iterator[Outcome]:
        for run in batch:
            vectors = np.full((len(run.spec.input), 512), 512**-0.5, dtype="float32")
            yield Finished(run, Embedded(vectors, [], 9))


class QuickChat(ChatKind):
    def without_models(self) -> bool:
        return True

    def open_session(self, spec: ChatSpec) -> Session | None:
        return None

    def run(self, batch: Sequence[RunningJob[ChatSpec]]) -> Iterator[Outcome]:
        choice = {"text": "Yes.", "finish_reason": "stop", "completion_tokens": 1, "logprobs": None}
        numbers = {"prompt_tokens": 9, "cached_tokens": 0, "dropped_tokens": 0, "first_token_seconds": 0.0, "seconds": 0.0}
        for run in batch:
            yield Finished(run, {"backend": "pytorch", "model": run.spec.model, "choices": [choice], **numbers})
