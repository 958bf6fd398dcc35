"""Finding things in a picture: ours against the plain use of the library that computes it, picture by picture in the same run.

    OMP_NUM_THREADS=1 python -m benchmarks.detection [--pictures 60] [--model starter-detector]

onnx   a detector in ONNX (the catalog's `--model`, which must be one): plain is Pillow, onnxruntime and NMS in numpy
torch  an RT-DETR of R18's size with random weights: plain is transformers' processor, model and post-processing

Ours is the backend (`run_detector`, from pixels to boxes), one picture at a time and eight at once, and the whole job: from the worker's
claim to the rows of its result. Pictures are scenes of the starter's world at 512 × 512.
"""

import os
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import parser, prepare, print_machine, print_table

SEED, SIDE, BATCH = 20_261_127, 512, 8
THRESHOLD, IOU = 0.25, 0.45
RT_DETR = "benchmark-rt-detr"


class Owner:
    owner_key = "local"
    max_active_jobs = None


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--pictures", type=int, default=60)
    made.add_argument("--model", default="starter-detector")
    options = made.parse_args()
    checkpoint = Path(tempfile.mkdtemp(prefix="rt-detr-"))
    catalog = checkpoint / "catalog.toml"
    catalog.write_text(f'[models."{RT_DETR}"]\npath = "{checkpoint}"\ntask = "object-detection"\n{own_catalog()}')
    data = prepare(options, CATALOG_EXTRA=str(catalog), LOAD_MODELS="true")
    build_rt_detr(checkpoint)
    print_machine(data)
    measure_all(options, checkpoint)


def own_catalog() -> str:
    """The owner's tables, where CATALOG_EXTRA names some."""
    extra = os.environ.get("CATALOG_EXTRA")
    return Path(extra).read_text() if extra else ""


def build_rt_detr(folder: Path) -> None:
    import torch
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrImageProcessorPil, RTDetrResNetConfig

    torch.manual_seed(SEED)
    sizes = {"hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"}
    backbone = RTDetrResNetConfig(**sizes, out_features=["stage2", "stage3", "stage4"])
    config = RTDetrConfig(backbone_config=backbone, encoder_in_channels=[128, 256, 512], decoder_layers=3, hidden_expansion=0.5)
    RTDetrForObjectDetection(config).save_pretrained(folder)
    RTDetrImageProcessorPil(size={"height": 640, "width": 640}).save_pretrained(folder)


def scenes(count: int) -> list[Any]:
    import numpy as np
    from PIL import Image

    from api.starter import world

    rng = np.random.default_rng(SEED)
    return [Image.fromarray(world.render(world.sample(rng), SEED + number, SIDE)) for number in range(count)]


# ---------------------------------------------------------------- the plain ways


def plain_onnx(file: Path) -> Callable[[Any], int]:
    import numpy as np
    import onnxruntime
    import torch
    from PIL import Image

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    side = int(given.shape[2])
    kind = np.float16 if given.type == "tensor(float16)" else np.float32

    def find(picture: Any) -> int:
        scale = side / max(picture.size)
        small = picture.resize([round(edge * scale) for edge in picture.size], Image.Resampling.BILINEAR)
        canvas = Image.new("RGB", (side, side), (114, 114, 114))
        canvas.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
        pixels = (np.asarray(canvas, np.float32) / 255).transpose(2, 0, 1)[None].astype(kind)
        [output] = session.run(None, {given.name: pixels})
        rows = output[0].astype(np.float32).T
        classes, scores = rows[:, 4:].argmax(1), rows[:, 4:].max(1)
        kept = scores >= THRESHOLD
        return len(suppress(rows[kept, :4], scores[kept], classes[kept]))

    return find


def suppress(centers: Any, scores: Any, classes: Any) -> list[int]:
    import numpy as np

    boxes = np.concatenate([centers[:, :2] - centers[:, 2:] / 2, centers[:, :2] + centers[:, 2:] / 2], axis=1)
    kept: list[int] = []
    for place in np.argsort(-scores):
        low, high = np.maximum(boxes[place, :2], boxes[kept, :2]), np.minimum(boxes[place, 2:], boxes[kept, 2:])
        shared = np.clip(high - low, 0, None).prod(1)
        areas = (boxes[kept, 2:] - boxes[kept, :2]).prod(1) + (boxes[place, 2:] - boxes[place, :2]).prod() - shared
        if not ((shared > IOU * areas) & (classes[kept] == classes[place])).any():
            kept.append(int(place))
    return kept


def plain_torch(folder: Path) -> Callable[[Any], int]:
    import torch
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    model, processor = AutoModelForObjectDetection.from_pretrained(folder).eval(), AutoImageProcessor.from_pretrained(folder)

    def find(picture: Any) -> int:
        inputs = processor(images=picture, return_tensors="pt")
        with torch.inference_mode():
            outputs = model(**inputs)
        sizes = [picture.size[::-1]]
        [found] = processor.post_process_object_detection(outputs, threshold=THRESHOLD, target_sizes=sizes)
        return min(100, len(found["scores"]))

    return find


# ---------------------------------------------------------------- ours


def backend(loader: Any, model_id: str) -> Callable[[Sequence[Any]], list[int]]:
    from api.vision.backends.run_detector import run_detector
    from api.vision.detection import DetectionRequest

    def find(pictures: Sequence[Any]) -> list[int]:
        requests = [DetectionRequest(picture, THRESHOLD, IOU) for picture in pictures]
        return [len(result) for result in run_detector(loader, model_id, requests).results]  # type: ignore[arg-type]

    return find


def job_of(picture: Any, model_id: str) -> Any:
    from api.files.decoding import encode_png
    from api.files.services import store_upload
    from api.jobs.api.submission import Submission, submit
    from api.vision.spec import DetectSpec

    file = store_upload(owner_key=Owner.owner_key, data=encode_png(picture))
    spec = DetectSpec(image=str(file.pk), model_id=model_id)  # type: ignore[arg-type]
    return submit(Submission(spec), principal=Owner())


def worker_of(loop: Any, model_id: str) -> Callable[[Any], int]:
    from api.jobs.models import Job

    def find(job: Any) -> int:
        loop.run_once()
        done = Job.objects.get(pk=job.pk)
        if done.status != "succeeded":
            raise RuntimeError(f"{done.status}: {done.error}")
        return len(done.result["detections"])

    return find


# ---------------------------------------------------------------- measuring


def timed(find: Callable[[], Any]) -> tuple[float, float, Any]:
    """Milliseconds by the clock and of the processor."""
    started, processor = time.perf_counter(), time.process_time()
    found = find()
    return 1000 * (time.perf_counter() - started), 1000 * (time.process_time() - processor), found


def measure_all(options: Namespace, checkpoint: Path) -> None:
    from django.conf import settings

    from api import model_loader
    from api.devices import probe_device
    from api.downloads.store import ModelStore
    from api.jobs.worker.loop import WorkerLoop
    from config.catalog import get_catalog

    catalog = get_catalog()
    loader = model_loader.configure(catalog, ModelStore(settings.MODELS_DIR), probe_device("cpu"))
    pictures, loop = scenes(options.pictures), WorkerLoop()
    folder = catalog.get(options.model).path
    assert folder is not None
    [file] = folder.glob("*.onnx")
    rows = [
        *measure(options.model, plain_onnx(file), loader, loop, pictures),
        *measure(RT_DETR, plain_torch(checkpoint), loader, loop, pictures[: max(BATCH, options.pictures // 4)]),
    ]
    print_table("Milliseconds a picture", rows)


def measure(
    model_id: str, plain: Callable[[Any], int], loader: Any, loop: Any, pictures: Sequence[Any]
) -> list[tuple[str, str]]:
    ours, worker = backend(loader, model_id), worker_of(loop, model_id)
    spent: dict[str, list[tuple[float, float, int]]] = {"plain": [], "backend": [], "worker": []}
    plain(pictures[0]), ours(pictures[:1]), worker(job_of(pictures[0], model_id))  # once, unmeasured
    for picture in pictures:
        spent["plain"].append(timed(lambda picture=picture: plain(picture)))
        clock, processor, found = timed(lambda picture=picture: ours([picture]))
        spent["backend"].append((clock, processor, found[0]))
        job = job_of(picture, model_id)
        spent["worker"].append(timed(lambda job=job: worker(job)))
    batches = [pictures[start : start + BATCH] for start in range(0, len(pictures) - BATCH + 1, BATCH)]
    together = [timed(lambda batch=batch: ours(batch)) for batch in batches]
    spent[f"backend, {BATCH} at once"] = [
        (clock / BATCH, processor / BATCH, sum(found)) for clock, processor, found in together
    ]
    base = statistics.median(processor for _, processor, _ in spent["plain"])
    return [row_of(model_id, way, figures, base) for way, figures in spent.items()]


def row_of(model_id: str, way: str, figures: Sequence[tuple[float, float, int]], base: float) -> tuple[str, str]:
    clock, processor = (statistics.median(one[place] for one in figures) for place in (0, 1))
    found = sum(one[2] for one in figures)
    name = f"{model_id}, {way} (median of {len(figures)})"
    return name, f"{clock:.1f}, {processor:.1f} of the processor: {processor / base:.2f} of plain; {found} found"


if __name__ == "__main__":
    main()
